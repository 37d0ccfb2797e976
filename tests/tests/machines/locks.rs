//! Locks of files hold across nodes, and end with whoever holds them.

use rustix::process::Signal;
use tests::command::signal_process;
use tests::input::Random;
use tests::machine::{Machine, TWO_CLUSTERS};

/// What the counter of `count-under-lock` is at.
fn counter(machine: &Machine) -> String {
    machine.call(&["cp", "/counter", "host:counter"]).well();
    std::fs::read_to_string(machine.host.folder().join("counter")).unwrap()
}

#[test]
fn one_node_at_a_time_has_a_lock_whatever_dies_of_files() {
    let machine = Machine::up(TWO_CLUSTERS);
    assert_eq!(machine.run(4, &["count-under-lock", "25"]).lines().count(), 4);
    assert_eq!(counter(&machine), "100");
    let qemu = machine.qemu("files-a0");
    let running = machine.start_program(4, &["count-under-lock", "50"]);
    std::thread::sleep(std::time::Duration::from_millis(Random::seeded().below(300)));
    signal_process(qemu, Signal::KILL);
    assert_eq!(running.end().well().lines().count(), 4);
    assert_eq!(counter(&machine), "300");
}

#[test]
fn a_lock_ends_with_its_activity_and_with_its_node() {
    let machine = Machine::up(TWO_CLUSTERS);
    for end_it in ["interrupt", "kill"] {
        let mut holder = machine.start_program(1, &["hold-lock"]);
        holder.wait_for("locked");
        // Two more than there are nodes: one waits where the lock is held.
        let mut waiting = machine.start_program(5, &["want-lock"]);
        waiting.wait_for("at once: false\nat once: false\nat once: false\nat once: false\nat once: false\n");
        assert!(!waiting.out().contains("in the end"), "{}", waiting.out());
        match end_it {
            "interrupt" => {
                holder.signal(Signal::INT);
                assert_eq!(waiting.end().well().matches("in the end: true").count(), 5);
            }
            // With its node, one of those that wait dies, and so its task force: whoever asks next has it.
            _ => {
                machine.kill("node-a0");
                let _ = waiting.end();
                assert!(machine.run(1, &["want-lock"]).ends_with("in the end: true\n"));
            }
        }
        holder.end();
    }
}
