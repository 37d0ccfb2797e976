//! Deadlocks: every thread of an activity waits for another one of it.
//!
//! That is so if each of them waits for threads (`Thread::waits_for_threads`).
//! Who could end such a wait?
//! * No thread of the activity: none runs or is ready, and none waits for anything else.
//! * None of another activity: each has statics of its own, and what a program
//!   locks or waits at is there, on its heap or on its stacks. Who waits at memory
//!   that others share (the cluster's pool) is not counted.
//! * None of the OS: it wakes a thread of an activity only out of a call, or to
//!   end it.
//! * No interrupt and no timer: those wake the OS.
//!
//! So nothing ever would, and there are no false alarms.
//!
//! A look is taken by an idle core, and only at activities of which a thread has
//! begun to wait in such a way, or has ended, since the last one.

use super::list::Index;
use super::queues::Queues;
use super::thread::Thread;
use core::sync::atomic::Ordering::Relaxed;

/// Most activities that are suspected by name; more are all that there are.
const MOST: usize = 8;

/// Activities that may be in a deadlock since the last look.
pub struct Suspects {
    activities: [u64; MOST],
    /// More than [`MOST`]: whichever.
    count: usize,
}

impl Suspects {
    /// No activity.
    pub const NONE: Self = Self { activities: [0; MOST], count: 0 };
    /// Any activity.
    const ALL: Self = Self { activities: [0; MOST], count: MOST + 1 };

    /// An activity, of which a thread waits for others or is no more; 0 is none.
    pub fn add(&mut self, activity: u64) {
        let Some(known) = self.activities.get(..self.count) else { return };
        if activity == 0 || known.contains(&activity) {
            return;
        }
        self.activities.iter_mut().skip(self.count).take(1).for_each(|place| *place = activity);
        self.count += 1;
    }
}

impl Queues {
    /// A thread of an activity in a deadlock, if there is one.
    fn find_deadlock(&mut self) -> Option<Index> {
        let suspects = core::mem::replace(&mut self.suspects, Suspects::NONE);
        let found = match suspects.activities.get(..suspects.count) {
            Some(known) => known.iter().find_map(|&activity| self.deadlocked(activity)),
            None => self.table.all().find_map(|(_, thread)| {
                thread.waits_for_threads().then(|| self.deadlocked(thread.own.activity.load(Relaxed)))?
            }),
        };
        if found.is_some() {
            // When that activity has ended, there may be another in the same plight.
            self.suspects = Suspects::ALL;
        }
        found
    }

    /// A thread of this activity, if all of them wait for one another.
    fn deadlocked(&self, activity: u64) -> Option<Index> {
        let mut found = None;
        for index in self.table.of(activity) {
            let thread = self.table.get(index);
            if thread.ended.load(Relaxed) == 0 {
                found = Some(thread.waits_for_threads().then_some(index)?);
            }
        }
        found
    }

    /// As [`Queues::pick`] for an idle core; in a deadlock, wakes one thread,
    /// which reports it.
    pub fn pick_or_break_deadlock(&mut self) -> *mut Thread {
        let found = self.pick();
        if !found.is_null() {
            return found;
        }
        let Some(index) = self.find_deadlock() else { return found };
        self.table.get(index).own.deadlocked.store(true, Relaxed);
        self.end_wait(index, false);
        self.pick()
    }
}
