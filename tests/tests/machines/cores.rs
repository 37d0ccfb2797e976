//! VMs with several cores: their programs use them, and nothing else changes.

use rustix::process::Signal;
use tests::command::signal_process;
use tests::input::{Random, sources};
use tests::machine::Machine;
use tests::wait_until;

/// Two clusters of one node, and every VM with two cores: 6 VMs.
const TWO_CORES: &str = "[clusters.a]\n[clusters.b]\n[vm]\ncores = 2\n";

#[test]
fn programs_use_all_cores_of_their_nodes() {
    let machine = Machine::up(TWO_CORES);
    for _ in 0..3 {
        let said = machine.run(2, &["cores"]);
        for index in 0..2 {
            assert!(
                said.lines().any(|line| line == format!("activity {index}: 2 cores, sum 2000")),
                "{said}"
            );
            // Lines of different threads are whole.
            for thread in 0..4 {
                for round in 0..10 {
                    let line = format!("activity {index}, thread {thread}, round {round}");
                    assert_eq!(said.lines().filter(|said| *said == line).count(), 1, "{line}: {said}");
                }
            }
        }
    }
}

#[test]
fn activities_end_on_all_cores() {
    let machine = Machine::up(TWO_CORES);
    for program in ["sleeper", "spinner", "receiver-forever", "computer"] {
        let mut running = machine.start_program(4, &[program]);
        for index in 0..4 {
            running.wait_for(&format!("activity {index} "));
        }
        running.signal(Signal::INT);
        running.end();
    }
    let ended = machine.call(&["run", "--activities", "4", "panicker"]);
    assert_eq!(ended.code(), Some(101));
    assert!(ended.err.contains("cyanea: panicker: activity 0 (thread 'main' "), "{}", ended.err);
    assert!(ended.err.contains("): panicked at tests/image/src/life.rs:"), "{}", ended.err);
    // What the dead had locked holds up nobody.
    assert_eq!(machine.run(16, &["hello"]).lines().count(), 16);
    assert_eq!(
        machine.run(2, &["cores"]).lines().filter(|line| line.ends_with("2 cores, sum 2000")).count(),
        2
    );
}

#[test]
fn utilities_with_two_cores_serve_and_may_die() {
    let mut random = Random::seeded();
    let machine = Machine::up(TWO_CORES);
    let folder = machine.host.folder().join("input");
    let totals = sources(&folder, 200, &mut random);
    machine.call(&["cp", "host:input", "/input"]).well();
    let arguments = ["wordcount", "/input"];
    assert!(machine.run(2, &arguments).contains(&totals));
    for victim in ["files-a0", "tasks-b0"] {
        let running = machine.start_program(2, &arguments);
        signal_process(machine.qemu(victim), Signal::KILL);
        assert!(running.end().well().contains(&totals), "{victim} was killed");
        wait_until("its death is known", || machine.vm(victim).state == "dead");
        assert!(machine.run(2, &arguments).contains(&totals), "after {victim} was killed");
    }
}
