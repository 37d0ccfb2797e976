//! Links: what carries messages between two VMs.
//!
//! A [`Link`] carries messages one way and the other between this VM and one
//! peer, in order, without loss within an epoch (a pair of incarnations), and
//! never blocks. [`RingLink`] is the link through shared memory, heap or mapped:
//! short messages in a slot of a ring, longer ones in several, bulk in pages that
//! a slot names. `net` (a feature) is the link through an Ethernet. [`delay`] is
//! a decorator: it puts any link at a distance.
//!
//! What a link hands on was written by the peer: it is complete and of bounded
//! length, nothing more is known of it.

pub mod delay;
#[cfg(feature = "net")]
pub mod net;

use crate::body::Body;
use crate::endpoint::Doorbell;
use crate::fragments::Assembler;
use crate::memory::SharedMemory;
use crate::pages::{Borrower, Lease, Lender};
use crate::ring::{
    BY_REFERENCE, Epoch, PAYLOAD_BYTES, Payload, Place, Reader, Slot, TooSmall, Writer, payload,
};
use crate::wire::{HEADER_BYTES, HEADER_WORDS};
use alloc::sync::Arc;

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
    /// A slot named pages that do not exist, or as many as no body has.
    Reference,
    /// The connection ended, or began otherwise than is agreed, while the peer
    /// lived. Nothing more comes through it.
    Broken,
}

impl Malformed {
    /// Every way there is, in the order of their numbers.
    pub const ALL: [Self; 7] =
        [Self::Slot, Self::Order, Self::TooLong, Self::TooShort, Self::Header, Self::Reference, Self::Broken];
}

impl core::fmt::Display for Malformed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Slot => "a slot says that it uses more or less than it can",
            Self::Order => "a message goes on without a beginning, or begins within another one",
            Self::TooLong => "a message is longer than the longest",
            Self::TooShort => "a message is shorter than its header",
            Self::Header => "a message's header is of an unknown kind",
            Self::Reference => "a slot names pages that do not exist",
            Self::Broken => "the connection ended within the peer's life",
        })
    }
}

impl core::error::Error for Malformed {}

/// What [`Link::receive`] found.
#[derive(Debug)]
pub enum Received {
    /// Nothing is there.
    Nothing,
    /// A part of a message that is not complete yet.
    Part,
    /// A message: its header's words, not looked at yet, and its body.
    Message([u64; HEADER_WORDS], Body),
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
    /// Slots or frames of other incarnations than those that live.
    pub stale: u64,
}

/// Messages to and from one peer. See the module for what it promises.
///
/// The order of calls: [`Link::synchronise`] before anything else and whenever
/// either incarnation changes; [`Link::tick`] before the link is used in a turn;
/// [`Link::bell_due`] after each batch of `send` and `receive`; before a sleep
/// [`Link::arm`], [`sleep_fence`](crate::ring::sleep_fence), [`Link::is_ready`] and,
/// if something waits to be sent, [`Link::has_space`].
pub trait Link: Send {
    /// Starts an epoch between an incarnation of this VM and one of the peer's.
    ///
    /// Whatever was under way either way is forgotten; the link is not armed.
    fn synchronise(&mut self, own: u32, peer: u32);

    /// The peer's incarnation has ended: what it has sent counts as arrived, and
    /// is received now, before [`Link::end`], or never.
    fn peer_died(&mut self) {}

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

    /// Lets time pass, to `now_ns` nanoseconds of a clock that never goes back.
    fn tick(&mut self, _now_ns: u64) {}

    /// When [`Link::tick`] is wanted again at the latest, if nothing arrives; 0:
    /// at once.
    fn deadline(&self) -> Option<u64> {
        None
    }

    /// Whether the peer must be rung because of what happened since the last
    /// call.
    fn bell_due(&mut self) -> bool;

    /// Whether [`Link::bell_due`] has something to look for. It may say so once
    /// too often, never once too seldom.
    fn is_unflushed(&self) -> bool {
        true
    }

    /// Asks to be rung for what is received next and, if `for_space`, when more
    /// can be sent. The first stays in force until something is received.
    fn arm(&mut self, for_space: bool);

    /// No longer asks to be rung for what is received: it will be looked at.
    fn disarm(&mut self) {}

    /// Whether there is something to receive.
    fn is_ready(&mut self) -> bool;

    /// Whether the message that did not go on may go on now.
    fn has_space(&mut self) -> bool;

    /// What the link has met with.
    fn counters(&self) -> LinkCounters;
}

/// Bodies of so many bytes and more go by reference, where there are pages
/// (protocol.md P7).
pub const LENT_BYTES: usize = 512;

/// The windows of a channel in shared memory, as one end sees them.
#[derive(Clone, Debug)]
pub struct Windows {
    /// The ring it writes.
    pub outgoing: SharedMemory,
    /// The ring it reads.
    pub incoming: SharedMemory,
    /// The pages it lends and those it borrows; without them all goes through the rings.
    pub pages: Option<[SharedMemory; 2]>,
}

/// A link through two rings in shared memory, and pages for what is long.
#[derive(Debug)]
pub struct RingLink {
    writer: Writer,
    reader: Reader,
    assembler: Assembler,
    pages: Option<(Lender, Borrower)>,
    /// The message that did not go on lacked so many bytes of pages, not slots.
    lacks_pages: Option<usize>,
}

impl RingLink {
    /// The link through these windows to `peer`, whom `doorbell` rings.
    pub fn new(
        windows: Windows,
        peer: u16,
        doorbell: Arc<dyn Doorbell + Send + Sync>,
    ) -> Result<Self, TooSmall> {
        let pages = match windows.pages {
            Some([lent, borrowed]) => Some((Lender::new(lent)?, Borrower::new(borrowed, peer, doorbell)?)),
            None => None,
        };
        Ok(Self {
            writer: Writer::new(windows.outgoing)?,
            reader: Reader::new(windows.incoming)?,
            assembler: Assembler::default(),
            pages,
            lacks_pages: None,
        })
    }

    /// Hands a body over in pages: all of it, or nothing yet.
    fn lend(writer: &mut Writer, lender: &mut Lender, message: &Gather<'_>) -> Result<(), Lack> {
        if writer.free() == 0 {
            return Err(Lack::Slot);
        }
        if !lender.has_room(message.body_len()) {
            return Err(Lack::Pages);
        }
        let payload = lender.lend(message).ok_or(Lack::Pages)?;
        let slot = Slot { place: Place::WHOLE, used: BY_REFERENCE };
        writer.push(slot, &payload).map_err(|_| Lack::Slot)
    }

    /// Sends a message's slots from byte `from` on, as far as they go.
    fn push_parts(&mut self, message: &Gather<'_>, from: usize) -> usize {
        let mut sent = from;
        let mut bytes = [0; PAYLOAD_BYTES];
        while sent < message.len() && self.writer.free() > 0 {
            let used = message.copy(sent, &mut bytes);
            let place = Place { first: sent == 0, last: sent + used == message.len() };
            if self.writer.push(Slot { place, used }, &payload(&bytes[..used])).is_err() {
                break;
            }
            sent += used;
        }
        sent
    }
}

impl RingLink {
    /// Sends a message that does not fit a slot.
    #[inline(never)]
    fn send_long(&mut self, message: &Gather<'_>, from: usize) -> usize {
        let Some((lender, _)) = self.pages.as_mut().filter(|_| message.body_len() >= LENT_BYTES) else {
            return self.push_parts(message, from);
        };
        self.lacks_pages = None;
        match Self::lend(&mut self.writer, lender, message) {
            Ok(()) => return message.len(),
            Err(Lack::Slot) => {}
            Err(Lack::Pages) => self.lacks_pages = Some(message.body_len()),
        }
        from
    }

    /// What comes of a slot that does not hold a whole message.
    #[inline(never)]
    fn receive_long(
        &mut self,
        is_whole: bool,
        slot: Slot,
        payload: &Payload,
        lease: Option<Lease>,
    ) -> Received {
        if !is_whole || slot.used != BY_REFERENCE {
            return self.assembler.add(slot, payload);
        }
        let [first, second, third, ..] = *payload;
        match lease {
            Some(lease) if lease.len() <= MAX_MESSAGE - HEADER_BYTES => {
                Received::Message([first, second, third], Body::lent(lease))
            }
            Some(_) => Received::Malformed(Malformed::TooLong),
            None => Received::Malformed(Malformed::Reference),
        }
    }
}

/// What a message that does not go on lacks.
enum Lack {
    Slot,
    Pages,
}

impl Link for RingLink {
    /// protocol.md E3, E4, E5; the lender comes after the writer.
    fn synchronise(&mut self, own: u32, peer: u32) {
        self.assembler = Assembler::default();
        let (outward, inward) = (Epoch { writer: own, reader: peer }, Epoch { writer: peer, reader: own });
        self.reader.synchronise(inward);
        self.writer.synchronise(outward);
        self.lacks_pages = None;
        if let Some((lender, borrower)) = &mut self.pages {
            lender.synchronise(outward);
            borrower.synchronise(inward);
        }
    }

    #[inline(always)]
    fn send(&mut self, message: &Gather<'_>, from: usize) -> usize {
        if from == 0
            && let Some(payload) = message.as_slot()
        {
            let slot = Slot { place: Place::WHOLE, used: message.len() };
            return if self.writer.push(slot, &payload).is_ok() { message.len() } else { 0 };
        }
        self.send_long(message, from)
    }

    #[inline(always)]
    fn receive(&mut self) -> Received {
        let mut lease = None;
        let pages = &mut self.pages;
        let popped = self.reader.pop_if(|slot, payload| {
            if slot.used == BY_REFERENCE
                && let Some((_, borrower)) = pages
            {
                lease = borrower.claim(payload);
            }
        });
        let Some((slot, payload)) = popped else { return Received::Nothing };
        let is_whole = slot.place == Place::WHOLE && self.assembler.is_idle();
        if is_whole && (HEADER_BYTES..=PAYLOAD_BYTES).contains(&slot.used) {
            let [first, second, third, ..] = payload;
            return Received::Message([first, second, third], Body::of_slot(&payload, slot.used));
        }
        self.receive_long(is_whole, slot, &payload, lease)
    }

    fn in_flight(&self) -> usize {
        self.reader.slots() as usize
    }

    fn bell_due(&mut self) -> bool {
        // Both are asked: each remembers what was rung for.
        let written = self.writer.bell_due();
        self.reader.bell_due() || written
    }

    fn is_unflushed(&self) -> bool {
        self.writer.is_unflushed() || self.reader.is_unflushed()
    }

    fn arm(&mut self, for_space: bool) {
        if !self.reader.is_armed() {
            self.reader.arm();
        }
        match &mut self.pages {
            Some((lender, _)) if for_space && self.lacks_pages.is_some() => lender.wait_for_pages(),
            Some((lender, _)) => lender.wait_no_more(),
            None => {}
        }
        if for_space && self.lacks_pages.is_none() {
            self.writer.wait_for_space();
        } else {
            self.writer.wait_no_more();
        }
    }

    fn disarm(&mut self) {
        if self.reader.is_armed() {
            self.reader.disarm();
        }
    }

    fn is_ready(&mut self) -> bool {
        self.reader.is_ready()
    }

    fn has_space(&mut self) -> bool {
        match (self.lacks_pages, &mut self.pages) {
            (Some(bytes), Some((lender, _))) => {
                let has_room = lender.has_room(bytes);
                if has_room {
                    self.lacks_pages = None;
                }
                has_room
            }
            _ => self.writer.free() > 0,
        }
    }

    fn counters(&self) -> LinkCounters {
        LinkCounters {
            torn: self.reader.torn(),
            refused_positions: self.writer.refused(),
            stale: self.reader.stale(),
        }
    }
}
