//! What the runtime knows of a thread, and the table of all threads.

use super::context::Context;
use super::list::{Index, Link};
use super::stack::{self, Stack};
use crate::memory::paging;
use crate::memory::segment::Segment;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, AtomicUsize};

/// How urgent a thread is. The numbers are the Hermit ABI's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Priority {
    /// Runs when nobody else wants to.
    Low = 1,
    /// Activities.
    Normal = 2,
    /// The OS's executor: runs at once when it is woken.
    High = 3,
}

impl Priority {
    /// From the Hermit ABI's number, the nearest that there is.
    pub fn from_number(number: u8) -> Self {
        match number {
            0 | 1 => Self::Low,
            2 => Self::Normal,
            _ => Self::High,
        }
    }
}

/// Names a thread: uses of its place in the table before it << 16 | place + 1.
/// A name comes again only after 65,536 threads in the same place. 0 is no thread.
pub type ThreadId = u32;

/// Most threads at a time.
const MAX_THREADS: Index = 0xffff;

/// What a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Nothing: it is ready or running.
    No,
    /// Time to pass.
    Sleep,
    /// A wake-up at this address (see `futex.rs`).
    Futex(usize),
}

/// A thread.
pub struct Thread {
    /// What its own calls read and change.
    pub own: Own,
    /// How urgent it is.
    pub priority: Priority,
    /// The core on which it runs, ran last, or is to run: whose ready queue and
    /// whose sleepers it is among.
    pub core: usize,
    /// It was made to begin on that core: nobody else takes it, while that one is on its way.
    pub begins_here: bool,
    /// What is left of its time slice, in nanoseconds, if somebody more urgent
    /// interrupted one.
    pub slice_left: Option<u64>,
    /// Its neighbours in lists.
    pub links: [Link; 2],
    /// What it waits for.
    pub waiting: Waiting,
    /// When it is woken even so; it is among the sleepers then.
    pub deadline: Option<u64>,
    /// Changes when it ends: whoever joins it waits here.
    pub ended: Box<AtomicU32>,
    /// Where it goes on.
    pub context: Context,
    /// Its stack.
    pub stack: Stack,
    /// The stack on which it ends, if it had to leave its own.
    pub last_stack: Option<Stack>,
}

impl Thread {
    /// Whether only another thread of its activity can end its wait: it waits for
    /// no time to pass, not in a call, for what the OS would tell it, and not
    /// where others write as well.
    pub fn waits_for_threads(&self) -> bool {
        let waits = matches!(self.waiting, Waiting::Futex(address) if !paging::is_mapping(address));
        waits && self.deadline.is_none() && self.own.is_in_own_code()
    }

    /// Whether it is ready or runs.
    pub fn is_ready(&self) -> bool {
        self.waiting == Waiting::No && self.ended.load(Relaxed) == 0
    }
}

/// A moment that does not come.
pub const NEVER: u64 = u64::MAX;

/// What a thread's own calls read and change, without the scheduler's lock
/// ([`super::scheduler::with_current`]). Others look at it under that, so it is atomic.
pub struct Own {
    /// Its name.
    pub id: AtomicU32,
    /// Which activity it belongs to; 0 is the OS itself.
    pub activity: AtomicU64,
    /// It is to end as soon as it is outside of the OS's calls (see
    /// [`crate::thread::cancel`]).
    pub cancelled: AtomicBool,
    /// How many of the OS's calls it is within.
    pub calls: AtomicU32,
    /// In one, it allocates what is to be its activity's.
    pub hands_over: AtomicBool,
    /// For so many bytes of that there was no room in the activity's heap; 0 if there was.
    pub lacking: AtomicUsize,
    /// Its last wait ended at the deadline.
    pub timed_out: AtomicBool,
    /// Its last allocation failed: if it aborts now, that is why.
    pub allocation_failed: AtomicBool,
    /// The last error number that the ABI returned to it.
    pub error: AtomicI32,
    /// All threads waited for one another: it is to report that.
    pub deadlocked: AtomicBool,
    /// Where its stack starts, above the guard page.
    pub stack_start: usize,
    /// The statics of programs that it sees; `None`: whatever was there before it.
    /// Only its own core reads it, and the thread changes it under the scheduler's lock.
    pub segment: Option<Arc<Segment>>,
}

impl Own {
    /// That of a thread without a name, of the OS itself.
    pub const fn new() -> Self {
        Self {
            id: AtomicU32::new(0),
            activity: AtomicU64::new(0),
            cancelled: AtomicBool::new(false),
            calls: AtomicU32::new(0),
            hands_over: AtomicBool::new(false),
            lacking: AtomicUsize::new(0),
            timed_out: AtomicBool::new(false),
            allocation_failed: AtomicBool::new(false),
            error: AtomicI32::new(0),
            deadlocked: AtomicBool::new(false),
            stack_start: 0,
            segment: None,
        }
    }

    /// Takes over what a thread has from the one that makes it.
    pub fn inherit(&self, maker: &Self) {
        self.activity.store(maker.activity.load(Relaxed), Relaxed);
        self.cancelled.store(maker.cancelled.load(Relaxed), Relaxed);
    }

    /// Whether it is an activity's, and within no call of the OS.
    pub fn is_in_own_code(&self) -> bool {
        self.activity.load(Relaxed) != 0 && self.calls.load(Relaxed) == 0
    }

    /// Notes that there was no room for so many bytes in its activity's heap, if
    /// that is for what a call hands over.
    pub fn lacks(&self, bytes: usize) -> bool {
        let hands_over = self.hands_over.load(Relaxed);
        if hands_over {
            self.lacking.store(bytes, Relaxed);
        }
        hands_over
    }

    /// The end of a call of the OS.
    pub fn leave_call(&self) -> Left {
        let calls = self.calls.load(Relaxed);
        if calls == 1 && self.lacking.load(Relaxed) > 0 {
            return Left::Lacks;
        }
        self.calls.store(calls - 1, Relaxed);
        if self.must_end() { Left::Ends } else { Left::GoesOn }
    }

    /// What became of a wait: whether the deadline passed, whether the thread is
    /// to end, whether it is to report a deadlock.
    pub fn after_wait(&self) -> (bool, bool, bool) {
        let deadlocked = self.deadlocked.load(Relaxed);
        if deadlocked {
            self.deadlocked.store(false, Relaxed);
        }
        (self.timed_out.load(Relaxed), self.must_end(), deadlocked)
    }

    /// An address of the guard page, if the calling thread, whose part this is,
    /// has no room left on its stack for a call of the OS.
    pub fn lacks_room(&self) -> Option<*mut u8> {
        let mark = 0u8;
        let (start, here) = (self.stack_start, &raw const mark as usize);
        (start..start + stack::CALL).contains(&here).then(|| (start - 8) as *mut u8)
    }

    /// Whether it is to end now.
    pub fn must_end(&self) -> bool {
        self.cancelled.load(Relaxed) && self.calls.load(Relaxed) == 0
    }
}

/// What follows on a call of the OS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The program goes on.
    GoesOn,
    /// The thread is to end.
    Ends,
    /// There was no room for what the call hands over; the thread is within it still.
    Lacks,
}

/// All threads, and the places that are free.
pub struct Table {
    threads: Vec<Option<Box<Thread>>>,
    free: Vec<Index>,
    /// Counts the uses of each place.
    uses: Vec<u16>,
}

impl Table {
    /// An empty table.
    pub const fn new() -> Self {
        Self { threads: Vec::new(), free: Vec::new(), uses: Vec::new() }
    }

    /// The thread in place `index`.
    ///
    /// # Panics
    /// If there is none: an index does not outlive its thread.
    pub fn get(&self, index: Index) -> &Thread {
        self.threads[index as usize].as_deref().expect("a link to a thread that is no more")
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, index: Index) -> &mut Thread {
        self.threads[index as usize].as_deref_mut().expect("a link to a thread that is no more")
    }

    /// Puts a thread in and names it; the thread itself if the table is full or
    /// there is no memory for it to grow.
    pub fn insert(&mut self, thread: Box<Thread>) -> Result<(Index, ThreadId), Box<Thread>> {
        let Some(index) = self.free.pop().or_else(|| self.grow()) else { return Err(thread) };
        let uses = &mut self.uses[index as usize];
        let id = u32::from(*uses) << 16 | (index + 1);
        *uses = uses.wrapping_add(1);
        thread.own.id.store(id, Relaxed);
        self.threads[index as usize] = Some(thread);
        Ok((index, id))
    }

    /// A new place.
    fn grow(&mut self) -> Option<Index> {
        let index = self.threads.len() as Index;
        if index >= MAX_THREADS {
            return None;
        }
        self.threads.try_reserve(1).ok()?;
        self.uses.try_reserve(1).ok()?;
        // Room for all to become free, so that `remove` does not allocate.
        self.free.try_reserve(self.threads.len() + 1).ok()?;
        self.threads.push(None);
        self.uses.push(0);
        Some(index)
    }

    /// Takes a thread out.
    pub fn remove(&mut self, index: Index) -> Option<Box<Thread>> {
        let thread = self.threads[index as usize].take();
        self.free.push(index);
        thread
    }

    /// The place of a thread that has not ended.
    pub fn find(&self, id: ThreadId) -> Option<Index> {
        let index = (id & 0xffff).checked_sub(1)?;
        let thread = self.threads.get(index as usize)?.as_deref()?;
        (thread.own.id.load(Relaxed) == id).then_some(index)
    }

    /// The places of an activity's threads.
    pub fn of(&self, activity: u64) -> impl Iterator<Item = Index> + '_ {
        let places = self.threads.iter().zip(0..);
        places
            .filter(move |(thread, _)| {
                thread.as_ref().is_some_and(|t| t.own.activity.load(Relaxed) == activity)
            })
            .map(|(_, i)| i)
    }

    /// The first of them from `first` on, for whoever changes the table meanwhile.
    pub fn next_of(&self, activity: u64, first: Index) -> Option<Index> {
        let places = self.threads.iter().zip(0..).skip(first as usize);
        let is_of = |thread: &Thread| thread.own.activity.load(Relaxed) == activity;
        places
            .filter_map(|(thread, index)| thread.as_deref().filter(|thread| is_of(thread)).map(|_| index))
            .next()
    }

    /// All threads and their places.
    pub fn all(&self) -> impl Iterator<Item = (Index, &Thread)> {
        (0..).zip(&self.threads).filter_map(|(index, thread)| Some((index, thread.as_deref()?)))
    }

    /// How many threads there are.
    pub fn len(&self) -> usize {
        self.threads.len() - self.free.len()
    }
}
