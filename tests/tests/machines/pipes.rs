//! Pipes between activities, within a task force and between two, while nodes
//! are killed.

use rustix::process::Signal;
use tests::command::{Running, signal_process};
use tests::machine::{Machine, TWO_CLUSTERS};

const ENDED: &str = "then: the last sending end of the pipe was closed";

/// A program with a pipe of its own: its command, the pipe's name, and its node.
fn started(machine: &Machine, words: &[&str]) -> (Running, String, String) {
    let mut running = machine.start_program(1, words);
    running.wait_for("name ");
    tests::wait_until("the name is said", || running.out().contains('\n'));
    let line = running.out().lines().next().unwrap_or_default().to_string();
    let name = line.strip_prefix("name ").expect("it says a name").to_string();
    // The first two bytes are the peer.
    let byte = |at: usize| u64::from_str_radix(&name[at..at + 2], 16).expect("hexadecimal digits");
    let peer = byte(0) | byte(2) << 8;
    let node = machine.vms().into_iter().find(|vm| vm.peer == peer).expect("its home is a VM").name;
    (running, name, node)
}

/// Three activities that send for ever to the pipe of `sink`, and have begun to.
fn flood(machine: &Machine, sink: &mut Running, name: &str) -> Running {
    let sources = machine.start_program(3, &["source", name]);
    for activity in 0..3 {
        sink.wait_for(&format!("100 of activity {activity}"));
    }
    sources
}

#[test]
fn several_pipes_are_waited_for_at_once() {
    let machine = Machine::up(TWO_CLUSTERS);
    for activities in [2, 4, 9] {
        let said = machine.run(activities, &["pipes", "300"]);
        assert_eq!(said, format!("pipes: 300 messages of each of {} activities\n", activities - 1));
    }
}

#[test]
fn the_documents_example_works() {
    let machine = Machine::up(TWO_CLUSTERS);
    assert_eq!(machine.run(7, &["pipe-sum"]), "the sum is 21\n");
}

#[test]
fn ends_learn_of_each_other() {
    let machine = Machine::up(TWO_CLUSTERS);
    for activities in [2, 4, 9] {
        let said = machine.run(activities, &["pipe-errors"]);
        assert_eq!(said, format!("pipes: errors as they should be, {activities} activities\n"));
    }
}

#[test]
fn task_forces_talk_through_a_public_pipe_and_no_other() {
    let machine = Machine::up(TWO_CLUSTERS);
    let (sink, name, _) = started(&machine, &["sink", "3"]);
    machine.run(3, &["source", &name, "100"]);
    let said = sink.end().well();
    assert_eq!(said.matches("100 of activity").count(), 3, "{said}");
    assert!(said.ends_with(&format!("{ENDED}\n")), "{said}");
    let late = machine.start_program(1, &["source", &name]).end();
    assert!(late.out.contains("there is no such pipe"), "{late:?}");
    let (_private, name, _) = started(&machine, &["private"]);
    let refused = machine.start_program(1, &["source", &name]).end();
    assert!(refused.out.contains("did not make it public"), "{refused:?}");
}

#[test]
fn a_reader_learns_that_a_senders_node_died_after_its_last_message() {
    let machine = Machine::up(TWO_CLUSTERS);
    let (mut sink, name, home) = started(&machine, &["sink", "3"]);
    let sources = flood(&machine, &mut sink, &name);
    let node = ["node-a0", "node-b1"].into_iter().find(|&node| node != home).expect("one of two");
    signal_process(machine.qemu(node), Signal::KILL);
    let sentence = sources.end().sentence();
    assert!(sentence.ends_with(&format!("died with its node {node}")), "{sentence}");
    let said = sink.end().well();
    let died = said.lines().filter(|line| line.starts_with("activity ") && line.ends_with(" died"));
    assert_eq!(died.count(), 1, "{said}");
    assert!(said.ends_with(&format!("{ENDED}\n")), "{said}");
}

#[test]
fn senders_learn_that_the_readers_node_died() {
    let machine = Machine::up(TWO_CLUSTERS);
    let (mut sink, name, home) = started(&machine, &["sink", "3"]);
    let sources = flood(&machine, &mut sink, &name);
    signal_process(machine.qemu(&home), Signal::KILL);
    let said = sources.end().well();
    for activity in 0..3 {
        assert!(said.contains(&format!("activity {activity}: the node of the pipe died\n")), "{said}");
    }
    let sentence = sink.end().sentence();
    assert!(sentence.ends_with(&format!("died with its node {home}")), "{sentence}");
    assert_eq!(machine.run(3, &["hello"]).lines().count(), 3);
}
