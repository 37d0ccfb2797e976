//! Two host threads, each on a processor of its own, that send each other
//! something: the frame that is the same whatever they send it through.

use anyhow::{Result, anyhow};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::sync::Barrier;
use std::time::Instant;

/// Nanoseconds of one of `trips` round trips: `lead` sends and awaits,
/// `follow` awaits and sends.
pub fn round_trip(trips: u64, mut lead: impl FnMut() + Send, mut follow: impl FnMut() + Send) -> Result<f64> {
    let spent = on_two_processors(
        move || (0..trips).for_each(|_| lead()),
        move || (0..trips).for_each(|_| follow()),
    )?;
    Ok(spent / trips as f64)
}

/// Millions a second of `messages` that `send` sends and `receive` receives.
pub fn throughput(
    messages: u64,
    mut send: impl FnMut() + Send,
    mut receive: impl FnMut() + Send,
) -> Result<f64> {
    let spent = on_two_processors(
        move || (0..messages).for_each(|_| receive()),
        move || (0..messages).for_each(|_| send()),
    )?;
    Ok(messages as f64 * 1e3 / spent)
}

/// Runs both closures at once on threads of their own, each on a processor of
/// its own; the nanoseconds that the first one took.
fn on_two_processors(first: impl FnOnce() + Send, second: impl FnOnce() + Send) -> Result<f64> {
    let usable = sched_getaffinity(None)?;
    let mut processors = (0..CpuSet::MAX_CPU).filter(|&processor| usable.is_set(processor));
    let (Some(one), Some(other)) = (processors.next(), processors.next()) else {
        return Err(anyhow!("two processors are needed"));
    };
    let barrier = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pin(other);
            barrier.wait();
            second();
        });
        let first = scope.spawn(|| {
            pin(one);
            barrier.wait();
            let start = Instant::now();
            first();
            start.elapsed().as_nanos() as f64
        });
        first.join().map_err(|_| anyhow!("a measuring thread panicked"))
    })
}

/// Pins this thread. If the host refuses, the numbers are worse, not wrong.
fn pin(processor: usize) {
    let mut set = CpuSet::new();
    set.set(processor);
    let _ = sched_setaffinity(None, &set);
}
