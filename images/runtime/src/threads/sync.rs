//! A lock for the runtime's own slow work: whoever finds it held sleeps.
//!
//! Not for use in interrupts. Three states, as in "Futexes Are Tricky" (Drepper, 2011).

use super::futex;
use core::cell::UnsafeCell;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

const FREE: u32 = 0;
const HELD: u32 = 1;
/// Held, and somebody waits.
const CONTENDED: u32 = 2;

/// A value that one thread at a time reaches.
pub struct Mutex<T> {
    state: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the state lets one thread in at a time.
unsafe impl<T: Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    /// A lock around `value`.
    pub const fn new(value: T) -> Self {
        Self { state: AtomicU32::new(FREE), value: UnsafeCell::new(value) }
    }

    /// Runs `f` on the value, when it is this thread's turn.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SYNC: mutex-handover, with the swap in `run`.
        if self.state.compare_exchange(FREE, HELD, Acquire, Relaxed).is_err() {
            while self.state.swap(CONTENDED, Acquire) != FREE {
                // Whatever ends the wait, the loop looks again.
                let _ = futex::wait(&self.state, CONTENDED, None);
            }
        }
        self.run(f)
    }

    /// Runs `f` on the value, or not at all if somebody else has it.
    pub fn try_with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.state.compare_exchange(FREE, HELD, Acquire, Relaxed).ok()?;
        Some(self.run(f))
    }

    fn run<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: this thread holds the lock.
        let result = f(unsafe { &mut *self.value.get() });
        // SYNC: mutex-handover, with the acquisitions above.
        if self.state.swap(FREE, Release) == CONTENDED {
            futex::wake(&self.state, 1);
        }
        result
    }
}
