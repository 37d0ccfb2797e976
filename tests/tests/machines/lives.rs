//! How machines begin and end, and what they leave: nothing.

use rustix::process::Signal;
use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use tests::host::Host;
use tests::machine::{Machine, TWO_CLUSTERS};
use tests::{is_qemu, wait_until};

/// Names in the shared-memory file system.
fn shared_memory() -> BTreeSet<String> {
    let names = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// What the machine keeps on the host says that it runs.
fn says_that_it_runs(host: &Host, name: &str) -> bool {
    host.state(name).join("machine.json").exists() || host.state(name).join("control.sock").exists()
}

#[test]
fn a_killed_launcher_leaves_no_qemu_no_file_and_a_free_name() {
    let before = shared_memory();
    let host = Arc::new(Host::new());
    for _ in 0..3 {
        // The same name again, at once.
        let machine = Machine::up_as(&host, "again", TWO_CLUSTERS);
        machine.run(4, &["hello"]);
        assert_eq!(machine.qemus().len(), 8);
        machine.launcher().signal(Signal::KILL);
        assert_eq!(machine.end().signal(), Some(Signal::KILL.as_raw()));
        assert!(host.is_quiet());
        let left: Vec<_> = shared_memory().difference(&before).cloned().collect();
        assert!(left.is_empty(), "in /dev/shm: {left:?}");
    }
    Machine::up_as(&host, "again", TWO_CLUSTERS).run(4, &["hello"]);
}

#[test]
fn a_launcher_killed_while_it_boots_leaves_no_qemu() {
    let host = Arc::new(Host::new());
    let file = host.machine_file("early", TWO_CLUSTERS);
    for delay in [1, 20, 60, 120, 200] {
        let launcher = host.start(&["up", file.to_str().unwrap()]);
        std::thread::sleep(std::time::Duration::from_millis(delay));
        let qemus = children(launcher.id());
        launcher.signal(Signal::KILL);
        launcher.end();
        wait_until("every QEMU is gone", || !qemus.iter().any(|&id| is_qemu(id)));
        assert!(host.is_quiet());
    }
    Machine::up_as(&host, "early", TWO_CLUSTERS).run(4, &["hello"]);
}

/// The processes whose parent is `id`.
fn children(id: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split(' ').filter_map(|id| id.parse().ok()).collect::<Vec<_>>()).collect()
}

#[test]
fn ctrl_c_and_sigterm_end_a_machine_cleanly() {
    let before = shared_memory();
    for signal in [Signal::INT, Signal::TERM] {
        let machine = Machine::up(TWO_CLUSTERS);
        let host = machine.host.clone();
        let name = machine.name().to_string();
        let program = machine.start_program(4, &["sleeper"]);
        assert!(says_that_it_runs(&host, &name) && machine.qemus().len() == 8);
        machine.launcher().signal(signal);
        let ended = machine.end();
        assert_eq!(ended.code(), Some(0), "{}", ended.err);
        assert!(!says_that_it_runs(&host, &name) && host.is_quiet());
        assert_ne!(program.end().code(), Some(0), "the program did not run to its end");
        assert!(host.state(&name).join("logs/node-a0.log").exists(), "the logs stay");
    }
    let left: Vec<_> = shared_memory().difference(&before).cloned().collect();
    assert!(left.is_empty(), "in /dev/shm: {left:?}");
}

#[test]
fn machines_of_two_names_run_side_by_side() {
    let host = Arc::new(Host::new());
    let one = Machine::up_as(&host, "one", TWO_CLUSTERS);
    let two = Machine::up_as(&host, "two", "[clusters.a]\nnodes = 3\n");
    let programs = [one.start_program(4, &["files"]), two.start_program(3, &["files"])];
    for (program, count) in programs.into_iter().zip([4, 3]) {
        assert_eq!(program.end().well(), "files: fine\n".repeat(count));
    }
    // What one has, the other has not.
    fs::write(host.folder().join("file"), "of one").unwrap();
    one.call(&["cp", "host:file", "/file"]).well();
    assert_eq!(two.call(&["ls", "--json", "/"]).well(), "[]\n");
    let unclear = host.call(&["run", "hello"]).sentence();
    assert_eq!(unclear, "several machines are up (one, two); say which with --machine NAME");
    let file = host.folder().join("one.toml");
    let taken = host.call(&["up", file.to_str().unwrap()]).sentence();
    assert!(taken.starts_with("a machine called one runs already"), "{taken}");
    drop(one);
    // Now it is clear which is meant.
    assert!(host.call(&["run", "hello"]).well().starts_with("hello from activity 0 of 1"));
    two.run(3, &["hello"]);
}

#[test]
fn a_detached_machine_runs_until_down() {
    let host = Host::new();
    let file = host.machine_file("detached", TWO_CLUSTERS);
    let said = host.call(&["up", "--detach", file.to_str().unwrap()]).well();
    assert!(said.starts_with("detached: 8 VMs up in "), "{said}");
    assert!(host.call(&["run", "hello"]).well().starts_with("hello from activity 0 of 1"));
    assert!(host.call(&["logs", "node-a0"]).code() == Some(0));
    host.call(&["down"]).well();
    assert!(host.is_quiet() && !says_that_it_runs(&host, "detached"));
    let ended = host.call(&["logs", "--machine", "detached", "node-a0"]).well();
    assert!(ended.ends_with("-- node-a0 ended with the machine\n"), "{ended}");
}
