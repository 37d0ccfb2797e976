//! How late a sleep ends in a VM that has nothing else to do, against the same
//! source in a thread of the host, which has its own timers' slack.

use crate::Bench;
use crate::machine::{Up, numbers};
use crate::report::median;
use anyhow::{Context, Result, ensure};
use bench_same::sleeps::late;
use std::time::Duration;

const MACHINE: &str = "name = \"bench\"\n[clusters.a]\nnodes = 1\n";
/// Milliseconds that are slept, and how often in each turn.
const SLEEPS: [(u64, usize); 2] = [(1, 100), (10, 20)];
/// Turns of both.
const TURNS: usize = 7;
/// What the one in the middle may be of the host's.
const LIMIT: f64 = 3.0;

/// Measures both in turns.
pub fn lateness(bench: &mut Bench) -> Result<()> {
    let up = Up::start(bench, MACHINE, "bench-node")?;
    for (length, count) in SLEEPS {
        bench.say(&format!("sleeps of {length} ms"));
        let (mut vm, mut host) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            let output = up.run("late", &[&length.to_string(), &count.to_string()])?;
            let of_vm = numbers(&output, "late");
            ensure!(of_vm.len() == count, "the program did not say how late its sleeps were: {output}");
            vm.extend(of_vm);
            let of_host = std::thread::spawn(move || late(Duration::from_millis(length), count));
            host.extend(of_host.join().ok().context("the host's thread failed")?);
        }
        report(bench, length, &vm, &host);
    }
    Ok(())
}

/// What is in the middle, and the worst: that one is mostly what else the host had to do.
fn report(bench: &mut Bench, length: u64, vm: &[f64], host: &[f64]) {
    let middle = |late: &[f64]| median(late.to_vec()) / 1e3;
    let worst = |late: &[f64]| late.iter().copied().fold(0.0, f64::max) / 1e3;
    let name = format!("sleep: {length} ms, late by");
    let reference = |value| ("the same in a thread of the host", value);
    bench.report.compare(&name, (middle(vm), "us"), reference(middle(host)), LIMIT);
    bench.report.compare(&format!("{name} at worst"), (worst(vm), "us"), reference(worst(host)), None);
}
