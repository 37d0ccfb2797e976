//! Threads, as the OS above sees them. Programs use `std::thread`.

pub use crate::memory::paging::OutOfFrames;
pub use crate::memory::segment::Remains;
pub use crate::threads::scheduler::end;
pub use crate::threads::thread::{Priority, ThreadId};

use crate::fault;
use crate::memory::segment::Segment;
use crate::processor::cores;
use crate::processor::critical;
use crate::threads::scheduler;
use crate::threads::thread::{Left, Own};
use alloc::boxed::Box;
use core::sync::atomic::Ordering::Relaxed;

/// Says to which activity the calling thread belongs; 0 is the OS itself.
/// Threads that it makes from now on inherit that.
pub fn set_activity(activity: u64) {
    scheduler::with_current(|thread| thread.activity.store(activity, Relaxed));
}

/// Bytes of stack of the thread with which an activity begins.
const FIRST_STACK: usize = 1 << 20;

/// What a new activity does first, and as which.
struct First {
    activity: u64,
    run: Box<dyn FnOnce() + Send>,
}

/// Begins an activity: a thread that carries its number and runs `first`. This
/// thread and those that it makes have a heap, and the statics of programs as they
/// were when the boot was over, to themselves until all of them have ended. What
/// remains of that then is told. The thread is none of `std`'s, and runs no
/// destructors of thread-locals; those that it makes do.
///
/// # Errors
/// If there is no memory for that. Then nothing has begun.
pub fn begin_activity(activity: u64, first: impl FnOnce() + Send + 'static) -> Result<Remains, OutOfFrames> {
    within_call(|| {
        let segment = Segment::new()?;
        let remains = segment.remains();
        let before = scheduler::exchange_segment(Some(segment));
        let first = in_own_heap(|| Box::new(First { activity, run: Box::new(first) }));
        let lacks =
            scheduler::with_current(|own| own.lacking.swap(0, Relaxed)).is_some_and(|bytes| bytes > 0);
        let made = if lacks { None } else { begin(first) };
        drop(scheduler::exchange_segment(before));
        made.map(|_| remains).ok_or(OutOfFrames)
    })
}

/// Makes the thread with which an activity begins; `None` without memory.
fn begin(first: Box<First>) -> Option<ThreadId> {
    extern "C" fn run(first: usize) {
        // SAFETY: made below, for this thread alone.
        let First { activity, run } = *unsafe { Box::from_raw(first as *mut First) };
        set_activity(activity);
        run();
    }
    let first = Box::into_raw(first);
    let made = scheduler::spawn(run, first as usize, Priority::Normal, FIRST_STACK, None);
    if made.is_none() {
        // SAFETY: no thread has it.
        drop(unsafe { Box::from_raw(first) });
    }
    made
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
/// So whatever a thread holds that is not its activity's, it holds within one;
/// and what it allocates there is the OS's, and not its activity's.
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
    match scheduler::with_current(Own::leave_call) {
        Some(Left::Ends) => end(),
        Some(Left::Lacks) => {
            // A part of it may be in the OS's heap, and does not stay there.
            drop(result);
            fault::out_of_memory()
        }
        Some(Left::GoesOn) | None => result,
    }
}

/// What a call returns, as the program's own: a copy in its activity's heap, which
/// goes with that, of a value in the OS's. If there is no room for it, the activity
/// ends when the call is over.
pub fn handed_over<T: Clone>(value: &T) -> T {
    in_own_heap(|| value.clone())
}

/// Within a call, allocates in the heap of the calling thread's activity.
fn in_own_heap<T>(allocate: impl FnOnce() -> T) -> T {
    let set = |hands_over| {
        scheduler::with_current(|own| own.hands_over.store(hands_over, Relaxed));
    };
    set(true);
    let allocated = allocate();
    set(false);
    allocated
}

/// Writes to the guard page of the calling thread's stack.
#[cold]
fn overflow(guard: *mut u8) {
    // SAFETY: nothing is there: the fault says that the stack is full.
    unsafe { guard.write_volatile(0) };
}
