//! VMs are killed (SIGKILL to their QEMU) while they work. Callers of a utility
//! see a pause and nothing else; a program that lost a node ends with a
//! sentence; the machine goes on.

use rustix::process::Signal;
use std::time::{Duration, Instant};
use tests::command::{Ended, Running, signal_process};
use tests::input::{Random, sources, tree};
use tests::machine::{Machine, TWO_CLUSTERS};
use tests::wait_until;

/// How often each kill is tried, each time at another moment.
const TRIES: u32 = 3;

/// A machine with sources in `/input`, and what `wordcount` must say of them.
fn machine_with_input(random: &mut Random) -> (Machine, String) {
    let machine = Machine::up(TWO_CLUSTERS);
    let folder = machine.host.folder().join("input");
    let totals = sources(&folder, 400, random);
    machine.call(&["cp", "host:input", "/input"]).well();
    (machine, totals)
}

/// Starts a command and kills a VM when `share` percent of the time that it
/// usually takes are over. `None` if the command was faster than that.
fn kill_during(
    machine: &Machine,
    vm: &str,
    start: impl Fn() -> Running,
    usual: Duration,
    share: u64,
) -> Option<Ended> {
    let qemu = machine.qemu(vm);
    let mut running = start();
    std::thread::sleep(usual * share as u32 / 100);
    if running.is_over() {
        return None;
    }
    signal_process(qemu, Signal::KILL);
    Some(running.end())
}

/// Kills `vm` while `wordcount` runs, at several moments, each time in a fresh
/// machine: the totals must be the host's.
fn totals_survive_the_death_of(vm: &str) {
    let mut random = Random::seeded();
    let mut survived = 0;
    for attempt in 1.. {
        assert!(attempt <= 5 * TRIES, "the kills always came too late");
        let (machine, totals) = machine_with_input(&mut random);
        let start = || machine.start_program(4, &["wordcount", "/input"]);
        let undisturbed = start().end();
        let usual = undisturbed.took;
        assert!(undisturbed.well().contains(&totals), "even undisturbed");
        let share = 5 + random.below(60);
        let Some(ended) = kill_during(&machine, vm, start, usual, share) else { continue };
        println!("{vm} killed at {share} % of {usual:?}: took {:?}", ended.took);
        let said = ended.well();
        assert!(said.lines().last().is_some_and(|line| line.starts_with(&totals)), "{said} is not {totals}");
        wait_until("its death is known", || machine.vm(vm).state == "dead");
        // What is left goes on.
        assert!(machine.run(2, &["wordcount", "/input"]).contains(&totals));
        survived += 1;
        if survived == TRIES {
            return;
        }
    }
}

#[test]
fn wordcount_does_not_notice_that_files_a0_is_killed() {
    totals_survive_the_death_of("files-a0");
}

#[test]
fn wordcount_does_not_notice_that_files_b0_is_killed() {
    totals_survive_the_death_of("files-b0");
}

#[test]
fn wordcount_does_not_notice_that_tasks_a0_is_killed() {
    totals_survive_the_death_of("tasks-a0");
}

#[test]
fn wordcount_does_not_notice_that_tasks_b0_is_killed() {
    totals_survive_the_death_of("tasks-b0");
}

#[test]
fn a_dead_node_ends_its_program_with_a_sentence_and_nothing_else() {
    let machine = Machine::up(TWO_CLUSTERS);
    let mut alive = 4;
    for program in ["sleeper", "spinner", "sleeper"] {
        let activities = alive.to_string();
        let mut running = machine.start(&["run", "--activities", &activities, program]);
        for index in 0..alive {
            running.wait_for(&format!("activity {index} "));
        }
        let node = format!("node-{}", ["b1", "a0", "b0"][4 - alive]);
        signal_process(machine.qemu(&node), Signal::KILL);
        let killed = Instant::now();
        let ended = running.end();
        let took = killed.elapsed();
        println!("{program} ended {took:?} after {node} was killed");
        // The one limit on time that is promised: a second or two.
        assert!(took < Duration::from_secs(10), "it took {took:?} to notice that {node} is dead");
        let sentence = ended.sentence();
        let died = format!("died with its node {node}");
        assert!(
            sentence.starts_with(&format!("{program}: activity ")) && sentence.ends_with(&died),
            "{sentence}"
        );
        alive -= 1;
        let said = machine.run(alive, &["hello"]);
        assert_eq!(said.lines().count(), alive, "the next program runs on the nodes that are left: {said}");
        machine.run(2 * alive, &["hello"]);
    }
}

#[test]
fn a_program_that_waits_for_a_dead_node_ends() {
    let machine = Machine::up(TWO_CLUSTERS);
    let mut random = Random::seeded();
    for node in ["node-a0", "node-b1"] {
        let qemu = machine.qemu(node);
        // Messages to and from every node are under way all the time.
        let running = machine.start_program(4, &["chatter"]);
        std::thread::sleep(Duration::from_millis(100 + random.below(400)));
        signal_process(qemu, Signal::KILL);
        let sentence = running.end().sentence();
        assert!(sentence.contains(&format!("died with its node {node}")), "{sentence}");
        assert!(machine.run(2, &["echo"]).starts_with("echo: "));
    }
}

#[test]
fn a_copy_is_complete_though_files_dies_meanwhile() {
    let mut random = Random::seeded();
    for vm in ["files-a0", "files-b0"] {
        let survived = (0..5).any(|_| a_copy_survives_the_death_of(vm, &mut random));
        assert!(survived, "the kills always came too late");
    }
}

/// Kills `vm` while files are copied to a fresh machine: the copy must be complete.
/// `false` if the copy was faster.
fn a_copy_survives_the_death_of(vm: &str, random: &mut Random) -> bool {
    let machine = Machine::up(TWO_CLUSTERS);
    let folder = machine.host.folder();
    sources(&folder.join("input"), 150, random);
    for big in 0..3 {
        std::fs::write(folder.join(format!("input/big-{big}")), random.bytes(3_000_000)).unwrap();
    }
    let undisturbed = machine.call(&["cp", "host:input", "/first"]);
    let usual = undisturbed.took;
    undisturbed.well();
    let start = || machine.start(&["cp", "host:input", "/second"]);
    let share = 10 + random.below(40);
    let Some(ended) = kill_during(&machine, vm, start, usual, share) else { return false };
    println!("{vm} killed at {share} % of {usual:?}: took {:?}", ended.took);
    ended.well();
    machine.call(&["cp", "/first", "host:first"]).well();
    machine.call(&["cp", "/second", "host:second"]).well();
    let expected = tree(&folder.join("input"));
    assert!(tree(&folder.join("first")) == expected, "the undisturbed copy differs");
    assert!(tree(&folder.join("second")) == expected, "the disturbed copy differs");
    true
}
