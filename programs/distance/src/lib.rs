//! Measures what a message costs, as programs see it: on one node, within a
//! cluster, and between clusters.
//!
//! Of all activities one leads, whichever has others at the most distances. It
//! sends an empty message to one at each distance and waits for the answer,
//! again and again, the distances in turns; half the median round trip is what a
//! message costs. The more activities, the more distances there are: with twice
//! as many as there are nodes there are all.
//!
//! `distance` writes a table, `distance --json` one line:
//! `{"local": 3050.0, "within": 9120.5, "between": null}`, in nanoseconds.
#![forbid(unsafe_code)]

mod pairs;
mod report;

use cyanea::{Distance, Error};
use std::process::ExitCode;
use std::time::Instant;

/// Turns of each distance.
const ROUNDS: usize = 15;
/// Round trips of a turn.
const TRIPS: usize = 24;
/// Round trips before them that do not count: both ends get used to each other.
const WARM_UP: usize = 8;

/// An answer: that of somebody who is asked for nothing more.
const OVER: &[u8] = b"over";

/// The program.
pub fn main() -> ExitCode {
    let as_json = match cyanea::args().iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--json"] => true,
        _ => {
            eprintln!("distance: it takes --json or nothing");
            return ExitCode::from(2);
        }
    };
    match measure() {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(costs)) => {
            print!("{}", if as_json { report::json(&costs) } else { report::table(&costs) });
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("distance: a message was not sent or received: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What a message costs at each distance, in nanoseconds, where there is
/// anybody; `None` for an activity that does not lead.
type Costs = [Option<f64>; 3];

fn measure() -> Result<Option<Costs>, Error> {
    let me = cyanea::activity();
    let places: Vec<_> = (0..me.count).map(cyanea::place).collect::<Result<_, _>>()?;
    let (leader, partners) = pairs::choose(&places);
    if me.index == leader {
        lead(&partners).map(Some)
    } else {
        if partners.contains(&Some(me.index)) {
            answer(leader)?;
        }
        Ok(None)
    }
}

/// Measures with each partner in turns.
fn lead(partners: &[Option<usize>; 3]) -> Result<Costs, Error> {
    let mut times = Distance::ALL.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for (partner, times) in partners.iter().zip(&mut times) {
            let Some(partner) = *partner else { continue };
            for trip in 0..WARM_UP + TRIPS {
                let start = Instant::now();
                cyanea::send(partner, &[])?;
                cyanea::receive()?;
                if trip >= WARM_UP {
                    times.push(start.elapsed().as_nanos() as f64);
                }
            }
        }
    }
    for partner in partners.iter().flatten() {
        cyanea::send(*partner, OVER)?;
    }
    Ok(times.map(|times| median(times).map(|round_trip| round_trip / 2.0)))
}

/// Answers whatever comes until it is over.
fn answer(leader: usize) -> Result<(), Error> {
    while cyanea::receive()?.body != OVER {
        cyanea::send(leader, &[])?;
    }
    Ok(())
}

/// The value in the middle.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
