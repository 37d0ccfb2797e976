//! Measures what messages cost with the program `distance`, and sets what
//! distance adds to them.

use super::{Client, run::RunError};
use crate::distance::{self, Calibration, Costs};
use kernel::membership::{Distance, Role};
use kernel::protocol::tasks::Program;
use std::sync::PoisonError;
use thiserror::Error;

/// What every node image carries, unless it has another one of that name.
const PROGRAM: &str = "distance";

/// Why a machine is not calibrated.
#[derive(Debug, Error)]
pub enum CalibrateError {
    /// Its links add nothing.
    #[error("this machine adds no distance to messages; write [locality] into its file and start it again")]
    NoDistance,
    /// The program cannot be run.
    #[error("the program {PROGRAM} that measures cannot be run: {0}")]
    Run(#[from] RunError),
    /// It failed.
    #[error(
        "the program {PROGRAM} that measures failed; does the node image carry another one of that name? It wrote: {0}"
    )]
    Failed(String),
}

impl Client {
    /// Measures what messages cost, and sets what distance adds to them so that
    /// they come out as the machine's file has it. Takes a second or a few; other
    /// programs that run meanwhile spoil the result.
    ///
    /// # Errors
    /// See [`CalibrateError`]; then nothing has changed.
    pub fn calibrate(&self) -> Result<Calibration, CalibrateError> {
        let locality = self.locality.ok_or(CalibrateError::NoDistance)?;
        let _calibrating = self.calibrating.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.delays();
        let calibrated = distance::calibrate(&locality, |delays| {
            self.set_delays(delays);
            self.measure()
        });
        self.set_delays(calibrated.as_ref().map_or(before, Calibration::added));
        calibrated
    }

    /// What a message costs now, at each distance, as programs see it.
    ///
    /// # Errors
    /// See [`CalibrateError`].
    pub fn measure(&self) -> Result<Costs, CalibrateError> {
        // Two on each node: so each distance that there is in the machine is between some.
        let nodes = self.messenger.membership().with_role(Role::Node).count();
        let activities = u16::try_from(2 * nodes).unwrap_or(u16::MAX);
        let program = Program { name: PROGRAM.into(), arguments: vec!["--json".into()] };
        let mut written = Vec::new();
        let ended =
            self.start(program, activities)?.finish(|output| written.extend(output.bytes), || false)?;
        let written = String::from_utf8_lossy(&written).trim().to_owned();
        match serde_json::from_str(&written) {
            Ok(costs) if ended.task_force.failure().is_none() => Ok(costs),
            _ => Err(CalibrateError::Failed(written)),
        }
    }

    fn delays(&self) -> [u64; 3] {
        let membership = self.messenger.membership();
        Distance::ALL.map(|distance| membership.delay(distance).map_or(0, |delay| delay.ns()))
    }

    fn set_delays(&self, delays: [u64; 3]) {
        for (distance, ns) in Distance::ALL.into_iter().zip(delays) {
            if let Some(delay) = self.messenger.membership().delay(distance) {
                delay.set_ns(ns);
            }
        }
    }
}
