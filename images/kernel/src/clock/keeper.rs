//! Makes the machine's time follow the host's clocks (protocol.md C3). For the launcher.
//!
//! The host's monotonic clock is itself a function of the ticks, which the host
//! corrects now and then (NTP). Each reading of both gives the rate since the
//! last one; the next line has this rate, and a little more or less so that it
//! meets the host's clock at the next reading: a phase-locked loop of one step
//! (as RFC 5905, section 11.3, does it with a longer memory, since its readings
//! come through a network).
//!
//! Invariants:
//! * The time is continuous and its rate within [`MOST_SLEW_PPM`] of the one
//!   that was measured: it never goes back, within an era.
//! * A line begins [`LEAD_NS`] after it was made known, so that everybody who
//!   looks often enough changes to it at the same tick.

use super::line::{Line, SCALE_BITS, Timeline, scale, ticks};

/// What the host's clocks say at one tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The host's ticks.
    pub ticks: u64,
    /// The host's monotonic clock, in nanoseconds since the machine's 0.
    pub monotonic_ns: u64,
    /// The host's wall clock, in nanoseconds since 1970.
    pub wall_ns: u64,
}

/// So long before it begins to count a line is made known.
pub const LEAD_NS: u64 = 100_000_000;
/// What the time may run faster or slower than the host's clock, to meet it.
pub const MOST_SLEW_PPM: u64 = 500;
/// The first wait between two readings; it doubles until...
const FIRST_WAIT_NS: u64 = 2 * LEAD_NS;
/// ...this one: what the host is corrected by meanwhile is some microseconds.
const LONGEST_WAIT_NS: u64 = 8_000_000_000;
/// A rate that changes by more is none: ticks or clock jumped.
const JUMP_PPM: u64 = 1000;
/// The wall clock was set if it is off by more than readings are.
const WALL_NOISE_NS: u64 = 10_000;

/// Follows the host's clocks.
#[derive(Clone, Debug)]
pub struct Keeper {
    timeline: Timeline,
    last: Reading,
    wait_ns: u64,
}

/// A part of a scale in millionths.
fn ppm(scale: u64, millionths: u64) -> u64 {
    (u128::from(scale) * u128::from(millionths) / 1_000_000) as u64
}

impl Keeper {
    /// Begins with two readings, the further apart the better.
    pub fn new(first: Reading, now: Reading) -> Self {
        let span = now.monotonic_ns.saturating_sub(first.monotonic_ns);
        // Without a rate a tick is taken for a nanosecond, until the next reading.
        let scale = scale(span, now.ticks.saturating_sub(first.ticks)).unwrap_or(1 << SCALE_BITS);
        let line = Line { ticks: now.ticks, ns: now.monotonic_ns, scale };
        let wall = now.wall_ns.saturating_sub(now.monotonic_ns);
        let timeline = Timeline { before: line, after: line, wall_before: wall, wall_after: wall, era: 1 };
        Self { timeline, last: now, wait_ns: FIRST_WAIT_NS }
    }

    /// What is to be made known.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// How long to wait for the next reading.
    pub fn wait_ns(&self) -> u64 {
        self.wait_ns
    }

    /// Takes a reading; whether the timeline is another one now.
    pub fn take(&mut self, now: Reading) -> bool {
        if (self.last.ticks..self.timeline.after.ticks).contains(&now.ticks) {
            // The last line does not even count yet.
            return false;
        }
        let Some(rate) = self.rate(now) else {
            self.begin_anew(now);
            return true;
        };
        self.last = now;
        self.wait_ns = (self.wait_ns * 2).min(LONGEST_WAIT_NS);
        self.join(rate, now);
        true
    }

    /// Begins an era, at the rate that was known.
    fn begin_anew(&mut self, now: Reading) {
        let Timeline { after: Line { scale, .. }, era, .. } = self.timeline;
        *self = Self::new(now, now);
        (self.timeline.before.scale, self.timeline.after.scale) = (scale, scale);
        self.timeline.era = era + 1;
    }

    /// The rate since the last reading, or `None` if it makes no sense.
    fn rate(&self, now: Reading) -> Option<u64> {
        let span = now.monotonic_ns.checked_sub(self.last.monotonic_ns)?;
        let rate = scale(span, now.ticks.checked_sub(self.last.ticks)?)?;
        let known = self.timeline.after.scale;
        (rate.abs_diff(known) <= ppm(known, JUMP_PPM)).then_some(rate)
    }

    /// Lets a line begin after the lead that meets the host's clock after the next wait.
    fn join(&mut self, rate: u64, now: Reading) {
        let before = self.timeline.after;
        let begins = now.ticks.saturating_add(ticks(LEAD_NS, rate));
        let ns = before.at(begins);
        let host = Line { ticks: now.ticks, ns: now.monotonic_ns, scale: rate }.at(begins);
        let most = u128::from(ppm(rate, MOST_SLEW_PPM));
        let slew =
            (u128::from(host.abs_diff(ns)) * u128::from(rate) / u128::from(self.wait_ns)).min(most) as u64;
        let scale = if host >= ns { rate + slew } else { rate - slew };
        let (wall, old) = (now.wall_ns.saturating_sub(now.monotonic_ns), self.timeline.wall_after);
        self.timeline = Timeline {
            before,
            after: Line { ticks: begins, ns, scale },
            wall_before: old,
            wall_after: if wall.abs_diff(old) > WALL_NOISE_NS { wall } else { old },
            era: self.timeline.era,
        };
    }
}
