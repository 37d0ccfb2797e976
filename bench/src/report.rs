//! What was measured, as lines to read and as JSON.
//!
//! Every entry is a ratio of which less is better: `value / reference_value`,
//! or, where more is better (a unit that ends in `/s`), the other way round.
//! Limits in seconds or bytes are references themselves, with `at_most` 1.

use anyhow::{Context, Result};
use serde::Serialize;
use std::path::Path;

/// One thing that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// What.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: String,
    /// What it is compared with, measured in the same run; `limit` if that is a number of the design's.
    pub reference: String,
    /// How much that is, in the same unit.
    pub reference_value: f64,
    /// Of which less is better.
    pub ratio: f64,
    /// What the ratio may be; nothing where the design sets no limit.
    pub at_most: Option<f64>,
}

impl Entry {
    /// Whether the limit is kept, where there is one.
    pub fn verdict(&self) -> &'static str {
        match self.at_most {
            None => "",
            Some(limit) if self.ratio <= limit => "ok",
            Some(_) => "NOT REACHED",
        }
    }
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub struct Report {
    entries: Vec<Entry>,
}

impl Report {
    /// Something that is compared with something measured beside it.
    pub fn compare(
        &mut self,
        name: &str,
        (value, unit): (f64, &str),
        (reference, reference_value): (&str, f64),
        at_most: impl Into<Option<f64>>,
    ) {
        let more_is_better = unit.ends_with("/s");
        let ratio = if more_is_better { reference_value / value } else { value / reference_value };
        let entry = Entry {
            name: name.into(),
            value,
            unit: unit.into(),
            reference: reference.into(),
            reference_value,
            ratio,
            at_most: at_most.into(),
        };
        println!("{}", line(&entry));
        self.entries.push(entry);
    }

    /// Something that the design gives a number for.
    pub fn limit(&mut self, name: &str, value: (f64, &str), limit: f64) {
        self.compare(name, value, ("limit", limit), 1.0);
    }

    /// How many limits there are, and how many are not reached.
    pub fn limits(&self) -> (usize, usize) {
        let limited = self.entries.iter().filter(|entry| entry.at_most.is_some());
        (limited.clone().count(), limited.filter(|entry| entry.verdict() != "ok").count())
    }

    /// Writes all entries as a JSON list.
    pub fn write(&self, path: &Path) -> Result<()> {
        let folder = path.parent().context("the results need a folder")?;
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let text = serde_json::to_string_pretty(&self.entries)?;
        std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
    }
}

/// The heads of the columns.
pub fn header() -> String {
    format!(
        "{:<46} {:>11} {:<8} {:>11} {:<34} {:>7} {:>7}",
        "what", "value", "unit", "reference", "which is", "ratio", "at most"
    )
}

fn line(entry: &Entry) -> String {
    let number = |value: f64| match value.abs() {
        1000.0.. => format!("{value:.0}"),
        10.0..1000.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    };
    let ratio = if entry.ratio < 0.1 { format!("{:.4}", entry.ratio) } else { format!("{:.2}", entry.ratio) };
    let at_most = entry.at_most.map_or(String::new(), |limit| format!("{limit:.2}"));
    let Entry { name, unit, reference, .. } = entry;
    format!(
        "{name:<46} {:>11} {unit:<8} {:>11} {reference:<34} {ratio:>7} {at_most:>7}  {}",
        number(entry.value),
        number(entry.reference_value),
        entry.verdict()
    )
}

/// The value in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_is_better_whatever_the_unit() {
        let mut report = Report::default();
        report.compare("time", (3.0, "ns"), ("raw", 2.0), 1.25);
        report.compare("speed", (3.0, "MB/s"), ("copy", 6.0), 2.0);
        report.compare("speed", (3.0, "MB/s"), ("copy", 6.0), None);
        let ratios: Vec<f64> = report.entries.iter().map(|entry| entry.ratio).collect();
        assert_eq!(ratios, [1.5, 2.0, 2.0]);
        let verdicts: Vec<&str> = report.entries.iter().map(Entry::verdict).collect();
        assert_eq!(verdicts, ["NOT REACHED", "ok", ""]);
        assert_eq!(report.limits(), (2, 1));
    }

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert_eq!(median(vec![9.0, 1.0, 5.0]), 5.0);
        assert!(median(Vec::new()).is_nan());
    }
}
