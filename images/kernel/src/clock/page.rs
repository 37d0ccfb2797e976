//! The timeline in memory that the launcher writes and all VMs read (protocol.md C1, C2).
//!
//! There are two places for it and a count: the place of the count's lowest bit
//! holds the newest, the other one is written next. So a reader never waits for
//! a writer, wherever that was stopped (the latch of Linux's timekeeping,
//! `seqcount_latch_t`), as the clock must be read even where nothing may wait.

use super::line::{Line, Timeline};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use transport::memory::{AtomicU64, LINE, SharedMemory, fence};

/// Bytes of the page: a line for the count, two for each place.
pub const PAGE_BYTES: usize = 5 * LINE;
/// Words of a place.
const WORDS: usize = 9;
/// A reader that is overtaken so often gives up: somebody writes nonsense.
const TRIES: usize = 8;

/// The page.
#[derive(Clone, Debug)]
pub struct Page {
    memory: SharedMemory,
}

impl Page {
    /// The page in this memory, if it is large enough for one.
    pub fn new(memory: SharedMemory) -> Option<Self> {
        (memory.len() >= PAGE_BYTES).then_some(Self { memory })
    }

    fn count(&self) -> &AtomicU64 {
        self.memory.word(0)
    }

    fn place(&self, count: u64) -> &[AtomicU64] {
        &self.memory.words()[8 + 16 * (count & 1) as usize..][..WORDS]
    }

    /// Makes a timeline known. One writer does this.
    pub fn write(&self, timeline: &Timeline) {
        let Timeline { before, after, wall_before, wall_after, era } = *timeline;
        let line = |line: Line| [line.ticks, line.ns, line.scale];
        let ([a, b, c], [d, e, f]) = (line(before), line(after));
        let count = self.count().load(Relaxed) + 1;
        // SYNC: clock-page: the count before this one is seen before what overwrites its place.
        fence(Release);
        for (word, value) in self.place(count).iter().zip([a, b, c, d, e, f, wall_before, wall_after, era]) {
            word.store(value, Relaxed);
        }
        // SYNC: clock-page
        self.count().store(count, Release);
    }

    /// The newest timeline; `None` before there is one.
    pub fn read(&self) -> Option<Timeline> {
        (0..TRIES).find_map(|_| self.try_read())
    }

    fn try_read(&self) -> Option<Timeline> {
        // SYNC: clock-page
        let count = self.count().load(Acquire);
        let mut words = [0; WORDS];
        self.place(count).iter().zip(&mut words).for_each(|(word, copy)| *copy = word.load(Relaxed));
        // SYNC: clock-page
        fence(Acquire);
        if count == 0 || self.count().load(Relaxed) != count {
            return None;
        }
        let [a, b, c, d, e, f, wall_before, wall_after, era] = words;
        let line = |ticks, ns, scale| Line { ticks, ns, scale };
        Some(Timeline { before: line(a, b, c), after: line(d, e, f), wall_before, wall_after, era })
    }
}
