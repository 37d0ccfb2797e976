//! The clock: nanoseconds read from the TSC.
//!
//! At first they are those since the VM's start. Once the VM has joined its
//! machine they are those since the machine's: whoever joins it [`steer`]s the
//! clock, which from then on asks for a new [`Map`] whenever one ends. Steered or
//! not, it never goes back.
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
use crate::processor::critical::Locked;
use crate::processor::{apic, cores, features, traps};
use core::arch::x86_64::{_mm_lfence, _rdtsc};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use core::sync::atomic::{AtomicU32, AtomicU64, fence};

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

/// A scale is nanoseconds per TSC tick, times 2 to this.
const SCALE_BITS: u32 = 40;
/// A time that is ahead by so many nanoseconds of what was expected has jumped.
const JUMP_NS: u64 = 20_000;
/// Ticks for which a map goes on that ended before there was another one.
pub const LONGER: u64 = 1 << 20;

/// The time as a function of the TSC, up to a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Map {
    /// A tick...
    pub ticks: u64,
    /// ...and the time at it, in nanoseconds.
    pub ns: u64,
    /// Nanoseconds per tick, times 2^40.
    pub scale: u64,
    /// The first tick at which it does not count any more.
    pub until: u64,
    /// Nanoseconds from 1970 to the time's 0.
    pub wall_ns: u64,
}

impl Map {
    /// The time at a tick; before the map's first, that of the first.
    fn at(&self, ticks: u64) -> u64 {
        time_after(ticks.saturating_sub(self.ticks), self.ns, self.scale)
    }
}

/// The time so many ticks after a map's first.
#[inline]
fn time_after(ticks: u64, ns: u64, scale: u64) -> u64 {
    ns.wrapping_add(((u128::from(ticks) * u128::from(scale)) >> SCALE_BITS) as u64)
}

/// Whoever knows better than the TSC alone.
pub trait Steer: Sync {
    /// What counts from a tick on, if nothing later than `shown_ns` was shown
    /// before; so what it makes of `now` is not less. `None`: what counted goes
    /// on for [`LONGER`]. Called with interrupts off: must neither block nor
    /// allocate nor read the clock.
    fn map(&self, now: u64, shown_ns: u64) -> Option<Map>;
}

/// The words of a map.
#[repr(align(64))]
struct Place {
    ticks: AtomicU64,
    /// How many ticks it counts.
    span: AtomicU64,
    ns: AtomicU64,
    scale: AtomicU64,
    wall_ns: AtomicU64,
}

/// The map, in two places: that of the count's lowest bit is the newest, the
/// other one is written next. A reader never waits for a writer, which it may
/// have interrupted.
struct Latch {
    count: AtomicU64,
    places: [Place; 2],
}

impl Latch {
    /// What `of` makes of the newest map and of the ticks since its first.
    /// `None` if it does not count now, or became another one meanwhile.
    #[inline]
    fn look<T>(&self, of: impl FnOnce(&Place, u64) -> T) -> Option<T> {
        // SYNC: clock-map
        let count = self.count.load(Acquire);
        let place = &self.places[(count & 1) as usize];
        let (first, span) = (place.ticks.load(Relaxed), place.span.load(Relaxed));
        // SAFETY: every processor in long mode has a TSC.
        let after = unsafe { _rdtsc() }.wrapping_sub(first);
        let value = of(place, after);
        // SYNC: clock-map
        fence(Acquire);
        // A processor that has not seen the newest map until now may be before its first tick.
        (after < span && self.count.load(Relaxed) == count).then_some(value)
    }

    /// The newest map, whether it counts now or not.
    fn map(&self) -> Map {
        loop {
            let count = self.count.load(Acquire);
            let place = &self.places[(count & 1) as usize];
            let ticks = place.ticks.load(Relaxed);
            let map = Map {
                ticks,
                ns: place.ns.load(Relaxed),
                scale: place.scale.load(Relaxed),
                until: ticks.saturating_add(place.span.load(Relaxed)),
                wall_ns: place.wall_ns.load(Relaxed),
            };
            fence(Acquire);
            if self.count.load(Relaxed) == count {
                return map;
            }
        }
    }

    /// Makes this the map. Under the lock of `STEERED`, or before there are threads.
    fn set(&self, map: Map) {
        let count = self.count.load(Relaxed) + 1;
        // SYNC: clock-map: the count before this one is seen before what overwrites its place.
        fence(Release);
        let place = &self.places[(count & 1) as usize];
        place.ticks.store(map.ticks, Relaxed);
        place.span.store(map.until.saturating_sub(map.ticks), Relaxed);
        place.ns.store(map.ns, Relaxed);
        place.scale.store(map.scale, Relaxed);
        place.wall_ns.store(map.wall_ns, Relaxed);
        // SYNC: clock-map
        self.count.store(count, Release);
    }
}

/// What counts. [`initialize`] writes the first map; until then it is always 0.
static LATCH: Latch = Latch {
    count: AtomicU64::new(0),
    places: [const {
        Place {
            ticks: AtomicU64::new(0),
            span: AtomicU64::new(u64::MAX),
            ns: AtomicU64::new(0),
            scale: AtomicU64::new(0),
            wall_ns: AtomicU64::new(0),
        }
    }; 2],
};

/// Who steers the clock.
static STEERED: Locked<Option<&'static dyn Steer>> = Locked::new(None);

/// How often the time has jumped ahead.
static JUMPS: AtomicU32 = AtomicU32::new(0);

/// How often the time has jumped ahead: a timer that was set before, for what is
/// now earlier, comes too late.
pub fn jumps() -> u32 {
    JUMPS.load(Acquire)
}

/// Makes this the map in place of `old`, from the tick `now` on. After a jump
/// all cores are interrupted, this one as well, to set their timers anew.
fn follow(old: &Map, new: Map, now: u64) {
    LATCH.set(new);
    if new.at(now) > old.at(now).saturating_add(JUMP_NS) {
        JUMPS.fetch_add(1, Release);
        (0..cores::count()).for_each(|core| apic::interrupt(core, traps::LOOK));
    }
}

/// Asks for the map that follows, if the newest has ended: a tick and the map for it.
#[cold]
#[inline(never)]
fn next_map() -> (u64, Map) {
    STEERED.with(|steered| {
        let (now, map) = (ticks(), LATCH.map());
        // Another core may have asked meanwhile.
        if let Some(steered) = steered.filter(|_| now >= map.until) {
            let longer = Map { until: now.saturating_add(LONGER), ..map };
            follow(&map, steered.map(now, map.at(map.until)).unwrap_or(longer), now);
        }
        let map = LATCH.map();
        // Whoever is put away here for long shows the map's last moment.
        (ticks().min(map.until), map)
    })
}

/// Nanoseconds since the VM's start or, once it has joined its machine, since
/// the machine's. Never goes back.
#[inline]
pub fn now_ns() -> u64 {
    let look = |map: &Place, after| time_after(after, map.ns.load(Relaxed), map.scale.load(Relaxed));
    LATCH.look(look).unwrap_or_else(|| reading().1)
}

/// Nanoseconds since 1970, if the command line or the machine says when the clock started; else since then.
pub fn realtime_ns() -> u64 {
    let look = |map: &Place, after| {
        let now = time_after(after, map.ns.load(Relaxed), map.scale.load(Relaxed));
        map.wall_ns.load(Relaxed).saturating_add(now)
    };
    LATCH.look(look).unwrap_or_else(|| {
        let (now, map) = next_map();
        map.wall_ns.saturating_add(map.at(now))
    })
}

/// A tick, and the time at it.
pub fn reading() -> (u64, u64) {
    let (now, map) = next_map();
    (now, map.at(now))
}

/// The TSC, after everything before it.
pub fn ticks() -> u64 {
    // SAFETY: every processor in long mode has these.
    unsafe {
        _mm_lfence();
        _rdtsc()
    }
}

/// The clock's frequency in hertz, as it is known.
pub fn tsc_frequency() -> u64 {
    let scale = LATCH.map().scale;
    u64::try_from((1_000_000_000u128 << SCALE_BITS).div_ceil(u128::from(scale.max(1)))).unwrap_or(u64::MAX)
}

/// The TSC's value at `ns` nanoseconds of the clock, as far as it is known; 0 if that is past.
pub fn to_ticks(ns: u64) -> u64 {
    let map = LATCH.map();
    let Some(after) = ns.checked_sub(map.ns) else { return 0 };
    let ticks = (u128::from(after) << SCALE_BITS).div_ceil(u128::from(map.scale.max(1)));
    map.ticks.saturating_add(u64::try_from(ticks).unwrap_or(u64::MAX))
}

/// From now on `by` says what counts, at once and whenever a map ends; call it
/// again when it knows better.
pub fn steer(by: &'static dyn Steer) {
    STEERED.with(|steered| {
        // First the old map ends, so that no core goes on by it: whoever finds
        // that it has waits for the next one.
        let old = LATCH.map();
        LATCH.set(Map { until: ticks().min(old.until), ..old });
        fence(SeqCst);
        let now = ticks();
        follow(&old, by.map(now, old.at(now.min(old.until))).unwrap_or(old), now);
        *steered = Some(by);
    });
}

/// Finds the frequency; the APIC must be on.
pub fn initialize() {
    let parameter = |name| boot::parameter(name).and_then(|value| value.parse().ok());
    let frequency = parameter("tsc_hz").or_else(features::tsc_frequency).unwrap_or_else(measure).max(1);
    let scale = (1_000_000_000u128 << SCALE_BITS) / u128::from(frequency);
    LATCH.set(Map {
        ticks: 0,
        ns: 0,
        scale: u64::try_from(scale).unwrap_or(u64::MAX),
        until: u64::MAX,
        wall_ns: parameter("epoch").unwrap_or(0),
    });
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
