//! A VM that writes every byte it can reach, while the others work.

use std::time::{Duration, Instant};
use tests::input::{Random, sources};
use tests::machine::{Machine, TWO_CLUSTERS};
use tests::wait_until;

/// How long the others work beside it, at least.
const BESIDE: Duration = Duration::from_secs(10);

/// Names, states and generations of all VMs.
fn lives(machine: &Machine) -> Vec<(String, String, u64)> {
    machine.vms().into_iter().map(|vm| (vm.name, vm.state, vm.generation)).collect()
}

/// Programs on so many activities that give the right answers.
fn work(machine: &Machine, activities: usize, totals: &str) {
    assert!(machine.run(activities, &["wordcount", "/input"]).contains(totals));
    let said = machine.run(activities, &["echo"]);
    assert_eq!(said, format!("echo: 11 sizes to {} activities\n", activities - 1));
    assert_eq!(machine.run(activities, &["hello"]).lines().count(), activities);
}

#[test]
fn a_vm_that_writes_all_it_can_reach_spoils_its_own_conversations_only() {
    let machine = Machine::up(&format!("{TWO_CLUSTERS}[vm]\nrestart = \"always\"\n"));
    let mut random = Random::seeded();
    let totals = sources(&machine.host.folder().join("input"), 100, &mut random);
    machine.call(&["cp", "host:input", "/input"]).well();
    let words = machine.run(1, &["pool"]).replace("activity 0", "");
    std::fs::write(machine.host.folder().join("scribble"), "").expect("the folder is ours");
    for round in 0..2 {
        let seed = random.number().to_string();
        let before = lives(&machine);
        let mut scribbler = machine.start(&["run", "scribbler", &seed]);
        scribbler.wait_for(&format!(" writes with seed {seed}"));
        let said = scribbler.out();
        let vm = said.split(' ').nth(1).expect("its name");
        println!("round {round}: {said}");
        machine.call(&["cp", "host:scribble", &format!("/scribble-{seed}")]).well();
        let begun = Instant::now();
        while begun.elapsed() < BESIDE {
            // Three nodes are less loaded than that one.
            work(&machine, 3, &totals);
        }
        assert_eq!(lives(&machine), before, "nobody died of it, not even itself");
        // Another VM that starts again meanwhile is not kept out by it.
        let other =
            machine.vms().into_iter().find(|other| other.name != vm && other.name.starts_with("node"));
        starts_again(&machine, &other.expect("another node").name);
        work(&machine, 3, &totals);
        starts_again(&machine, "files-a0");
        work(&machine, 3, &totals);
        // Put to death, it comes back as a VM like any other.
        starts_again(&machine, vm);
        let sentence = scribbler.end().sentence();
        assert!(sentence.ends_with(&format!("died with its node {vm}")), "{sentence}");
        work(&machine, 4, &totals);
        let pools = machine.run(4, &["pool"]);
        assert_eq!(pools.matches(&words).count(), 4, "{pools} is not {words} four times");
    }
}

/// Kills a VM and waits until it is back.
fn starts_again(machine: &Machine, name: &str) {
    let generation = machine.vm(name).generation;
    machine.call(&["kill", name]).well();
    wait_until(&format!("{name} is back"), || {
        let vm = machine.vm(name);
        (vm.state.as_str(), vm.generation) == ("ready", generation + 1)
    });
}
