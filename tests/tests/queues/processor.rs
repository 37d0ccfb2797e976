//! Cores that are played: which one acts, what interrupts are on their way, and
//! when timers are due.

use std::cell::RefCell;

/// Most cores, as the runtime has it.
pub const MOST: usize = cores::MAX_CORES;

#[derive(Default)]
pub struct State {
    /// What the clock shows...
    pub now: u64,
    /// ...by how much that is more than what timers go by...
    ahead: u64,
    /// ...and how often it has jumped.
    pub jumps: u32,
    core: usize,
    called: [bool; MOST],
    timers: [Option<u64>; MOST],
}

impl State {
    /// The clock is ahead all at once, of which all cores are told.
    pub fn jump(&mut self, nanoseconds: u64) {
        (self.now, self.ahead, self.jumps) =
            (self.now + nanoseconds, self.ahead + nanoseconds, self.jumps + 1);
        self.called = [true; MOST];
    }

    /// Takes what is due on a core: whether it was called, whether its timer has run out.
    pub fn due(&mut self, core: usize) -> (bool, bool) {
        let timer = self.timers[core].is_some_and(|due| due <= self.now - self.ahead);
        if timer {
            self.timers[core] = None;
        }
        (std::mem::take(&mut self.called[core]), timer)
    }
}

thread_local! {
    pub static STATE: RefCell<State> = RefCell::default();
}

/// Runs `f` as what this core does.
pub fn on_core<R>(core: usize, f: impl FnOnce() -> R) -> R {
    STATE.with_borrow_mut(|state| state.core = core);
    f()
}

/// The runtime's `processor::cores`.
pub mod cores {
    pub const MAX_CORES: usize = 8;

    pub fn index() -> usize {
        super::STATE.with_borrow(|state| state.core)
    }
}

/// The runtime's `processor::apic`.
pub mod apic {
    pub fn set_timer(due: u64) {
        super::STATE
            .with_borrow_mut(|state| state.timers[state.core] = Some(due.saturating_sub(state.ahead)));
    }

    pub fn interrupt(core: usize, _vector: u8) {
        super::STATE.with_borrow_mut(|state| {
            assert_ne!(core, state.core, "a core interrupts itself");
            state.called[core] = true;
        });
    }
}

/// The runtime's `processor::traps`.
pub mod traps {
    pub const LOOK: u8 = 0x42;
}
