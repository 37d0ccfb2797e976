//! Pipes: how many bytes go through one between two nodes.

use crate::Bench;
use crate::machine::{Up, numbers};
use crate::report::median;
use anyhow::{Result, ensure};

/// Messages of each pass.
const MESSAGES: usize = 200;
/// Bytes of each.
const MESSAGE_BYTES: usize = 56 * 1024;
/// Passes.
const PASSES: usize = 7;

const MACHINE: &str = "name = \"bench\"\n[clusters.a]\nnodes = 2\n";

/// Megabytes a second, pass by pass.
pub struct Found {
    /// Through a pipe.
    pub pipe: Vec<f64>,
    /// Copied in the reader's VM.
    pub copy: Vec<f64>,
    /// Handed over between the two VMs through bare shared memory, both polling.
    pub shared: Vec<f64>,
}

/// Messages of the greatest length, against a copy in the reader's VM and
/// against what the memory between two VMs can do.
pub fn bulk(bench: &mut Bench) -> Result<()> {
    bench.say("bulk through a pipe between two nodes");
    let Found { pipe, copy, shared } = measure(bench, PASSES)?;
    let (pipe, shared) = (median(pipe), median(shared));
    let memcpy = ("copy in the same VM", median(copy));
    let report = &mut bench.report;
    report.compare("pipes: bulk between two nodes", (pipe, "MB/s"), memcpy, 2.0);
    report.compare("bare shared memory: bulk between two nodes", (shared, "MB/s"), memcpy, None);
    report.compare("pipes: bulk between two nodes", (pipe, "MB/s"), ("bare shared memory", shared), None);
    Ok(())
}

/// Measures each way in turns.
pub fn measure(bench: &Bench, passes: usize) -> Result<Found> {
    let up = Up::start(bench, MACHINE, "bench-node")?;
    let output = up.run_on(2, "bulk", &[&MESSAGES.to_string(), &passes.to_string()])?;
    let speed = |nanoseconds: f64| (MESSAGES * MESSAGE_BYTES) as f64 * 1e3 / nanoseconds;
    let all = |name: &str| numbers(&output, name).into_iter().map(speed).collect::<Vec<_>>();
    ensure!(all("pipe").len() == passes, "the program did not say how fast its pipe was: {output}");
    Ok(Found { pipe: all("pipe"), copy: all("copy"), shared: all("shared") })
}
