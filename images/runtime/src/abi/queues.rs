//! The ABI's queues and blocked threads: what condition variables were made of before there were futexes.
//!
//! Nothing of `std` uses them any more. A queue lies in a word of the caller's:
//!
//! ```text
//! usize:   wake-ups that nobody has taken: 32 | threads in the queue: 32
//! ```
//!
//! Whoever is to wait puts itself into the queue, gives its lock back, and waits; a wake-up in
//! between is kept for it.

use super::{status, time};
use crate::processor::critical::Locked;
use crate::system::Errno;
use crate::thread::{self, within_call};
use crate::threads::thread::ThreadId;
use crate::threads::{futex, scheduler};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use core::sync::atomic::{AtomicU32, AtomicUsize};

/// A queue, where the caller has it.
#[repr(C)]
struct Queue {
    wake_ups: AtomicU32,
    members: AtomicU32,
}

const _: () = assert!(size_of::<Queue>() == size_of::<usize>());

/// The queue at an address.
fn queue<'a>(address: usize) -> Result<&'a Queue, Errno> {
    let queue = address as *const Queue;
    if !queue.is_aligned() {
        return Err(Errno::INVALID);
    }
    // SAFETY: aligned and not null; that a queue is there is the caller's promise, as all of the ABI.
    unsafe { queue.as_ref() }.ok_or(Errno::INVALID)
}

/// Empties the queue in the variable at `id`.
///
/// Tested: selftest::queues
#[unsafe(no_mangle)]
extern "C" fn sys_init_queue(id: usize) -> i32 {
    status(queue(id).map(|queue| {
        queue.wake_ups.store(0, SeqCst);
        queue.members.store(0, SeqCst);
    }))
}

/// Ends a queue. EBUSY while threads are in it.
///
/// Tested: selftest::queues
#[unsafe(no_mangle)]
extern "C" fn sys_destroy_queue(id: usize) -> i32 {
    status(queue(id).and_then(|queue| match queue.members.load(SeqCst) {
        0 => Ok(()),
        _ => Err(Errno::BUSY),
    }))
}

/// Puts the calling thread into a queue. A timeout above 0 is refused with ENOSYS: the wait, which is
/// another call, is not told of it.
///
/// Tested: selftest::queues
#[unsafe(no_mangle)]
extern "C" fn sys_add_queue(id: usize, timeout_ns: i64) -> i32 {
    if timeout_ns > 0 {
        return status(Err(Errno::NOT_SUPPORTED));
    }
    status(queue(id).map(|queue| {
        queue.members.fetch_add(1, SeqCst);
    }))
}

/// Waits for a wake-up of the queue that the calling thread is in.
///
/// Tested: selftest::queues
#[unsafe(no_mangle)]
extern "C" fn sys_wait(id: usize) -> i32 {
    let queue = match queue(id) {
        Ok(queue) => queue,
        Err(error) => return status(Err(error)),
    };
    let less = |wake_ups: u32| wake_ups.checked_sub(1);
    while queue.wake_ups.fetch_update(SeqCst, SeqCst, less).is_err() {
        // Whatever ends the wait, the loop looks again.
        let _ = futex::wait(&queue.wake_ups, 0, None);
    }
    0
}

/// Wakes up to `count` threads of a queue; all if `count` is negative.
///
/// Tested: selftest::queues
#[unsafe(no_mangle)]
extern "C" fn sys_notify(id: usize, count: i32) -> i32 {
    status(queue(id).map(|queue| {
        let most = u32::try_from(count).unwrap_or(u32::MAX);
        let left = |members: u32| Some(members.saturating_sub(most));
        let members = queue.members.fetch_update(SeqCst, SeqCst, left).unwrap_or(0);
        let woken = members.min(most);
        queue.wake_ups.fetch_add(woken, SeqCst);
        futex::wake(&queue.wake_ups, woken as usize);
    }))
}

/// A thread that said it will block at its next yield.
struct Blocked {
    thread: ThreadId,
    deadline: Option<u64>,
    /// 1 when it was woken.
    woken: Arc<AtomicU32>,
}

static BLOCKED: Locked<Vec<Blocked>> = Locked::new(Vec::new());
/// How many there are, so that a yield without any costs one load.
static BLOCKED_COUNT: AtomicUsize = AtomicUsize::new(0);

/// The calling thread's turn is over; if it said that it blocks, it waits to be woken.
pub fn yield_or_block() {
    if BLOCKED_COUNT.load(Relaxed) == 0 {
        return scheduler::yield_now();
    }
    let own = thread::current();
    let found = BLOCKED.with(|all| {
        let blocked = all.iter().find(|blocked| blocked.thread == own)?;
        Some((blocked.woken.clone(), blocked.deadline))
    });
    let Some((woken, deadline)) = found else { return scheduler::yield_now() };
    // Woken, or the time is over: it goes on either way.
    let _ = futex::wait(&woken, 0, deadline);
    within_call(|| remove(own));
}

fn block(deadline: Option<u64>) {
    remove(thread::current());
    let (thread, woken) = (thread::current(), Arc::new(AtomicU32::new(0)));
    BLOCKED.with(|all| all.push(Blocked { thread, deadline, woken }));
    BLOCKED_COUNT.fetch_add(1, Relaxed);
}

fn remove(thread: ThreadId) {
    let old = BLOCKED.with(|all| {
        let place = all.iter().position(|blocked| blocked.thread == thread)?;
        Some(all.swap_remove(place))
    });
    if old.is_some() {
        BLOCKED_COUNT.fetch_sub(1, Relaxed);
    }
}

/// The calling thread waits at its next yield, until it is woken.
///
/// Tested: selftest::queues
#[unsafe(no_mangle)]
extern "C" fn sys_block_current_task() {
    within_call(|| block(None));
}

/// The same, for at most so many milliseconds from now on.
///
/// Tested: selftest::queues
#[unsafe(no_mangle)]
extern "C" fn sys_block_current_task_with_timeout(milliseconds: u64) {
    within_call(|| block(Some(time::after(milliseconds.saturating_mul(1_000_000)))));
}

/// Wakes a thread that blocked, or said that it will. (hermit-abi names it so.)
///
/// Tested: selftest::queues
#[unsafe(no_mangle)]
extern "C" fn sys_wakeup_taskt(id: ThreadId) {
    let woken = BLOCKED.with(|all| all.iter().find(|blocked| blocked.thread == id).map(|b| b.woken.clone()));
    if let Some(woken) = woken {
        woken.store(1, SeqCst);
        futex::wake(&woken, 1);
    }
}
