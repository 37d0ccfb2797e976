//! The very same source, `bench_same`, on a node of Cyanea and in a Linux VM: what
//! loops take, which is the accelerator's affair, and what threads that take
//! turns or sleep do, which is the system's.
//!
//! Both are started anew in every turn, each alone on the same processor. A
//! turn's ratio is of the fastest rounds of its two halves, which stand next to
//! each other in time: on a busy host most rounds are interrupted, and the fastest
//! are those that were not. The median of the turns' ratios is what counts.

use super::vm::{Boot, Vm};
use crate::Bench;
use crate::machine::{Up, numbers};
use crate::report::median;
use anyhow::{Context, Result, ensure};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

/// Turns, and rounds of each half of one.
const TURNS: usize = 9;
const ROUNDS: usize = 25;

const MACHINE: &str = "name = \"bench\"\n[clusters.a]\nnodes = 1\n";

/// What is measured: its name, what to call it, its unit (nanoseconds of which
/// are so many), and the limit of its ratio, if there is one.
type Way = (&'static str, &'static str, (&'static str, f64), Option<f64>);
const WAYS: [Way; 7] = [
    ("integer", "same source: loop of integers (SHA-256)", ("ms", 1e6), Some(1.05)),
    ("float", "same source: loop of floats (five bodies)", ("ms", 1e6), Some(1.05)),
    ("yield", "same source: context switch, yield", ("ns", 1.0), Some(0.5)),
    ("park", "same source: futex wake-up, unpark and park", ("ns", 1.0), Some(0.5)),
    ("condvar", "same source: futex wake-up, condition variable", ("ns", 1.0), Some(0.5)),
    ("channel", "same source: message through std\'s channel", ("ns", 1.0), Some(0.5)),
    ("sleep", "same source: lateness of a sleep of 1 ms", ("us", 1e3), None),
];
/// Loops whose results must agree.
const SUMS: [&str; 2] = ["integer-sum", "float-sum"];

/// Measures both in turns.
pub fn measure(bench: &mut Bench, boot: &Boot<'_>) -> Result<()> {
    let mut turns = Vec::new();
    for turn in 1..=TURNS {
        bench.say(&format!("loops and threads, Cyanea and Linux: {turn} of {TURNS}"));
        let (cyanea, processor) = cyanea(bench)?;
        let linux = linux(bench, boot, processor)?;
        for sum in SUMS {
            let sums = [&cyanea, &linux].map(|output| line(output, sum));
            ensure!(sums[0].is_some() && sums[0] == sums[1], "the loops computed different things: {sums:?}");
        }
        turns.push((cyanea, linux));
    }
    WAYS.iter().for_each(|way| report(bench, way, &turns));
    Ok(())
}

/// The text of the first line `name: text`.
fn line<'a>(output: &'a str, name: &str) -> Option<&'a str> {
    output.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn report(bench: &mut Bench, &(name, title, (unit, nanoseconds), limit): &Way, turns: &[(String, String)]) {
    let fastest = |output: &str| numbers(output, name).into_iter().fold(f64::INFINITY, f64::min);
    let linux = median(turns.iter().map(|(_, linux)| fastest(linux)).collect()) / nanoseconds;
    let ratio = median(turns.iter().map(|(cyanea, linux)| fastest(cyanea) / fastest(linux)).collect());
    let reference = ("the same in a Linux VM", linux);
    bench.report.compare(title, (linux * ratio, unit), reference, limit);
}

/// On a node of a machine that has no other; and on which processor that was.
fn cyanea(bench: &Bench) -> Result<(String, usize)> {
    let up = Up::start(bench, MACHINE, "bench-node")?;
    let node = up.machine.vms().into_iter().find(|vm| vm.name.starts_with("node"));
    let processor = node.and_then(|node| node.processors.first().copied());
    let processor = processor.context("the machine's node is on no processor")?;
    Ok((up.run("same", &[&ROUNDS.to_string()])?, processor))
}

/// In a Linux VM on this processor, whose network leads nowhere.
fn linux(bench: &Bench, boot: &Boot<'_>, processor: usize) -> Result<String> {
    let (_nowhere, link) = UnixStream::pair()?;
    let arguments = format!("10.0.0.1 same {ROUNDS}");
    let mut vm = Vm::start(bench, boot, &OwnedFd::from(link), (0, processor), &arguments)?;
    vm.await_line("done: 0")?;
    // Its console ends lines as a terminal does.
    Ok(vm.text().replace('\r', ""))
}
