//! Which thread runs: by priority, round robin among equals, in time slices.
//!
//! ```text
//!            spawn                  pick
//!   (none) --------->  ready  ------------->  running --> ended
//!                        ^  <-------------      |  |
//!                        |   yield, preempted   |  |
//!                        |                      |  |
//!                        +---- waiting <--------+  |
//!                         wake,        block       |
//!                         deadline                 v
//!                                       idle: halted, nobody runs
//! ```
//!
//! * A thread that becomes ready and is more urgent than the running one runs at once.
//! * A time slice counts only while an equal waits. With nobody waiting there
//!   is no tick; an idle VM halts and only a sleeper's deadline wakes it.
//! * All state is in one [`Locked`] cell. Switching happens outside of it, with
//!   interrupts off throughout.
//! * An ended thread's stack is freed by the idle loop, which runs on the boot's stack.

use super::context::{self, Context};
use super::list::{Index, LinkKind, List};
use super::stack::Stack;
use super::thread::{Priority, Table, Thread, ThreadId, Waiting};
use crate::boot;
use crate::clock;
use crate::processor::apic;
use crate::processor::critical::{self, Locked};
use crate::processor::traps::{FloatState, TrapFrame};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::arch::naked_asm;
use core::sync::atomic::AtomicU32;
use x86_64::instructions::interrupts;

/// A time slice, in nanoseconds.
const SLICE: u64 = 10_000_000;
/// How many lists there are for waiting threads.
const BUCKETS: usize = 64;
/// How many priorities there are, 0 unused.
const PRIORITIES: usize = 4;

pub(super) struct Scheduler {
    pub(super) table: Table,
    ready: [List; PRIORITIES],
    waiting: [List; BUCKETS],
    /// In order of their deadlines.
    sleepers: List,
    /// Who runs; `None` in the idle loop.
    pub(super) current: Option<Index>,
    /// When the running thread makes room for an equal that waits.
    slice_end: Option<u64>,
    /// Ended, not yet freed.
    ended: Option<Index>,
    /// When the timer will interrupt.
    armed: Option<u64>,
    /// Since the last look for a deadlock, something happened that may have made one.
    pub(super) suspect: bool,
}

/// What goes on after a switch.
#[derive(Clone, Copy)]
struct Next {
    from: *mut Thread,
    /// Null: nobody, the idle loop.
    to: *mut Thread,
}

pub(super) static SCHEDULER: Locked<Scheduler> = Locked::new(Scheduler {
    table: Table::new(),
    ready: [List::new(LinkKind::Queue); PRIORITIES],
    waiting: [List::new(LinkKind::Queue); BUCKETS],
    sleepers: List::new(LinkKind::Sleep),
    current: None,
    slice_end: None,
    ended: None,
    armed: None,
    suspect: false,
});

// SAFETY: the stacks and contexts in it belong to it alone.
unsafe impl Send for Scheduler {}

impl Scheduler {
    fn running(&mut self) -> &mut Thread {
        let index = self.current.expect("a thread's call without a thread");
        self.table.get_mut(index)
    }

    fn queue(&mut self, index: Index) -> &mut List {
        &mut self.ready[self.table.get(index).priority as usize]
    }

    /// Puts a thread at the end of its ready queue.
    fn make_ready(&mut self, index: Index) {
        let mut list = *self.queue(index);
        list.push(&mut self.table, index);
        *self.queue(index) = list;
    }

    /// Puts a thread that was put aside at the front of its ready queue.
    fn make_ready_first(&mut self, index: Index) {
        let mut list = *self.queue(index);
        list.insert_after(&mut self.table, None, index);
        *self.queue(index) = list;
    }

    /// The priority of the most urgent ready thread.
    fn most_urgent(&self) -> Option<usize> {
        (1..PRIORITIES).rev().find(|&priority| !self.ready[priority].is_empty())
    }

    /// Takes the most urgent ready thread and makes it the running one.
    fn pick(&mut self) -> *mut Thread {
        self.slice_end = None;
        self.current = self.most_urgent().and_then(|priority| self.ready[priority].pop(&mut self.table));
        self.set_timer();
        match self.current {
            Some(index) => self.table.get_mut(index),
            None => core::ptr::null_mut(),
        }
    }

    /// Ends the running thread's turn, wherever it has been put, and picks the next.
    fn next(&mut self) -> Next {
        Next { from: self.running(), to: self.pick() }
    }

    /// Whether the running thread must make room: for a more urgent one, or
    /// for an equal after its slice.
    fn must_yield(&mut self) -> bool {
        let Some(urgent) = self.most_urgent() else { return false };
        let Some(index) = self.current else { return true };
        let own = self.table.get(index).priority as usize;
        urgent > own || urgent == own && self.slice_end.is_some_and(|end| clock::now_ns() >= end)
    }

    /// Puts the running thread back among the ready ones.
    fn put_back(&mut self) {
        let Some(index) = self.current else { return };
        match self.slice_end {
            Some(end) if clock::now_ns() >= end => self.make_ready(index),
            _ => self.make_ready_first(index),
        }
    }

    /// Sets the timer for what comes next: a deadline or the end of the slice.
    /// A timer that fires too early does no harm, so it is never set later.
    fn set_timer(&mut self) {
        if let Some(index) = self.current
            && self.slice_end.is_none()
            && !self.queue(index).is_empty()
        {
            self.slice_end = Some(clock::now_ns() + SLICE);
        }
        let competitor = self.current.is_some_and(|index| !self.queue(index).is_empty());
        let slice = self.slice_end.filter(|_| competitor);
        let deadline = self.sleepers.first().and_then(|index| self.table.get(index).deadline);
        let last = self.current.and_then(|index| self.table.get(index).last_moment());
        let Some(due) = slice.into_iter().chain(deadline).chain(last).min() else { return };
        if self.armed.is_none_or(|armed| due < armed) {
            self.armed = Some(due);
            apic::set_timer(due);
        }
    }

    fn add_sleeper(&mut self, index: Index, deadline: u64) {
        let mut before = None;
        let mut next = self.sleepers.first();
        while let Some(other) = next {
            if self.table.get(other).deadline.is_some_and(|other| other > deadline) {
                break;
            }
            before = next;
            next = self.sleepers.after(&self.table, other);
        }
        self.table.get_mut(index).deadline = Some(deadline);
        self.sleepers.insert_after(&mut self.table, before, index);
    }

    /// Ends a thread's wait.
    pub(super) fn end_wait(&mut self, index: Index, timed_out: bool) {
        let thread = self.table.get_mut(index);
        let (waiting, deadline) = (thread.waiting, thread.deadline.take());
        thread.waiting = Waiting::No;
        thread.timed_out = timed_out;
        if deadline.is_some() {
            self.sleepers.remove(&mut self.table, index);
        }
        if let Waiting::Futex(address) = waiting {
            self.waiting[bucket(address)].remove(&mut self.table, index);
        }
        self.make_ready(index);
    }

    /// Wakes everybody whose deadline has passed.
    fn wake_sleepers(&mut self) {
        if self.sleepers.is_empty() {
            return;
        }
        let now = clock::now_ns();
        while let Some(index) = self.sleepers.first() {
            if self.table.get(index).deadline.is_some_and(|deadline| deadline > now) {
                break;
            }
            self.end_wait(index, true);
        }
    }

    /// Wakes up to `count` of those that wait at `address`.
    fn wake(&mut self, address: usize, count: usize) -> usize {
        let mut woken = 0;
        let mut next = self.waiting[bucket(address)].first();
        while let Some(index) = next
            && woken < count
        {
            next = self.waiting[bucket(address)].after(&self.table, index);
            if self.table.get(index).waiting == Waiting::Futex(address) {
                self.end_wait(index, false);
                woken += 1;
            }
        }
        if woken > 0 {
            self.set_timer();
        }
        woken
    }
}

/// The list in which those wait that wait at `address`.
fn bucket(address: usize) -> usize {
    // Fibonacci hashing (Knuth, The Art of Computer Programming 3, 6.4).
    (address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) % BUCKETS
}

/// Leaves the calling thread and goes on with another. Interrupts are off.
fn leave(next: Next) {
    if next.from == next.to {
        return;
    }
    let target = if next.to.is_null() { idle } else { context::resume };
    // SAFETY: interrupts are off (every caller is in a section), `from` is the
    // calling thread, and `to` is the one that was picked, or the idle loop.
    unsafe { context::switch(next.from, target, next.to) };
}

/// Makes a thread that calls `function(argument)`; `None` without memory.
pub fn spawn(
    function: extern "C" fn(usize),
    argument: usize,
    priority: Priority,
    stack_bytes: usize,
) -> Option<ThreadId> {
    let stack = Stack::new(stack_bytes).ok()?;
    let (activity, cancelled) = with_current(|maker| (maker.activity, maker.cancelled)).unwrap_or_default();
    let thread = Box::new(Thread {
        id: 0,
        priority,
        activity,
        cancelled,
        calls: 0,
        gives_way: false,
        links: Default::default(),
        waiting: Waiting::No,
        deadline: None,
        timed_out: false,
        allocation_failed: false,
        error: 0,
        ended: Box::new(AtomicU32::new(0)),
        context: Context::fresh(begin, function, argument, stack.top),
        stack,
        last_stack: None,
        deadlocked: false,
    });
    let id = SCHEDULER.with(|scheduler| {
        let (index, id) = scheduler.table.insert(thread)?;
        scheduler.make_ready(index);
        if scheduler.current.is_some() {
            scheduler.set_timer();
        }
        Some(id)
    });
    if id.is_some() {
        reschedule();
    }
    id
}

/// Where a thread begins.
extern "C" fn begin(function: extern "C" fn(usize), argument: usize) -> ! {
    function(argument);
    end()
}

/// Ends the calling thread. Nothing on its stack is dropped.
pub fn end() -> ! {
    let section = critical::enter();
    // Interrupts stay off until another thread runs.
    core::mem::forget(section);
    SCHEDULER.with(|scheduler| {
        let thread = scheduler.running();
        thread.ended.store(1, core::sync::atomic::Ordering::SeqCst);
        let address = core::ptr::from_ref(&*thread.ended) as usize;
        scheduler.wake(address, usize::MAX);
        scheduler.ended = scheduler.current.take();
        scheduler.suspect = true;
    });
    // SAFETY: interrupts are off, and nobody runs.
    unsafe { idle(core::ptr::null_mut()) }
}

/// Waits until the thread has ended; at once if there is none of that name.
pub fn join(id: ThreadId) {
    let ended = || -> Option<usize> {
        SCHEDULER.with(|scheduler| {
            let index = scheduler.table.find(id)?;
            let thread = scheduler.table.get(index);
            let alive = thread.ended.load(core::sync::atomic::Ordering::SeqCst) == 0;
            alive.then(|| core::ptr::from_ref(&*thread.ended) as usize)
        })
    };
    loop {
        // One section from the look to the sleep: nobody ends in between.
        let _section = critical::enter();
        let Some(address) = ended() else { return };
        block(Waiting::Futex(address), None, || true);
    }
}

/// Puts the calling thread to sleep if `condition` holds. `None` if it did
/// not; else whether the deadline passed.
pub fn block(waiting: Waiting, deadline: Option<u64>, condition: impl FnOnce() -> bool) -> Option<bool> {
    let section = critical::enter();
    let next = SCHEDULER.with(|scheduler| {
        if !condition() {
            return None;
        }
        let index = scheduler.current.expect("only threads wait");
        scheduler.running().waiting = waiting;
        if let Waiting::Futex(address) = waiting {
            scheduler.waiting[bucket(address)].push(&mut scheduler.table, index);
        }
        if let Some(deadline) = deadline {
            scheduler.add_sleeper(index, deadline);
        }
        scheduler.suspect |= scheduler.running().waits_for_threads();
        Some(scheduler.next())
    })?;
    leave(next);
    let (timed_out, ends, deadlocked) = SCHEDULER.with(|scheduler| {
        let thread = scheduler.running();
        let (timed_out, ends) = (thread.timed_out, thread.must_end());
        let deadlocked = core::mem::take(&mut thread.deadlocked);
        if let (true, false, Waiting::Futex(address)) = (ends, timed_out, waiting) {
            // It may have been woken to go on with something that it will not
            // touch any more (a lock, say): then the next who waits shall.
            scheduler.wake(address, 1);
        }
        (timed_out, ends, deadlocked)
    });
    if ends {
        drop(section);
        crate::thread::end();
    }
    if deadlocked {
        drop(section);
        crate::fault::deadlock();
    }
    Some(timed_out)
}

/// Wakes up to `count` threads that wait at `address`, without switching to them.
pub fn wake_futex(address: usize, count: usize) -> usize {
    SCHEDULER.with(|scheduler| scheduler.wake(address, count))
}

/// See `thread::cancel`: marks the threads of an activity, and ends the waits
/// of those that are outside of the OS's calls.
pub fn cancel(activity: u64) {
    let now = clock::now_ns();
    SCHEDULER.with(|scheduler| {
        let threads: Vec<Index> = scheduler.table.of(activity).collect();
        for index in threads {
            let thread = scheduler.table.get_mut(index);
            thread.cancelled.get_or_insert(now);
            if thread.must_end() && thread.waiting != Waiting::No {
                scheduler.end_wait(index, false);
            }
        }
        scheduler.set_timer();
    });
    reschedule();
}

/// Makes room for a more urgent thread, if there is one.
pub fn reschedule() {
    let _section = critical::enter();
    let next = SCHEDULER.with(|scheduler| {
        if scheduler.current.is_none() || !scheduler.must_yield() {
            return None;
        }
        scheduler.put_back();
        Some(scheduler.next())
    });
    if let Some(next) = next {
        leave(next);
    }
}

/// Lets the others have a turn: the calling thread goes to the end of its queue.
pub fn yield_now() {
    let _section = critical::enter();
    let next = SCHEDULER.with(|scheduler| {
        let index = scheduler.current?;
        scheduler.make_ready(index);
        Some(scheduler.next())
    });
    if let Some(next) = next {
        leave(next);
    }
}

/// After a wake-up: if the thread has just handed on a lock of `std` that it
/// held over a call, those who waited run first; and if it is to end, it ends here.
pub fn give_way() {
    match with_current(|thread| thread.takes_leave().then(|| thread.must_end())).flatten() {
        Some(true) => crate::thread::end(),
        Some(false) => yield_now(),
        None => {}
    }
}

/// Whether more than `count` other threads are ready to run.
pub fn more_runnable_than(count: usize) -> bool {
    SCHEDULER.with(|scheduler| {
        let mut left = count;
        let Scheduler { table, ready, .. } = scheduler;
        for list in &ready[1..] {
            let mut next = list.first();
            while let Some(index) = next {
                if left == 0 {
                    return true;
                }
                left -= 1;
                next = list.after(table, index);
            }
        }
        false
    })
}

/// How many threads there are.
pub fn count() -> usize {
    SCHEDULER.with(|scheduler| scheduler.table.len())
}

/// Runs `f` on the calling thread's record; `None` in the boot and the idle
/// loop, and in a fault within the scheduler.
pub fn with_current<R>(f: impl FnOnce(&mut Thread) -> R) -> Option<R> {
    SCHEDULER.try_with(|scheduler| scheduler.current.map(|index| f(scheduler.table.get_mut(index))))?
}

/// The calling thread and its activity.
pub fn whereabouts() -> Option<(ThreadId, u64)> {
    with_current(|thread| (thread.id, thread.activity))
}

/// Changes a thread's priority; `false` if there is no such thread.
pub fn set_priority(id: ThreadId, priority: Priority) -> bool {
    let found = SCHEDULER.with(|scheduler| {
        let Some(index) = scheduler.table.find(id) else { return false };
        let ready = scheduler.current != Some(index) && scheduler.table.get(index).waiting == Waiting::No;
        if ready {
            let mut list = *scheduler.queue(index);
            list.remove(&mut scheduler.table, index);
            *scheduler.queue(index) = list;
        }
        scheduler.table.get_mut(index).priority = priority;
        if ready {
            scheduler.make_ready(index);
        }
        scheduler.set_timer();
        true
    });
    reschedule();
    found
}

/// The timer's interrupt: deadlines that have passed, and what comes next.
pub fn on_timer() {
    SCHEDULER.with(|scheduler| {
        scheduler.armed = None;
        scheduler.wake_sleepers();
        scheduler.set_timer();
    });
}

/// The end of an interrupt: goes on with another thread if it is more urgent
/// (or the slice is over), and returns if not.
pub fn leave_interrupt(frame: &TrapFrame, float: &FloatState) {
    let last_moment = with_current(|thread| thread.last_moment()).flatten();
    if last_moment.is_some_and(|moment| clock::now_ns() >= moment) {
        end();
    }
    let to = SCHEDULER.with(|scheduler| {
        if !scheduler.must_yield() {
            return None;
        }
        if scheduler.current.is_some() {
            scheduler.running().context.keep(frame, float);
            scheduler.put_back();
        }
        Some(scheduler.pick())
    });
    if let Some(to) = to {
        // SAFETY: interrupts are off, and `to` was picked: somebody was ready.
        unsafe { context::resume(to) }
    }
}

/// Starts the first thread; the boot is over.
pub fn start() -> ! {
    // SAFETY: interrupts are off, and nobody runs.
    unsafe { idle(core::ptr::null_mut()) }
}

/// Goes to the idle loop on its own stack; whatever is on the present one is left behind.
#[unsafe(naked)]
unsafe extern "C" fn idle(_nobody: *mut Thread) -> ! {
    naked_asm!(
        "lea rsp, [rip + {stack}]",
        "xor ebp, ebp",
        "call {run}",
        "ud2",
        stack = sym boot::entry::boot_stack_top,
        run = sym idle_loop,
    )
}

/// Frees the thread that ended, goes on with whoever is ready, or halts until an interrupt.
extern "C" fn idle_loop() -> ! {
    loop {
        let ended = SCHEDULER.with(|scheduler| {
            let index = scheduler.ended.take()?;
            scheduler.table.remove(index)
        });
        drop(ended);
        let to = SCHEDULER.with(Scheduler::pick);
        if !to.is_null() {
            // SAFETY: interrupts are off, and `to` was picked.
            unsafe { context::resume(to) }
        }
        if SCHEDULER.with(Scheduler::break_deadlock) {
            continue;
        }
        // An interrupt that makes somebody ready goes on with that thread and
        // leaves this loop behind; any other returns here.
        interrupts::enable_and_hlt();
        interrupts::disable();
    }
}
