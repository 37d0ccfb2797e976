//! Round trips between two VMs of a machine of eight, from the barest to the
//! operating system's own. The image `bench-messages` measures, in turns.

use crate::Bench;
use crate::machine::Up;
use crate::report::median;
use anyhow::{Result, bail};
use orchestration::machine_file::MachineFile;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

/// Longest that the VMs may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// One cluster, so that its VMs are on different processors in turns and share a pool.
const MACHINE: &str = "name = \"bench\"\n[clusters.a]\nnodes = 4\n";

/// The machine of eight VMs in which two of them are measured.
pub fn machine() -> Result<MachineFile> {
    Ok(MachineFile::parse("bench.toml".as_ref(), MACHINE)?)
}

/// What the two VMs found, round by round.
#[derive(Default)]
pub struct Found(Vec<(String, f64)>);

impl Found {
    /// Nanoseconds of a round trip of this way, the median of all rounds.
    pub fn of(&self, way: &str) -> f64 {
        median(self.all(way).collect())
    }

    fn count(&self, way: &str) -> usize {
        self.all(way).count()
    }

    fn all(&self, way: &str) -> impl Iterator<Item = f64> {
        self.0.iter().filter(move |(name, _)| name == way).map(|(_, value)| *value)
    }

    /// Adds what another machine found.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

/// Starts a machine, and takes down what its first two nodes find: in so many
/// rounds, or in all if they are fewer.
pub fn measure(bench: &Bench, machine: &MachineFile, rounds: usize) -> Result<Found> {
    let up = Up::start_file(bench, machine, "bench-messages")?;
    let lines = up.machine.follow("node-a0")?;
    let end = Instant::now() + PATIENCE;
    let mut found = Found::default();
    loop {
        let line = match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => bail!("the two VMs did not finish"),
            Err(RecvTimeoutError::Disconnected) => bail!("the two VMs ended"),
        };
        let Some(said) = line.trim().strip_prefix("bench: ") else { continue };
        match said.split_once(' ') {
            // The next round has begun.
            Some((way, _)) if found.count(way) == rounds => return Ok(found),
            Some((way, number)) => found.0.push((way.into(), number.parse()?)),
            None => return Ok(found),
        }
    }
}

/// Measures all ways, and what each is to be compared with.
pub fn round_trips(bench: &mut Bench) -> Result<()> {
    bench.say("round trips between two VMs");
    let found = measure(bench, &machine()?, usize::MAX)?;
    let of = |way: &str| found.of(way);
    let line = ("raw: a cache line each way", of("line"));
    let bell = ("raw: doorbell and halt each way", of("bell"));
    let report = &mut bench.report;
    report.compare("VM to VM, polling: 64 bytes, ring", (of("ring"), "ns"), line, 1.15);
    report.compare("VM to VM, polling: 64 bytes, endpoint of 8", (of("endpoint"), "ns"), line, 1.15);
    report.compare("null RPC, coroutine to coroutine", (of("call"), "ns"), line, 2.5);
    report.compare("null RPC, a program's thread to coroutine", (of("thread-call"), "ns"), line, None);
    report.compare("VM to VM, both asleep: null RPC", (of("asleep"), "ns"), bell, 1.25);
    Ok(())
}
