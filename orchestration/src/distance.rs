//! How much to add to messages so that distance costs what it shall.
//!
//! What a message costs by itself (*natural*) depends on the host: on one with
//! few processors a VM of another cluster may be nearer than one of the own. A
//! local message shall cost one *unit*, one within a cluster and one between
//! clusters so many units as the machine's file says. Nothing can be made
//! cheaper, so the unit is the least with which no natural cost is too high, and
//! some [`ROOM`] beside. What is added to each distance then is what it lacks.
//!
//! What is added does not simply add up: whoever waits longer may go to sleep,
//! and pay for it. So it is measured again, and corrected by what is off (after
//! two [`WHOLE`] steps by a [`PART`] of it, lest it swings), until all is within
//! [`GOOD`], at most [`MOST_STEPS`] times; the best counts.

use crate::machine_file::Locality;
use kernel::membership::Distance;
use serde::{Deserialize, Serialize};

/// What the unit has beyond the least that it could be.
const ROOM: f64 = 1.1;
/// A cost that is off by no more than this factor is left alone.
const GOOD: f64 = 1.05;
/// Corrections that are made in full.
const WHOLE: usize = 2;
/// The part that is made of later ones.
const PART: f64 = 0.6;
/// Most corrections.
const MOST_STEPS: usize = 8;

/// What a message costs at each distance, in nanoseconds, where there is anybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    /// On one node.
    pub local: Option<f64>,
    /// Within a cluster.
    pub within: Option<f64>,
    /// Between clusters.
    pub between: Option<f64>,
}

impl Costs {
    /// By distance; what is no length of time was not measured.
    fn by_distance(self) -> [Option<f64>; 3] {
        [self.local, self.within, self.between].map(|cost| cost.filter(|ns| ns.is_finite() && *ns > 0.0))
    }
}

/// What distances cost by themselves, and what was made of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Each distance, the nearest first.
    pub distances: Vec<Calibrated>,
}

/// One distance. Times are nanoseconds a message; those are missing that are
/// between no two nodes of the machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibrated {
    /// `local`, `within`, or `between`.
    pub distance: String,
    /// What it cost with nothing added.
    pub natural_ns: Option<f64>,
    /// What is added.
    pub added_ns: u64,
    /// What it costs now.
    pub message_ns: Option<f64>,
    /// What that is of a local message.
    pub ratio: Option<f64>,
    /// What it shall be.
    pub configured: u16,
}

impl Calibration {
    fn new(locality: &Locality, natural: [Option<f64>; 3], step: &Step) -> Self {
        let row = |distance: Distance| {
            let index = distance as usize;
            Calibrated {
                distance: distance.to_string(),
                natural_ns: natural[index],
                added_ns: step.added[index],
                message_ns: step.costs[index],
                ratio: step.costs[index].zip(step.costs[0]).map(|(cost, local)| cost / local),
                configured: ratios(locality)[index],
            }
        };
        Self { distances: Distance::ALL.map(row).into() }
    }

    /// What is added to each distance, in nanoseconds.
    pub fn added(&self) -> [u64; 3] {
        let mut added = [0; 3];
        added.iter_mut().zip(&self.distances).for_each(|(ns, row)| *ns = row.added_ns);
        added
    }

    /// The largest factor by which a ratio is off, either way.
    pub fn off_by(&self) -> f64 {
        let rows = self.distances.iter();
        let off = rows.filter_map(|row| row.ratio.map(|ratio| ratio / f64::from(row.configured)));
        off.map(|ratio| ratio.max(1.0 / ratio)).fold(1.0, f64::max)
    }
}

fn ratios(locality: &Locality) -> [u16; 3] {
    [1, locality.within, locality.between]
}

/// What was added, and what messages cost with it.
struct Step {
    added: [u64; 3],
    costs: [Option<f64>; 3],
}

/// Finds what to add. `measure` sets what is added to each distance, and says
/// what messages cost then.
///
/// # Errors
/// The first of `measure`.
pub fn calibrate<E>(
    locality: &Locality,
    mut measure: impl FnMut([u64; 3]) -> Result<Costs, E>,
) -> Result<Calibration, E> {
    let ratios = ratios(locality).map(f64::from);
    let mut step = Step { added: [0; 3], costs: measure([0; 3])?.by_distance() };
    let natural = step.costs;
    let mut best = Calibration::new(locality, natural, &step);
    let mut unit = 0.0;
    for number in 0..MOST_STEPS {
        unit = least_unit(&step, &ratios).max(unit);
        let part = if number < WHOLE { 1.0 } else { PART };
        let added = correct(&step, unit, &ratios, part);
        step = Step { added, costs: measure(added)?.by_distance() };
        let calibration = Calibration::new(locality, natural, &step);
        if calibration.off_by() < best.off_by() {
            best = calibration;
        }
        if best.off_by() <= GOOD {
            break;
        }
    }
    Ok(best)
}

/// The least unit with which no distance costs too much though nothing is added.
fn least_unit(step: &Step, ratios: &[f64; 3]) -> f64 {
    let bare = (0..3).filter(|&index| step.added[index] == 0);
    bare.filter_map(|index| Some(step.costs[index]? / ratios[index] * ROOM)).fold(0.0, f64::max)
}

/// What to add instead of what was: changed by so large a part of what is off.
/// A distance at which there is nobody to measure with gets as much as if it
/// cost what the other one does by itself.
fn correct(step: &Step, unit: f64, ratios: &[f64; 3], part: f64) -> [u64; 3] {
    let bare = |index: usize| step.costs[index].map(|cost| cost - step.added[index] as f64);
    let added = |index: usize| {
        let (own, other) = (bare(index), if index == 0 { None } else { bare(3 - index) });
        let Some(bare) = own.or(other) else { return 0 };
        let (wanted, before) = (unit * ratios[index] - bare, step.added[index] as f64);
        let change = if own.is_some() { part * (wanted - before) } else { wanted - before };
        (before + change).max(0.0) as u64
    };
    [added(0), added(1), added(2)]
}

#[cfg(test)]
mod tests;
