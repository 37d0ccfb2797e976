//! Two clusters that share no memory, joined by an Ethernet that loses,
//! duplicates and reorders frames: programs notice nothing but the time.

use rustix::process::Signal;
use std::time::Duration;
use tests::command::signal_process;
use tests::input::{Random, sources};
use tests::machine::{Machine, TWO_CLUSTERS};
use tests::wait_until;

/// A machine whose clusters are joined by such a link.
fn two_hosts(random: &mut Random) -> Machine {
    let link = format!(
        "[[links]]\nbetween = [\"a\", \"b\"]\nkind = \"virtio-net\"\ndelay = \"50 us\"\nloss = 0.01\n\
         duplicate = 0.01\nreorder = 0.05\nseed = {}\n",
        random.below(1 << 32)
    );
    Machine::up(&format!("{TWO_CLUSTERS}{link}"))
}

/// Puts sources in `/input`, and returns what `wordcount` must say of them.
fn fill(machine: &Machine, random: &mut Random) -> String {
    let totals = sources(&machine.host.folder().join("input"), 120, random);
    machine.call(&["cp", "host:input", "/input"]).well();
    totals
}

#[test]
fn programs_notice_nothing_of_the_ethernet_between_their_nodes() {
    let mut random = Random::seeded();
    let machine = two_hosts(&mut random);
    let totals = fill(&machine, &mut random);
    for activities in [1, 4, 8] {
        let said = machine.run(activities, &["wordcount", "/input"]);
        assert!(said.lines().last().is_some_and(|line| line.starts_with(&totals)), "{said} is not {totals}");
    }
    for activities in [2, 4, 7] {
        let said = machine.run(activities, &["echo"]);
        assert_eq!(said, format!("echo: 11 sizes to {} activities\n", activities - 1));
    }
    assert_eq!(machine.run(6, &["files"]), "files: fine\n".repeat(6));
    machine.wait_until_idle();
}

#[test]
fn a_partition_is_a_pause() {
    let mut random = Random::seeded();
    let machine = two_hosts(&mut random);
    let totals = fill(&machine, &mut random);
    for _ in 0..3 {
        let running = machine.start_program(4, &["wordcount", "/input"]);
        std::thread::sleep(Duration::from_millis(random.below(40)));
        machine.call(&["partition", "a", "b"]).well();
        std::thread::sleep(Duration::from_millis(300 + random.below(1000)));
        machine.call(&["heal", "b", "a"]).well();
        let said = running.end().well();
        assert!(said.lines().last().is_some_and(|line| line.starts_with(&totals)), "{said} is not {totals}");
    }
    // Nothing that spans both ends while they are cut off from each other.
    machine.call(&["partition", "a", "b"]).well();
    let mut running = machine.start_program(4, &["echo"]);
    std::thread::sleep(Duration::from_secs(1));
    assert!(!running.is_over(), "messages passed between clusters that were cut off");
    machine.call(&["heal", "a", "b"]).well();
    assert_eq!(running.end().well(), "echo: 11 sizes to 3 activities\n");
}

#[test]
fn a_vm_that_dies_behind_the_ethernet_is_as_dead_as_any() {
    let mut random = Random::seeded();
    for vm in ["files-b0", "tasks-b0", "files-a0"] {
        let machine = two_hosts(&mut random);
        let totals = fill(&machine, &mut random);
        let qemu = machine.qemu(vm);
        let running = machine.start_program(4, &["wordcount", "/input"]);
        std::thread::sleep(Duration::from_millis(random.below(60)));
        signal_process(qemu, Signal::KILL);
        let said = running.end().well();
        assert!(said.lines().last().is_some_and(|line| line.starts_with(&totals)), "{said} is not {totals}");
        wait_until("its death is known", || machine.vm(vm).state == "dead");
    }
    let machine = two_hosts(&mut random);
    let running = machine.start_program(4, &["chatter"]);
    std::thread::sleep(Duration::from_millis(100 + random.below(300)));
    signal_process(machine.qemu("node-b1"), Signal::KILL);
    let sentence = running.end().sentence();
    assert!(sentence.contains("died with its node node-b1"), "{sentence}");
    assert!(machine.run(3, &["echo"]).starts_with("echo: "));
}

#[test]
fn a_vm_that_starts_again_is_reached_through_the_ethernet() {
    let mut random = Random::seeded();
    let link = "[vm]\nrestart = \"always\"\n[[links]]\nbetween = [\"a\", \"b\"]\nkind = \"virtio-net\"\nloss = 0.05\n";
    let machine = Machine::up(&format!("{TWO_CLUSTERS}{link}"));
    let totals = fill(&machine, &mut random);
    for vm in ["node-b0", "files-b0", "node-a1"] {
        let generation = machine.vm(vm).generation;
        signal_process(machine.qemu(vm), Signal::KILL);
        wait_until("it is back", || {
            let now = machine.vm(vm);
            now.state == "ready" && now.generation > generation
        });
        let said = machine.run(4, &["wordcount", "/input"]);
        assert!(said.lines().last().is_some_and(|line| line.starts_with(&totals)), "{said} is not {totals}");
        assert_eq!(machine.run(4, &["echo"]), "echo: 11 sizes to 3 activities\n");
    }
}

#[test]
fn what_cannot_be_cut_is_a_sentence() {
    let machine = Machine::up(TWO_CLUSTERS);
    let refused = machine.call(&["partition", "a", "b"]).sentence();
    assert!(refused.starts_with("clusters a and b share memory, which cannot be cut; declare"), "{refused}");
    let refused = machine.call(&["heal", "a", "x"]).sentence();
    assert_eq!(refused, "this machine has no cluster \"x\"; it has a, b");
}
