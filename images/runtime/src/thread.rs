//! Threads, as the OS above sees them. Programs use `std::thread`.

pub use crate::memory::paging::OutOfFrames;
pub use crate::threads::scheduler::end;
pub use crate::threads::thread::{Priority, ThreadId};

use crate::memory::segment::Segment;
use crate::processor::cores;
use crate::processor::critical;
use crate::threads::scheduler;
use core::sync::atomic::Ordering::Relaxed;

/// Says to which activity the calling thread belongs; 0 is the OS itself.
/// Threads that it makes from now on inherit that.
pub fn set_activity(activity: u64) {
    scheduler::with_current(|thread| thread.activity.store(activity, Relaxed));
}

/// The same for a new activity, and gives it the statics of programs as they
/// were when the boot was over: the calling thread and those that it makes have
/// these to themselves until all of them have ended.
///
/// # Errors
/// If there is no memory for that. Then nothing has changed.
pub fn begin_activity(activity: u64) -> Result<(), OutOfFrames> {
    scheduler::set_segment(Segment::new()?);
    set_activity(activity);
    Ok(())
}

/// The activity that the calling thread belongs to.
pub fn activity() -> u64 {
    scheduler::whereabouts().map_or(0, |(_, activity)| activity)
}

/// The calling thread's name; 0 before the first thread.
pub fn current() -> ThreadId {
    scheduler::whereabouts().map_or(0, |(id, _)| id)
}

/// On which core the calling thread runs now; of several, it may be another one at once.
pub fn core() -> usize {
    let _section = critical::enter();
    cores::index()
}

/// Changes a thread's priority; `false` if there is no such thread. Whoever is
/// more urgent then runs at once.
pub fn set_priority(id: ThreadId, priority: Priority) -> bool {
    scheduler::set_priority(id, priority)
}

/// Whether other threads, of whatever priority, are ready to run and wait for a core.
pub fn is_wanted() -> bool {
    scheduler::is_wanted()
}

/// How many threads there are.
pub fn count() -> usize {
    scheduler::count()
}

/// Ends the threads of an activity: each where it is, or if it is within a call
/// of the OS (see [`within_call`]) when it comes back. Nothing on their stacks is
/// dropped. Threads that they make meanwhile end likewise.
pub fn cancel(activity: u64) {
    scheduler::cancel(activity);
}

/// Runs a call of the OS on a program's thread: within it, the thread's waits
/// are the OS's own and [`cancel`] does not end it, but when the call is over.
/// So whatever a thread holds that is not its activity's, it holds within one.
///
/// A thread whose stack has no room for a call overflows it here, not within.
pub fn within_call<T>(call: impl FnOnce() -> T) -> T {
    let guard = scheduler::with_current(|own| {
        let guard = own.lacks_room();
        if guard.is_none() {
            own.calls.store(own.calls.load(Relaxed) + 1, Relaxed);
        }
        guard
    });
    if let Some(guard) = guard.flatten() {
        overflow(guard);
    }
    let result = call();
    let ends = scheduler::with_current(|thread| {
        thread.calls.store(thread.calls.load(Relaxed) - 1, Relaxed);
        thread.must_end()
    });
    if ends == Some(true) {
        end();
    }
    result
}

/// Writes to the guard page of the calling thread's stack.
#[cold]
fn overflow(guard: *mut u8) {
    // SAFETY: nothing is there: the fault says that the stack is full.
    unsafe { guard.write_volatile(0) };
}
