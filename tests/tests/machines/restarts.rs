//! With `restart = "always"`, a VM that died comes back as the next generation
//! and serves again.

use rustix::process::Signal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tests::command::signal_process;
use tests::input::Random;
use tests::machine::{Machine, TWO_CLUSTERS};
use tests::wait_until;

fn is_back(machine: &Machine, vm: &str, generation: u64) {
    wait_until(&format!("{vm} is ready as generation {generation}"), || {
        let vm = machine.vm(vm);
        (vm.state.as_str(), vm.generation) == ("ready", generation)
    });
}

#[test]
fn every_vm_comes_back_and_serves_again() {
    let machine = Machine::up(&format!("{TWO_CLUSTERS}[vm]\nrestart = \"always\"\n"));
    std::fs::write(machine.host.folder().join("file"), "survives").unwrap();
    machine.call(&["cp", "host:file", "/file"]).well();
    for generation in 2..4 {
        for vm in ["files-a0", "tasks-a0", "node-a0", "node-b1", "files-b0", "tasks-b0"] {
            let before = machine.vm(vm);
            signal_process(before.process.unwrap(), Signal::KILL);
            is_back(&machine, vm, generation);
            let said = machine.run(4, &["hello"]);
            assert_eq!(said.lines().count(), 4, "after {vm} came back: {said}");
            assert_eq!(machine.run(4, &["files"]), "files: fine\n".repeat(4), "after {vm} came back");
        }
    }
    machine.call(&["cp", "/file", "host:back"]).well();
    assert_eq!(std::fs::read(machine.host.folder().join("back")).unwrap(), b"survives");
    let log = machine.call(&["logs", "files-a0"]).well();
    assert!(log.contains("files-a0 starts again: generation 2"), "{log}");
}

#[test]
fn nothing_is_lost_or_done_twice_while_files_dies_again_and_again() {
    let machine = Machine::up(&format!("{TWO_CLUSTERS}[vm]\nrestart = \"always\"\n"));
    let mut random = Random::seeded();
    // Each change that it makes would fail if it had been made before.
    let mut running = machine.start_program(4, &["files-for-ever"]);
    (0..4).for_each(|index| running.wait_for(&format!("activity {index}: round 3")));
    for generation in 2..7 {
        for vm in ["files-a0", "files-b0"] {
            std::thread::sleep(Duration::from_millis(random.below(100)));
            signal_process(machine.qemu(vm), Signal::KILL);
            is_back(&machine, vm, generation);
        }
    }
    let rounds = running.out().lines().count();
    wait_until("the program goes on", || {
        assert!(!running.is_over(), "the program ended: {}", running.out());
        running.out().lines().count() > rounds + 20
    });
    println!("{} rounds", running.out().lines().count());
}

#[test]
fn no_program_is_lost_or_run_twice_while_tasks_dies_again_and_again() {
    let machine = Machine::up(&format!("{TWO_CLUSTERS}[vm]\nrestart = \"always\"\n"));
    let mut random = Random::seeded();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for count in [1, 2, 4] {
            let (machine, over) = (&machine, &over);
            scope.spawn(move || run_until(machine, count, over));
        }
        for generation in 2..7 {
            for vm in ["tasks-a0", "tasks-b0"] {
                std::thread::sleep(Duration::from_millis(random.below(100)));
                signal_process(machine.qemu(vm), Signal::KILL);
                is_back(&machine, vm, generation);
            }
        }
        over.store(true, Ordering::Relaxed);
    });
}

/// Runs programs one after the other; each must say what it says, once.
fn run_until(machine: &Machine, count: usize, over: &AtomicBool) {
    let mut runs = 0;
    while !over.load(Ordering::Relaxed) {
        let said = machine.run(count, &["hello"]);
        let mut lines: Vec<_> = said.lines().collect();
        lines.sort_unstable();
        let expected: Vec<_> =
            (0..count).map(|index| format!("hello from activity {index} of {count}, given []")).collect();
        assert_eq!(lines, expected);
        runs += 1;
    }
    println!("{runs} programs of {count} activities");
}
