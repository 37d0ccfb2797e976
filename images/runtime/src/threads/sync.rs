//! A lock for the runtime's own slow work: whoever finds it held sleeps.
//!
//! It spins first, for a while and only while the holder runs, on another core: one
//! that does not run will not let go before this thread sleeps. Not for use in
//! interrupts. Three states, as in "Futexes Are Tricky" (Drepper, 2011).

use super::futex;
use crate::processor::cores::{self, CORES};
use core::cell::UnsafeCell;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicU32, AtomicUsize};

const FREE: u32 = 0;
const HELD: u32 = 1;
/// Held, and somebody waits.
const CONTENDED: u32 = 2;
/// Looks at a lock whose holder runs, before this thread sleeps: about what a sleep costs.
const LOOKS: usize = 200;

/// A value that one thread at a time reaches.
pub struct Mutex<T> {
    state: AtomicU32,
    /// Who has it, as [`cores::running`] names threads; what it was last if it is free.
    holder: AtomicUsize,
    value: UnsafeCell<T>,
}

// SAFETY: the state lets one thread in at a time.
unsafe impl<T: Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    /// A lock around `value`.
    pub const fn new(value: T) -> Self {
        Self { state: AtomicU32::new(FREE), holder: AtomicUsize::new(0), value: UnsafeCell::new(value) }
    }

    /// Runs `f` on the value, when it is this thread's turn.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SYNC: mutex-handover, with the swap in `run`.
        if !self.try_take() && !(cores::many() && self.spin()) {
            while self.state.swap(CONTENDED, Acquire) != FREE {
                // Whatever ends the wait, the loop looks again.
                let _ = futex::wait(&self.state, CONTENDED, None);
            }
        }
        self.run(f)
    }

    /// Runs `f` on the value, or not at all if somebody else has it.
    pub fn try_with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.try_take().then(|| self.run(f))
    }

    fn try_take(&self) -> bool {
        self.state.compare_exchange(FREE, HELD, Acquire, Relaxed).is_ok()
    }

    /// Takes it if it becomes free while its holder runs.
    fn spin(&self) -> bool {
        for _ in 0..LOOKS {
            let holder = self.holder.load(Relaxed);
            match self.state.load(Relaxed) {
                FREE if self.try_take() => return true,
                // Others sleep already: their turn comes first.
                CONTENDED => return false,
                HELD if CORES.iter().all(|core| core.running.load(Relaxed) != holder) => return false,
                _ => core::hint::spin_loop(),
            }
        }
        false
    }

    fn run<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        self.holder.store(cores::running(), Relaxed);
        // SAFETY: this thread holds the lock.
        let result = f(unsafe { &mut *self.value.get() });
        // SYNC: mutex-handover, with the acquisitions above.
        if self.state.swap(FREE, Release) == CONTENDED {
            futex::wake(&self.state, 1);
        }
        result
    }
}
