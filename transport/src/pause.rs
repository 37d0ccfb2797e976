//! How long to poll before going to sleep.
//!
//! Competitive spinning. Sleeping and being woken costs *C*. Polling for *C* and
//! then sleeping never costs more than twice what somebody who knows the future
//! would pay; nothing fixed does better. But waits resemble each other: what
//! would have been best for the recent ones is usually better for the next one.
//! (A. Karlin, M. Manasse, L. McGeoch, S. Owicki: "Competitive randomized
//! algorithms for nonuniform problems", SODA 1990; A. Karlin, K. Li, M. Manasse,
//! S. Owicki: "Empirical studies of competitive spinning for a shared-memory
//! multiprocessor", SOSP 1991, section 3, the adaptive algorithms.)
//!
//! [`Pause`] remembers the last [`REMEMBERED`] waits and polls for as long as
//! would have cost least over them: not at all, or *C*, *C/2*, *C/4* and so on.
//! (Few and coarse budgets on purpose: a budget that fits the last waits exactly
//! misses each of a row of waits that grow by a nanosecond.) Then it polls for
//! twice that, up to *C*: of waits that just fit, one in eight would be slept
//! through otherwise, at many times its price; and polling on costs nothing while
//! waits do fit.
//!
//! What holds:
//! - The budget is never above *C*: a wait longer than that costs at most *2 C*,
//!   twice the best in hindsight.
//! - When all remembered waits were longer than *C*, the budget is 0: no polling.
//! - Any single wait costs at most *2 C*, whatever was remembered.
//! - Tested, not proved: over many waits it costs at most three times what the
//!   best fixed budget would have, even when each wait is chosen to spite the
//!   budget. (A budget of always *C* would hold twice, and would poll for nothing
//!   in a VM that waits long each time.)

use core::iter::once;

/// How many waits are remembered.
pub const REMEMBERED: usize = 8;

/// How many budgets above 0 there are, each twice the one before.
const STEPS: u32 = 6;

/// Decides how long to poll before going to sleep. Knows no clock: times are
/// told to it, in nanoseconds.
#[derive(Clone, Debug)]
pub struct Pause {
    /// What sleeping and being woken costs.
    cost: u64,
    /// The last waits, without the cost of waking.
    waits: [u64; REMEMBERED],
    /// Where the next one goes.
    next: usize,
    budget: u64,
}

impl Pause {
    /// For a sleep and wake-up that costs `cost` nanoseconds. Starts by polling
    /// that long.
    pub fn new(cost: u64) -> Self {
        Self { cost, waits: [cost; REMEMBERED], next: 0, budget: cost }
    }

    /// How many nanoseconds to poll before going to sleep.
    pub fn budget(&self) -> u64 {
        self.budget
    }

    /// A wait is over: from its start until there was something to do, it took
    /// so many nanoseconds, the sleep and the waking included if it was slept
    /// through. (That is not the same as longer than the budget: whoever looks
    /// at the clock now and then polls a little longer.)
    pub fn waited(&mut self, nanoseconds: u64, slept: bool) {
        // Who slept noticed late by what waking costs.
        let wait = if slept { nanoseconds.saturating_sub(self.cost) } else { nanoseconds };
        self.waits[self.next] = wait;
        self.next = (self.next + 1) % REMEMBERED;
        self.budget = self.best().saturating_mul(2).min(self.cost);
    }

    /// What would have cost least over the remembered waits as a budget; the
    /// shortest of these.
    fn best(&self) -> u64 {
        let candidates = once(0).chain((0..STEPS).rev().map(|halvings| self.cost >> halvings));
        candidates.min_by_key(|&budget| (self.cost_of(budget), budget)).unwrap_or(0)
    }

    /// What the remembered waits would have cost with that budget.
    fn cost_of(&self, budget: u64) -> u64 {
        let one = |wait: u64| if wait <= budget { wait } else { budget.saturating_add(self.cost) };
        self.waits.into_iter().map(one).fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests;
