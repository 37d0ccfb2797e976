//! How far the clocks of VMs are from each other: what they say, and what nodes
//! measure between themselves (`clocks` of the test image), without the launcher.

use crate::Bench;
use crate::machine::Up;
use anyhow::{Context, Result, ensure};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

const MACHINE: &str = "name = \"bench\"\n[clusters.a]\nnodes = 2\n[clusters.b]\nnodes = 2\n";
/// Activities, one on each node.
const NODES: usize = 4;
/// What two clocks may differ by, in microseconds.
const LIMIT_US: f64 = 5.0;
/// How long clocks are left alone before they are looked at.
const SETTLE: Duration = Duration::from_secs(2);
/// How long they are left alone to drift.
const DRIFT: Duration = Duration::from_secs(40);
/// Measurements, of which the narrowest bounds count.
const RUNS: usize = 3;

/// Measures at rest, under load, and much later.
pub fn agreement(bench: &mut Bench) -> Result<()> {
    let up = Up::start(bench, MACHINE, "test-node")?;
    std::thread::sleep(SETTLE);
    for (name, load) in [("at rest", None), ("under load", Some("chatter"))] {
        bench.say(&format!("clocks, {name}"));
        report(bench, &up, name, load)?;
    }
    bench.say(&format!("clocks, {} s later", DRIFT.as_secs()));
    std::thread::sleep(DRIFT);
    report(bench, &up, &format!("{} s later", DRIFT.as_secs()), None)
}

/// Reports what all VMs say, and what nodes measure while `load` runs.
fn report(bench: &mut Bench, up: &Up, when: &str, load: Option<&str>) -> Result<()> {
    let measured = match load {
        Some(load) => under(up, load, || worst(up))?,
        None => worst(up)?,
    };
    let name = format!("clock: nodes differ by at most, {when}");
    bench.report.limit(&name, (measured, "us"), LIMIT_US);
    let mut errors = Vec::new();
    for told in up.client.clocks().clocks {
        let error =
            told.clock.uncertainty_ns.with_context(|| format!("{} does not know its clock", told.vm))?;
        errors.push(error as f64 / 1e3);
    }
    errors.sort_by(f64::total_cmp);
    let two_worst: f64 = errors.iter().rev().take(2).sum();
    bench.report.limit(&format!("clock: all VMs say at most, {when}"), (two_worst, "us"), LIMIT_US);
    Ok(())
}

/// Measures while a program runs on all nodes.
fn under<T: Send>(up: &Up, load: &str, measure: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let program = kernel::protocol::tasks::Program { name: load.into(), arguments: Vec::new() };
        let started = up.client.start(program, NODES as u16)?;
        let running = scope.spawn(|| started.finish(|_| (), || enough.load(Relaxed)));
        let measured = measure();
        enough.store(true, Relaxed);
        running.join().ok().context("the load failed")??;
        measured
    })
}

/// The most by which two nodes' clocks can differ after all that was measured, in microseconds.
fn worst(up: &Up) -> Result<f64> {
    let mut ahead = [[f64::INFINITY; NODES]; NODES];
    for _ in 0..RUNS {
        for line in up.run_on(NODES as u16, "clocks", &[])?.lines() {
            let Some(pair) = line.strip_prefix("pair ") else { continue };
            let numbers: Vec<f64> =
                pair.split_whitespace().filter_map(|number| number.parse().ok()).collect();
            let [b, a, low, high] = numbers[..] else { continue };
            let (a, b) = (a as usize, b as usize);
            ensure!(a < NODES && b < NODES, "a pair that was not asked for: {line}");
            ahead[a][b] = ahead[a][b].min(high / 1e3);
            ahead[b][a] = ahead[b][a].min(-low / 1e3);
        }
    }
    largest(ahead).context("what nodes measured contradicts itself")
}

/// The largest difference between two clocks, if `ahead[a][b]` is by how much *a*'s
/// is ahead of *b*'s at most; `None` if that cannot be. Two nodes on one processor, whose own measurement says
/// little, are known from third ones (shortest paths: Floyd 1962, Warshall 1962).
fn largest(mut ahead: [[f64; NODES]; NODES]) -> Option<f64> {
    for by in 0..NODES {
        for a in 0..NODES {
            for b in 0..NODES {
                ahead[a][b] = ahead[a][b].min(ahead[a][by] + ahead[by][b]);
            }
        }
    }
    let pairs = (0..NODES).flat_map(|a| (0..a).flat_map(move |b| [(a, b), (b, a)]));
    let largest = pairs.map(|(a, b)| ahead[a][b]).fold(0.0, f64::max);
    (0..NODES).all(|a| ahead[a][a] >= 0.0).then_some(largest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_compared_through_third_ones() {
        let mut ahead = [[f64::INFINITY; NODES]; NODES];
        for (a, b) in [(0, 1), (1, 2), (2, 3)] {
            ahead[a][b] = 1.0;
            ahead[b][a] = -0.5;
        }
        assert_eq!(largest(ahead), Some(3.0));
        ahead[0][3] = 2.0;
        assert_eq!(largest(ahead), Some(2.0));
        ahead[3][0] = -2.5;
        assert_eq!(largest(ahead), None);
    }
}
