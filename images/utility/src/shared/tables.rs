//! Tables in the region: the lock and the journal together.
//!
//! ```text
//!   at            lock (a cache line)
//!   at + 64       journal: counter, mark, log
//!   at + BYTES    what transactions may change, up to the region's end
//! ```
//!
//! One [`Tables`] object serves all threads of an activity, and there is one
//! per activity: they exclude each other by a mutex of this VM before they
//! come to the shared lock.

use super::cells::{Cells, View};
use super::environment::Environment;
use super::journal::{Journal, Write};
use super::lock::{Acquired, RobustLock};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

/// Times that a reader tries without the lock.
const TRIES: u32 = 4;
/// Bytes of the lock: a cache line.
const LOCK_BYTES: usize = 64;

/// Tables that all activities of a utility share.
pub struct Tables {
    cells: Cells,
    lock: RobustLock,
    journal: Journal,
    env: Arc<dyn Environment>,
    /// The transaction's writes; holding it keeps this VM's other threads away.
    local: Mutex<Writes>,
}

impl Tables {
    /// Bytes that lock and journal occupy, for transactions of `capacity` words.
    pub const fn bytes(capacity: usize) -> usize {
        LOCK_BYTES + Journal::bytes(capacity)
    }

    /// The tables whose lock is at byte `at` (a multiple of 64) of these cells,
    /// which have at least [`Tables::bytes`] from there on. Zeroed memory is in
    /// order.
    pub fn new(cells: Cells, at: usize, capacity: usize, env: Arc<dyn Environment>) -> Self {
        Self {
            cells,
            lock: RobustLock::at(at),
            journal: Journal::at(at + LOCK_BYTES, capacity),
            env,
            local: Mutex::new(Writes::new(capacity)),
        }
    }

    /// The world around this activity.
    pub fn environment(&self) -> &dyn Environment {
        &*self.env
    }

    /// Takes the lock; if its holder died, finishes or forgets what it did.
    pub fn exclusive(&self) -> Change<'_> {
        let mut writes = self.enter();
        writes.clear();
        if self.lock.lock(&self.cells, &*self.env) == Acquired::TakenOver {
            self.journal.recover(&self.cells);
        }
        Change { tables: self, writes }
    }

    /// Reads without the lock: `read` runs until nothing changed meanwhile;
    /// after some tries in vain, under the lock. So it may see tables that are
    /// being changed: it must bear that, and its result is then thrown away.
    pub fn read<T>(&self, mut read: impl FnMut(&Cells) -> T) -> T {
        for attempt in 0..TRIES {
            let before = self.journal.counter(&self.cells);
            if before.is_multiple_of(2) {
                let result = read(&self.cells);
                if self.journal.unchanged_since(&self.cells, before) {
                    return result;
                }
            }
            self.env.relax(attempt);
        }
        let change = self.exclusive();
        read(change.cells())
    }

    /// Keeps the other threads of this VM away.
    fn enter(&self) -> MutexGuard<'_, Writes> {
        let mut attempt = 0;
        loop {
            match self.local.try_lock() {
                Ok(writes) => return writes,
                Err(TryLockError::Poisoned(lost)) => return lost.into_inner(),
                Err(TryLockError::WouldBlock) => self.env.relax(attempt),
            }
            attempt = attempt.saturating_add(1);
        }
    }
}

/// The lock, held, and a transaction: words to be changed together.
///
/// Reading through it ([`View`]) sees the transaction's own changes. Dropping
/// it forgets what was not committed and gives the lock back.
pub struct Change<'t> {
    tables: &'t Tables,
    writes: MutexGuard<'t, Writes>,
}

/// The transaction has more words than the log: nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

impl View for Change<'_> {
    #[inline]
    fn word(&self, offset: usize) -> u64 {
        self.writes.get(offset).unwrap_or_else(|| self.tables.cells.word(offset))
    }
}

impl Change<'_> {
    /// Changes a word when the transaction is committed.
    pub fn set(&mut self, offset: usize, value: u64) {
        if self.word(offset) != value {
            self.writes.put(offset, value);
        }
    }

    /// Makes all changes at once, and begins another transaction.
    pub fn commit(&mut self) -> Result<(), TooLarge> {
        let result = if self.writes.too_many {
            Err(TooLarge)
        } else {
            self.tables.journal.commit(&self.tables.cells, self.writes.iter());
            Ok(())
        };
        self.writes.clear();
        result
    }

    /// Forgets the changes, and begins another transaction.
    pub fn discard(&mut self) {
        self.writes.clear();
    }

    /// The region itself, for what needs no transaction because nothing that
    /// is committed refers to it yet.
    pub fn cells(&self) -> &Cells {
        &self.tables.cells
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.tables.lock.unlock(&self.tables.cells);
    }
}

/// The writes of a transaction, with an index to find them by offset (open
/// addressing, at most half full).
struct Writes {
    /// Offset, value, and place in the index.
    entries: Vec<(usize, u64, usize)>,
    /// 0, or 1 + the entry's number.
    index: Vec<u16>,
    capacity: usize,
    too_many: bool,
}

impl Writes {
    fn new(capacity: usize) -> Self {
        let index = vec![0; (2 * capacity).next_power_of_two()];
        Self { entries: Vec::new(), index, capacity, too_many: false }
    }

    #[inline]
    fn get(&self, offset: usize) -> Option<u64> {
        if self.entries.is_empty() {
            return None;
        }
        match self.index[self.place(offset)] {
            0 => None,
            number => Some(self.entries[usize::from(number) - 1].1),
        }
    }

    fn put(&mut self, offset: usize, value: u64) {
        let place = self.place(offset);
        match self.index[place] {
            0 if self.entries.len() == self.capacity => self.too_many = true,
            0 => {
                self.entries.push((offset, value, place));
                self.index[place] = self.entries.len() as u16;
            }
            number => self.entries[usize::from(number) - 1].1 = value,
        }
    }

    /// Where in the index this offset is or would be.
    fn place(&self, offset: usize) -> usize {
        let mask = self.index.len() - 1;
        let mut place = ((offset as u64 / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize & mask;
        loop {
            match self.index[place] {
                0 => return place,
                number if self.entries[usize::from(number) - 1].0 == offset => return place,
                _ => place = (place + 1) & mask,
            }
        }
    }

    fn iter(&self) -> impl ExactSizeIterator<Item = Write> + Clone + '_ {
        self.entries.iter().map(|&(offset, value, _)| (offset, value))
    }

    fn clear(&mut self) {
        for (.., place) in self.entries.drain(..) {
            self.index[place] = 0;
        }
        self.too_many = false;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Fuse, World, first, unless_killed};
    use super::*;
    use transport::memory::SharedMemory;

    const FIRST: usize = Tables::bytes(16);

    #[test]
    fn a_transaction_sees_itself_and_others_see_it_committed() {
        let world = World::default();
        let tables = Tables::new(Cells::new(SharedMemory::heap(4096)), 0, 16, world.activity(1));
        let mut change = tables.exclusive();
        change.set(FIRST, 7);
        assert_eq!((change.word(FIRST), change.cells().word(FIRST)), (7, 0));
        change.discard();
        assert_eq!(change.word(FIRST), 0);
        change.set(FIRST, 8);
        change.commit().unwrap();
        for index in 0..17 {
            change.set(FIRST + 8 * index, 9);
        }
        assert_eq!(change.commit(), Err(TooLarge));
        drop(change);
        assert_eq!(tables.read(|cells| cells.word(FIRST)), 8);
    }

    #[test]
    fn a_reader_gets_past_a_dead_writer() {
        let (memory, world) = (SharedMemory::heap(4096), World::default());
        for stores in 0..30 {
            let doomed = Cells::new(memory.clone()).with_fuse(Fuse::after(stores));
            let doomed = Tables::new(doomed, 0, 16, world.activity(10 + stores as u16));
            unless_killed(|| {
                let mut change = doomed.exclusive();
                for index in 0..4 {
                    let value = change.word(FIRST + 8 * index) + 1;
                    change.set(FIRST + 8 * index, value);
                }
                change.commit().unwrap();
            });
            world.bury(first(10 + stores as u16));
            let reader = Tables::new(Cells::new(memory.clone()), 0, 16, world.activity(1));
            let values = reader.read(|cells| [0, 1, 2, 3].map(|index| cells.word(FIRST + 8 * index)));
            assert_eq!(values, [values[0]; 4]);
        }
    }

    #[test]
    fn threads_of_two_activities_lose_no_change() {
        let (memory, world) = (SharedMemory::heap(4096), World::default());
        let tables = [1, 2].map(|peer| Tables::new(Cells::new(memory.clone()), 0, 16, world.activity(peer)));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let tables = &tables[thread % 2];
                scope.spawn(move || {
                    for _ in 0..1000 {
                        let mut change = tables.exclusive();
                        for offset in [FIRST, FIRST + 8] {
                            let value = change.word(offset) + 1;
                            change.set(offset, value);
                        }
                        change.commit().unwrap();
                        drop(change);
                        let (a, b) = tables.read(|cells| (cells.word(FIRST), cells.word(FIRST + 8)));
                        assert_eq!(a, b);
                    }
                });
            }
        });
        assert_eq!(tables[0].read(|cells| cells.word(FIRST)), 4000);
    }
}
