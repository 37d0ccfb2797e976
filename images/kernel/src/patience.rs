//! How long the messenger polls before it sleeps: [`Pause`], and a way out of
//! the state in which both ends sleep because the other one does.
//!
//! Each wait that two sleeping ends have for each other takes a wake-up of
//! either: longer than polling pays for, so [`Pause`] goes on sleeping. Yet if
//! both polled, the same waits would be a hundred times shorter, which neither
//! can see alone. So a wait that was slept through and took no more than
//! [`SHORT`] wake-ups begins a *trial*: the next waits are polled for,
//! [`TRIAL_COST`] wake-ups long. If the other end does the same, both find out.
//!
//! What holds: trials that fail double the number of short waits until the
//! next one, so a conversation in which polling is of no use (the other end
//! shares this processor, say) pays for few. A wait that was longer ends the trial.

use transport::pause::Pause;

/// A wait of at most so many wake-ups may be the other end's sleep.
const SHORT: u64 = 6;
/// How long a trial polls, in wake-ups: the other end may have to wake once.
const TRIAL_COST: u64 = 2;
/// Waits of a trial.
const TRIAL: u32 = 4;
/// Most short waits from a trial that failed to the next one.
const MOST_BETWEEN: u32 = 4096;

/// Decides how long to poll. Times are told to it, in nanoseconds.
#[derive(Clone, Debug)]
pub struct Patience {
    pause: Pause,
    /// What sleeping and being woken costs.
    cost: u64,
    /// Waits of the trial that are left; 0: none is on.
    trial: u32,
    /// Short waits until the next trial.
    until_next: u32,
    /// The same for the one after, should it fail.
    between: u32,
}

impl Patience {
    /// For a sleep and wake-up that costs `cost` nanoseconds.
    pub fn new(cost: u64) -> Self {
        Self { pause: Pause::new(cost), cost, trial: 0, until_next: 0, between: TRIAL }
    }

    /// How many nanoseconds to poll before going to sleep.
    pub fn budget(&self) -> u64 {
        match self.trial {
            0 => self.pause.budget(),
            _ => TRIAL_COST * self.cost,
        }
    }

    /// A wait for a message is over; it took so many nanoseconds, with the
    /// sleep at its end if there was one.
    pub fn waited(&mut self, nanoseconds: u64, slept: bool) {
        // A sleep far shorter than a wake-up was hardly begun: something else of
        // this VM ended it, or polling would have met what came.
        let slept = slept && nanoseconds >= self.cost / 2;
        self.pause.waited(nanoseconds, slept);
        if nanoseconds > SHORT * self.cost {
            self.trial = 0;
        } else if !slept {
            // Polling pays: what comes next is the pause's to decide, but for
            // as long as it still remembers the sleeps.
            self.between = TRIAL;
            self.until_next = 0;
        } else if self.trial > 0 {
            self.trial -= 1;
            if self.trial == 0 {
                self.until_next = self.between;
                self.between = (2 * self.between).min(MOST_BETWEEN);
            }
        } else if self.until_next > 0 {
            self.until_next -= 1;
        } else {
            self.trial = TRIAL;
        }
        if self.pause.budget() > 0 && !slept {
            self.trial = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COST: u64 = 30_000;

    /// A conversation of two ends with a wake-up of `wake` nanoseconds: the
    /// round trips of which at least one end slept.
    fn sleeps(wake: u64, trips: u32, ends: &mut [Patience; 2]) -> u32 {
        const WORK: u64 = 2_000;
        // How long the end that is about to be sent to has been waiting.
        let (mut slept, mut turn, mut late) = (0, 0, 0);
        for _ in 0..2 * trips {
            // The other end waits for what this one sends after its work.
            let other = &mut ends[1 - turn];
            let wait = late + WORK;
            let sleeps = wait > other.budget();
            late = if sleeps { wake } else { 0 };
            other.waited(wait + late, sleeps);
            slept += u32::from(sleeps);
            turn = 1 - turn;
        }
        slept
    }

    #[test]
    fn two_ends_that_sleep_find_out_that_polling_is_better() {
        for wake in [10_000, 30_000, 50_000] {
            let mut ends = [Patience::new(COST), Patience::new(COST)];
            // Both have slept long.
            for end in &mut ends {
                (0..20).for_each(|_| end.waited(1_000_000, true));
                assert_eq!(end.budget(), 0);
            }
            sleeps(wake, 100, &mut ends);
            assert_eq!(sleeps(wake, 100, &mut ends), 0, "wake-ups of {wake} ns");
        }
    }

    #[test]
    fn where_polling_is_of_no_use_it_is_tried_less_and_less() {
        let mut end = Patience::new(COST);
        (0..20).for_each(|_| end.waited(1_000_000, true));
        let mut polled = 0;
        for _ in 0..10_000 {
            polled += u32::from(end.budget() > 0);
            end.waited(100_000, true);
        }
        assert!(polled < 100, "{polled} of 10000 waits were polled for");
    }

    #[test]
    fn sleeps_that_a_thread_of_this_vm_ends_are_polled_through() {
        let mut end = Patience::new(COST);
        for _ in 0..100 {
            end.waited(COST / 5, true);
            assert!(end.budget() >= COST / 5, "the next one is not slept through");
        }
    }

    #[test]
    fn long_waits_are_slept_through() {
        let mut end = Patience::new(COST);
        for _ in 0..100 {
            end.waited(1_000_000, true);
        }
        assert_eq!(end.budget(), 0);
    }
}
