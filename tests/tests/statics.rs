//! What the linker sets apart as the statics of programs is all that is not the
//! system's, and what of `std`'s a process has to itself.

use object::{Object, ObjectSymbol, SymbolKind};
use std::collections::BTreeSet;
use std::ops::Range;
use std::process::Command;
use tests::{image, root};

/// The program that every node image carries.
const PROGRAM: &str = "distance";
/// `std` and what it is made of.
const STD: [&str; 18] = [
    "addr2line",
    "adler2",
    "alloc",
    "cfg_if",
    "compiler_builtins",
    "core",
    "gimli",
    "hashbrown",
    "hermit_abi",
    "libc",
    "memchr",
    "miniz_oxide",
    "object",
    "panic_abort",
    "rustc_demangle",
    "std",
    "std_detect",
    "unwind",
];
/// Statics of `std` that are an activity's own, as their mangled names have them.
const OF_AN_ACTIVITY: [&str; 11] = [
    "3std2io5stdio6STDOUT",
    "3std2io5stdio6stderr8INSTANCE",
    "3std3sys3env",
    "3std3sys4args",
    "3std3sys9backtrace4lock4LOCK",
    "3std5panic14SHOULD_CAPTURE",
    "3std9panicking4HOOK",
    "12default_hook011FIRST_PANIC",
    "24default_alloc_error_hook18PREV_ALLOC_FAILURE",
    "15spawn_unchecked03MIN",
    "3std6thread11main_thread4MAIN",
];
/// Statics that all activities of a node share: what numbers threads, what the OS is told of.
const OF_ALL: [&str; 5] =
    ["8ThreadId3new7COUNTER", "3std5alloc4HOOK", "7runtime", "4node6faults", "6cyanea6system"];

/// The crates whose files each list of the linker script leaves out.
fn lists() -> Vec<Vec<String>> {
    let script = std::fs::read_to_string(root().join("images/runtime/linker.ld")).unwrap();
    let lists = script.split("EXCLUDE_FILE(").skip(1).map(|rest| rest.split(')').next().unwrap());
    let name = |file: &str| {
        let name = file.strip_prefix("*/lib").and_then(|rest| rest.strip_suffix("-????????????????.rlib:*"));
        name.unwrap_or_else(|| panic!("{file} is no crate's file")).to_string()
    };
    lists.map(|list| list.split_whitespace().map(name).collect()).collect()
}

/// The crates that the system is linked with.
fn linked() -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--prefix=none", "--format={lib}", "--target=x86_64-unknown-hermit"])
        .args(["--edges=normal,no-proc-macro", "-p", "node", "-p", "utility", "--prune", PROGRAM])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.split_whitespace().filter(|word| !word.starts_with('(')).map(str::to_string).collect()
}

#[test]
fn the_systems_crates_are_listed_in_the_linker_script() {
    let mut expected = linked();
    assert!(expected.contains("smoltcp") && expected.contains("runtime"), "{expected:?}");
    expected.extend(STD.map(String::from));
    let lists = lists();
    assert_eq!(lists.len(), 2);
    for list in lists {
        assert_eq!(list, expected.iter().cloned().collect::<Vec<_>>());
    }
}

/// Where an image's statics are: mangled name and address.
fn statics(data: &[u8]) -> (Range<u64>, Vec<(String, u64)>) {
    let file = object::File::parse(data).unwrap();
    let address = |wanted: &str| {
        let mut symbols = file.symbols().filter(|symbol| symbol.name() == Ok(wanted));
        symbols.next().unwrap_or_else(|| panic!("there is no {wanted}")).address()
    };
    let range = address("segment_start")..address("segment_end");
    let data = file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Data && symbol.size() > 0);
    (range, data.map(|symbol| (symbol.name().unwrap().to_string(), symbol.address())).collect())
}

#[test]
fn an_image_has_them_where_they_belong() {
    for (name, own) in [
        ("node", &[][..]),
        ("test-node", &["7statics5LARGE", "7statics8NOT_ZERO"]),
        ("crates-node", &["10rayon_core"]),
    ] {
        let data = std::fs::read(image(name)).expect("the images are built");
        let (range, statics) = statics(&data);
        for (wanted, inside) in OF_AN_ACTIVITY
            .iter()
            .chain(own)
            .map(|wanted| (wanted, true))
            .chain(OF_ALL.iter().map(|wanted| (wanted, false)))
        {
            // Constants have symbols, too.
            let found: Vec<_> = statics
                .iter()
                .filter(|(symbol, address)| symbol.contains(wanted) && *address >= range.start)
                .collect();
            assert!(!found.is_empty(), "{name} has no {wanted}");
            for (symbol, address) in found {
                assert_eq!(range.contains(address), inside, "{name}: {symbol} at {address:#x}, {range:#x?}");
            }
        }
    }
}
