//! The runtime alone in one VM: `std` on it, and what ends a VM.

use std::process::Command;
use tests::command::{Ended, Running};
use tests::{image, root};

/// Boots the self-test with this word, on one core.
fn selftest(word: &str) -> Ended {
    selftest_on(1, word)
}

/// The same on so many.
fn selftest_on(cores: usize, word: &str) -> Ended {
    let mut command = Command::new(root().join("scripts/try-image"));
    command.arg(image("examples/selftest")).arg(format!("{word} cores={cores}"));
    command.env("CYANEA_TIMEOUT", "100").env("CYANEA_CORES", cores.to_string());
    Running::start(command).end()
}

/// QEMU's exit status for a VM that ended with this code; see `ivshmem::exit`.
const fn status(code: i32) -> Option<i32> {
    Some(code << 1 | 1)
}

const SHUTDOWN: Option<i32> = status(0x10);
const PANIC: Option<i32> = status(0x11);
const FAULT: Option<i32> = status(0x12);
const OUT_OF_MEMORY: Option<i32> = status(0x13);

#[test]
fn std_stands_on_the_runtime() {
    let ended = selftest("");
    assert!(ended.out.lines().any(|line| line == "selftest: ok"), "{}", ended.out);
    assert_eq!(ended.code(), SHUTDOWN);
}

#[test]
fn threads_run_on_all_cores() {
    for (cores, word) in [(2, ""), (4, ""), (8, "only=sums")] {
        let ended = selftest_on(cores, word);
        assert!(ended.out.lines().any(|line| line == "selftest: ok"), "{cores} cores: {}", ended.out);
        assert_eq!(ended.code(), SHUTDOWN);
    }
}

#[test]
fn a_fault_on_another_core_ends_the_vm() {
    let ended = selftest_on(2, "overflow-core");
    assert!(ended.out.contains("fault: stack overflow: writing 0x7"), "{}", ended.out);
    assert_eq!(ended.code(), FAULT);
}

#[test]
fn a_page_is_protected_from_all_cores() {
    let ended = selftest_on(2, "protected-core");
    assert!(ended.out.contains("fault: protected memory: writing 0x6800"), "{}", ended.out);
    assert_eq!(ended.code(), FAULT);
}

#[test]
fn what_ends_a_vm_ends_it_with_a_line_that_says_so() {
    for (word, code, line) in [
        ("overflow", FAULT, "fault: stack overflow: writing 0x7"),
        ("overflow-thread", FAULT, "fault: stack overflow: writing 0x7"),
        ("null", FAULT, "fault: null pointer: writing 0x8, thread 1, activity 7\n"),
        ("text", FAULT, "fault: protected memory: writing 0x2"),
        ("constant", FAULT, "fault: protected memory: writing 0x"),
        ("protected", FAULT, "fault: protected memory: writing 0x6800"),
        ("execute", FAULT, "fault: protected memory: executing 0x"),
        ("divide", FAULT, "fault: divide error, thread 1, activity 0\n"),
        ("panic", PANIC, "as was asked for"),
        ("oom", OUT_OF_MEMORY, "memory allocation of 1048576 bytes failed"),
    ] {
        let ended = selftest(word);
        let said = ended.out.replace('\r', "");
        println!("{word}: {:?}: {}", ended.code(), said.trim_end().replace('\n', " | "));
        assert_eq!(ended.code(), code, "{word}: {said}");
        assert!(said.contains(line), "{word}: {said}");
        assert!(said.contains("\nbacktrace: 0x"), "{word}: {said}");
        assert!(!said.contains("selftest: "), "{word}: {said}");
    }
}
