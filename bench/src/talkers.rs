//! What many VMs cost each other: all of them talking at once in pairs, and
//! two of them talking while ever more idle.
//!
//! Both take machines of nodes alone, so that in one of n VMs every VM has n
//! peers: the others and the launcher.

use crate::Bench;
use crate::machine::Up;
use crate::messages::{self, Found};
use crate::report::median;
use anyhow::{Context, Result, bail};
use kernel::membership::Role;
use orchestration::machine_file::MachineFile;
use orchestration::placement::Topology;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// VMs of the machine that talks.
const TALKING: usize = 16;
/// Longest that they may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Sizes of the machines in which two VMs talk; the first one is what the others are compared with.
const SIZES: [usize; 4] = [2, 8, 32, 64];
/// Machines of each size.
const TURNS: usize = 3;
/// Rounds in each.
const ROUNDS: usize = 3;

/// A machine of so many nodes and nothing else, in one cluster.
fn nodes(count: usize) -> Result<MachineFile> {
    let text = format!("name = \"bench\"\n[clusters.a]\nnodes = {count}\n");
    let mut file = MachineFile::parse("bench.toml".as_ref(), &text)?;
    file.vms.retain(|vm| vm.role == Role::Node);
    Ok(file)
}

/// What one VM found in one round.
struct Line {
    talkers: usize,
    calls_a_second: f64,
    /// Median of its round trips in nanoseconds, if any ended.
    trip: Option<f64>,
}

/// Lets 2, 4, 8 and 16 VMs talk.
pub fn talkers(bench: &mut Bench) -> Result<()> {
    bench.say("2 to 16 VMs, all talking at once");
    let up = Up::start_file(bench, &nodes(TALKING)?, "bench-talkers")?;
    let consoles: Vec<Receiver<String>> =
        up.machine.vms().iter().map(|vm| up.machine.follow(&vm.name)).collect::<Result<_, _>>()?;
    let end = Instant::now() + PATIENCE;
    let lines = consoles.iter().map(|console| lines(console, end)).collect::<Result<Vec<_>>>()?;
    drop(up);
    let processors = Topology::of_host().processors();
    let (rate, trip) = (rate(&lines, 2), trip(&lines, 2));
    for talkers in [4, 8, 16] {
        let share = talkers.min(processors) as f64 / 2.0;
        let crowd = (talkers as f64 / processors as f64).max(1.0);
        let report = &mut bench.report;
        // Each call is two messages.
        report.compare(
            &format!("{talkers} VMs talking in pairs: messages"),
            (2e-3 * self::rate(&lines, talkers), "k/s"),
            ("2 VMs, per processor", 2e-3 * rate * share),
            None,
        );
        report.compare(
            &format!("{talkers} VMs talking in pairs: round trip"),
            (self::trip(&lines, talkers), "ns"),
            ("2 VMs, by VMs per processor", trip * crowd),
            None,
        );
    }
    Ok(())
}

/// All that one VM has to say.
fn lines(console: &Receiver<String>, end: Instant) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let line = console.recv_timeout(left).context("the VMs did not finish, or ended")?;
        let Some(said) = line.trim().strip_prefix("bench: ") else { continue };
        let mut words = said.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some("done"), None, None) => return Ok(lines),
            (Some(talkers), Some(rate), trip) => lines.push(Line {
                talkers: talkers.parse()?,
                calls_a_second: rate.parse()?,
                trip: trip.map(str::parse).transpose()?,
            }),
            _ => bail!("a VM said {said:?}"),
        }
    }
}

/// Calls a second of all VMs when so many talk, the median of all rounds.
fn rate(vms: &[Vec<Line>], talkers: usize) -> f64 {
    let mut rounds = Vec::new();
    for lines in vms {
        for (round, line) in lines.iter().filter(|line| line.talkers == talkers).enumerate() {
            rounds.resize(rounds.len().max(round + 1), 0.0);
            rounds[round] += line.calls_a_second;
        }
    }
    median(rounds)
}

/// The median round trip of all VMs and rounds when so many talk.
fn trip(vms: &[Vec<Line>], talkers: usize) -> f64 {
    let lines = vms.iter().flatten().filter(|line| line.talkers == talkers);
    median(lines.filter_map(|line| line.trip).collect())
}

/// Lets two VMs talk while 0, 6, 30 and 62 others idle.
pub fn peers(bench: &mut Bench) -> Result<()> {
    let mut found = SIZES.map(|_| Found::default());
    for turn in 1..=TURNS {
        bench.say(&format!("two VMs talking among 2 to 64: {turn} of {TURNS}"));
        for (found, size) in found.iter_mut().zip(SIZES) {
            found.extend(messages::measure(bench, &nodes(size)?, ROUNDS)?);
        }
    }
    let ways = [("endpoint", "round trip, polling"), ("asleep", "null RPC, both asleep")];
    for (way, name) in ways {
        let [few, more @ ..] = &found;
        for (found, size) in more.iter().zip(&SIZES[1..]) {
            let reference = ("among 2 peers", few.of(way));
            bench.report.compare(&format!("{size} peers: {name}"), (found.of(way), "ns"), reference, None);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(talkers: usize, calls_a_second: f64, trip: Option<f64>) -> Line {
        Line { talkers, calls_a_second, trip }
    }

    #[test]
    fn rates_are_summed_round_by_round() {
        let one = vec![line(2, 1.0, Some(5.0)), line(4, 50.0, None), line(2, 3.0, None), line(2, 2.0, None)];
        let other = vec![line(2, 10.0, Some(7.0)), line(2, 30.0, Some(9.0)), line(2, 20.0, None)];
        let vms = [one, other];
        assert_eq!(rate(&vms, 2), 22.0);
        assert_eq!(rate(&vms, 4), 50.0);
        assert_eq!(trip(&vms, 2), 7.0);
    }

    #[test]
    fn a_machine_of_nodes_has_no_utilities() {
        assert_eq!(nodes(64).unwrap().vms.len(), 64);
    }
}
