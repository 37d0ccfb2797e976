//! Machines that are made up, and what is added to their messages.

use super::*;
use std::convert::Infallible;

const USUAL: Locality = Locality { within: 3, between: 9 };

fn costs([local, within, between]: [Option<f64>; 3]) -> Costs {
    Costs { local, within, between }
}

/// Calibrates a machine whose messages cost what `cost` makes of what is added.
fn calibrate_model(locality: &Locality, cost: impl Fn(usize, f64) -> Option<f64>) -> Calibration {
    let measure = |added: [u64; 3]| {
        let cost = |index: usize| cost(index, added[index] as f64);
        Ok::<_, Infallible>(costs([cost(0), cost(1), cost(2)]))
    };
    let Ok(calibration) = calibrate(locality, measure);
    calibration
}

fn configured_ratios_hold(calibration: &Calibration) {
    assert!(calibration.off_by() <= GOOD, "{calibration:?}");
}

#[test]
fn whichever_distance_is_dearest_by_itself_the_ratios_come_out() {
    for natural in [[5000.0, 5000.0, 5000.0], [3000.0, 40_000.0, 6000.0], [1.0, 2.0, 90_000.0]] {
        for locality in [USUAL, Locality { within: 1, between: 1 }, Locality { within: 2, between: 50 }] {
            let calibration = calibrate_model(&locality, |index, added| Some(natural[index] + added));
            configured_ratios_hold(&calibration);
            let given: Vec<_> = calibration.distances.iter().map(|row| row.natural_ns).collect();
            assert_eq!(given, natural.map(Some));
        }
    }
}

#[test]
fn that_who_waits_long_sleeps_and_pays_for_it_is_made_up_for() {
    // Waits of 20 us and more are slept through, which costs 15 us.
    let sleepy = |_, added: f64| {
        let cost = 6000.0 + added;
        Some(if cost > 20_000.0 { cost + 15_000.0 } else { cost })
    };
    configured_ratios_hold(&calibrate_model(&USUAL, sleepy));
}

#[test]
fn a_distance_that_nobody_is_at_is_as_far_as_if_it_cost_what_the_other_does() {
    let calibration = calibrate_model(&USUAL, |index, added| (index != 1).then_some(10_000.0 + added));
    let added = calibration.added();
    // The unit is 11 us.
    assert_eq!(added, [1000, 23_000, 89_000]);
    assert_eq!((calibration.distances[1].message_ns, calibration.distances[1].ratio), (None, None));
}

#[test]
fn where_nothing_can_be_measured_nothing_is_added() {
    let calibration = calibrate_model(&USUAL, |_, _| None);
    assert_eq!(calibration.added(), [0; 3]);
    let nonsense = calibrate_model(&USUAL, |_, _| Some(f64::NAN));
    assert_eq!(nonsense.added(), [0; 3]);
}

#[test]
fn the_best_that_was_seen_counts() {
    // What it costs changes all the time, and is right only once.
    let mut calls = 0;
    let measure = |_: [u64; 3]| {
        calls += 1;
        let local = 1000.0;
        let off = if calls == 4 { 1.05 } else { 2.0 };
        Ok::<_, Infallible>(costs([Some(local), Some(3.0 * local), Some(9.0 * local * off)]))
    };
    let Ok(calibration) = calibrate(&USUAL, measure);
    assert!((calibration.off_by() - 1.05).abs() < 1e-9, "{calibration:?}");
}

#[test]
fn the_first_failure_ends_it() {
    assert_eq!(calibrate(&USUAL, |_| Err::<Costs, _>("no")), Err("no"));
}
