//! The pipe of a VM's monitor: what has passed through its channels, what was
//! wrong with it, and what the VM knows of its clock. Every VM serves it, the launcher as well.

use super::Peer;
use alloc::vec::Vec;
use core::fmt;
use serde::{Deserialize, Serialize};
use transport::link::Malformed;
extern crate alloc;

/// What can be asked of a monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// What has passed through each channel since the VM started.
    Channels,
    /// What is known of the clock.
    Clock,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// The VM's channels to all of its peers.
    Channels(Vec<Channel>),
    /// Its clock.
    Clock(Clock),
}

/// What a VM knows of its clock ([`crate::clock`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// What it shows: nanoseconds since the machine's start.
    pub now_ns: u64,
    /// By how many nanoseconds that may differ from the machine's time; `None` if nobody knows.
    pub uncertainty_ns: Option<u64>,
    /// The host's ticks less the VM's.
    pub offset_ticks: i64,
    /// Ticks per second.
    pub hertz: u64,
    /// How many rounds there were with the launcher.
    pub rounds: u64,
    /// How often an exchange contradicted those before.
    pub contradictions: u64,
}

/// One end of a channel: what a VM knows of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Who is at the other end.
    pub peer: Peer,
    /// Messages sent.
    pub sent: u64,
    /// Bytes of these, headers included.
    pub sent_bytes: u64,
    /// Messages received.
    pub received: u64,
    /// Bytes of these, headers included.
    pub received_bytes: u64,
    /// Doorbells rung for the peer.
    pub doorbells: u64,
    /// Messages that did not go out at once.
    pub delayed: u64,
    /// Times that a message was not taken because too many waited.
    pub would_block: u64,
    /// Messages that were not completely sent when the peer died.
    pub dropped: u64,
    /// Incarnations of the peer that ended.
    pub deaths: u64,
    /// What of the peer's made no sense, and how often; what never happened is left out.
    pub faults: Vec<(Fault, u64)>,
}

/// What was wrong with something that a peer sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Fault {
    /// A slot said that it uses more or less than it can.
    Slot,
    /// A message went on without a beginning, or began within another one.
    Order,
    /// A message was longer than the longest.
    TooLong,
    /// A message was shorter than its header.
    TooShort,
    /// A header was of an unknown kind, or used what is reserved.
    Header,
    /// A slot named pages that do not exist.
    Reference,
    /// The stream to the peer did not begin, or go on, as streams do.
    Broken,
    /// A position was one that the peer cannot be at.
    Position,
    /// A slot, frame or notice was of another generation: of the peer, of this
    /// VM, or of an end of a pipe.
    Stale,
    /// The body of a request, or of a notice, did not decode.
    Body,
    /// A request had more bytes in it than its pipe takes.
    Limit,
    /// A request was for a pipe that this VM does not serve, or for a sending end
    /// of one that does not exist.
    Pipe,
    /// A request was one more than is served of a peer at a time, or for one more
    /// sending end than there may be.
    Flood,
    /// A reply was to nothing that was asked of that peer.
    Reply,
    /// A notice came where nobody takes any.
    Notice,
    /// A sending end was asked for by somebody whom the pipe is not for.
    Rights,
    /// A message came through a pipe without the credit for it.
    Credit,
}

impl Fault {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 17] = [
        Self::Slot,
        Self::Order,
        Self::TooLong,
        Self::TooShort,
        Self::Header,
        Self::Reference,
        Self::Broken,
        Self::Position,
        Self::Stale,
        Self::Body,
        Self::Limit,
        Self::Pipe,
        Self::Flood,
        Self::Reply,
        Self::Notice,
        Self::Rights,
        Self::Credit,
    ];

    /// Its name, as people and scripts see it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Slot => "slot",
            Self::Order => "order",
            Self::TooLong => "too_long",
            Self::TooShort => "too_short",
            Self::Header => "header",
            Self::Reference => "reference",
            Self::Broken => "broken",
            Self::Position => "position",
            Self::Stale => "stale",
            Self::Body => "body",
            Self::Limit => "limit",
            Self::Pipe => "pipe",
            Self::Flood => "flood",
            Self::Reply => "reply",
            Self::Notice => "notice",
            Self::Rights => "rights",
            Self::Credit => "credit",
        }
    }
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::Slot => Self::Slot,
            Malformed::Order => Self::Order,
            Malformed::TooLong => Self::TooLong,
            Malformed::TooShort => Self::TooShort,
            Malformed::Header => Self::Header,
            Malformed::Reference => Self::Reference,
            Malformed::Broken => Self::Broken,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
