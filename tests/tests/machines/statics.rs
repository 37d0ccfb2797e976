//! Every activity has the statics of its program, and what `std` keeps for a
//! process, to itself.

use rustix::process::Signal;
use tests::machine::Machine;

/// Nodes of one and of several cores, on which activities meet.
const NODES: [&str; 2] = ["[clusters.a]\nnodes = 1\n", "[clusters.a]\nnodes = 1\n[vm]\ncores = 3\n"];

/// What activities of `statics` say, in the order of their indices.
fn had_turns(said: &str, activities: usize) {
    let mut said: Vec<_> = said.lines().map(str::to_string).collect();
    said.sort_by_key(|line| line.len());
    said.sort();
    let mut expected: Vec<_> = (0..activities).map(|i| format!("activity {i} has had 200 turns")).collect();
    expected.sort();
    assert_eq!(said, expected);
}

#[test]
fn every_activity_finds_them_fresh() {
    for node in NODES {
        let machine = Machine::up(node);
        for activities in [1, 1, 2, 5, 12] {
            had_turns(&machine.run(activities, &["statics"]), activities);
        }
    }
}

#[test]
fn what_an_ended_activity_held_holds_up_nobody() {
    for node in NODES {
        let machine = Machine::up(node);
        for _ in 0..3 {
            let mut holding = machine.start_program(3, &["statics", "hold"]);
            for index in 0..3 {
                holding.wait_for(&format!("activity {index} has had 200 turns\n"));
            }
            // Beside those that hold theirs, and after them.
            had_turns(&machine.run(3, &["statics"]), 3);
            holding.signal(Signal::INT);
            holding.end();
            had_turns(&machine.run(2, &["statics"]), 2);
        }
    }
}

#[test]
fn a_panic_hook_is_the_activitys_own() {
    let machine = Machine::up(NODES[0]);
    for _ in 0..2 {
        let ended = machine.call(&["run", "own-hook"]);
        assert_eq!(ended.code(), Some(101), "{}", ended.err);
        assert_eq!(ended.out, "the hook of activity 0: Some(\"as it is meant to\")\n");
        // The node's own hook is there as before.
        let ended = machine.call(&["run", "panicker"]);
        assert!(ended.err.contains("): panicked at tests/image/src/life.rs:"), "{}", ended.err);
        assert!(ended.out.is_empty() || !ended.out.contains("the hook"), "{}", ended.out);
    }
}
