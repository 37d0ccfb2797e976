//! Wait until somebody says that a word has changed: what `std`'s locks are made of.
//!
//! No wake-up is lost: the word is looked at and the thread put to sleep in one
//! section.

use super::scheduler;
use super::thread::Waiting;
use crate::memory::segment;
use core::sync::atomic::{AtomicU32, Ordering::SeqCst};

/// Why a wait ended without a wake-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotWoken {
    /// The word was not what the caller expected.
    Changed,
    /// The deadline passed.
    TimedOut,
}

/// Sleeps until [`wake`] is called for `word`, unless the word is not
/// `expected`; at most until the deadline, in nanoseconds of [`crate::clock`].
pub fn wait(word: &AtomicU32, expected: u32, deadline: Option<u64>) -> Result<(), NotWoken> {
    let condition = condition(word, expected);
    outcome(scheduler::block(Waiting::Futex(address(word)), deadline, condition))
}

/// As [`wait`], but goes on as well before a core halts on which others have run
/// since: for the one thread of a VM that has to do with what they left.
pub fn wait_or_stand_in(word: &AtomicU32, expected: u32, deadline: Option<u64>) -> Result<(), NotWoken> {
    let condition = condition(word, expected);
    outcome(scheduler::block_or_stand_in(Waiting::Futex(address(word)), deadline, condition))
}

/// Whether the word is as expected, now and then: so the page that it is on is
/// there when it is looked at under the scheduler's lock.
fn condition(word: &AtomicU32, expected: u32) -> impl FnOnce() -> bool {
    let as_expected = word.load(SeqCst) == expected;
    move || as_expected && word.load(SeqCst) == expected
}

/// What [`scheduler::block`] said.
fn outcome(blocked: Option<bool>) -> Result<(), NotWoken> {
    match blocked {
        None => Err(NotWoken::Changed),
        Some(true) => Err(NotWoken::TimedOut),
        Some(false) => Ok(()),
    }
}

/// Wakes up to `count` threads that wait for `word`; how many there were. A
/// more urgent one runs before this returns.
pub fn wake(word: &AtomicU32, count: usize) -> usize {
    scheduler::wake_futex(address(word), count)
}

/// The same without switching threads: for interrupts, which look at that when they end.
pub fn wake_quietly(word: &AtomicU32, count: usize) -> usize {
    scheduler::wake_futex_quietly(address(word), count)
}

/// What the word is waited for by.
fn address(word: &AtomicU32) -> usize {
    segment::tell_apart(core::ptr::from_ref(word) as usize)
}
