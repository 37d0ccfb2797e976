//! What a VM shows as the time: a function of its own ticks (protocol.md C6).
//!
//! It is the timeline at the VM's ticks plus its offset. As the offset becomes
//! better known that may come to lie before what was shown: then the VM shows a
//! time that runs slower by [`SLEW`] until it is right again. Where it comes to lie
//! after, the VM shows it at once. So what it shows never goes back.
//!
//! A map counts until its end, at most [`RECHECK_NS`], which is less than the lead
//! with which new lines are made known: a VM that looks at the page again then
//! misses no line's beginning, and one that shows the time to nobody need not look.

use super::keeper::LEAD_NS;
use super::line::{Line, nanoseconds, ticks};
use super::offset::Bounds;
use super::page::Page;
use core::sync::atomic::Ordering::{Acquire, Release};
use core::sync::atomic::{AtomicI64, AtomicU64};

/// A map counts for so long at most.
pub const RECHECK_NS: u64 = LEAD_NS / 2;
/// The part of its rate by which a time that is ahead runs slower: 488 ppm.
pub const SLEW: u64 = 2048;
/// What rounding may add to an error.
const ROUNDING_NS: u64 = 2;

/// What a VM shows, from a tick of its own until another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Map {
    /// The machine's time as a function of the VM's ticks.
    pub line: Line,
    /// The first tick at which it does not count any more.
    pub until: u64,
    /// Nanoseconds from 1970 to the machine's 0.
    pub wall_ns: u64,
}

/// Steers the clock of a VM.
#[derive(Debug)]
pub struct Steering {
    page: Page,
    /// The host's ticks less the VM's, as well as is known.
    offset: AtomicI64,
    /// By how many ticks that may be wrong; `u64::MAX` if nobody knows.
    error: AtomicU64,
    /// The era of the timeline in which the offset was found.
    era: AtomicU64,
}

impl Steering {
    /// Steers by this page, with a guess at the offset.
    pub fn new(page: Page, guess: i64) -> Self {
        Self { page, offset: AtomicI64::new(guess), error: AtomicU64::new(u64::MAX), era: AtomicU64::new(0) }
    }

    /// The timeline by which it steers.
    pub fn page(&self) -> &Page {
        &self.page
    }

    /// From now on the offset is the middle of this interval, which was found in this era.
    pub fn set_offset(&self, bounds: Bounds, era: u64) {
        // Whoever reads between these stores sees that nobody knows.
        self.error.store(u64::MAX, Release);
        self.offset.store(bounds.middle(), Release);
        self.era.store(era, Release);
        self.error.store(bounds.width().div_ceil(2), Release);
    }

    /// The host's ticks less the VM's, as well as is known.
    pub fn offset(&self) -> i64 {
        self.offset.load(Acquire)
    }

    /// What to show from the VM's tick `now` on, if nothing later than `shown_ns`
    /// was shown before (the last map's value at its end, if that is past: what it
    /// would have come to since, at a rate that counts no more, nobody saw). `None` before the launcher has made a timeline known.
    pub fn map(&self, now: u64, shown_ns: u64) -> Option<Map> {
        let timeline = self.page.read()?;
        let host = now.wrapping_add_signed(self.offset());
        let (line, wall_ns) = timeline.line(host);
        let (ns, scale) = (line.at(host), line.scale);
        let mut span = ticks(RECHECK_NS, scale);
        if let Some(left) = timeline.after.ticks.checked_sub(host).filter(|&left| left > 0) {
            span = span.min(left);
        }
        let ahead = shown_ns.saturating_sub(ns);
        let mut shown = Line { ticks: now, ns: ns.max(shown_ns), scale };
        if ahead > 0 {
            shown.scale -= scale / SLEW;
            span = span.min(ticks(ahead.saturating_mul(SLEW), scale));
        }
        Some(Map { line: shown, until: now.saturating_add(span.max(1)), wall_ns })
    }

    /// By how much what a VM shows at its tick `now` may be wrong, in
    /// nanoseconds; `None` if nobody knows.
    pub fn uncertainty_ns(&self, now: u64, shown_ns: u64) -> Option<u64> {
        let error = Some(self.error.load(Acquire)).filter(|&error| error != u64::MAX)?;
        let timeline = self.page.read().filter(|timeline| timeline.era == self.era.load(Acquire))?;
        let host = now.wrapping_add_signed(self.offset());
        let (line, _) = timeline.line(host);
        let error = nanoseconds(error, line.scale);
        // The truth may be on another line, whose rate is nearly the same.
        Some(shown_ns.abs_diff(line.at(host)) + error + error / 512 + ROUNDING_NS)
    }
}
