//! What programs do wrong: it ends them, says where, and leaves the others alone.

use std::fs;
use tests::command::Ended;
use tests::host::Host;
use tests::image;
use tests::machine::{Machine, TWO_CLUSTERS};

/// One node, so that all programs are on it.
const ONE_NODE: &str = "[clusters.a]\nnodes = 1\n";

/// The first line of what `run` says of a failed program, and all below it.
fn told(ended: &Ended) -> (&str, Vec<&str>) {
    let at = ended.err.find("cyanea: ").unwrap_or_else(|| panic!("nothing is told: {}", ended.err));
    let mut lines = ended.err[at..].lines();
    (lines.next().unwrap_or_default(), lines.collect())
}

/// What each kind is called, and the function that the first line and the
/// backtrace name.
const KINDS: &[(&str, i32, &str, &str)] = &[
    ("null", 139, "null pointer: reading 0x10 at ", "test_node::faults::read"),
    ("wild", 139, "wild pointer: reading 0x123456789000 at ", "test_node::faults::read"),
    ("code", 139, "protected memory: writing 0x2", "test_node::faults::write"),
    ("execute", 139, "null pointer: executing 0x1000 at ", "test_node::faults::execute"),
    ("copy", 139, "null pointer: reading 0x18 at ", "test_node::faults::copy"),
    ("protection", 139, "general protection: ", "test_node::faults::read"),
    ("overflow", 139, "stack overflow: writing 0x7", "test_node::faults::deeper"),
    ("deep-call", 139, "stack overflow: ", "test_node::faults::deep_call"),
    ("divide", 136, "divide error at ", "test_node::faults::divide"),
    ("instruction", 132, "invalid instruction at ", "test_node::faults::undefined"),
    ("too-much", 134, "out of memory: asking for 35184372088832 bytes at ", "test_node::faults::commit"),
    ("abort", 134, "aborted at ", "test_node::faults::commit"),
    ("panic", 101, "panicked at tests/image/src/faults.rs:", "test_node::faults::commit"),
    ("twice", 101, "panicked at ", "test_node::faults::commit"),
    ("lock", 1, "deadlock: all threads wait for one another at ", "test_node::faults::lock_twice"),
    ("locks", 1, "deadlock: all threads wait for one another at ", "test_node::faults::embrace"),
    ("print", 139, "null pointer: reading 0x10 at ", "test_node::faults::read"),
];

#[test]
fn every_fault_ends_its_program_and_says_where() {
    let machine = Machine::up(ONE_NODE);
    for &(kind, code, what, culprit) in KINDS {
        for arguments in [&["run", "faulty", kind][..], &["run", "faulty", kind, "thread"][..]] {
            let ended = machine.call(arguments);
            let (first, below) = told(&ended);
            println!("{first}");
            assert_eq!(ended.code(), Some(code), "{kind}: {}", ended.err);
            assert!(first.starts_with("cyanea: faulty: activity 0 (thread "), "{kind}: {first}");
            assert!(first.contains(&format!(" on node-a0): {what}")), "{kind}: {first}");
            let line = below.iter().find(|line| line.contains(culprit));
            let line = line.unwrap_or_else(|| panic!("{kind}: no {culprit} in {}", ended.err));
            assert!(line.contains("(tests/image/src/faults.rs:"), "{kind}: {line}");
            assert!(ended.out.is_empty(), "{kind}: {}", ended.out);
        }
    }
    let log = machine.call(&["logs", "node-a0"]).well();
    for expected in [
        "fault: faulty: activity 0 of task force ",
        ": null pointer: reading 0x10\n",
        "thread \"worker\" ",
        "\nbacktrace: 0x2",
        "  test_node::faults::read (tests/image/src/faults.rs:",
    ] {
        assert!(log.contains(expected), "no {expected:?} in the log");
    }
    assert_eq!(machine.vm("node-a0").generation, 1, "the node has lived through all of them");
}

#[test]
fn a_program_computes_on_while_others_fault_beside_it() {
    let machine = Machine::up(ONE_NODE);
    let alone = machine.run(1, &["rounds", "50"]);
    let computing = machine.start_program(1, &["rounds", "50"]);
    let computing_too = machine.start_program(2, &["rounds", "50"]);
    for &(kind, code, ..) in KINDS.iter().filter(|(kind, ..)| !kind.starts_with("lock")) {
        assert_eq!(machine.call(&["run", "faulty", kind, "thread"]).code(), Some(code), "{kind}");
    }
    assert_eq!(computing.end().well(), alone);
    assert_eq!(computing_too.end().well(), alone.repeat(2));
    assert_eq!(machine.vm("node-a0").generation, 1);
    assert_eq!(machine.vm("node-a0").state, "ready");
}

#[test]
fn a_task_force_ends_with_the_one_that_faults() {
    let machine = Machine::up(TWO_CLUSTERS);
    for _ in 0..3 {
        let ended = machine.call(&["run", "--activities", "8", "faulty", "null"]);
        let (first, _) = told(&ended);
        assert!(first.starts_with("cyanea: faulty: activity 0 (thread 'main' "), "{}", ended.err);
        assert_eq!(ended.code(), Some(139));
        machine.wait_until_idle();
        assert_eq!(machine.run(8, &["hello"]).lines().count(), 8);
    }
    assert!(machine.vms().iter().all(|vm| vm.generation == 1 && vm.state == "ready"));
}

#[test]
fn who_uses_up_the_memory_ends_and_the_node_goes_on() {
    let machine = Machine::up(ONE_NODE);
    for _ in 0..3 {
        let ended = machine.call(&["run", "faulty", "memory"]);
        let (first, _) = told(&ended);
        assert!(first.contains(": out of memory: asking for "), "{}", ended.err);
        assert_eq!(ended.code(), Some(134));
        assert_eq!(machine.run(3, &["hello"]).lines().count(), 3);
    }
    assert_eq!(machine.vm("node-a0").generation, 1);
}

#[test]
fn who_waits_for_what_will_come_is_no_deadlock() {
    let machine = Machine::up(ONE_NODE);
    for _ in 0..3 {
        let said = machine.run(4, &["patient"]);
        assert_eq!(said.lines().count(), 4, "{said}");
    }
    // A deadlock is one beside a program that waits for a message, which goes on.
    let mut waiting = machine.start_program(2, &["receiver-forever"]);
    waiting.wait_for("activity 1 waits\n");
    for found in 1..=3 {
        let ended = machine.call(&["run", "faulty", "lock"]);
        assert!(told(&ended).0.contains("deadlock"), "{}", ended.err);
        let log = machine.call(&["logs", "node-a0"]).well();
        assert_eq!(log.matches("deadlock").count(), found, "{log}");
    }
    waiting.signal(rustix::process::Signal::INT);
    waiting.end();
}

#[test]
fn a_fault_of_the_system_ends_its_vm_and_says_where() {
    for (kind, death, fault, culprit) in [
        (
            "system",
            "died of a processor exception",
            "fault: null pointer: reading 0x10, thread ",
            "faults::read",
        ),
        ("call", "died of a processor exception", "fault: divide error, thread ", "faults::divide"),
    ] {
        let machine = Machine::up(TWO_CLUSTERS);
        let ended = machine.call(&["run", "faulty", kind]);
        let (first, below) = told(&ended);
        println!("{}", ended.err);
        assert_eq!(first, format!("cyanea: faulty: activity 0 died with its node node-a0, which {death}:"));
        assert!(below[0].trim_start().starts_with(fault), "{}", ended.err);
        assert!(below.iter().any(|line| line.contains(culprit)), "{}", ended.err);
        let log = machine.call(&["logs", "node-a0"]).well();
        assert!(log.contains(fault) && log.contains(culprit), "{log}");
        // The rest of the machine goes on.
        assert_eq!(machine.run(6, &["hello"]).lines().count(), 6);
    }
}

#[test]
fn an_image_that_panics_at_boot_shows_where() {
    let host = Host::new();
    let text = format!("name = \"broken\"\n{TWO_CLUSTERS}[images]\nnode = {:?}\n", image("boot-panic"));
    host.file("broken.toml", &text);
    let ended = host.call(&["up", "broken.toml"]);
    println!("{}", ended.err);
    assert!(ended.err.contains("\n  backtrace: 0x2"), "{}", ended.err);
    assert!(ended.err.contains("boot_panic::main (tests/image/src/bin/boot-panic.rs:"), "{}", ended.err);
}

#[test]
fn an_image_that_changed_since_is_not_asked_for_names() {
    let host = std::sync::Arc::new(Host::new());
    let copy = host.folder().join("node");
    fs::copy(image("test-node"), &copy).unwrap();
    let text = format!("name = \"changed\"\n{ONE_NODE}[images]\nnode = {copy:?}\n");
    let file = host.file("changed.toml", &text);
    host.call(&["up", "--detach", file.to_str().unwrap()]).well();
    // Another file in its place, as a build does it: the old one is still asked.
    fs::remove_file(&copy).unwrap();
    fs::write(&copy, "another one").unwrap();
    let ended = host.call(&["run", "faulty", "null"]);
    assert!(ended.err.contains("test_node::faults::read (tests/image/src/faults.rs:"), "{}", ended.err);
    host.call(&["down"]).well();
    // The file itself overwritten: it has other names now.
    fs::remove_file(&copy).unwrap();
    fs::copy(image("test-node"), &copy).unwrap();
    host.call(&["up", "--detach", file.to_str().unwrap()]).well();
    let changed = fs::OpenOptions::new().append(true).open(&copy).unwrap();
    std::io::Write::write_all(&mut &changed, b"more").unwrap();
    let ended = host.call(&["run", "faulty", "null"]);
    assert!(ended.err.contains("null pointer: reading 0x10 at 0x2"), "{}", ended.err);
    assert!(ended.err.contains("was changed after this VM had booted it"), "{}", ended.err);
    host.call(&["down"]).well();
}
