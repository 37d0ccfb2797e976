//! A VM that writes every byte it can reach, while the others work.

use rustix::process::Signal;
use std::time::{Duration, Instant};
use tests::command::signal_process;
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
        for other in ["launcher", "files-a0", "files-b0", "tasks-a0", "tasks-b0", "node-b1"] {
            let counted = errors(&machine, other, vm);
            assert!(counted.len() > 2, "{other} has met with nothing but {counted:?}");
        }
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

/// What a VM has counted of another's nonsense, by name.
fn errors(machine: &Machine, vm: &str, of: &str) -> Vec<String> {
    let told = machine.call(&["ps", "--channels", "--json"]).well();
    let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    let silent = told["silent"].as_array().expect("a list of names");
    assert!(!silent.iter().any(|name| name == vm), "{vm} does not answer: {told}");
    let ends = told["channels"].as_array().expect("a list of channels");
    let end = ends.iter().find(|end| end["vm"] == vm && end["peer"] == of).expect("an end of a channel");
    end["errors"].as_object().expect("errors by name").keys().cloned().collect()
}

#[test]
fn every_kind_of_nonsense_is_counted_under_its_name() {
    let machine = Machine::up("[clusters.a]\nnodes = 1\n[clusters.b]\nnodes = 0\n");
    for (vm, expected) in [
        (
            "files-b0",
            &[
                "body",
                "header",
                "limit",
                "notice",
                "order",
                "pipe",
                "position",
                "reference",
                "reply",
                "slot",
                "stale",
                "too_long",
                "too_short",
            ][..],
        ),
        ("tasks-b0", &["flood"]),
    ] {
        assert_eq!(errors(&machine, vm, "node-a0"), [""; 0]);
        let mut running = machine.start_program(1, &["nonsense", vm]);
        running.wait_for(&format!("told {vm}"));
        let mut counted = Vec::new();
        wait_until("all of it is counted", || {
            let now = errors(&machine, vm, "node-a0");
            if now != counted {
                println!("{vm} has counted {now:?}");
                counted = now;
            }
            counted == expected
        });
        let table = machine.call(&["ps", "--channels"]).well();
        let line = table.lines().find(|line| line.starts_with(vm) && line.contains(" node-a0 "));
        let line = line.unwrap_or_else(|| panic!("no line for {vm} and node-a0: {table}"));
        assert!(expected.iter().all(|name| line.contains(&format!("{name} "))), "{line}");
        assert!(table.lines().any(|line| line.starts_with("launcher ")), "{table}");
    }
    // Whoever kept to the rules has nothing against it.
    assert_eq!(errors(&machine, "files-a0", "node-a0"), [""; 0]);
}

#[test]
fn a_vm_that_hangs_is_named_and_not_waited_for() {
    let machine = Machine::up("[clusters.a]\nnodes = 2\n");
    signal_process(machine.qemu("node-a1"), Signal::STOP);
    let table = machine.call(&["ps", "--channels"]).well();
    assert!(table.lines().any(|line| line.starts_with("node-a1 does not answer; ")), "{table}");
    assert!(table.lines().any(|line| line.starts_with("launcher ") && line.contains(" node-a1 ")), "{table}");
    signal_process(machine.qemu("node-a1"), Signal::CONT);
    wait_until("it answers again", || {
        !machine.call(&["ps", "--channels"]).well().contains("does not answer")
    });
}
