//! Programs of every kind of end, and what they share.

use rustix::process::Signal;
use tests::command::signal_process;
use tests::machine::{Machine, TWO_CLUSTERS};

/// What a program wrote, line by line, in order of the lines.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// The machine still runs programs on all its nodes.
fn goes_on(machine: &Machine) {
    let said = machine.run(4, &["hello", "an argument", "--machine"]);
    let expected: Vec<_> = (0..4)
        .map(|index| format!("hello from activity {index} of 4, given [\"an argument\", \"--machine\"]"))
        .collect();
    assert_eq!(sorted(&said), expected);
}

#[test]
fn programs_end_in_every_way_and_the_machine_goes_on() {
    let machine = Machine::up(TWO_CLUSTERS);
    goes_on(&machine);
    for code in ["0", "7", "255"] {
        let ended = machine.call(&["run", "exit", code]);
        assert_eq!(ended.code().map(|code| code.to_string()).as_deref(), Some(code), "{}", ended.err);
        assert_eq!(ended.out, "about to exit\n");
        goes_on(&machine);
    }
    // One of four panics; the three that sleep are ended.
    let ended = machine.call(&["run", "--activities", "4", "panicker"]);
    assert_eq!(ended.code(), Some(101));
    let told = "on node-a0): panicked at tests/image/src/life.rs:";
    assert!(ended.err.contains("cyanea: panicker: activity 0 (thread 'main' "), "{}", ended.err);
    assert!(ended.err.contains(told), "{}", ended.err);
    goes_on(&machine);
    let refused = machine.call(&["run", "no-such-program"]).sentence();
    assert!(
        refused.starts_with("no program \"no-such-program\" on the nodes; there are: hello, "),
        "{refused}"
    );
    goes_on(&machine);
    assert_eq!(machine.run(3, &["receiver"]), "received: Err(Ended)\n");
    // More activities than nodes.
    assert_eq!(machine.run(64, &["hello"]).lines().count(), 64);
    let refused = machine.call(&["run", "--activities", "65", "hello"]).sentence();
    assert!(refused.contains("1 to 64 activities, not 65"), "{refused}");
    goes_on(&machine);
}

#[test]
fn ctrl_c_ends_a_program_and_frees_its_nodes() {
    let machine = Machine::up(TWO_CLUSTERS);
    for program in ["sleeper", "spinner", "receiver-forever", "talker", "computer"] {
        let mut running = machine.start_program(4, &[program]);
        for index in 0..4 {
            running.wait_for(&format!("activity {index} "));
        }
        running.signal(Signal::INT);
        let ended = running.end();
        assert_eq!(ended.signal(), Some(Signal::INT.as_raw()), "Ctrl-C ends the command: {ended:?}");
        // Nothing of it runs on.
        machine.wait_until_idle();
        goes_on(&machine);
    }
    // Nothing of them runs on: the tables of `tasks` hold 64 that run.
    for _ in 0..70 {
        machine.run(1, &["hello"]);
    }
}

#[test]
fn lines_of_activities_stay_whole() {
    let machine = Machine::up(TWO_CLUSTERS);
    // After `exit`, a node's standard output is not gathered by lines.
    machine.run(8, &["exit", "0"]);
    for _ in 0..5 {
        goes_on(&machine);
    }
}

#[test]
fn messages_arrive_whole_in_every_size() {
    let machine = Machine::up(TWO_CLUSTERS);
    for activities in [2, 4, 7] {
        let said = machine.run(activities, &["echo"]);
        assert_eq!(said, format!("echo: 11 sizes to {} activities\n", activities - 1));
    }
}

#[test]
fn the_file_system_is_as_std_promises_to_all_at_once() {
    let machine = Machine::up(TWO_CLUSTERS);
    for _ in 0..3 {
        assert_eq!(machine.run(6, &["files"]), "files: fine\n".repeat(6));
    }
    assert_eq!(machine.call(&["ls", "--json", "/"]).well(), "[]\n", "the programs removed what they made");
}

#[test]
fn eight_vms_add_to_one_counter_and_no_addition_is_lost() {
    let machine = Machine::up("[clusters.a]\nnodes = 8\n[pool]\nsize = \"1 MiB\"\n");
    const ADDITIONS: u64 = 300_000;
    let said = machine.run(8, &["adder", &ADDITIONS.to_string()]);
    println!("{said}");
    assert_eq!(said, format!("found {0} of {0}\n", 8 * ADDITIONS));
}

#[test]
fn a_full_file_system_is_an_error_to_the_program_and_spoils_nothing() {
    let machine = Machine::up(&format!("{TWO_CLUSTERS}[files]\ncapacity = \"4 MiB\"\n"));
    for _ in 0..2 {
        let said = machine.run(1, &["filler"]);
        println!("{said}");
        assert!(said.contains("full: ") && said.contains("and the space came back"), "{said}");
    }
    // So it is to a copy; what was there before stays.
    std::fs::write(machine.host.folder().join("big"), vec![3; 8 << 20]).unwrap();
    let sentence = machine.call(&["cp", "host:big", "/big"]).sentence();
    println!("{sentence}");
    assert!(sentence.starts_with("/big: no space left"), "{sentence}");
    machine.call(&["cp", "/before", "host:before"]).well();
    assert_eq!(std::fs::read(machine.host.folder().join("before")).unwrap(), b"written before");
    goes_on(&machine);
}

#[test]
fn programs_run_beside_one_another() {
    let machine = Machine::up(TWO_CLUSTERS);
    let _background = machine.start_program(4, &["talker"]);
    let running: Vec<_> = (0..6).map(|_| machine.start_program(3, &["files-and-echo"])).collect();
    for program in running {
        let said = program.end().well();
        assert_eq!(
            sorted(&said),
            ["echo: 11 sizes to 2 activities", "files: fine", "files: fine", "files: fine"]
        );
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_program() {
    let machine = Machine::up(TWO_CLUSTERS);
    let mut talker =
        machine.host.command(&["run", "--machine", machine.name(), "--activities", "4", "talker"]);
    talker.stdout(std::process::Stdio::piped());
    let mut child = talker.spawn().unwrap();
    let mut line = [0; 10];
    std::io::Read::read_exact(&mut child.stdout.take().unwrap(), &mut line).unwrap();
    // Its standard output is closed now, as by `head`.
    tests::wait_until("the command ends", || child.try_wait().unwrap().is_some());
    goes_on(&machine);
}

#[test]
fn who_ends_with_a_console_lock_held_leaves_it_to_the_next() {
    let machine = Machine::up(TWO_CLUSTERS);
    for (way, code) in [("panic", 101), ("exit", 0), ("wait", 3), ("compute", 4), ("panic", 101)] {
        let ended = machine.call(&["run", "--activities", "4", "locker", way]);
        assert_eq!(ended.code(), Some(code), "{way}: {}", ended.err);
        goes_on(&machine);
        let refused = machine.call(&["run", "--activities", "4", "panicker"]);
        assert!(refused.err.contains("activity 0 panics on purpose"), "{way}: {}", refused.err);
    }
}

#[test]
fn whose_main_has_returned_does_no_more_though_nobody_takes_note() {
    let machine = Machine::up("[clusters.a]\nnodes = 1\n[clusters.b]\nnodes = 0\n");
    let tasks = ["tasks-a0", "tasks-b0"].map(|vm| machine.qemu(vm));
    let mut watcher = machine.start_program(1, &["watcher"]);
    watcher.wait_for("watching\n");
    let mut leaver = machine.start_program(1, &["leaver"]);
    leaver.wait_for("here\n");
    tasks.iter().for_each(|&qemu| signal_process(qemu, Signal::STOP));
    leaver.wait_for("over\n");
    watcher.wait_for("it is quiet\n");
    tasks.iter().for_each(|&qemu| signal_process(qemu, Signal::CONT));
    leaver.end().well();
    watcher.signal(Signal::INT);
    watcher.end();
}
