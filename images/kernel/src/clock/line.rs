//! Time as a function of ticks: a line, and two that join.

/// A scale is nanoseconds per tick, times 2 to this.
pub const SCALE_BITS: u32 = 40;

/// A straight line through a point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The point's tick.
    pub ticks: u64,
    /// The point's nanosecond.
    pub ns: u64,
    /// Nanoseconds per tick, times 2^[`SCALE_BITS`].
    pub scale: u64,
}

impl Line {
    /// The nanosecond at a tick, rounded towards the point.
    pub fn at(&self, ticks: u64) -> u64 {
        match ticks.checked_sub(self.ticks) {
            Some(after) => self.ns.saturating_add(nanoseconds(after, self.scale)),
            None => self.ns.saturating_sub(nanoseconds(self.ticks - ticks, self.scale)),
        }
    }
}

/// So many ticks in nanoseconds.
pub fn nanoseconds(ticks: u64, scale: u64) -> u64 {
    u64::try_from((u128::from(ticks) * u128::from(scale)) >> SCALE_BITS).unwrap_or(u64::MAX)
}

/// So many nanoseconds in ticks, rounded up.
pub fn ticks(ns: u64, scale: u64) -> u64 {
    let ticks = (u128::from(ns) << SCALE_BITS).div_ceil(u128::from(scale.max(1)));
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

/// The scale of so many ticks in so many nanoseconds, if there is one.
pub fn scale(ns: u64, ticks: u64) -> Option<u64> {
    let scale = (u128::from(ns) << SCALE_BITS).checked_div(u128::from(ticks))?;
    u64::try_from(scale).ok().filter(|&scale| scale > 0)
}

/// Ticks per second of a scale.
pub fn frequency(scale: u64) -> u64 {
    ticks(1_000_000_000, scale)
}

/// The machine's time as a function of the host's ticks, around now: one line
/// up to where the next begins, and that one from there on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// What counts until `after` begins.
    pub before: Line,
    /// What counts from its point on; they meet there.
    pub after: Line,
    /// Nanoseconds from 1970 to the machine's 0, before `after` begins.
    pub wall_before: u64,
    /// The same from there on; another one only if the host's date was set.
    pub wall_after: u64,
    /// Counts how often the host's ticks or clock jumped: offsets that were
    /// found before that mean nothing any more.
    pub era: u64,
}

impl Timeline {
    /// The line that counts at a tick of the host, and the wall clock's nanoseconds at the machine's 0.
    pub fn line(&self, ticks: u64) -> (&Line, u64) {
        match ticks < self.after.ticks {
            true => (&self.before, self.wall_before),
            false => (&self.after, self.wall_after),
        }
    }

    /// The machine's time at a tick of the host.
    pub fn at(&self, ticks: u64) -> u64 {
        self.line(ticks).0.at(ticks)
    }
}
