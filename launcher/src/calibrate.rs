//! `cyanea calibrate`, and what `up` does of it.

use crate::arguments::{Calibrate, Target};
use crate::client::{aligned, ask};
use crate::output::put;
use anyhow::Result;
use orchestration::control::{Reply, Request};
use orchestration::distance::{Calibrated, Calibration};

pub fn run(calibrate: &Calibrate) -> Result<u8> {
    let calibration = calibration(&calibrate.target)?;
    let text = match calibrate.json {
        true => serde_json::to_string_pretty(&calibration)? + "\n",
        false => table(&calibration),
    };
    put(text.as_bytes())?;
    Ok(0)
}

/// Calibrates the machine of this name, which is about to be used.
pub fn at_start(machine: &str) -> Result<Calibration> {
    calibration(&Target { machine: Some(machine.into()) })
}

fn calibration(target: &Target) -> Result<Calibration> {
    ask(target, &Request::Calibrate, |reply| match reply {
        Reply::Calibrated(calibration) => Some(calibration),
        _ => None,
    })
}

/// A line for each distance.
fn table(calibration: &Calibration) -> String {
    let head = ["DISTANCE", "NATURAL", "ADDED", "MESSAGE", "OF LOCAL", "CONFIGURED"].map(String::from);
    let lines = calibration.distances.iter().map(line);
    aligned(&std::iter::once(head).chain(lines).collect::<Vec<_>>())
}

fn line(row: &Calibrated) -> [String; 6] {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let time = |ns: f64| format!("{:.2} us", ns / 1000.0);
    [
        row.distance.clone(),
        or_none(row.natural_ns.map(time)),
        time(row.added_ns as f64),
        or_none(row.message_ns.map(time)),
        or_none(row.ratio.map(|ratio| format!("{ratio:.2}"))),
        row.configured.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_for_each_distance() {
        let near = Calibrated {
            distance: "local".into(),
            natural_ns: Some(3000.0),
            added_ns: 1250,
            message_ns: Some(4250.0),
            ratio: Some(1.0),
            configured: 1,
        };
        let nobody = Calibrated {
            distance: "within".into(),
            natural_ns: None,
            message_ns: None,
            ratio: None,
            configured: 3,
            ..near.clone()
        };
        let text = table(&Calibration { distances: vec![near, nobody] });
        let expected = "DISTANCE  NATURAL  ADDED    MESSAGE  OF LOCAL  CONFIGURED\n\
                        local     3.00 us  1.25 us  4.25 us  1.00      1\n\
                        within    -        1.25 us  -        -         3\n";
        assert_eq!(text, expected);
    }
}
