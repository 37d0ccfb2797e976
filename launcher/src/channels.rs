//! `cyanea ps --channels`: what has passed between the VMs.

use crate::arguments::Ps;
use crate::client::{aligned, ask};
use crate::output::put;
use anyhow::Result;
use orchestration::control::{ChannelStatus, Channels, Reply, Request};

const HEADER: [&str; 12] = [
    "VM", "WITH", "SENT", "BYTES", "RECEIVED", "BYTES", "BELLS", "DELAYED", "BLOCKED", "DROPPED", "DEATHS",
    "ERRORS",
];

/// Shows it.
pub fn show(ps: &Ps) -> Result<u8> {
    let told = ask(&ps.target, &Request::Channels, |reply| match reply {
        Reply::Channels(channels) => Some(channels),
        _ => None,
    })?;
    let text = if ps.json { serde_json::to_string_pretty(&told)? + "\n" } else { table(&told) };
    put(text.as_bytes())?;
    Ok(0)
}

/// Whether anything has happened at this end.
fn is_used(end: &ChannelStatus) -> bool {
    end.sent + end.received + end.deaths > 0 || !end.errors.is_empty()
}

/// A line for each end that was used, and a sentence for each VM that is silent.
fn table(told: &Channels) -> String {
    let mut rows = vec![HEADER.map(String::from)];
    rows.extend(told.channels.iter().filter(|end| is_used(end)).map(row));
    let mut text = aligned(&rows);
    for vm in &told.silent {
        text += &format!(
            "{vm} does not answer; what it counted is missing, what others counted of it is above\n"
        );
    }
    text
}

fn row(end: &ChannelStatus) -> [String; 12] {
    let errors: Vec<_> = end.errors.iter().map(|(name, count)| format!("{name} {count}")).collect();
    [
        end.vm.clone(),
        end.peer.clone(),
        end.sent.to_string(),
        end.sent_bytes.to_string(),
        end.received.to_string(),
        end.received_bytes.to_string(),
        end.doorbells.to_string(),
        end.delayed.to_string(),
        end.would_block.to_string(),
        end.dropped.to_string(),
        end.deaths.to_string(),
        if errors.is_empty() { "-".into() } else { errors.join(", ") },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(sent: u64, errors: &[(&str, u64)]) -> ChannelStatus {
        ChannelStatus {
            vm: "node-a0".into(),
            peer: "files-a0".into(),
            sent,
            sent_bytes: 24 * sent,
            received: 0,
            received_bytes: 0,
            doorbells: 1,
            delayed: 0,
            would_block: 0,
            dropped: 0,
            deaths: 0,
            errors: errors.iter().map(|&(name, count)| (name.into(), count)).collect(),
        }
    }

    #[test]
    fn ends_that_were_used_have_a_line() {
        let silent = vec!["node-a1".into()];
        let told = Channels { channels: vec![end(0, &[]), end(7, &[("body", 2), ("pipe", 1)])], silent };
        let text = table(&told);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].starts_with("VM ") && lines[0].ends_with(" ERRORS"), "{text}");
        assert!(
            lines[1].starts_with("node-a0  files-a0  7 ") && lines[1].ends_with(" body 2, pipe 1"),
            "{text}"
        );
        assert!(lines[2].starts_with("node-a1 does not answer"), "{text}");
    }
}
