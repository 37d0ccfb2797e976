//! The programs of `tests/std` say the same on a node as on the host.
//!
//! What differs is listed, with its reason, in `tests/std/src/differences.rs`.

use std::process::Command;
use std_suite::PROGRAMS;
use std_suite::differences::{DIFFERENCES, Difference};
use tests::command::{Ended, Running};
use tests::machine::{Machine, TWO_CLUSTERS};
use tests::root;

/// Runs a program on the host, in a directory of its own.
fn on_the_host(program: &str) -> Ended {
    let folder = tempfile::Builder::new().prefix("cyanea-test-").tempdir().expect("a temporary folder");
    let folder = folder.path().canonicalize().expect("it is there");
    let mut command = Command::new(root().join("target/release/std-suite"));
    command.arg(program).arg(folder.join("of the program")).current_dir("/");
    Running::start(command).end()
}

/// What is wrong with a line of the host's and a node's, if anything.
fn wrong(program: &str, host: &str, node: &str, unseen: &mut Vec<&Difference>) -> Option<String> {
    let listed = |one: &Difference| {
        let line = |value| format!("{}: {value}", one.topic);
        one.program == program && line(one.host) == host && line(one.node) == node
    };
    if host == node {
        return None;
    }
    match unseen.iter().position(|one| listed(one)) {
        Some(place) => {
            unseen.remove(place);
            None
        }
        None => Some(format!("{program}: the host says {host:?}, a node {node:?}")),
    }
}

#[test]
fn the_suite_says_the_same_on_a_node_as_on_the_host() {
    let machine = Machine::up(TWO_CLUSTERS);
    let mut unseen: Vec<&Difference> = DIFFERENCES.iter().collect();
    let mut problems = Vec::new();
    for program in PROGRAMS {
        let host = on_the_host(program.name);
        let node = machine.call(&["run", program.name, &format!("/{}", program.name)]);
        println!(
            "{}: host {:?}, node {:?}, {} lines",
            program.name,
            host.took,
            node.took,
            host.out.lines().count()
        );
        if host.code() != node.code() {
            problems.push(format!(
                "{}: exit codes {:?} and {:?}: {}",
                program.name,
                host.code(),
                node.code(),
                node.err
            ));
        }
        let (mut hosts, mut nodes) = (host.out.lines(), node.out.lines());
        loop {
            let (host, node) = (hosts.next(), nodes.next());
            if (host, node) == (None, None) {
                break;
            }
            problems.extend(wrong(
                program.name,
                host.unwrap_or("nothing"),
                node.unwrap_or("nothing"),
                &mut unseen,
            ));
        }
    }
    problems.extend(unseen.iter().map(|one| format!("listed, but it does not differ so: {one:?}")));
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}
