//! One activity: its ends of pipes, what it writes, and whether it is to end.

use crate::ends::Ends;
use kernel::messenger::Messenger;
use kernel::pipe::{Event, Pipes};
use kernel::protocol::fault::Report;
use kernel::protocol::launcher::MAX_OUTPUT;
use kernel::protocol::tasks::{Program, TaskForceId};
use kernel::protocol::{Incarnation, Peer, Pipe, encode, launcher};
use kernel::waiters::Waiters;
use runtime::thread::Remains;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Most bytes of output that wait to be taken.
const OUTPUT_BYTES: usize = 64 * 1024;

/// Names an activity across the machine.
pub type Key = (TaskForceId, u16);

/// What `tasks` said when it placed the activity here.
pub struct Placement {
    /// Task force and index.
    pub key: Key,
    /// Where the activities of the task force are, by index.
    pub members: Vec<Incarnation>,
    /// What it runs.
    pub program: Program,
    /// Who takes its output...
    pub output: Peer,
    /// ...under which name.
    pub stream: u64,
}

/// One activity.
pub struct Activity {
    /// What `tasks` said of it.
    pub placement: Placement,
    /// What its threads carry, so that calls find it.
    pub tag: u64,
    /// Its ends of pipes.
    pub ends: Ends,
    /// Which members have ended, by index.
    members_ended: Mutex<Vec<bool>>,
    output: Mutex<Output>,
    stopped: AtomicBool,
    /// Somebody reports its end.
    ended: AtomicBool,
    /// What there is of it once it has a thread.
    remains: OnceLock<Remains>,
    /// Everything that anybody waits for here.
    changed: Waiters,
}

/// A piece of what an activity says to whoever takes its output.
enum Chunk {
    /// Bytes for standard output or error.
    Written(u8, Vec<u8>),
    /// What ended it.
    Fault(Report),
}

#[derive(Default)]
struct Output {
    chunks: VecDeque<Chunk>,
    bytes: usize,
    closed: bool,
    drained: bool,
}

impl Activity {
    /// An activity as `tasks` placed it, whose threads will carry `tag`; `None`
    /// if it is here already.
    pub fn new(placement: Placement, tag: u64, pipes: &Arc<Pipes>) -> Option<Arc<Self>> {
        let activity = Arc::new(Self {
            ends: Ends::new(&placement, pipes)?,
            members_ended: Mutex::new(vec![false; placement.members.len()]),
            placement,
            tag,
            output: Mutex::default(),
            stopped: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            remains: OnceLock::new(),
            changed: Waiters::default(),
        });
        // To its own end, nobody waits for it.
        activity.member_ended(activity.placement.key.1);
        Some(activity)
    }

    /// Its first thread was made.
    pub fn begins(&self, remains: Remains) {
        let _ = self.remains.set(remains);
    }

    /// Whether the memory that it had is free.
    pub fn is_gone(&self) -> bool {
        self.remains.get().is_none_or(Remains::are_gone)
    }

    /// Whether it is to end.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Whether the caller is the first who ends it, and so has to report that.
    pub fn is_first_to_end(&self) -> bool {
        !self.ended.swap(true, Ordering::AcqRel)
    }

    /// Asks it to end: whoever waits in a call for it notices.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.changed.wake_all();
    }

    /// Waits until it is asked to end.
    pub async fn until_stopped(&self) {
        loop {
            let seen = self.changed.count();
            if self.is_stopped() {
                return;
            }
            self.changed.wait(seen).await;
        }
    }

    /// Notes that an activity of the task force has ended. When all others
    /// have, the mailbox ends with what is under way to it.
    pub fn member_ended(&self, index: u16) {
        let mut members = held(&self.members_ended);
        if let Some(ended) = members.get_mut(usize::from(index)) {
            *ended = true;
        }
        if members.iter().all(|&ended| ended) {
            self.ends.mailbox().seal();
        }
    }

    /// Whether it is known here that another activity has ended.
    pub fn has_ended(&self, index: usize) -> bool {
        held(&self.members_ended).get(index) == Some(&true)
    }

    /// Takes what a thread of the activity writes, waiting for room.
    pub async fn write(&self, fd: u8, bytes: &[u8]) {
        for chunk in bytes.chunks(MAX_OUTPUT) {
            loop {
                let seen = self.changed.count();
                if held(&self.output).push(fd, chunk) {
                    break;
                }
                self.changed.wait(seen).await;
            }
            self.changed.wake_all();
        }
    }

    /// What ended it: comes behind what it wrote, room or not.
    pub fn say(&self, report: Report) {
        held(&self.output).chunks.push_back(Chunk::Fault(report));
        self.changed.wake_all();
    }

    /// Nothing more will be written.
    pub fn close_output(&self) {
        held(&self.output).closed = true;
        self.changed.wake_all();
    }

    /// Waits until all that was written before it was closed is taken.
    pub async fn flush(&self) {
        loop {
            let seen = self.changed.count();
            if held(&self.output).drained {
                return;
            }
            self.changed.wait(seen).await;
        }
    }

    /// Carries what the activity writes to whoever takes it, in order, until
    /// [`Activity::flush`]. One coroutine per activity does this.
    pub async fn carry_output(self: Arc<Self>, messenger: Arc<Messenger>) {
        loop {
            let seen = self.changed.count();
            let next = held(&self.output).pop();
            match next {
                Some(chunk) => {
                    self.changed.wake_all();
                    self.send_output(&messenger, chunk).await;
                }
                None if held(&self.output).finish() => break,
                None => self.changed.wait(seen).await,
            }
        }
        self.changed.wake_all();
    }

    async fn send_output(&self, messenger: &Messenger, chunk: Chunk) {
        // Only the launcher takes output so far; what is for another is for nobody.
        let taker = Some(self.placement.output).filter(|&peer| peer == Peer::LAUNCHER);
        let Some(taker) = taker.and_then(|peer| messenger.membership().incarnation(peer)) else { return };
        let (stream, index) = (self.placement.stream, self.placement.key.1);
        let request = match &chunk {
            Chunk::Written(fd, bytes) => launcher::Request::Output { stream, index, fd: *fd, bytes },
            Chunk::Fault(report) => launcher::Request::Fault { stream, index, report: report.clone() },
        };
        // If the taker died, nobody is left who wants it.
        let _ = messenger.call(taker, Pipe::Launcher, &encode(&request)).await;
    }
}

/// An activity is an event: that it is to end.
impl Event for Activity {
    fn changes(&self) -> &Waiters {
        &self.changed
    }

    fn is_ready(&self) -> bool {
        self.is_stopped()
    }
}

impl Output {
    /// Takes a chunk if there is room. Once it is closed, nobody wants more.
    fn push(&mut self, fd: u8, chunk: &[u8]) -> bool {
        if self.closed {
            return true;
        }
        if self.bytes > 0 && self.bytes + chunk.len() > OUTPUT_BYTES {
            return false;
        }
        self.bytes += chunk.len();
        match self.chunks.back_mut() {
            Some(Chunk::Written(last, bytes)) if *last == fd && bytes.len() + chunk.len() <= MAX_OUTPUT => {
                bytes.extend_from_slice(chunk);
            }
            _ => self.chunks.push_back(Chunk::Written(fd, chunk.to_vec())),
        }
        true
    }

    fn pop(&mut self) -> Option<Chunk> {
        let chunk = self.chunks.pop_front()?;
        if let Chunk::Written(_, bytes) = &chunk {
            self.bytes -= bytes.len();
        }
        Some(chunk)
    }

    /// Whether everything is taken and nothing more will come.
    fn finish(&mut self) -> bool {
        self.drained = self.closed && self.chunks.is_empty();
        self.drained
    }
}

/// Locks a mutex whose data stays sound even if a holder panicked.
pub fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
