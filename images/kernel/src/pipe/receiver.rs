//! The reading end of a pipe.
//!
//! ```text
//!  created ──▶ open ends ──▶ the last one was closed: reads what is there, then Ended
//!                 ▲                 │ another is opened
//!                 └─────────────────┘
//! ```
//! A mailbox is at its end only once it is sealed and the last end is closed.
//! What is read is given back to its sender as credit, an eighth of a window at
//! a time.

use super::names::{Origin, PipeName};
use super::pipes::Pipes;
use super::wait::Event;
use super::wire::{Kind, Refusal, Slot};
use super::{Body, MAX_SENDERS, MAX_SENDERS_OF_ONE, OVERHEAD, WINDOW};
use crate::executor::lock;
use crate::waiters::Waiters;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};

/// What a pipe's owner says to somebody who wants to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may not.
    Refused,
    /// It may, and while its end is open the pipe is not at its end.
    Holds,
    /// It may, but nobody waits for it: the reader itself, say.
    Passes,
}

/// Says who may send to a pipe.
pub type Admit = Box<dyn Fn(&Origin) -> Admission + Send + Sync>;

/// A message, read.
#[derive(Debug)]
pub struct Message {
    /// Where it came from.
    pub origin: Origin,
    /// What was sent.
    pub body: Vec<u8>,
}

/// Why no message was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiveError {
    /// No message is there yet.
    WouldBlock,
    /// The next message has so many bytes, the buffer fewer. It stays the next.
    TooSmall(usize),
    /// This sender died with its VM after what was read of it. Said once.
    SenderDied(Origin),
    /// No message is there and none can come: the last sending end was closed.
    Ended,
    /// The reading end is closed.
    Closed,
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WouldBlock => write!(f, "no message is there yet"),
            Self::TooSmall(size) => write!(f, "the next message has {size} bytes, the buffer has fewer"),
            Self::SenderDied(origin) => write!(f, "the sender, {origin}, died with its VM"),
            Self::Ended => write!(f, "the last sending end of the pipe was closed"),
            Self::Closed => write!(f, "the reading end of the pipe is closed"),
        }
    }
}

impl std::error::Error for ReceiveError {}

/// A pipe, at its home.
pub(super) struct Pipe {
    pub(super) admit: Admit,
    state: Mutex<State>,
    arrivals: Waiters,
}

struct State {
    queue: VecDeque<Item>,
    /// The sending ends that are open, or of which something is unread.
    known: Vec<Weak<Inlet>>,
    /// Open sending ends that hold it open.
    holders: usize,
    /// Once nobody holds it, it is at its end.
    ends: bool,
    /// It does not end because ends were opened and closed.
    mailbox: bool,
    closed: bool,
}

enum Item {
    Message(Arc<Inlet>, Body),
    Lost(Arc<Inlet>),
}

/// What a pipe's home keeps of a sending end.
pub(super) struct Inlet {
    pub(super) pipe: Arc<Pipe>,
    pub(super) origin: Origin,
    /// The sending end, at the sender's VM.
    pub(super) end: Slot,
    pub(super) holds: bool,
    account: Mutex<Account>,
}

/// Bytes of an inlet's window. What the sender may send, what is under way and
/// `waiting` + `read` make the window.
#[derive(Default)]
struct Account {
    /// Of messages that wait to be read.
    waiting: u32,
    /// Of messages that were read, and have not been given back.
    read: u32,
}

/// What a message of so many bytes takes of a window.
pub(super) fn cost(bytes: usize) -> u32 {
    bytes as u32 + OVERHEAD
}

impl Inlet {
    pub(super) fn new(pipe: Arc<Pipe>, origin: Origin, end: Slot, holds: bool) -> Arc<Self> {
        Arc::new(Self { pipe, origin, end, holds, account: Mutex::default() })
    }

    /// Takes room for a message; `false` if the sender had no credit for it.
    fn occupy(&self, bytes: usize) -> bool {
        let mut account = lock(&self.account);
        let fits = bytes <= WINDOW as usize && account.waiting + account.read + cost(bytes) <= WINDOW;
        account.waiting += if fits { cost(bytes) } else { 0 };
        fits
    }

    /// A message was read: the credit that is now given back, if any.
    fn vacate(&self, bytes: usize) -> Option<u32> {
        let mut account = lock(&self.account);
        account.waiting -= cost(bytes);
        account.read += cost(bytes);
        (account.read >= WINDOW / 8).then(|| std::mem::take(&mut account.read))
    }
}

impl Pipe {
    pub(super) fn new(admit: Admit, mailbox: bool) -> Arc<Self> {
        let (queue, known) = Default::default();
        let state = Mutex::new(State { queue, known, holders: 0, ends: false, mailbox, closed: false });
        Arc::new(Self { admit, state, arrivals: Waiters::default() })
    }

    /// Takes in a sending end, unless there are too many. One that was closed
    /// counts while something of it is unread: what waits here is bounded.
    pub(super) fn enter(&self, inlet: &Arc<Inlet>) -> Result<(), Refusal> {
        let mut state = lock(&self.state);
        let (mut count, mut of_one) = (0, 0);
        state.known.retain(|known| {
            let known = known.upgrade();
            count += usize::from(known.is_some());
            of_one += usize::from(known.as_ref().is_some_and(|known| known.origin == inlet.origin));
            known.is_some()
        });
        if count >= MAX_SENDERS || of_one >= MAX_SENDERS_OF_ONE {
            return Err(Refusal::TooMany);
        }
        state.known.push(Arc::downgrade(inlet));
        state.holders += usize::from(inlet.holds);
        state.ends |= !state.mailbox;
        Ok(())
    }

    /// A sending end was closed, or is lost with its VM.
    pub(super) fn leave(&self, inlet: &Arc<Inlet>, lost: bool) {
        let mut state = lock(&self.state);
        state.holders -= usize::from(inlet.holds);
        if lost && !state.closed {
            state.queue.push_back(Item::Lost(inlet.clone()));
        }
        drop(state);
        self.arrivals.wake_all();
    }

    /// A message arrived. `false` if its sender had no credit for it.
    pub(super) fn arrive(&self, inlet: Arc<Inlet>, body: Body) -> bool {
        let mut state = lock(&self.state);
        if state.closed {
            return true;
        }
        if !inlet.occupy(body.len()) {
            return false;
        }
        state.queue.push_back(Item::Message(inlet, body));
        drop(state);
        self.arrivals.wake_all();
        true
    }

    fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        let unread = std::mem::take(&mut state.queue);
        drop(state);
        drop(unread);
        self.arrivals.wake_all();
    }
}

impl State {
    /// Takes the next message of at most `most` bytes.
    fn take(&mut self, most: usize) -> Result<(Arc<Inlet>, Body), ReceiveError> {
        match self.queue.front() {
            Some(Item::Message(_, body)) if body.len() > most => Err(ReceiveError::TooSmall(body.len())),
            Some(_) => match self.queue.pop_front() {
                Some(Item::Message(inlet, body)) => Ok((inlet, body)),
                Some(Item::Lost(inlet)) => Err(ReceiveError::SenderDied(inlet.origin)),
                None => Err(ReceiveError::WouldBlock),
            },
            None if self.closed => Err(ReceiveError::Closed),
            None if self.ends && self.holders == 0 => Err(ReceiveError::Ended),
            None => Err(ReceiveError::WouldBlock),
        }
    }
}

/// The reading end of a pipe. When it is dropped, the pipe is closed.
pub struct Receiver {
    pub(super) pipes: Arc<Pipes>,
    pub(super) pipe: Arc<Pipe>,
    pub(super) slot: Slot,
}

impl Receiver {
    /// The pipe's name.
    pub fn name(&self) -> PipeName {
        let Slot { index, generation } = self.slot;
        PipeName { home: self.pipes.own(), number: index, generation }
    }

    /// Reads the next message if there is one.
    ///
    /// # Errors
    /// See [`ReceiveError`].
    pub fn try_receive(&self) -> Result<Message, ReceiveError> {
        self.take(usize::MAX, Body::into_vec).map(|(origin, body)| Message { origin, body })
    }

    /// Reads the next message into `buffer` if there is one: where it came from,
    /// and how many bytes it has.
    ///
    /// # Errors
    /// See [`ReceiveError`].
    pub fn try_receive_into(&self, buffer: &mut [u8]) -> Result<(Origin, usize), ReceiveError> {
        self.take(buffer.len(), |body| body.copy(0, buffer))
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// See [`ReceiveError`]; never `WouldBlock`.
    pub async fn receive(&self) -> Result<Message, ReceiveError> {
        loop {
            let seen = self.pipe.arrivals.count();
            match self.try_receive() {
                Err(ReceiveError::WouldBlock) => self.pipe.arrivals.wait(seen).await,
                received => return received,
            }
        }
    }

    fn take<T>(&self, most: usize, read: impl FnOnce(Body) -> T) -> Result<(Origin, T), ReceiveError> {
        let (inlet, body) = lock(&self.pipe.state).take(most)?;
        let bytes = body.len();
        let read = read(body);
        if let Some(credit) = inlet.vacate(bytes) {
            self.pipes.post(inlet.origin.vm, inlet.end, Kind::Credit, credit, &[]);
        }
        Ok((inlet.origin, read))
    }

    /// Of a mailbox: it is at its end when the ends that hold it are closed.
    pub fn seal(&self) {
        lock(&self.pipe.state).ends = true;
        self.pipe.arrivals.wake_all();
    }

    /// Closes the pipe: what was not read is lost, senders are told.
    pub fn close(&self) {
        self.pipe.close();
        self.pipes.close_pipe(self.slot, &self.pipe);
    }
}

impl Event for Receiver {
    fn changes(&self) -> &Waiters {
        &self.pipe.arrivals
    }

    /// Whether receiving would not block: a message, the end, or an error.
    fn is_ready(&self) -> bool {
        let state = lock(&self.pipe.state);
        !state.queue.is_empty() || state.closed || (state.ends && state.holders == 0)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.close();
    }
}
