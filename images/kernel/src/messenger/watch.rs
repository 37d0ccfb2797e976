//! What the messenger's thread remembers of its waits: how long to poll, and
//! whether to stand aside for programs.

use crate::patience::Patience;

/// So often in a row programs may wait without that anything is heard; then it
/// is something else that they wait for.
const MOST_UNHEARD: u32 = 8;

/// What the messenger's thread did instead of polling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// It slept.
    Slept(End),
    /// It stood aside.
    Aside(End),
    /// It stood aside, and a program ran all the time.
    AsideInVain,
    /// Nothing: something is due, or was just found.
    Polls,
}

/// Why that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A doorbell rang, or somebody poked.
    Rang,
    /// A timer or a link is due.
    Due,
    /// Others have run, and now nobody wants the processor.
    Free,
}

/// What the messenger's thread remembers. Times are in nanoseconds.
pub struct Watch {
    patience: Patience,
    /// Since when the present wait lasts.
    since: Option<u64>,
    /// It was slept through, as far as it is over.
    slept: bool,
    rang: bool,
    /// The last time that it stood aside a program kept the processor, and none
    /// has let it go since.
    in_vain: bool,
    /// It looks because programs wait.
    stands_in: bool,
    /// How often in a row it did, and heard nothing.
    unheard: u32,
}

impl Watch {
    /// Nothing yet, but for the first look at everything. A sleep and its end
    /// cost `cost`.
    pub fn new(cost: u64) -> Self {
        let patience = Patience::new(cost);
        Self { patience, since: None, slept: false, rang: true, in_vain: false, stands_in: false, unheard: 0 }
    }

    /// Whether a doorbell ended the last wait; asked once.
    pub fn take_rang(&mut self) -> bool {
        std::mem::take(&mut self.rang)
    }

    /// How long to poll, from the wait's beginning.
    pub fn budget(&self) -> u64 {
        self.patience.budget()
    }

    /// Whether what is waited for comes so soon, mostly, that polling is better
    /// than sleeping.
    pub fn polling_pays(&self) -> bool {
        self.budget() > 0 && self.unheard < MOST_UNHEARD
    }

    /// Whether it may be tried to stand aside for a program.
    pub fn may_stand_aside(&self) -> bool {
        !self.in_vain
    }

    /// Something moved: what was waited for, if it was `heard`.
    pub fn moved(&mut self, heard: bool, now: impl FnOnce() -> u64) {
        if heard {
            self.unheard = 0;
            if let Some(since) = self.since {
                self.patience.waited(now() - since, self.slept);
            }
        }
        (self.since, self.slept, self.stands_in) = (None, false, false);
    }

    /// Nothing moved: since when it is waited. A wait that was slept through
    /// without result is over; another one begins.
    pub fn since(&mut self, now: impl FnOnce() -> u64) -> u64 {
        if std::mem::take(&mut self.slept) {
            self.since = None;
        }
        *self.since.get_or_insert_with(now)
    }

    /// A wait without polling has ended.
    pub fn ended(&mut self, way: Wait) {
        self.unheard = self.unheard.saturating_add(u32::from(std::mem::take(&mut self.stands_in)));
        match way {
            Wait::Slept(End::Free) | Wait::Aside(End::Free) => (self.in_vain, self.stands_in) = (false, true),
            Wait::AsideInVain => self.in_vain = true,
            _ => {}
        }
        self.rang = matches!(way, Wait::Slept(End::Rang) | Wait::Aside(End::Rang));
        match way {
            // Whoever waits now has only begun to.
            Wait::Slept(End::Free) | Wait::Aside(_) | Wait::AsideInVain => self.since = None,
            Wait::Slept(_) => self.slept = true,
            Wait::Polls => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COST: u64 = 30_000;

    /// A wait that nothing ended but what `way` says.
    fn waits(watch: &mut Watch, now: u64, way: Wait) {
        watch.take_rang();
        watch.since(|| now);
        watch.ended(way);
    }

    #[test]
    fn who_stood_aside_in_vain_does_so_again_only_when_programs_have_waited() {
        let mut watch = Watch::new(COST);
        assert!(watch.may_stand_aside());
        waits(&mut watch, 0, Wait::AsideInVain);
        for _ in 0..10 {
            assert!(!watch.may_stand_aside());
            waits(&mut watch, 0, Wait::Slept(End::Rang));
            assert!(watch.take_rang());
            watch.moved(true, || 1000);
        }
        waits(&mut watch, 0, Wait::Slept(End::Free));
        assert!(watch.may_stand_aside() && !watch.take_rang());
    }

    #[test]
    fn programs_that_wait_for_something_else_are_not_polled_for() {
        let mut watch = Watch::new(COST);
        for _ in 0..100 {
            // Programs wait for what comes at once.
            waits(&mut watch, 0, Wait::Aside(End::Free));
            watch.since(|| 0);
            watch.moved(true, || 2000);
        }
        assert!(watch.polling_pays());
        for _ in 0..=MOST_UNHEARD {
            waits(&mut watch, 0, Wait::Slept(End::Free));
        }
        assert!(!watch.polling_pays() && watch.budget() > 0);
        watch.moved(true, || 0);
        assert!(watch.polling_pays());
    }

    #[test]
    fn what_a_program_runs_is_no_wait() {
        let mut watch = Watch::new(COST);
        for _ in 0..20 {
            waits(&mut watch, 0, Wait::Aside(End::Free));
            assert_eq!(watch.since(|| 1_000_000), 1_000_000);
            watch.moved(true, || 1_002_000);
        }
        assert!(watch.budget() > 0);
        // What was slept through is one.
        for _ in 0..20 {
            waits(&mut watch, 0, Wait::Slept(End::Rang));
            watch.moved(true, || 1_000_000);
        }
        assert_eq!(watch.budget(), 0);
    }
}
