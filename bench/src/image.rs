//! What an image takes: by section, and by the crates that its functions and
//! tables are of, as their symbols' names say.
//!
//! What has no name (string literals, most constants) counts as such. A function
//! that was made from a generic one counts for the crate that its name begins with,
//! wherever it was made.

use crate::Bench;
use anyhow::{Context, Result, ensure};
use object::read::elf::ElfFile64;
use object::{Endianness, Object, ObjectSection, ObjectSegment, ObjectSymbol, SectionKind, SymbolKind};
use std::collections::BTreeMap;
use std::path::Path;

/// The images: their files and what they are.
const IMAGES: [(&str, &str); 3] = [("node", "node"), ("utility", "utility"), ("bench-main", "std alone")];
/// The one that is taken apart.
const TAKEN_APART: &str = "node";

/// The parts, and the crates of each; every other crate is one that was taken from elsewhere.
const PARTS: [(&str, &[&str]); 7] = [
    ("runtime", &["runtime"]),
    ("kernel", &["kernel"]),
    ("transport", &["transport", "ivshmem"]),
    ("node", &["node", "vm", "cyanea"]),
    ("network", &["network", "smoltcp", "managed"]),
    (
        "std",
        &[
            "std",
            "core",
            "alloc",
            "compiler_builtins",
            "hermit_abi",
            "hashbrown",
            "std_detect",
            "panic_abort",
        ],
    ),
    ("programs", &["wordcount", "distance", "webserver"]),
];
const ELSEWHERE: &str = "other crates";
const UNNAMED: &str = "constants without a name, padding";

/// Bytes of each kind in an image.
struct Sizes {
    /// As a file without debug information: what is loaded.
    loaded: u64,
    /// In a VM's memory.
    memory: u64,
    sections: Vec<(String, u64)>,
    parts: BTreeMap<&'static str, u64>,
}

/// The sizes of the images.
pub fn sizes(bench: &mut Bench) -> Result<()> {
    bench.say("the images' sizes");
    for (name, title) in IMAGES {
        let path = bench.images.join(name);
        let sizes = measure(&path).with_context(|| format!("{} cannot be taken apart", path.display()))?;
        report(bench, title, &sizes, name == TAKEN_APART);
    }
    Ok(())
}

fn report(bench: &mut Bench, title: &str, sizes: &Sizes, in_parts: bool) {
    let kibibytes = |bytes: u64| bytes as f64 / 1024.0;
    let whole = kibibytes(sizes.memory);
    let mut line = |what: &str, bytes: u64, reference: &str| {
        let name = format!("image: {title}: {what}");
        bench.report.compare(&name, (kibibytes(bytes), "KiB"), (reference, whole), None);
    };
    line("loaded from the file", sizes.loaded, "in memory");
    if in_parts {
        sizes.sections.iter().for_each(|(name, bytes)| line(name, *bytes, "in memory"));
        sizes.parts.iter().for_each(|(part, bytes)| line(part, *bytes, "in memory"));
    }
}

fn measure(path: &Path) -> Result<Sizes> {
    let bytes = std::fs::read(path)?;
    let file = ElfFile64::<Endianness>::parse(&*bytes)?;
    let segments = || file.segments();
    let loaded = segments().map(|segment| segment.file_range().1).sum();
    let memory: u64 = segments().map(|segment| segment.size()).sum();
    let is_loaded = |section: &object::read::elf::ElfSection64<'_, '_, Endianness>| {
        section.address() != 0 && section.kind() != SectionKind::UninitializedTls
    };
    let sections: Vec<_> =
        file.sections().filter(is_loaded).map(|s| (s.name().unwrap_or("?").to_owned(), s.size())).collect();
    let mut parts = parts(&file);
    let named: u64 = parts.values().sum();
    ensure!(
        named > 0 && named <= memory,
        "its symbols are gone, or larger than it is: {named} of {memory} bytes"
    );
    parts.insert(UNNAMED, memory - named);
    Ok(Sizes { loaded, memory, sections, parts })
}

/// Bytes of each part that have a name.
fn parts(file: &ElfFile64<'_, Endianness>) -> BTreeMap<&'static str, u64> {
    let is_content = |kind| matches!(kind, SymbolKind::Text | SymbolKind::Data);
    let symbols = file.symbols().filter(|symbol| is_content(symbol.kind()) && symbol.size() > 0);
    // What has several names is there once.
    let once: BTreeMap<u64, _> = symbols.map(|symbol| (symbol.address(), symbol)).collect();
    let mut parts = BTreeMap::new();
    for symbol in once.values() {
        let Ok(name) = symbol.name() else { continue };
        *parts.entry(part_of(name)).or_default() += symbol.size();
    }
    parts
}

/// The part that a symbol is of.
fn part_of(symbol: &str) -> &'static str {
    let name = format!("{:#}", rustc_demangle::demangle(symbol));
    // Names without a path are C's or assembly: the runtime's ABI.
    let Some(name) = crate_of(&name) else { return "runtime" };
    PARTS.iter().find(|(_, crates)| crates.contains(&name)).map_or(ELSEWHERE, |(part, _)| part)
}

/// The crate that a path begins with, whatever stands before that.
fn crate_of(name: &str) -> Option<&str> {
    const BEFORE: [&str; 5] = ["mut ", "dyn ", "const ", "for", "impl "];
    let mut rest = name;
    loop {
        let inner = rest.trim_start_matches(|c: char| !c.is_alphabetic() && c != '_');
        let inner = BEFORE.iter().find_map(|word| inner.strip_prefix(word)).unwrap_or(inner);
        if inner == rest {
            break;
        }
        rest = inner;
    }
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    rest[end..].starts_with("::").then_some(&rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_begins_with_its_crate() {
        for (name, expected) in [
            ("kernel::messenger::Messenger::call", Some("kernel")),
            ("<alloc::vec::Vec<kernel::Peer> as core::ops::Drop>::drop", Some("alloc")),
            ("<&mut dyn core::fmt::Write as core::fmt::Write>::write_str", Some("core")),
            ("<[postcard::Error]>::len", Some("postcard")),
            ("memcpy", None),
            ("sys_write", None),
        ] {
            assert_eq!(crate_of(name), expected, "{name}");
        }
        assert_eq!(part_of("_ZN6kernel9messenger4call17h0123456789abcdefE"), "kernel");
        assert_eq!(part_of("_ZN8postcard4call17h0123456789abcdefE"), ELSEWHERE);
        assert_eq!(part_of("sys_write"), "runtime");
    }
}
