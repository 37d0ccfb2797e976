//! The runtime as the messenger sees it, with a hand on it: the messenger's
//! thread can be held, so that the doorbell is free for others, and kept from
//! polling.

use crate::shared::Way;
use kernel::messenger::Platform;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The runtime, held or not.
#[derive(Default)]
pub struct Measured {
    state: Mutex<State>,
    changed: Condvar,
    sleeps_at_once: AtomicBool,
}

#[derive(Default)]
struct State {
    paused: bool,
    /// The messenger's thread is held.
    held: bool,
}

impl Measured {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the messenger as a measurement wants it.
    pub fn prepare(&self, way: Way) {
        self.sleeps_at_once.store(way == Way::Asleep, SeqCst);
        if way.is_call() {
            self.state().paused = false;
            self.changed.notify_all();
        } else {
            self.pause();
        }
    }

    /// Holds the messenger's thread; returns when it is held.
    pub fn pause(&self) {
        self.state().paused = true;
        vm::Bare.poke();
        let mut state = self.state();
        while !state.held {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Holds the calling thread while the messenger is paused. Returns whether it was.
    fn hold(&self) -> bool {
        let mut state = self.state();
        let paused = state.paused;
        while state.paused {
            state.held = true;
            self.changed.notify_all();
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.held = false;
        paused
    }
}

impl Platform for Measured {
    fn now_ns(&self) -> u64 {
        vm::Bare.now_ns()
    }

    fn wall_clock_ns(&self) -> u64 {
        vm::Bare.wall_clock_ns()
    }

    fn wait(&self, deadline_ns: Option<u64>) -> bool {
        // What rang for others while it was held is not known.
        self.hold() || vm::Bare.wait(deadline_ns)
    }

    fn poke(&self) {
        vm::Bare.poke();
    }

    fn rang(&self) -> bool {
        vm::Bare.rang()
    }

    fn stand_by(&self, deadline_ns: Option<u64>) -> bool {
        self.hold() || vm::Bare.stand_by(deadline_ns)
    }

    fn may_spin(&self) -> bool {
        !self.sleeps_at_once.load(SeqCst) && vm::Bare.may_spin()
    }

    fn is_wanted(&self) -> bool {
        !self.sleeps_at_once.load(SeqCst) && vm::Bare.is_wanted()
    }
}
