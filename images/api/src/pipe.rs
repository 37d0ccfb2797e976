//! Pipes: whole messages from many senders to one reader.
//!
//! Whoever creates a pipe holds its reading end, a [`Receiver`]. Its [`Name`] is
//! a few bytes that can be sent to anybody, who opens a sending end with it:
//!
//! ```
//! use cyanea::pipe::{Name, Receiver, Sender};
//!
//! let results = Receiver::new();
//! // The name goes to those who are to answer; here, to the caller itself.
//! cyanea::send(0, &results.name().to_bytes())?;
//!
//! let name = Name::try_from(&cyanea::receive()?.body[..])?;
//! let answer = Sender::open(name)?;
//! answer.send(b"forty-two")?;
//! answer.close();
//!
//! let message = results.receive()?;
//! assert_eq!((message.from.activity, &message.body[..]), (0, &b"forty-two"[..]));
//! assert!(results.receive().is_err(), "its only sending end was closed");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! * Messages of one sending end arrive whole, once, and in the order in which
//!   they were sent.
//! * What a sending end has sent and nobody has read is limited (to about 256
//!   KiB): then [`Sender::send`] waits and [`Sender::try_send`] says
//!   `WouldBlock`. One that floods a pipe holds up nobody else.
//! * Each message says from which activity it is; the system vouches for it.
//! * When the last sending end is closed, the reader reads what is there and
//!   then learns that the pipe has ended. (Keep one open oneself, if senders
//!   come and go.) An end is closed when it is dropped, and when its activity ends.
//! * When the reading end is closed, or its node dies, those who send learn it,
//!   also those who wait; what was not read is lost.

use crate::system;
use std::fmt;
use std::time::Duration;

/// Bytes of a [`Name`].
pub const NAME_BYTES: usize = 16;

/// Names a pipe across the machine until its reading end is closed. A name that
/// is out of date names no other pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Name([u8; NAME_BYTES]);

impl Name {
    /// As bytes, to be sent in a message.
    pub fn to_bytes(self) -> [u8; NAME_BYTES] {
        self.0
    }

    /// From bytes; if they are no name, no pipe is found by it.
    pub fn from_bytes(bytes: [u8; NAME_BYTES]) -> Self {
        Self(bytes)
    }
}

impl TryFrom<&[u8]> for Name {
    type Error = std::array::TryFromSliceError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self)
    }
}

/// Who may send to a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Activities of the task force that created it.
    TaskForce,
    /// Whoever has its name.
    Public,
}

/// Where a message came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The task force, by its number in the machine.
    pub task_force: u64,
    /// Which of its activities.
    pub activity: usize,
}

/// A message that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who sent it; the system vouches for it.
    pub from: Origin,
    /// What was sent.
    pub body: Vec<u8>,
}

/// Why a sending end was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// There is no pipe of this name, or no longer.
    NoSuchPipe,
    /// The pipe belongs to another task force and is not public.
    NotAllowed,
    /// The pipe has too many sending ends (64), or of the caller's (16). One that
    /// was closed counts while something of it is unread.
    TooMany,
    /// The pipe's node died.
    NodeDied,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchPipe => "there is no such pipe, or it has been closed",
            Self::NotAllowed => "the pipe belongs to another task force, which did not make it public",
            Self::TooMany => "the pipe has too many sending ends; close or share some",
            Self::NodeDied => "the node of the pipe died",
        })
    }
}

impl std::error::Error for OpenError {}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The pipe is full for this sending end.
    WouldBlock,
    /// The message has more than [`crate::MAX_MESSAGE`] bytes.
    TooLong,
    /// The reading end was closed.
    Closed,
    /// The pipe's node died.
    NodeDied,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WouldBlock => write!(f, "the pipe is full"),
            Self::TooLong => write!(f, "the message has more than {} bytes", crate::MAX_MESSAGE),
            Self::Closed => write!(f, "the reading end of the pipe was closed"),
            Self::NodeDied => write!(f, "the node of the pipe died"),
        }
    }
}

impl std::error::Error for SendError {}

/// Why no message was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiveError {
    /// No message is there, or none came in time.
    WouldBlock,
    /// The next message has so many bytes and the buffer fewer; it stays the next.
    TooSmall(usize),
    /// The node of this sender died after what was read of it. Said once for
    /// each of its sending ends.
    SenderDied(Origin),
    /// No message is there, and the last sending end was closed.
    Ended,
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WouldBlock => write!(f, "no message is there"),
            Self::TooSmall(bytes) => write!(f, "the next message has {bytes} bytes, the buffer fewer"),
            Self::SenderDied(from) => write!(f, "activity {}, which was sending, died", from.activity),
            Self::Ended => write!(f, "the last sending end of the pipe was closed"),
        }
    }
}

impl std::error::Error for ReceiveError {}

/// The reading end of a pipe. When it is dropped, the pipe is closed.
#[derive(Debug)]
pub struct Receiver(u64);

/// The mailbox of the calling activity, which [`crate::receive`] reads: a pipe
/// to which the activities of the task force send with [`crate::send`]. It ends
/// when all others have ended, and is not closed when this is dropped.
pub fn mailbox() -> Receiver {
    Receiver(system::MAILBOX)
}

impl Receiver {
    /// Creates a pipe for the caller's task force.
    #[expect(clippy::new_without_default, reason = "it makes something in the system")]
    pub fn new() -> Self {
        Self(system::get().create(Access::TaskForce))
    }

    /// Creates a pipe to which whoever has its name may send.
    pub fn public() -> Self {
        Self(system::get().create(Access::Public))
    }

    /// The pipe's name.
    pub fn name(&self) -> Name {
        Name(system::get().name(self.0))
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// See [`ReceiveError`]; never `WouldBlock`.
    pub fn receive(&self) -> Result<Message, ReceiveError> {
        system::get().receive(self.0, None)
    }

    /// Waits for the next message, so long at most.
    ///
    /// # Errors
    /// See [`ReceiveError`].
    pub fn receive_timeout(&self, timeout: Duration) -> Result<Message, ReceiveError> {
        system::get().receive(self.0, Some(timeout))
    }

    /// Reads the next message if there is one.
    ///
    /// # Errors
    /// See [`ReceiveError`].
    pub fn try_receive(&self) -> Result<Message, ReceiveError> {
        self.receive_timeout(Duration::ZERO)
    }

    /// Waits for the next message and puts it into `buffer`, without a copy in
    /// between: who sent it, and how many bytes it has.
    ///
    /// # Errors
    /// See [`ReceiveError`]; never `WouldBlock`.
    pub fn receive_into(&self, buffer: &mut [u8]) -> Result<(Origin, usize), ReceiveError> {
        system::get().receive_into(self.0, buffer, None)
    }

    /// The same if there is a message.
    ///
    /// # Errors
    /// See [`ReceiveError`].
    pub fn try_receive_into(&self, buffer: &mut [u8]) -> Result<(Origin, usize), ReceiveError> {
        system::get().receive_into(self.0, buffer, Some(Duration::ZERO))
    }

    /// Closes the pipe. Those who send learn it; what was not read is lost.
    pub fn close(self) {}
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if self.0 != system::MAILBOX {
            system::get().close_receiver(self.0);
        }
    }
}

/// Waits until something can be read from some of `receivers`, or their end is
/// known, and says from which, in order; from none if the timeout came first.
pub fn wait(receivers: &[&Receiver], timeout: Option<Duration>) -> Vec<usize> {
    let receivers: Vec<u64> = receivers.iter().map(|receiver| receiver.0).collect();
    system::get().wait(&receivers, timeout)
}

/// A sending end of a pipe. Threads may share it. When it is dropped, it is closed.
#[derive(Debug)]
pub struct Sender(u64);

impl Sender {
    /// Opens a sending end of the pipe that is called so.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(name: Name) -> Result<Self, OpenError> {
        system::get().open(name.0).map(Self)
    }

    /// Sends a message of at most [`crate::MAX_MESSAGE`] bytes, waiting while
    /// the pipe is full.
    ///
    /// # Errors
    /// See [`SendError`]; never `WouldBlock`.
    pub fn send(&self, body: &[u8]) -> Result<(), SendError> {
        system::get().send_through(self.0, body, true)
    }

    /// The same, if that can be done at once.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn try_send(&self, body: &[u8]) -> Result<(), SendError> {
        system::get().send_through(self.0, body, false)
    }

    /// Closes it. What was sent arrives.
    pub fn close(self) {}
}

impl Drop for Sender {
    fn drop(&mut self) {
        system::get().close_sender(self.0);
    }
}
