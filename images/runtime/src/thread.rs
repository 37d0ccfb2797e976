//! Threads, as the OS above sees them. Programs use `std::thread`.

pub use crate::threads::thread::{Priority, ThreadId};

use crate::threads::scheduler;

/// Says to which activity the calling thread belongs; 0 is the OS itself.
/// Threads that it makes from now on inherit that.
pub fn set_activity(activity: u64) {
    scheduler::with_current(|thread| thread.activity = activity);
}

/// The activity that the calling thread belongs to.
pub fn activity() -> u64 {
    scheduler::whereabouts().map_or(0, |(_, activity)| activity)
}

/// The calling thread's name; 0 before the first thread.
pub fn current() -> ThreadId {
    scheduler::whereabouts().map_or(0, |(id, _)| id)
}

/// Changes a thread's priority; `false` if there is no such thread. Whoever is
/// more urgent then runs at once.
pub fn set_priority(id: ThreadId, priority: Priority) -> bool {
    scheduler::set_priority(id, priority)
}

/// Whether another thread is ready to run, of whatever priority.
pub fn others_runnable() -> bool {
    scheduler::others_runnable()
}

/// How many threads there are.
pub fn count() -> usize {
    scheduler::count()
}

/// Ends the calling thread. Nothing on its stack is dropped and no
/// thread-local's destructor runs; whoever joins it goes on.
pub fn end() -> ! {
    scheduler::end()
}
