//! Deadlocks: every thread of every activity waits for another one.
//!
//! That is so if no thread of the VM runs or is ready, and each one that belongs
//! to an activity waits for threads (`Thread::waits_for_threads`). Who could end
//! such a wait?
//! * No thread of an activity: none runs, and none waits for anything else.
//! * None of the OS: it wakes a thread of an activity only out of a call, or to
//!   end it, and holds no lock that it shares with programs (those of `std`'s
//!   standard output) while it waits.
//! * No interrupt and no timer: those wake the OS.
//!
//! So nothing ever would, and there are no false alarms. Activities of a VM
//! share its memory, and could wake one another: they are looked at together,
//! so one that waits in vain beside one that runs is found when that one waits
//! as well, or has ended.
//!
//! A look is taken by an idle core, and only after a thread has begun to
//! wait in such a way, or has ended, since the last one.

use super::list::Index;
use super::queues::Queues;
use super::scheduler::SCHEDULER;
use super::thread::{Thread, ThreadId, Waiting};
use core::sync::atomic::Ordering::Relaxed;

impl Queues {
    /// A thread that waits in vain, if all do.
    fn find_deadlock(&mut self) -> Option<Index> {
        if !core::mem::take(&mut self.suspect) {
            return None;
        }
        let mut found = None;
        for (index, thread) in self.table.all() {
            if thread.is_ready() {
                // It runs on another core: then it depends on what it does.
                self.suspect = true;
                return None;
            }
            let is_system = thread.own.activity.load(Relaxed) == 0;
            if thread.waits_for_threads() {
                found.get_or_insert(index);
            } else if !is_system && thread.waiting != Waiting::No {
                return None;
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
        // When its activity has ended, there may be another in the same plight.
        self.suspect = true;
        self.table.get(index).own.deadlocked.store(true, Relaxed);
        self.end_wait(index, false);
        self.pick()
    }
}

/// Where the other threads of the calling thread's activity wait: name, address
/// and frame. Writes the first ones to `places`, for nothing is allocated under
/// the scheduler's lock, and says how many those are.
pub fn where_others_wait(places: &mut [(ThreadId, u64, u64)]) -> usize {
    SCHEDULER.with(|scheduler| {
        let Some(own) = scheduler.current() else { return 0 };
        let activity = scheduler.table.get(own).own.activity.load(Relaxed);
        let others = scheduler.table.of(activity).filter(|&index| index != own);
        let threads = others.map(|index| scheduler.table.get(index));
        let waiting = threads.filter(|thread| thread.waiting != Waiting::No);
        let found = waiting.filter_map(|thread| {
            let (address, frame) = thread.context.whereabouts()?;
            Some((thread.own.id.load(Relaxed), address, frame))
        });
        places.iter_mut().zip(found).map(|(place, found)| *place = found).count()
    })
}
