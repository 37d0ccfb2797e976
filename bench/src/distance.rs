//! What messages cost at a distance, of a local one: after calibration, and as
//! the machine's file has it.

use crate::Bench;
use crate::machine::Up;
use crate::report::median;
use anyhow::{Context, Result};
use orchestration::distance::Costs;

/// Two clusters of two nodes, as far apart as is usual.
const MACHINE: &str = "name = \"bench\"\n[clusters.a]\nnodes = 2\n[clusters.b]\nnodes = 2\n[locality]\n";
/// What is usual.
const CONFIGURED: [f64; 2] = [3.0, 9.0];
/// Calibrations.
const RUNS: usize = 5;
/// Measurements after each.
const MEASUREMENTS: usize = 3;

/// Calibrates and measures, and says how far the ratios are off, either way.
pub fn ratios(bench: &mut Bench) -> Result<()> {
    let up = Up::start(bench, MACHINE, "node")?;
    let (mut within, mut between) = (Vec::new(), Vec::new());
    for run in 1..=RUNS {
        bench.say(&format!("messages at a distance: run {run} of {RUNS}"));
        up.client.calibrate()?;
        for _ in 0..MEASUREMENTS {
            let [near, far] = of_local(up.client.measure()?).context("a distance was not measured")?;
            within.push(near);
            between.push(far);
        }
    }
    let names = ["within a cluster", "between clusters"];
    for ((name, configured), ratios) in names.into_iter().zip(CONFIGURED).zip([within, between]) {
        let report = &mut bench.report;
        let ratio = median(ratios.clone());
        report.compare(
            &format!("distance: message {name}"),
            (ratio, "x local"),
            ("what the file says", configured),
            None,
        );
        let off = ratios.into_iter().map(|ratio| (ratio / configured).max(configured / ratio));
        report.compare(
            &format!("distance: {name}, off by a factor of"),
            (median(off.collect()), "times"),
            ("nothing", 1.0),
            1.15,
        );
    }
    Ok(())
}

/// What messages within and between clusters cost, of local ones.
fn of_local(costs: Costs) -> Option<[f64; 2]> {
    let local = costs.local?;
    Some([costs.within? / local, costs.between? / local])
}
