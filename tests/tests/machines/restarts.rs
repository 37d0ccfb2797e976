//! With `restart = "always"`, a VM that died comes back as the next generation
//! and serves again.

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
            tests::command::signal_process(before.process.unwrap(), rustix::process::Signal::KILL);
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
fn both_activities_of_a_utility_may_die_one_after_the_other() {
    let machine = Machine::up(&format!("{TWO_CLUSTERS}[vm]\nrestart = \"always\"\n"));
    let mut running = machine.start_program(4, &["files-for-ever"]);
    running.wait_for("round 3");
    let mut generation = 1;
    for _ in 0..3 {
        generation += 1;
        for vm in ["files-a0", "files-b0"] {
            let process = machine.qemu(vm);
            tests::command::signal_process(process, rustix::process::Signal::KILL);
            is_back(&machine, vm, generation);
        }
    }
    let rounds = running.out().matches("round").count();
    wait_until("the program goes on", || {
        assert!(!running.is_over(), "the program ended: {}", running.out());
        running.out().matches("round").count() > rounds + 8
    });
}
