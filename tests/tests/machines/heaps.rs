//! What an activity has allocated goes with it, however it ends.

use rustix::process::Signal;
use tests::machine::Machine;

/// Nodes of 64 MiB, which hold two of these activities and not three.
const NODES: [&str; 2] = ["[clusters.a]\nnodes = 1\n", "[clusters.a]\nnodes = 1\n[vm]\ncores = 3\n"];
/// MiB that one takes.
const TAKEN: &str = "22";

/// Ends of `hoard`, and the codes of those who run it.
const ENDS: [(&str, i32); 5] = [("return", 0), ("exit", 0), ("panic", 101), ("null", 139), ("more", 134)];

#[test]
fn an_activity_leaves_nothing_of_its_heap_behind() {
    for node in NODES {
        let machine = Machine::up(node);
        for _ in 0..2 {
            for (end, code) in ENDS {
                let ended = machine.call(&["run", "hoard", TAKEN, end]);
                assert_eq!((ended.code(), &*ended.out), (Some(code), "full"), "{end}: {}", ended.err);
            }
            let mut waiting = machine.start_program(1, &["hoard", TAKEN, "wait"]);
            waiting.wait_for("full");
            // Beside it there is room for one, and then for another.
            for _ in 0..2 {
                assert_eq!(machine.run(1, &["hoard", TAKEN, "exit"]), "full");
            }
            waiting.signal(Signal::INT);
            waiting.end();
            machine.wait_until_idle();
        }
        assert_eq!(machine.vm("node-a0").generation, 1);
    }
}

#[test]
fn messages_that_were_kept_go_as_well() {
    let machine = Machine::up(NODES[0]);
    for _ in 0..4 {
        assert_eq!(machine.run(2, &["hoard-mail", TAKEN]), "full");
    }
    assert_eq!(machine.vm("node-a0").generation, 1);
}

#[test]
fn what_is_received_without_memory_for_it_ends_the_activity_alone() {
    for node in NODES {
        let machine = Machine::up(node);
        for _ in 0..4 {
            let ended = machine.call(&["run", "--activities", "2", "hoard-and-receive"]);
            assert_eq!((ended.code(), &*ended.out), (Some(134), "all is taken\n"), "{}", ended.err);
            assert!(ended.err.contains("activity 1 (thread 'main'"), "{}", ended.err);
            assert!(ended.err.contains("): out of memory: asking for 57344 bytes"), "{}", ended.err);
        }
        assert_eq!(machine.run(1, &["hoard", TAKEN, "exit"]), "full");
        assert_eq!(machine.vm("node-a0").generation, 1);
    }
}

#[test]
fn activities_that_begin_on_a_full_node_end_alone() {
    let machine = Machine::up(NODES[0]);
    let mut waiting = machine.start_program(1, &["hoard-all"]);
    waiting.wait_for("all is taken");
    for _ in 0..20 {
        let ended = machine.call(&["run", "hoard", "1", "exit"]);
        assert_eq!(ended.code(), Some(134), "{}", ended.err);
        assert!(ended.err.contains("out of memory"), "{}", ended.err);
    }
    waiting.signal(Signal::INT);
    waiting.end();
    // Its caller goes at once, and the machine ends it then.
    machine.wait_until_idle();
    assert_eq!(machine.run(1, &["hoard", TAKEN, "exit"]), "full");
    assert_eq!(machine.vm("node-a0").generation, 1);
}
