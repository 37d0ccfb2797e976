//! How late a sleep ends.

use std::thread;
use std::time::{Duration, Instant};

/// Sleeps of a millisecond that are measured at a time.
const SLEEPS: usize = 15;

/// Nanoseconds by which each of so many sleeps of this length ended late.
pub fn late(length: Duration, sleeps: usize) -> Vec<f64> {
    let sleep = |_| {
        let start = Instant::now();
        thread::sleep(length);
        start.elapsed().saturating_sub(length).as_nanos() as f64
    };
    (0..sleeps).map(sleep).collect()
}

/// That of a millisecond, in the middle of a few.
pub fn millisecond() -> f64 {
    let mut late = late(Duration::from_millis(1), SLEEPS);
    late.sort_by(f64::total_cmp);
    late[SLEEPS / 2]
}
