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

/// Messages of the greatest length, against a copy in the reader's VM.
pub fn bulk(bench: &mut Bench) -> Result<()> {
    bench.say("bulk through a pipe between two nodes");
    let (pipe, copy) = measure(bench, PASSES)?;
    let memcpy = ("copy in the same VM", median(copy));
    bench.report.compare("pipes: bulk between two nodes", (median(pipe), "MB/s"), memcpy, 2.0);
    Ok(())
}

/// Megabytes a second through a pipe and of a copy in the reader's VM, in turns.
pub fn measure(bench: &Bench, passes: usize) -> Result<(Vec<f64>, Vec<f64>)> {
    let up = Up::start(bench, MACHINE, "bench-node")?;
    let output = up.run_on(2, "bulk", &[&MESSAGES.to_string(), &passes.to_string()])?;
    let speed = |nanoseconds: f64| (MESSAGES * MESSAGE_BYTES) as f64 * 1e3 / nanoseconds;
    let all = |name: &str| numbers(&output, name).into_iter().map(speed).collect::<Vec<_>>();
    ensure!(all("pipe").len() == passes, "the program did not say how fast its pipe was: {output}");
    Ok((all("pipe"), all("copy")))
}
