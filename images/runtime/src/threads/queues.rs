//! Who is ready, who waits and who sleeps, and which core each belongs to.
//!
//! ```text
//!             core 0                core 1              all cores
//!   running   current               current
//!   ready     a list per priority   a list per priority
//!   asleep    sleepers              sleepers
//!   waiting                                             lists by address
//! ```
//! * A thread that becomes ready goes where it ran last, if that core has
//!   nothing to do; to another one that has nothing to do; to one whose thread
//!   is less urgent; or it queues where it ran last ([`Queues::place`]).
//! * A core takes the most urgent thread there is, out of its own queue where
//!   that has one, else out of another's ([`Queues::pick`]). So no core is idle,
//!   or runs a less urgent thread that it picked, while a more urgent one is ready.
//! * A thread that the running one of the same core has just woken waits there
//!   for [`PATIENCE`], though others be idle: mostly its waker is about to wait,
//!   and a switch is cheaper than an interrupt. Then an idle core is called.
//! * One thread may be the *stand-in*: what it waits for includes that a core
//!   which ran others meanwhile has nothing to do any more. It goes on there,
//!   before that core halts.
//! * A core that is to look here is interrupted: to go on from its halt, to put
//!   a more urgent thread first, or to begin a time slice; and all are when the
//!   clock has jumped ahead, for their timers come too late. Nobody else is.

use super::deadlock::Suspects;
use super::list::{Index, LinkKind, List};
use super::thread::{NEVER, Priority, Table, Thread, Waiting};
use crate::clock;
use crate::processor::cores::{self, MAX_CORES};
use crate::processor::{apic, traps};
use core::sync::atomic::Ordering::Relaxed;

/// A time slice, in nanoseconds.
const SLICE: u64 = 10_000_000;
/// How long a ready thread waits for its own core while another is idle, in
/// nanoseconds: about what it costs to have the other one look.
const PATIENCE: u64 = 100_000;
/// How many lists there are for waiting threads.
const BUCKETS: usize = 64;
/// How many priorities there are, 0 unused.
const PRIORITIES: usize = 4;

/// What belongs to one core.
pub struct CoreQueues {
    ready: [List; PRIORITIES],
    /// In order of their deadlines.
    sleepers: List,
    /// Who runs; `None` in the idle loop.
    pub current: Option<Index>,
    /// When the running thread makes room for an equal that waits.
    slice_end: u64,
    /// When an idle core is called for those that wait here.
    call_at: u64,
    /// Ended, not yet freed.
    pub ended: Option<Index>,
    /// When the timer will interrupt...
    armed: u64,
    /// ...if the clock has jumped ahead no more often than this.
    jumps: u32,
    /// It takes threads.
    online: bool,
    /// It ran others since the stand-in began to wait.
    ran: bool,
}

/// What a thread has to do with the core on which it was last.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Affinity {
    /// Nothing: it goes where there is most room.
    None,
    /// It is better off there, if nobody else is.
    Loose,
    /// The same, and if the thread that wakes it runs there, it waits for that one for a while.
    Close,
}

/// All threads and where they are.
pub struct Queues {
    pub table: Table,
    cores: [CoreQueues; MAX_CORES],
    /// How many cores take threads.
    online: usize,
    /// How many threads are ready, of each priority.
    ready: [usize; PRIORITIES],
    waiting: [List; BUCKETS],
    /// Which activities may be in a deadlock.
    pub suspects: Suspects,
    /// Who waits, and goes on as well when a core that ran others has nothing to do.
    pub stand_in: Option<Index>,
}

// SAFETY: the stacks and contexts in it belong to it alone.
unsafe impl Send for Queues {}

impl CoreQueues {
    const NEW: Self = Self {
        ready: [List::new(LinkKind::Queue); PRIORITIES],
        sleepers: List::new(LinkKind::Sleep),
        current: None,
        slice_end: NEVER,
        call_at: NEVER,
        ended: None,
        armed: NEVER,
        jumps: 0,
        online: false,
        ran: false,
    };

    /// The priority of the most urgent thread that is ready here.
    fn most_urgent(&self) -> Option<usize> {
        (1..PRIORITIES).rev().find(|&priority| !self.ready[priority].is_empty())
    }

    /// It runs nobody, and nobody is about to run here.
    fn is_idle(&self) -> bool {
        self.online && self.current.is_none() && self.most_urgent().is_none()
    }
}

impl Queues {
    pub const fn new() -> Self {
        let mut cores = [const { CoreQueues::NEW }; MAX_CORES];
        cores[0].online = true;
        Self {
            table: Table::new(),
            cores,
            online: 1,
            ready: [0; PRIORITIES],
            waiting: [List::new(LinkKind::Queue); BUCKETS],
            suspects: Suspects::NONE,
            stand_in: None,
        }
    }

    /// This core takes threads from now on.
    pub fn join(&mut self) {
        self.own().online = true;
        self.online += 1;
    }

    /// What belongs to this core.
    pub fn own(&mut self) -> &mut CoreQueues {
        &mut self.cores[cores::index()]
    }

    /// Who runs on this core.
    pub fn current(&self) -> Option<Index> {
        self.cores[cores::index()].current
    }

    /// The calling thread.
    pub fn running(&mut self) -> &mut Thread {
        let index = self.current().expect("a thread's call without a thread");
        self.table.get_mut(index)
    }

    /// Where a thread runs, if it does.
    pub fn runs_on(&self, index: Index) -> Option<usize> {
        let core = self.table.get(index).core;
        (self.cores[core].current == Some(index)).then_some(core)
    }

    /// How many threads are ready.
    pub fn ready(&self) -> usize {
        self.ready.iter().sum()
    }

    fn priority(&self, index: Index) -> usize {
        self.table.get(index).priority as usize
    }

    /// How urgent is what a core runs; 0 if it is idle.
    fn urgency(&self, core: usize) -> usize {
        self.cores[core].current.map_or(0, |index| self.priority(index))
    }

    /// Puts a thread into its core's ready queue, behind `before` of its equals.
    fn queue(&mut self, index: Index, first: bool) {
        let Thread { priority, core, .. } = *self.table.get(index);
        let list = &mut self.cores[core].ready[priority as usize];
        match first {
            true => list.insert_after(&mut self.table, None, index),
            false => list.push(&mut self.table, index),
        }
        self.ready[priority as usize] += 1;
    }

    /// Takes a ready thread out of its queue.
    pub fn unqueue(&mut self, index: Index) {
        let Thread { priority, core, .. } = *self.table.get(index);
        self.cores[core].ready[priority as usize].remove(&mut self.table, index);
        self.ready[priority as usize] -= 1;
    }

    /// Finds a core for a thread that has become ready, queues it there, and
    /// has that core look if it must.
    pub fn place(&mut self, index: Index, affinity: Affinity) {
        if self.online > 1 {
            return self.place_among_many(index, affinity);
        }
        self.table.get_mut(index).core = cores::index();
        self.queue(index, false);
    }

    #[inline(never)]
    fn place_among_many(&mut self, index: Index, affinity: Affinity) {
        let core = self.best_core(index, affinity);
        self.table.get_mut(index).core = core;
        self.call_for(core, self.priority(index));
        self.queue(index, false);
        if self.priority(index) <= self.urgency(cores::index()) {
            self.call_next(false);
        }
    }

    fn best_core(&self, index: Index, affinity: Affinity) -> usize {
        let (own, last) = (cores::index(), self.table.get(index).core);
        let idle = |core: usize| self.cores[core].is_idle();
        if idle(own) {
            return own;
        }
        if affinity != Affinity::None && idle(last) || affinity == Affinity::Close && last == own {
            return last;
        }
        if let Some(idle) = self.idle_core() {
            return idle;
        }
        let online = (0..MAX_CORES).filter(|&core| self.cores[core].online);
        let least = online.min_by_key(|&core| (self.urgency(core), self.length(core)));
        match least {
            Some(least) if affinity == Affinity::None || !self.cores[last].online => least,
            Some(least) if self.urgency(least) < self.priority(index).min(self.urgency(last)) => least,
            _ => last,
        }
    }

    /// A core that has nothing to do.
    fn idle_core(&self) -> Option<usize> {
        (0..MAX_CORES).find(|&core| self.cores[core].is_idle())
    }

    /// How many threads are ready on a core, roughly: no more than two are counted of a priority.
    fn length(&self, core: usize) -> usize {
        self.cores[core].ready[1..].iter().map(|list| list.few(&self.table)).sum()
    }

    /// Interrupts another core if it is to look at a thread of this urgency
    /// that is about to be queued there.
    fn call_for(&self, core: usize, urgency: usize) {
        let running = self.urgency(core);
        let equal = urgency == running && self.cores[core].slice_end == NEVER;
        if core != cores::index() && (urgency > running || equal) {
            apic::interrupt(core, traps::LOOK);
        }
    }

    /// Changes a thread's priority, and queues it accordingly.
    pub fn change_priority(&mut self, index: Index, priority: Priority) {
        let ready = self.runs_on(index).is_none() && self.table.get(index).is_ready();
        if ready {
            self.unqueue(index);
        }
        self.table.get_mut(index).priority = priority;
        if ready {
            self.place(index, Affinity::Close);
        }
        self.call_whom_runs(index);
    }

    /// Has the core look on which a thread runs, if that is another one.
    pub fn call_whom_runs(&self, index: Index) {
        if let Some(core) = self.runs_on(index)
            && core != cores::index()
        {
            apic::interrupt(core, traps::LOOK);
        }
    }

    /// The priority of the most urgent thread that this core can take, and
    /// whose queue it is in. What an idle core has been called for it takes only
    /// if it would itself be `idle` otherwise.
    fn most_urgent(&self, idle: bool) -> Option<(usize, usize)> {
        let priority = (1..PRIORITIES).rev().find(|&priority| self.ready[priority] > 0)?;
        match self.online {
            1 => Some((priority, cores::index())),
            _ => self.most_urgent_of_many(priority, idle),
        }
    }

    /// The same, of at most this priority.
    #[inline(never)]
    fn most_urgent_of_many(&self, priority: usize, idle: bool) -> Option<(usize, usize)> {
        (1..=priority).rev().find_map(|priority| Some((priority, self.source(priority, idle)?)))
    }

    /// Out of whose queue this core takes a thread of a priority: its own, or another's.
    fn source(&self, priority: usize, idle: bool) -> Option<usize> {
        let own = cores::index();
        let is_own = !self.cores[own].ready[priority].is_empty();
        let mut others = (own + 1..MAX_CORES).chain(0..own);
        if is_own { Some(own) } else { others.find(|&core| self.lets_go(core, priority, idle)) }
    }

    /// Whether another core, an idle one, may take the first thread of this priority from a core.
    fn lets_go(&self, core: usize, priority: usize, idle: bool) -> bool {
        let CoreQueues { ready, current, .. } = &self.cores[core];
        let begins_here = |index| self.table.get(index).begins_here;
        ready[priority].first().is_some_and(|index| current.is_some() || idle && !begins_here(index))
    }

    /// Takes the most urgent ready thread and makes it this core's running one.
    pub fn pick(&mut self) -> *mut Thread {
        let own = cores::index();
        let source = self.most_urgent(true).or_else(|| self.call_stand_in());
        let found = source.and_then(|(priority, source)| {
            self.ready[priority] -= 1;
            self.cores[source].ready[priority].pop(&mut self.table)
        });
        let core = &mut self.cores[own];
        (core.slice_end, core.current) = (NEVER, found);
        if let Some(index) = found {
            let thread = self.table.get_mut(index);
            (thread.core, thread.begins_here) = (own, false);
            self.cores[own].ran = true;
        }
        if self.online > 1 {
            self.call_next(source.is_some_and(|(_, source)| source != own));
        }
        self.set_timer();
        match found {
            Some(index) => self.table.get_mut(index),
            None => core::ptr::null_mut(),
        }
    }

    /// Makes the stand-in ready, if there is one and others have run since it
    /// waits; then as [`Queues::most_urgent`]. Nobody else is ready.
    #[cold]
    fn call_stand_in(&mut self) -> Option<(usize, usize)> {
        let own = cores::index();
        let index = self.stand_in.filter(|_| self.cores[own].ran)?;
        self.leave_wait(index, false);
        self.table.get_mut(index).core = own;
        self.queue(index, false);
        self.most_urgent(true)
    }

    /// Has another core look, if one runs something less urgent than what is
    /// left or, when this core came to `help`, is idle. That one calls the next.
    #[inline(never)]
    fn call_next(&self, help: bool) {
        let Some((left, _)) = self.most_urgent(false) else { return };
        let less = |&core: &usize| match self.cores[core].current {
            Some(index) => self.priority(index) < left,
            None => help && self.cores[core].is_idle(),
        };
        if let Some(core) = (0..MAX_CORES).filter(|&core| core != cores::index()).find(less) {
            apic::interrupt(core, traps::LOOK);
        }
    }

    /// Whether the running thread must make room: for a more urgent one, or
    /// for an equal of this core's queue after its slice.
    pub fn must_yield(&mut self) -> bool {
        let core = &self.cores[cores::index()];
        let Some((urgent, _)) = self.most_urgent(core.current.is_none()) else { return false };
        let Some(index) = core.current else { return true };
        let own = self.priority(index);
        urgent > own
            || core.slice_end != NEVER && !core.ready[own].is_empty() && clock::now_ns() >= core.slice_end
    }

    /// Puts the running thread back among the ready ones: at the front, unless its turn is over.
    pub fn put_back(&mut self) {
        let core = self.own();
        let Some(index) = core.current else { return };
        let mut over = false;
        if core.slice_end != NEVER {
            let left = core.slice_end.saturating_sub(clock::now_ns());
            over = left == 0;
            self.table.get_mut(index).slice_left = Some(left).filter(|_| !over);
        }
        self.queue(index, !over);
    }

    /// Puts the running thread at the end of its queue.
    pub fn put_last(&mut self) -> Option<Index> {
        let index = self.current()?;
        self.queue(index, false);
        Some(index)
    }

    /// Sets this core's timer for what comes next: a deadline, the end of the
    /// slice, or of the patience of those that are ready. A timer that fires
    /// too early does no harm, so it is never set later.
    pub fn set_timer(&mut self) {
        let call_at = if self.online > 1 { self.patience_ends() } else { NEVER };
        let core = &mut self.cores[cores::index()];
        let mut due = call_at;
        if let Some(index) = core.current {
            let thread = self.table.get_mut(index);
            if core.ready[thread.priority as usize].is_empty() {
                // Whoever comes next has it begin again.
                core.slice_end = NEVER;
            } else if core.slice_end == NEVER {
                core.slice_end = clock::now_ns() + thread.slice_left.take().unwrap_or(SLICE);
            }
            due = due.min(core.slice_end);
            if thread.own.must_end() {
                // Wherever it is, at the end of the next interrupt.
                due = 0;
            }
        }
        if let Some(first) = core.sleepers.first() {
            due = due.min(self.table.get(first).deadline.unwrap_or(NEVER));
        }
        if due < core.armed {
            core.armed = due;
            apic::set_timer(due);
        }
    }

    /// When an idle core is to be called for those that are ready here.
    #[inline(never)]
    fn patience_ends(&mut self) -> u64 {
        let idle = self.idle_core().is_some();
        let core = self.own();
        if !idle || core.current.is_none() || core.most_urgent().is_none() {
            core.call_at = NEVER;
        } else if core.call_at == NEVER {
            core.call_at = clock::now_ns() + PATIENCE;
        }
        core.call_at
    }

    /// This core is to look what it runs, and when its timer is due.
    pub fn on_look(&mut self) {
        let jumps = clock::jumps();
        let core = self.own();
        if core.jumps != jumps {
            (core.jumps, core.armed) = (jumps, NEVER);
        }
        self.set_timer();
    }

    /// This core's timer has interrupted it.
    pub fn on_timer(&mut self) {
        self.own().armed = NEVER;
        self.wake_sleepers();
        self.call_idle();
        self.set_timer();
    }

    /// Calls an idle core for those that have waited here for long enough.
    fn call_idle(&mut self) {
        let core = self.own();
        if core.call_at == NEVER || core.call_at > clock::now_ns() {
            return;
        }
        core.call_at = NEVER;
        if core.most_urgent().is_some()
            && let Some(idle) = self.idle_core()
        {
            apic::interrupt(idle, traps::LOOK);
        }
    }

    /// The running thread, which is about to wait, is the stand-in.
    pub fn stand_in(&mut self) {
        let own = cores::index();
        self.stand_in = self.current();
        for (core, queues) in self.cores.iter_mut().enumerate() {
            queues.ran = core != own && queues.current.is_some();
        }
    }

    /// Puts the running thread among those that wait.
    pub fn wait(&mut self, waiting: Waiting, deadline: Option<u64>) {
        let index = self.current().expect("only threads wait");
        self.running().waiting = waiting;
        if let Waiting::Futex(address) = waiting {
            self.waiting[bucket(address)].push(&mut self.table, index);
        }
        if let Some(deadline) = deadline {
            self.add_sleeper(index, deadline);
        }
        let thread = self.table.get(index);
        if thread.waits_for_threads() {
            self.suspects.add(thread.own.activity.load(Relaxed));
        }
    }

    fn add_sleeper(&mut self, index: Index, deadline: u64) {
        let sleepers = &mut self.cores[cores::index()].sleepers;
        let mut before = None;
        let mut next = sleepers.first();
        while let Some(other) = next {
            if self.table.get(other).deadline.is_some_and(|other| other > deadline) {
                break;
            }
            before = next;
            next = sleepers.after(&self.table, other);
        }
        self.table.get_mut(index).deadline = Some(deadline);
        sleepers.insert_after(&mut self.table, before, index);
    }

    /// Ends a thread's wait.
    pub fn end_wait(&mut self, index: Index, timed_out: bool) {
        self.leave_wait(index, timed_out);
        // Whose time has come was woken by nobody who is about to wait.
        self.place(index, if timed_out { Affinity::Loose } else { Affinity::Close });
    }

    /// Takes a thread from among those that wait; it is nowhere then.
    fn leave_wait(&mut self, index: Index, timed_out: bool) {
        if self.stand_in == Some(index) {
            self.stand_in = None;
        }
        let thread = self.table.get_mut(index);
        let (core, waiting, deadline) = (thread.core, thread.waiting, thread.deadline.take());
        thread.waiting = Waiting::No;
        thread.own.timed_out.store(timed_out, Relaxed);
        if deadline.is_some() {
            self.cores[core].sleepers.remove(&mut self.table, index);
        }
        if let Waiting::Futex(address) = waiting {
            self.waiting[bucket(address)].remove(&mut self.table, index);
        }
    }

    /// Wakes everybody on this core whose deadline has passed.
    fn wake_sleepers(&mut self) {
        let own = cores::index();
        if self.cores[own].sleepers.is_empty() {
            return;
        }
        let now = clock::now_ns();
        while let Some(index) = self.cores[own].sleepers.first() {
            if self.table.get(index).deadline.is_some_and(|deadline| deadline > now) {
                break;
            }
            self.end_wait(index, true);
        }
    }

    /// Wakes up to `count` of those that wait at `address`.
    pub fn wake(&mut self, address: usize, count: usize) -> usize {
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
