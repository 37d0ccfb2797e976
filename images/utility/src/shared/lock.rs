//! A lock that survives its holder's death.
//!
//! One word: 0 is free, everything else the incarnation that holds it. Who
//! finds a holder that does not live takes the lock over by exchanging exactly
//! that value, and must then bring what the lock protects in order before
//! going on ([`super::journal::Journal::recover`]). An incarnation never comes
//! back, so the exchange cannot mistake a new holder for the dead one.
//!
//! ```text
//!         lock: 0 -> own                    unlock: own -> 0
//!   free ────────────────► held by A ─────────────────────────► free
//!                             │ A dies
//!                             ▼
//!                       held by dead A ── A -> own ──► held by B, who recovers
//! ```
//!
//! Whoever waits does so for as long as the holder lives: a holder that hangs
//! instead of dying is for the heartbeats to end.

use super::cells::{Cells, View};
use super::environment::{Environment, from_word, to_word};

/// How the lock was got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// It was free: what it protects is in order.
    Clean,
    /// Its holder died: what it protects must be brought in order first.
    TakenOver,
}

/// A lock at a word of the region. Zeroed memory is a free lock.
#[derive(Clone, Copy, Debug)]
pub struct RobustLock {
    at: usize,
}

impl RobustLock {
    /// The lock whose word is at byte `offset`.
    pub const fn at(offset: usize) -> Self {
        Self { at: offset }
    }

    /// Takes the lock, waiting through `env` while a living activity holds it.
    ///
    /// One thread of an incarnation at a time may be in here or hold the lock
    /// (the caller sees to it): a word that says that this incarnation holds
    /// it was left by a thread that is lost, and is taken over as well.
    pub fn lock(self, cells: &Cells, env: &dyn Environment) -> Acquired {
        let own = to_word(env.own());
        let mut attempt: u32 = 0;
        loop {
            let holder = cells.word(self.at);
            if holder == 0 {
                // SYNC: lock-release
                if cells.exchange(self.at, 0, own) {
                    return Acquired::Clean;
                }
            } else if holder == own || !env.lives(from_word(holder)) {
                // SYNC: lock-release (the death of a VM comes after its stores)
                if cells.exchange(self.at, holder, own) {
                    return Acquired::TakenOver;
                }
            }
            env.relax(attempt);
            attempt = attempt.saturating_add(1);
        }
    }

    /// Gives the lock back.
    pub fn unlock(self, cells: &Cells) {
        // SYNC: lock-release
        cells.publish(self.at, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{World, first};
    use super::*;
    use transport::memory::SharedMemory;

    #[test]
    fn a_dead_holder_is_succeeded_and_a_living_one_waited_for() {
        let (cells, world) = (Cells::new(SharedMemory::heap(64)), World::default());
        let (a, b) = (world.activity(1), world.activity(2));
        let lock = RobustLock::at(8);
        assert_eq!(lock.lock(&cells, &*a), Acquired::Clean);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| lock.lock(&cells, &*b));
            world.bury(first(1));
            assert_eq!(waiter.join().unwrap(), Acquired::TakenOver);
        });
        assert_eq!(cells.word(8), to_word(first(2)));
        lock.unlock(&cells);
        assert_eq!(lock.lock(&cells, &*world.activity(3)), Acquired::Clean);
    }

    #[test]
    fn a_spoilt_word_is_nobody() {
        let (cells, world) = (Cells::new(SharedMemory::heap(64)), World::default());
        for word in [1, u64::MAX, 0x0000_0001_0001_0001] {
            cells.store(0, word);
            assert_eq!(RobustLock::at(0).lock(&cells, &*world.activity(1)), Acquired::TakenOver);
        }
    }
}
