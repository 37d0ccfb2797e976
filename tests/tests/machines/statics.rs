//! Every activity has the statics of its program, and what `std` keeps for a
//! process, to itself.

use rustix::process::Signal;
use tests::machine::Machine;

/// Nodes of one and of several cores, on which activities meet.
const NODES: [&str; 2] = ["[clusters.a]\nnodes = 1\n", "[clusters.a]\nnodes = 1\n[vm]\ncores = 3\n"];

/// What activities of `statics` say.
fn had_turns(said: &str, activities: usize) {
    let mut said: Vec<_> = said.lines().map(str::to_string).collect();
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
        assert!(!ended.out.contains("the hook"), "{}", ended.out);
    }
}

#[test]
fn statics_for_which_there_is_no_memory_end_their_activity_and_not_the_node() {
    for node in NODES {
        let machine = Machine::up(node);
        for _ in 0..3 {
            let ended = machine.call(&["run", "--activities", "40", "statics", "hold"]);
            assert_eq!(ended.code(), Some(134), "{}", ended.err);
            assert!(ended.err.contains(": out of memory: asking for "), "{}", ended.err);
            had_turns(&machine.run(2, &["statics"]), 2);
        }
        assert_eq!(machine.vm("node-a0").generation, 1);
    }
}

#[test]
fn ends_in_the_midst_of_things_leave_the_node_as_it_was() {
    let machine = Machine::up(NODES[1]);
    for _ in 0..40 {
        assert_eq!(machine.call(&["run", "all-exit"]).code(), Some(3));
    }
    for _ in 0..3 {
        let ended = machine.call(&["run", "lost-frame"]);
        assert_eq!(ended.code(), Some(132), "{}", ended.err);
        assert_eq!(machine.run(1, &["explosive"]), "armed\n");
        let said = machine.run(2, &["shared-futex"]);
        assert_eq!(said.matches(" goes on\n").count(), 2, "{said}");
    }
    had_turns(&machine.run(3, &["statics"]), 3);
    assert_eq!(machine.vm("node-a0").generation, 1);
}
