//! Files: how fast they are read and copied in, and how long a caller waits
//! when the activity of `files` that it talks to is killed.

use crate::Bench;
use crate::machine::{Up, numbers};
use crate::report::median;
use anyhow::{Context, Result, ensure};
use kernel::membership::Utility;
use kernel::protocol::tasks::Program;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// Bytes of the file.
const FILE_BYTES: usize = 16 << 20;
/// Runs of each.
const RUNS: usize = 7;
/// How long a program reads before its server is killed.
const BEFORE: Duration = Duration::from_millis(300);
/// How long a program reads in all, in milliseconds.
const READING: &str = "1000";
/// Longest that a killed VM may take to be back.
const PATIENCE: Duration = Duration::from_secs(20);

const MACHINE: &str = "name = \"bench\"\n[clusters.a]\nnodes = 2\n[clusters.b]\nnodes = 2\n[vm]\nmemory = \"128 MiB\"\nrestart = \"always\"\n";

/// Measures all of it on one machine.
pub fn files(bench: &mut Bench) -> Result<()> {
    bench.say("files read and copied in");
    let up = Up::start(bench, MACHINE, "bench-node")?;
    let source = bench.folder.path().join("file");
    std::fs::write(&source, vec![0x5a; FILE_BYTES])?;
    let mut copied = Vec::new();
    for run in 0..RUNS {
        let start = Instant::now();
        up.client.copy_in(&source, format!("/file{}", run % 2).as_bytes(), &|_| ControlFlow::Continue(()))?;
        copied.push(FILE_BYTES as f64 / start.elapsed().as_secs_f64() / 1e6);
    }
    let output = up.run("throughput", &["/file0", &RUNS.to_string()])?;
    let speed = |nanoseconds: f64| FILE_BYTES as f64 * 1e3 / nanoseconds;
    let all = |name: &str| numbers(&output, name).into_iter().map(speed).collect::<Vec<_>>();
    ensure!(all("read").len() == RUNS, "the program did not say how fast it read: {output}");
    let memcpy = ("copy in the same VM", median(all("copy")));
    bench.report.compare("files: std::fs read, 16 MiB", (median(all("read")), "MB/s"), memcpy, 2.0);
    bench.report.compare("files: cyanea cp in, 16 MiB", (median(copied), "MB/s"), memcpy, None);
    let gaps = (0..RUNS).map(|run| gap(bench, &up, run)).collect::<Result<Vec<_>>>()?;
    let (killed, quiet): (Vec<f64>, Vec<f64>) = gaps.into_iter().unzip();
    let quiet = ("longest without a kill", median(quiet));
    bench.report.compare(
        "files killed: longest wait of a reader",
        (median(killed.clone()), "ms"),
        quiet,
        None,
    );
    bench.report.limit("files killed: its callers go on", (median(killed), "ms"), 50.0);
    Ok(())
}

/// The longest wait of a reader whose activity of `files` is killed, and of
/// one that is left in peace, in milliseconds.
fn gap(bench: &Bench, up: &Up, run: usize) -> Result<(f64, f64)> {
    bench.say(&format!("files killed: run {} of {RUNS}", run + 1));
    let quiet = longest(&up.run("gap", &["/file0", READING])?)?;
    let program = Program { name: "gap".into(), arguments: vec!["/file0".into(), READING.into()] };
    let started = up.client.start(program, 1)?;
    let id = started.id();
    let mut output = Vec::new();
    let killed = std::thread::scope(|scope| {
        let killing = scope.spawn(|| {
            std::thread::sleep(BEFORE);
            let running = up.client.task_forces()?.into_iter().find(|force| force.id == id);
            let activity = running.context("the reader has ended")?.activities.first().copied();
            let node = activity.context("the reader has no activity")?.node.peer;
            let membership = up.machine.membership();
            let nearest = membership.nearest(Utility::Files, node);
            let server = membership.name(*nearest.first().context("no files are left")?).to_string();
            up.machine.kill(&server)?;
            anyhow::Ok(server)
        });
        started.finish(|part| output.extend(part.bytes), || false)?;
        killing.join().map_err(|_| anyhow::anyhow!("the killer panicked"))?
    })?;
    let end = Instant::now() + PATIENCE;
    while up.machine.vms().iter().any(|vm| vm.state != "ready") {
        ensure!(Instant::now() < end, "{killed} did not come back");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok((longest(&String::from_utf8_lossy(&output))?, quiet))
}

/// The longest gap that a program says it saw.
fn longest(output: &str) -> Result<f64> {
    let longest = numbers(output, "longest");
    Ok(longest.first().with_context(|| format!("the reader failed: {output}"))? / 1e6)
}
