//! The host's clocks: its ticks, its monotonic clock and its date, read together.

use crate::sys;
use kernel::clock::keeper::Reading;
use rustix::time::{ClockId, clock_gettime};

/// Readings of which the quickest counts.
const READINGS: usize = 8;

/// The host's clocks, since a machine's start.
#[derive(Clone, Copy, Debug)]
pub struct HostClock {
    /// The monotonic clock at the machine's 0.
    zero_ns: u64,
    first: Reading,
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

impl HostClock {
    /// Now is the machine's 0.
    pub fn start() -> Self {
        let first = read(0);
        let zero_ns = first.monotonic_ns;
        Self { zero_ns, first: Reading { monotonic_ns: 0, ..first } }
    }

    /// What the clocks said at the machine's 0.
    pub fn first(&self) -> Reading {
        self.first
    }

    /// What the clocks say now.
    pub fn read(&self) -> Reading {
        read(self.zero_ns)
    }

    /// The monotonic clock, in nanoseconds since the machine's 0.
    pub fn now_ns(&self) -> u64 {
        nanoseconds(ClockId::Monotonic).wrapping_sub(self.zero_ns)
    }
}

/// All clocks at the same tick, as nearly as may be.
fn read(zero_ns: u64) -> Reading {
    let readings = (0..READINGS).map(|_| {
        let before = sys::ticks();
        let monotonic_ns = nanoseconds(ClockId::Monotonic).wrapping_sub(zero_ns);
        let after = sys::ticks();
        let wall_ns = nanoseconds(ClockId::Realtime);
        let ticks = before + after.saturating_sub(before) / 2;
        (sys::ticks().saturating_sub(before), Reading { ticks, monotonic_ns, wall_ns })
    });
    let best = readings.min_by_key(|(took, _)| *took);
    best.map_or(Reading { ticks: 0, monotonic_ns: 0, wall_ns: 0 }, |(_, reading)| reading)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_go_on_together() {
        let clock = HostClock::start();
        let (first, mut last) = (clock.first(), clock.first());
        assert_eq!(first.monotonic_ns, 0);
        for _ in 0..1000 {
            let now = clock.read();
            assert!(now.ticks > last.ticks && now.monotonic_ns >= last.monotonic_ns);
            last = now;
        }
        assert!(clock.now_ns() >= last.monotonic_ns && last.wall_ns > 0);
    }
}
