//! The clock: nanoseconds since the VM's start, read from the TSC.
//!
//! The TSC's frequency is found, in this order:
//! 1. `tsc_hz=` on the command line: whoever starts the VM knows it (TCG passes
//!    the host's TSC through, less an offset).
//! 2. CPUID, where processor or hypervisor say it.
//! 3. By measurement against the local APIC's timer, the only other clock of a
//!    microvm: it counts nanoseconds of the VM's time, under TCG and KVM alike.
//!    Both ends of a [`MEASURE`] long interval are read several times, and the
//!    readings count that took the least time. That is within 0.02 %.
//!
//! The TSC of a VM starts with it at 0, so the clock does; `epoch=` on the
//! command line says which time of day that was.

use crate::boot;
use crate::processor::{apic, features};
use core::arch::x86_64::_rdtsc;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Nanoseconds for which the TSC is measured.
const MEASURE: u32 = 1_000_000;
/// Measurements that are tried.
const MOST_TRIES: usize = 8;
/// Ticks per second that are assumed if none succeeds.
const ASSUMED: u64 = 1_000_000_000;
/// Nanoseconds before the first reading, in which TCG translates what the readings run.
const WARM_UP: u32 = 50_000;
/// Readings at each end, at least.
const READINGS: usize = 16;
/// Readings at each end, at most. Right after the timer was started, QEMU
/// answers slowly (6 us instead of 0.1) for some dozens of readings.
const MOST_READINGS: usize = 200;
/// TSC ticks of a reading that is quick enough: it spoils the result by less than 2^-11.
const QUICK: u64 = 1000;

/// Nanoseconds per TSC tick, times 2^32.
static SCALE: AtomicU64 = AtomicU64::new(1 << 32);
/// TSC ticks per second.
static FREQUENCY: AtomicU64 = AtomicU64::new(1_000_000_000);
/// Nanoseconds since 1970 at the clock's 0.
static EPOCH: AtomicU64 = AtomicU64::new(0);

/// Nanoseconds since the VM's start. Never goes back.
#[inline]
pub fn now_ns() -> u64 {
    // SAFETY: every processor in long mode has a TSC.
    let ticks = unsafe { _rdtsc() };
    ((u128::from(ticks) * u128::from(SCALE.load(Relaxed))) >> 32) as u64
}

/// Nanoseconds since 1970, if the command line said when the VM started; else since its start.
pub fn realtime_ns() -> u64 {
    EPOCH.load(Relaxed).saturating_add(now_ns())
}

/// The clock's frequency in hertz, as it was given or measured.
pub fn tsc_frequency() -> u64 {
    FREQUENCY.load(Relaxed)
}

/// The TSC's value at `ns` nanoseconds of the clock.
pub fn to_ticks(ns: u64) -> u64 {
    let ticks = (u128::from(ns) << 32).div_ceil(u128::from(SCALE.load(Relaxed)));
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

/// Finds the frequency; the APIC must be on.
pub fn initialize() {
    let given = boot::parameter("tsc_hz").and_then(|value| value.parse().ok());
    let frequency = given.or_else(features::tsc_frequency).unwrap_or_else(measure).max(1);
    FREQUENCY.store(frequency, Relaxed);
    SCALE.store(((1_000_000_000u128 << 32) / u128::from(frequency)) as u64, Relaxed);
    if let Some(epoch) = boot::parameter("epoch").and_then(|value| value.parse().ok()) {
        EPOCH.store(epoch, Relaxed);
    }
}

/// The TSC's frequency, by the APIC's timer. A measurement in which a clock
/// stood still or jumped (the host was busy for seconds, or moved this
/// processor to another of its own) is not believed.
fn measure() -> u64 {
    (0..MOST_TRIES).find_map(|_| measure_once()).unwrap_or(ASSUMED)
}

fn measure_once() -> Option<u64> {
    apic::start_stopwatch();
    let (start_ticks, start) = reading_after(WARM_UP);
    let (end_ticks, end) = reading_after(start.checked_add(MEASURE)?);
    let ticks = end_ticks.checked_sub(start_ticks).filter(|&ticks| ticks > 0)?;
    let passed = end.checked_sub(start).filter(|&passed| passed >= MEASURE)?;
    u64::try_from(u128::from(ticks) * 1_000_000_000 / u128::from(passed)).ok()
}

/// TSC and stopwatch at the same moment, as nearly as may be, when so many
/// nanoseconds have passed.
#[inline(never)]
fn reading_after(nanoseconds: u32) -> (u64, u32) {
    while apic::stopwatch() < nanoseconds {
        core::hint::spin_loop();
    }
    let mut best = (u64::MAX, 0, 0);
    for count in 0..MOST_READINGS {
        if count >= READINGS && best.0 < QUICK {
            break;
        }
        // SAFETY: every processor in long mode has a TSC.
        let before = unsafe { _rdtsc() };
        let stopwatch = apic::stopwatch();
        // SAFETY: as above.
        let after = unsafe { _rdtsc() };
        if after - before < best.0 {
            best = (after - before, before + (after - before) / 2, stopwatch);
        }
    }
    (best.1, best.2)
}
