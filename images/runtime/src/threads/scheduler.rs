//! Which thread runs on a core: by priority, round robin among equals, in time slices.
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
//! * A thread that becomes ready and is more urgent than a running one runs at once.
//! * A time slice counts only while an equal waits, and goes on where somebody more
//!   urgent interrupted it. With nobody waiting there is no tick; an idle core halts,
//!   and only a sleeper's deadline or a call from another core wakes it.
//! * All state is in one [`Locked`] cell (see `queues.rs` for who goes where).
//!   Switching happens outside of it, with interrupts off throughout; what keeps
//!   two cores from one thread is in `context.rs`.
//! * An ended thread's stack is freed by the idle loop of its core, which runs
//!   on a stack of its own.

use super::context::{self, Context};
use super::queues::{Affinity, Queues};
use super::stack::Stack;
use super::thread::{Own, Priority, Thread, ThreadId, Waiting};
use crate::fault;
use crate::memory::limbo;
use crate::memory::segment::Segment;
use crate::processor::cores::{self, STACK_TOP};
use crate::processor::critical::{self, Locked};
use crate::processor::shootdown;
use crate::processor::traps::{FloatState, TrapFrame};
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::arch::naked_asm;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::Relaxed;
use x86_64::instructions::interrupts;

/// What goes on after a switch.
#[derive(Clone, Copy)]
struct Next {
    from: *mut Thread,
    /// Null: nobody, the idle loop.
    to: *mut Thread,
}

pub(super) static SCHEDULER: Locked<Queues> = Locked::new(Queues::new());

/// Ends the running thread's turn, wherever it has been put, and picks the next.
fn next(queues: &mut Queues) -> Next {
    Next { from: queues.running(), to: queues.pick() }
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

/// Makes a thread that calls `function(argument)`; `None` without memory. It
/// begins on `core`, where that is not busy, or else where there is most room.
pub fn spawn(
    function: extern "C" fn(usize),
    argument: usize,
    priority: Priority,
    stack_bytes: usize,
    core: Option<usize>,
) -> Option<ThreadId> {
    let stack = Stack::new(stack_bytes).ok()?;
    let mut thread = Box::new(Thread {
        own: Own { stack_start: stack.start(), segment: segment(), ..Own::new() },
        priority,
        core: 0,
        begins_here: core.is_some(),
        slice_left: None,
        links: Default::default(),
        waiting: Waiting::No,
        deadline: None,
        ended: Box::new(AtomicU32::new(0)),
        context: Context::fresh(begin, function, argument, stack.top),
        stack,
        last_stack: None,
    });
    let id = SCHEDULER.with(|scheduler| {
        // Whoever cancels an activity finds the maker or, with that mark, the new thread.
        with_current(|maker| thread.own.inherit(maker));
        thread.core = core.filter(|&core| core < cores::count()).unwrap_or_else(cores::index);
        let (index, id) = scheduler.table.insert(thread)?;
        scheduler.place(index, if core.is_some() { Affinity::Close } else { Affinity::None });
        if scheduler.current().is_some() {
            scheduler.set_timer();
        }
        Ok::<_, Box<Thread>>(id)
    });
    // A thread for which there was no room goes with its stack, outside of the lock.
    let id = id.ok()?;
    reschedule();
    Some(id)
}

/// Where a thread begins.
extern "C" fn begin(function: extern "C" fn(usize), argument: usize) -> ! {
    function(argument);
    end()
}

/// Ends the calling thread. Nothing on its stack is dropped and no
/// thread-local's destructor runs; whoever joins it goes on.
pub fn end() -> ! {
    let section = critical::enter();
    // Interrupts stay off until another thread runs.
    core::mem::forget(section);
    SCHEDULER.with(|scheduler| {
        let thread = scheduler.running();
        thread.ended.store(1, core::sync::atomic::Ordering::SeqCst);
        let address = core::ptr::from_ref(&*thread.ended) as usize;
        let activity = thread.own.activity.load(Relaxed);
        scheduler.wake(address, usize::MAX);
        scheduler.suspects.add(activity);
        let own = scheduler.own();
        own.ended = own.current.take();
    });
    // SAFETY: interrupts are off, and nobody runs.
    unsafe { idle(core::ptr::null_mut()) }
}

/// Waits until the thread has ended; at once if there is none of that name.
pub fn join(id: ThreadId) {
    let not_ended = |queues: &mut Queues| {
        let index = queues.table.find(id)?;
        let ended = &queues.table.get(index).ended;
        let alive = ended.load(core::sync::atomic::Ordering::SeqCst) == 0;
        alive.then(|| Waiting::Futex(core::ptr::from_ref(&**ended) as usize))
    };
    while wait(None, not_ended).is_some() {}
}

/// Puts the calling thread to sleep if `condition` holds. `None` if it did
/// not; else whether the deadline passed.
pub fn block(waiting: Waiting, deadline: Option<u64>, condition: impl FnOnce() -> bool) -> Option<bool> {
    wait(deadline, |_| condition().then_some(waiting))
}

/// As [`block`], but the thread goes on as well when others have run and a core
/// has nothing to do any more. For one thread of a VM.
pub fn block_or_stand_in(
    waiting: Waiting,
    deadline: Option<u64>,
    condition: impl FnOnce() -> bool,
) -> Option<bool> {
    wait(deadline, |scheduler| {
        let waits = condition();
        if waits {
            scheduler.stand_in();
        }
        waits.then_some(waiting)
    })
}

/// Puts the calling thread to sleep for what `what` says, if anything.
fn wait(deadline: Option<u64>, what: impl FnOnce(&mut Queues) -> Option<Waiting>) -> Option<bool> {
    let section = critical::enter();
    let next = SCHEDULER.with(|scheduler| {
        if scheduler.running().own.must_end() {
            return None;
        }
        let waiting = what(scheduler)?;
        scheduler.wait(waiting, deadline);
        Some(next(scheduler))
    });
    if let Some(next) = next {
        leave(next);
    }
    let (timed_out, ends, deadlocked) = with_current(Own::after_wait).unwrap_or_default();
    if ends {
        drop(section);
        end();
    }
    if deadlocked {
        drop(section);
        fault::deadlock();
    }
    next.map(|_| timed_out)
}

/// Wakes up to `count` threads that wait at `address`; a more urgent one runs
/// before this returns.
pub fn wake_futex(address: usize, count: usize) -> usize {
    let _section = critical::enter();
    let (woken, next) = SCHEDULER.with(|scheduler| {
        let woken = scheduler.wake(address, count);
        (woken, if woken > 0 { make_room(scheduler) } else { None })
    });
    if let Some(next) = next {
        leave(next);
    }
    woken
}

/// The same without switching threads: for interrupts, which look at that when they end.
pub fn wake_futex_quietly(address: usize, count: usize) -> usize {
    SCHEDULER.with(|scheduler| scheduler.wake(address, count))
}

/// See `thread::cancel`: marks the threads of an activity, and ends the waits
/// of those that are outside of the OS's calls.
pub fn cancel(activity: u64) {
    SCHEDULER.with(|scheduler| {
        let mut first = 0;
        while let Some(index) = scheduler.table.next_of(activity, first) {
            first = index + 1;
            // It is to end soon, and not when nobody else has anything to do.
            if scheduler.table.get(index).priority < Priority::Normal {
                scheduler.change_priority(index, Priority::Normal);
            }
            let thread = scheduler.table.get_mut(index);
            thread.own.cancelled.store(true, Relaxed);
            if thread.own.must_end() && thread.waiting != Waiting::No {
                scheduler.end_wait(index, false);
            } else {
                scheduler.call_whom_runs(index);
            }
        }
        scheduler.set_timer();
    });
    reschedule();
}

/// Makes room for a more urgent thread, if there is one.
pub fn reschedule() {
    let _section = critical::enter();
    if let Some(next) = SCHEDULER.with(make_room) {
        leave(next);
    }
}

fn make_room(queues: &mut Queues) -> Option<Next> {
    if queues.current().is_none() || !queues.must_yield() {
        return None;
    }
    queues.put_back();
    Some(next(queues))
}

/// Lets the others have a turn: the calling thread goes to the end of its queue.
pub fn yield_now() {
    let _section = critical::enter();
    let next = SCHEDULER.with(|scheduler| {
        scheduler.put_last()?;
        Some(next(scheduler))
    });
    if let Some(next) = next {
        leave(next);
    }
}

/// Whether others than the running threads are ready to run.
pub fn is_wanted() -> bool {
    SCHEDULER.with(|scheduler| scheduler.ready() > 0)
}

/// How many threads there are.
pub fn count() -> usize {
    SCHEDULER.with(|scheduler| scheduler.table.len())
}

/// Runs `f` on the calling thread's record; `None` in the boot and the idle loop.
#[inline]
pub fn with_current<R>(f: impl FnOnce(&Own) -> R) -> Option<R> {
    let thread = cores::running() as *const Thread;
    // SAFETY: null, or the calling thread, whose record stays while it runs. What
    // others change meanwhile is not in its own part, or is atomic.
    let own = unsafe { thread.as_ref() }.map(|thread| &thread.own)?;
    Some(f(own))
}

/// The data segment of the calling thread, if it has one of its own.
pub fn segment() -> Option<Arc<Segment>> {
    with_current(|own| own.segment.clone()).flatten()
}

/// From now on, the calling thread has this data segment; returns the one that it had.
pub fn exchange_segment(segment: Option<Arc<Segment>>) -> Option<Arc<Segment>> {
    let _section = critical::enter();
    if let Some(segment) = &segment {
        segment.enter();
    }
    SCHEDULER.with(|scheduler| core::mem::replace(&mut scheduler.running().own.segment, segment))
}

/// The calling thread and its activity.
pub fn whereabouts() -> Option<(ThreadId, u64)> {
    with_current(|own| (own.id.load(Relaxed), own.activity.load(Relaxed)))
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

/// How urgent the calling thread is.
pub fn priority() -> Option<Priority> {
    SCHEDULER.with(|scheduler| Some(scheduler.table.get(scheduler.current()?).priority))
}

/// Changes a thread's priority; `false` if there is no such thread.
pub fn set_priority(id: ThreadId, priority: Priority) -> bool {
    let found = SCHEDULER.with(|scheduler| {
        let Some(index) = scheduler.table.find(id) else { return false };
        scheduler.change_priority(index, priority);
        scheduler.set_timer();
        true
    });
    reschedule();
    found
}

/// The timer's interrupt: deadlines that have passed, and what comes next.
pub fn on_timer() {
    SCHEDULER.with(Queues::on_timer);
}

/// This core is to look at what it runs, and for how long.
pub fn on_look() {
    SCHEDULER.with(Queues::on_look);
}

/// The end of an interrupt: ends the thread if it is to end; goes on with another
/// one if that is more urgent (or the slice is over), and returns if not.
pub fn leave_interrupt(frame: &TrapFrame, float: &FloatState) {
    if with_current(Own::must_end) == Some(true) {
        end();
    }
    let to = SCHEDULER.with(|scheduler| {
        if !scheduler.must_yield() {
            return None;
        }
        if scheduler.current().is_some() {
            scheduler.running().context.keep(frame, float);
            scheduler.put_back();
        }
        Some(scheduler.pick())
    });
    if let Some(to) = to.filter(|to| !to.is_null()) {
        // SAFETY: interrupts are off, this is a stack of the core's own, and `to` was picked.
        unsafe { context::resume(to) }
    }
}

/// Starts the first thread; the boot is over.
pub fn start() -> ! {
    // SAFETY: interrupts are off, and nobody runs.
    unsafe { idle(core::ptr::null_mut()) }
}

/// This core, which is not the first one, takes threads from now on.
pub fn join_in() -> ! {
    SCHEDULER.with(Queues::join);
    start()
}

/// Goes to the idle loop on the core's idle stack; whatever is on the present one is left behind.
#[unsafe(naked)]
unsafe extern "C" fn idle(_nobody: *mut Thread) -> ! {
    naked_asm!(
        "mov rsp, gs:[{stack_top}]",
        "xor ebp, ebp",
        "call {run}",
        "ud2",
        stack_top = const STACK_TOP,
        run = sym idle_loop,
    )
}

/// Frees the thread that ended, goes on with whoever is ready, or halts until an interrupt.
extern "C" fn idle_loop() -> ! {
    cores::own().running.store(0, Relaxed);
    loop {
        let ended = SCHEDULER.with(|scheduler| {
            let index = scheduler.own().ended.take()?;
            scheduler.table.remove(index)
        });
        drop(ended);
        let to = SCHEDULER.with(Queues::pick_or_break_deadlock);
        if !to.is_null() {
            // SAFETY: interrupts are off, and `to` was picked.
            unsafe { context::resume(to) }
        }
        if cores::many() {
            limbo::reap();
        }
        shootdown::fall_asleep();
        // An interrupt that makes somebody ready goes on with that thread and
        // leaves this loop behind; any other returns here.
        interrupts::enable_and_hlt();
        interrupts::disable();
        shootdown::wake_up();
    }
}

/// Gives the calling thread a second stack, for its end.
pub fn keep_last_stack(stack: Stack) {
    SCHEDULER.with(|scheduler| scheduler.running().last_stack = Some(stack));
}
