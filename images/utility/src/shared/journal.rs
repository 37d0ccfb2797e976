//! A redo log: several words of the region change together or not at all.
//!
//! Under the lock, [`Journal::commit`] writes the words' new values to the log,
//! then the *mark* (how many they are, and their checksum), and only then the
//! words themselves. Storing the mark is the commit: whoever recovers after a
//! death applies a marked log again, which changes nothing that was applied
//! already, and ignores one that is not marked.
//!
//! ```text
//!            log, then mark       applied, mark = 0
//!   idle ────────────────► marked ────────────────► idle
//!   counter even           odd while it is applied   even
//! ```
//!
//! The *counter* is for readers without the lock: what they read is consistent
//! if the counter was even before and the same after (Boehm, "Can seqlocks get
//! along with programming language memory models?", 2012).
//!
//! A log that another VM spoilt is ignored: its checksum is wrong, or it names
//! a word outside of the tables.

use super::cells::{Cells, View};
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::atomic::fence;
use transport::memory::WORD;

/// One word's change: byte offset and new value.
pub type Write = (usize, u64);

/// Bytes before the log: the counter and the mark, on a cache line of their own.
const HEADER: usize = 64;
/// Bytes of an entry of the log.
const ENTRY: usize = 2 * WORD;
/// Bits of the mark that hold the checksum; the count is above.
const CHECKSUM_BITS: u32 = 48;

/// A redo log in the region. Zeroed memory is an idle journal.
#[derive(Clone, Copy, Debug)]
pub struct Journal {
    at: usize,
    capacity: usize,
}

impl Journal {
    /// The journal at byte `offset` with room for transactions of `capacity`
    /// words (below 65,536).
    pub const fn at(offset: usize, capacity: usize) -> Self {
        assert!(capacity < 1 << (64 - CHECKSUM_BITS));
        Self { at: offset, capacity }
    }

    /// Bytes that a journal of this capacity occupies.
    pub const fn bytes(capacity: usize) -> usize {
        HEADER + capacity * ENTRY
    }

    /// Most words of a transaction.
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// The counter: odd while a transaction is being applied.
    pub fn counter(&self, cells: &Cells) -> u64 {
        // SYNC: commit-counter
        cells.acquire(self.at)
    }

    /// Whether nothing changed since the counter was `before`, which is even.
    pub fn unchanged_since(&self, cells: &Cells, before: u64) -> bool {
        // SYNC: commit-counter
        fence(Acquire);
        cells.word(self.at) == before
    }

    /// Changes these words together. The caller holds the lock; there are at
    /// most [`Journal::capacity`] of them, all behind the journal.
    pub fn commit(&self, cells: &Cells, writes: impl ExactSizeIterator<Item = Write> + Clone) {
        let count = writes.len();
        debug_assert!(count <= self.capacity);
        if count == 0 {
            return;
        }
        let mut checksum = 0;
        for (index, (offset, value)) in writes.clone().enumerate() {
            cells.store(self.entry(index), offset as u64);
            cells.store(self.entry(index) + WORD, value);
            checksum = mix(checksum, offset as u64, value);
        }
        // SYNC: journal-mark
        cells.publish(self.mark(), mark(count, checksum));
        self.apply(cells, writes);
    }

    /// Brings the tables in order after a holder of the lock died. The caller
    /// has taken the lock over.
    pub fn recover(&self, cells: &Cells) {
        // SYNC: journal-mark
        let found = cells.acquire(self.mark());
        match self.read_log(cells, found) {
            Some(writes) => self.apply(cells, writes.into_iter()),
            None => self.apply(cells, core::iter::empty()),
        }
    }

    /// Applies a marked log and clears the mark.
    fn apply(&self, cells: &Cells, writes: impl Iterator<Item = Write>) {
        let odd = cells.word(self.at) | 1;
        fence(Release);
        cells.store(self.at, odd);
        // SYNC: commit-counter
        fence(Release);
        for (offset, value) in writes {
            cells.store(offset, value);
        }
        cells.publish(self.mark(), 0);
        // SYNC: commit-counter
        cells.publish(self.at, odd.wrapping_add(1));
    }

    /// The log that `found` marks, unless it is spoilt or not marked.
    fn read_log(&self, cells: &Cells, found: u64) -> Option<Vec<Write>> {
        let count = (found >> CHECKSUM_BITS) as usize;
        if count == 0 || count > self.capacity {
            return None;
        }
        let first = self.at + Self::bytes(self.capacity);
        let mut checksum = 0;
        let mut writes = Vec::with_capacity(count);
        for index in 0..count {
            let (offset, value) = (cells.word(self.entry(index)), cells.word(self.entry(index) + WORD));
            checksum = mix(checksum, offset, value);
            let offset = usize::try_from(offset).ok()?;
            if offset < first || offset >= cells.len() || offset % WORD != 0 {
                return None;
            }
            writes.push((offset, value));
        }
        (mark(count, checksum) == found).then_some(writes)
    }

    fn mark(&self) -> usize {
        self.at + WORD
    }

    fn entry(&self, index: usize) -> usize {
        self.at + HEADER + index * ENTRY
    }
}

fn mark(count: usize, checksum: u64) -> u64 {
    (count as u64) << CHECKSUM_BITS | checksum >> (64 - CHECKSUM_BITS)
}

fn mix(checksum: u64, offset: u64, value: u64) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = (checksum ^ offset).wrapping_mul(FACTOR).rotate_left(29) ^ value;
    mixed.wrapping_mul(FACTOR)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Fuse, unless_killed};
    use super::*;
    use transport::memory::SharedMemory;

    const FIRST: usize = Journal::bytes(8);

    fn values(cells: &Cells) -> Vec<u64> {
        (0..4).map(|index| cells.word(FIRST + index * WORD)).collect()
    }

    #[test]
    fn killed_anywhere_it_is_all_or_nothing() {
        let journal = Journal::at(0, 8);
        let writes = [(FIRST, 1), (FIRST + 8, 2), (FIRST + 16, 3), (FIRST + 24, 4)];
        let mut outcomes = Vec::new();
        for stores in 0.. {
            let cells = Cells::new(SharedMemory::heap(1024));
            let fuse = Fuse::after(stores);
            let doomed = cells.clone().with_fuse(fuse);
            let finished = unless_killed(|| journal.commit(&doomed, writes.into_iter())).is_some();
            // A first survivor is killed as well, at every store in turn.
            for again in 0..8 {
                unless_killed(|| journal.recover(&cells.clone().with_fuse(Fuse::after(again))));
            }
            journal.recover(&cells);
            assert_eq!(journal.counter(&cells) % 2, 0);
            assert!(values(&cells) == [1, 2, 3, 4] || values(&cells) == [0; 4]);
            outcomes.push(values(&cells)[0]);
            if finished {
                break;
            }
        }
        assert!(outcomes.is_sorted() && outcomes.contains(&0) && outcomes.last() == Some(&1));
    }

    #[test]
    fn a_spoilt_log_is_ignored() {
        let journal = Journal::at(0, 8);
        for (offset, value) in [(FIRST, 6), (FIRST + 1, 5), (0, 5), (1 << 40, 5), (usize::MAX, 5)] {
            let cells = Cells::new(SharedMemory::heap(1024));
            cells.store(journal.entry(0), offset as u64);
            cells.store(journal.entry(0) + 8, value);
            let checksum = if offset == FIRST { 1 } else { mix(0, offset as u64, value) };
            cells.store(journal.mark(), mark(1, checksum));
            journal.recover(&cells);
            assert_eq!((cells.word(journal.mark()), values(&cells)), (0, vec![0; 4]));
        }
    }
}
