//! Links: what carries messages between two VMs.
//!
//! A [`Link`] carries messages one way and the other between this VM and one
//! peer, in order, without loss within an epoch (a pair of incarnations), and
//! never blocks. [`RingLink`] is the link through shared memory, heap or mapped,
//! `net` (a feature) that through an Ethernet.
//!
//! What a link hands on was written by the peer: it is complete and of bounded
//! length, nothing more is known of it.

#[cfg(feature = "net")]
pub mod net;

use crate::fragments::Assembler;
use crate::memory::SharedMemory;
use crate::ring::{Epoch, PAYLOAD_BYTES, Place, Reader, TooSmall, Writer};
use crate::wire::HEADER_BYTES;
use alloc::vec::Vec;

pub use crate::fragments::Gather;

/// Most bytes of a message, header included.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// In what way a peer did not talk sense. It costs it the messages concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Malformed {
    /// A slot said that it uses more bytes than it has, or a slot that must be
    /// full was not.
    Slot,
    /// A message went on without a beginning, or began within another one (then
    /// both are lost).
    Order,
    /// A message was longer than [`MAX_MESSAGE`].
    TooLong,
    /// A message was shorter than its header.
    TooShort,
    /// The header was of an unknown kind or used reserved bytes.
    Header,
    /// The connection ended, or began otherwise than is agreed, while the peer
    /// lived. Nothing more comes through it.
    Broken,
}

impl Malformed {
    /// Every way there is, in the order of their numbers.
    pub const ALL: [Self; 6] =
        [Self::Slot, Self::Order, Self::TooLong, Self::TooShort, Self::Header, Self::Broken];
}

impl core::fmt::Display for Malformed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Slot => "a slot says that it uses more or less than it can",
            Self::Order => "a message goes on without a beginning, or begins within another one",
            Self::TooLong => "a message is longer than the longest",
            Self::TooShort => "a message is shorter than its header",
            Self::Header => "a message's header is of an unknown kind",
            Self::Broken => "the connection ended within the peer's life",
        })
    }
}

impl core::error::Error for Malformed {}

/// What [`Link::receive`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// Nothing is there.
    Nothing,
    /// A part of a message that is not complete yet.
    Part,
    /// A message: its header's bytes, not looked at yet, and its body.
    Message([u8; HEADER_BYTES], Vec<u8>),
    /// Something that makes no sense was skipped.
    Malformed(Malformed),
}

/// What a link has met with; counts since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Parts of messages that the end of an epoch tore while they were read.
    pub torn: u64,
    /// Impossible positions that the peer told of itself.
    pub refused_positions: u64,
    /// Frames that belong to other incarnations than those that live.
    pub stale: u64,
}

/// Messages to and from one peer. See the module for what it promises.
///
/// The order of calls: [`Link::synchronise`] before anything else and whenever
/// either incarnation changes; [`Link::bell_due`] after each batch of `send` and
/// `receive`; before a sleep [`Link::arm`],
/// [`sleep_fence`](crate::ring::sleep_fence), [`Link::is_ready`].
pub trait Link: Send {
    /// Starts an epoch between an incarnation of this VM and one of the peer's.
    ///
    /// Whatever was under way either way is forgotten; the link is not armed.
    fn synchronise(&mut self, own: u32, peer: u32);

    /// Ends the epoch, because the peer's incarnation has ended: until the next
    /// one the link does nothing.
    fn end(&mut self) {}

    /// Sends as much of `message` as goes without waiting, from byte `from` on,
    /// and returns how many of its bytes are sent by now.
    ///
    /// A message that was begun is finished, by further calls that go on where
    /// the last one ended, before another one is begun.
    fn send(&mut self, message: &Gather<'_>, from: usize) -> usize;

    /// Takes the next part of what the peer sent; takes bounded time. A part
    /// that is taken disarms the link.
    fn receive(&mut self) -> Received;

    /// How many parts at most can be under way to this end: so often
    /// [`Link::receive`] may succeed after the peer died.
    fn in_flight(&self) -> usize;

    /// Whether the peer must be rung because of what happened since the last
    /// call.
    fn bell_due(&mut self) -> bool;

    /// Asks to be rung for what is received next and, if `for_space`, when more
    /// can be sent. The first stays in force until something is received.
    fn arm(&mut self, for_space: bool);

    /// Whether there is something to receive or, if `for_space`, to send into.
    fn is_ready(&mut self, for_space: bool) -> bool;

    /// Lets time pass: called before the link is used in a turn.
    fn tick(&mut self, _now_ns: u64) {}

    /// When [`Link::tick`] is wanted again at the latest, if nothing arrives; 0:
    /// at once.
    fn deadline(&self) -> Option<u64> {
        None
    }

    /// What the link has met with.
    fn counters(&self) -> LinkCounters;
}

/// A link through two rings in shared memory.
#[derive(Debug)]
pub struct RingLink {
    writer: Writer,
    reader: Reader,
    assembler: Assembler,
}

impl RingLink {
    /// The link that writes to the ring in `outgoing` and reads from that in
    /// `incoming`.
    pub fn new(outgoing: SharedMemory, incoming: SharedMemory) -> Result<Self, TooSmall> {
        Ok(Self {
            writer: Writer::new(outgoing)?,
            reader: Reader::new(incoming)?,
            assembler: Assembler::default(),
        })
    }
}

impl Link for RingLink {
    fn synchronise(&mut self, own: u32, peer: u32) {
        self.assembler = Assembler::default();
        self.reader.synchronise(Epoch { writer: peer, reader: own });
        self.writer.synchronise(Epoch { writer: own, reader: peer });
    }

    fn send(&mut self, message: &Gather<'_>, from: usize) -> usize {
        let mut sent = from;
        let mut payload = [0; PAYLOAD_BYTES];
        while sent < message.len() && self.writer.free() > 0 {
            let used = message.copy(sent, &mut payload);
            let place = Place { first: sent == 0, last: sent + used == message.len() };
            if self.writer.push(place, &payload[..used]).is_err() {
                break;
            }
            sent += used;
        }
        sent
    }

    fn receive(&mut self) -> Received {
        let mut payload = [0; PAYLOAD_BYTES];
        match self.reader.pop(&mut payload) {
            Some(slot) => self.assembler.add(slot, &payload),
            None => Received::Nothing,
        }
    }

    fn in_flight(&self) -> usize {
        self.reader.slots() as usize
    }

    fn bell_due(&mut self) -> bool {
        // Both are asked: each remembers what was rung for.
        let written = self.writer.bell_due();
        self.reader.bell_due() || written
    }

    fn arm(&mut self, for_space: bool) {
        if !self.reader.is_armed() {
            self.reader.arm();
        }
        if for_space {
            self.writer.wait_for_space();
        } else {
            self.writer.wait_no_more();
        }
    }

    fn is_ready(&mut self, for_space: bool) -> bool {
        self.reader.is_ready() || for_space && self.writer.free() > 0
    }

    fn counters(&self) -> LinkCounters {
        LinkCounters {
            torn: self.reader.torn(),
            refused_positions: self.writer.refused(),
            ..LinkCounters::default()
        }
    }
}
