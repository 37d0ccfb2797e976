//! `cyanea ps --clocks`: what the VMs know of their clocks.

use crate::arguments::Ps;
use crate::client::{aligned, ask};
use crate::output::put;
use anyhow::Result;
use orchestration::control::{ClockStatus, Clocks, Reply, Request};

const HEADER: [&str; 7] = ["VM", "TIME", "UNCERTAINTY", "OFFSET", "FREQUENCY", "ROUNDS", "CONTRADICTIONS"];

/// Shows it.
pub fn show(ps: &Ps) -> Result<u8> {
    let told = ask(&ps.target, &Request::Clocks, |reply| match reply {
        Reply::Clocks(clocks) => Some(clocks),
        _ => None,
    })?;
    let text = if ps.json { serde_json::to_string_pretty(&told)? + "\n" } else { table(&told) };
    put(text.as_bytes())?;
    Ok(0)
}

/// A line for each VM, and a sentence for each that is silent.
fn table(told: &Clocks) -> String {
    let mut rows = vec![HEADER.map(String::from)];
    rows.extend(told.clocks.iter().map(row));
    let mut text = aligned(&rows);
    for vm in &told.silent {
        text += &format!("{vm} does not answer; nothing is known of its clock\n");
    }
    text
}

fn row(ClockStatus { vm, clock }: &ClockStatus) -> [String; 7] {
    [
        vm.clone(),
        format!("{}.{:09} s", clock.now_ns / 1_000_000_000, clock.now_ns % 1_000_000_000),
        clock.uncertainty_ns.map_or("unknown".into(), |error| format!("{error} ns")),
        format!("{} ticks", clock.offset_ticks),
        format!("{:.6} GHz", clock.hertz as f64 / 1e9),
        clock.rounds.to_string(),
        clock.contradictions.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use orchestration::control::Clock;

    #[test]
    fn every_vm_has_a_line() {
        let clock = |uncertainty_ns| Clock {
            now_ns: 12_000_000_345,
            uncertainty_ns,
            offset_ticks: -7,
            hertz: 2_500_000_000,
            rounds: 16,
            contradictions: 0,
        };
        let told = |uncertainty_ns| ClockStatus { vm: "node-a0".into(), clock: clock(uncertainty_ns) };
        let clocks = vec![told(Some(417)), told(None)];
        let text = table(&Clocks { clocks, silent: vec!["files-b0".into()] });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[1].contains("12.000000345 s  417 ns") && lines[1].contains("2.500000 GHz"), "{text}");
        assert!(lines[2].contains("unknown") && lines[3].starts_with("files-b0 does not answer"), "{text}");
    }
}
