//! An endpoint: all channels of one VM.
//!
//! ```text
//! loop {
//!     for each peer whose word in the liveness table changed: set_peer
//!     while poll(now, &mut events) { handle the events, send }
//!     if prepare_sleep() { sleep until a doorbell rings or deadline() comes }
//! }
//! ```
//!
//! Invariants:
//! - Nothing blocks. What does not fit a ring goes to a bounded backlog, whose
//!   messages stay in order before later ones.
//! - For each incarnation of a peer that was made known and ended: its messages
//!   that were completely received by then, one [`Event::PeerDied`], nothing more.
//! - A turn of [`Endpoint::poll`] handles a bounded number of messages of each
//!   peer, so a flood from one does not starve the others.
//! - Whatever the peers write: no panic, bounded work per call, memory bounded by
//!   [`MAX_MESSAGE`] per peer (and the backlog that this VM filled itself).
//!
//! **The doorbell is a latch.** The sleep that follows a [`prepare_sleep`] that
//! returned true must end at once if a doorbell rang since the previous sleep
//! ended; and the liveness table is looked at after each sleep, for its writer
//! rings everyone *after* changing it. What rings while the VM is awake may make
//! one sleep end early.
//!
//! [`prepare_sleep`]: Endpoint::prepare_sleep

use crate::channel::{Channel, ChannelCounters};
use crate::fragments::Gather;
use crate::link::{Link, MAX_MESSAGE, Malformed, RingLink};
use crate::memory::SharedMemory;
use crate::ring::{TooSmall, sleep_fence};
use crate::wire::Header;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

/// One incarnation of a peer: every start of a VM has a generation of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddress {
    /// Which peer.
    pub peer: u16,
    /// Which of its starts, from 1.
    pub generation: u32,
}

/// What a poll found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message arrived.
    Message {
        /// Who sent it: known from the ring it came through.
        from: PeerAddress,
        /// Its header.
        header: Header,
        /// Its body, which may be anything.
        body: Vec<u8>,
    },
    /// An incarnation ended. What was sent to it and not answered never will be.
    PeerDied(PeerAddress),
    /// A peer did not talk sense; what it was about is lost.
    Malformed {
        /// Who.
        from: PeerAddress,
        /// In what way.
        error: Malformed,
    },
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// That incarnation has ended.
    PeerDied,
    /// Too much waits to be sent to it already; try again after a poll.
    WouldBlock,
    /// The message is longer than [`MAX_MESSAGE`], header included.
    TooLong,
    /// There is no channel to that peer, or the liveness table has not told of
    /// that incarnation yet.
    UnknownPeer,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PeerDied => "the peer has died",
            Self::WouldBlock => "too much waits to be sent to the peer already",
            Self::TooLong => "the message is longer than the longest",
            Self::UnknownPeer => "the peer is not known",
        })
    }
}

impl core::error::Error for SendError {}

/// Why a channel was not attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachError {
    /// A window is too small for a ring.
    TooSmall,
    /// There is a channel to this peer already.
    Attached,
    /// The peer is this VM itself.
    Own,
}

impl From<TooSmall> for AttachError {
    fn from(TooSmall: TooSmall) -> Self {
        Self::TooSmall
    }
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooSmall => "the window is too small for a ring",
            Self::Attached => "there is a channel to this peer already",
            Self::Own => "a VM has no channel to itself",
        })
    }
}

impl core::error::Error for AttachError {}

/// Rings the doorbell of a peer: makes it look at its rings if it sleeps.
pub trait Doorbell {
    /// Rings. Everything stored to shared memory before is visible to the peer
    /// when it wakes. To an absent peer it does nothing.
    fn ring(&self, peer: u16);
}

/// All channels of one VM. See the module for how to use it.
pub struct Endpoint {
    own: PeerAddress,
    doorbell: Box<dyn Doorbell + Send>,
    channels: Vec<Channel>,
    /// The place in `channels` of each peer's channel, by peer.
    places: Vec<Option<usize>>,
    /// Where the next poll starts.
    turn: usize,
    /// What became known between polls.
    pending: VecDeque<Event>,
}

impl Endpoint {
    /// An endpoint without channels for the incarnation `own` of this VM.
    pub fn new(own: PeerAddress, doorbell: Box<dyn Doorbell + Send>) -> Self {
        Self { own, doorbell, channels: Vec::new(), places: Vec::new(), turn: 0, pending: VecDeque::new() }
    }

    /// Which incarnation this is.
    pub fn own(&self) -> PeerAddress {
        self.own
    }

    /// Makes a channel to `peer` of two rings, one in each window. The peer is
    /// not known to live before [`Endpoint::set_peer`] says so.
    pub fn attach(
        &mut self,
        peer: u16,
        outgoing: SharedMemory,
        incoming: SharedMemory,
    ) -> Result<(), AttachError> {
        self.attach_link(peer, Box::new(RingLink::new(outgoing, incoming)?))
    }

    /// Makes a channel to `peer` of any link.
    pub fn attach_link(&mut self, peer: u16, link: Box<dyn Link>) -> Result<(), AttachError> {
        if peer == self.own.peer {
            return Err(AttachError::Own);
        }
        let index = usize::from(peer);
        if self.places.len() <= index {
            self.places.resize(index + 1, None);
        }
        if self.places[index].is_some() {
            return Err(AttachError::Attached);
        }
        self.places[index] = Some(self.channels.len());
        self.channels.push(Channel::new(peer, link));
        Ok(())
    }

    /// Tells what the liveness table says of `peer`: which incarnation lives, or
    /// `None` if none does. Call it for each attached peer at the start and
    /// after each change.
    ///
    /// Generations only grow: one that is not above the last one known changes
    /// nothing (so does an unknown peer). Otherwise the incarnation known until
    /// now has ended: its messages that are completely in the ring are kept for
    /// the next poll, followed by [`Event::PeerDied`]; what waits to be sent to it
    /// is dropped.
    pub fn set_peer(&mut self, peer: u16, generation: Option<u32>) {
        if let Some(place) = self.place(peer) {
            self.channels[place].set_peer(self.own.generation, generation, &mut self.pending);
        }
    }

    /// The incarnation of `peer` that lives, as far as known.
    pub fn address(&self, peer: u16) -> Option<PeerAddress> {
        self.channels[self.place(peer)?].address()
    }

    /// Sends a message whose body is the parts of `body` one after the other.
    /// Never blocks: what does not fit the ring is kept and sent by later polls.
    pub fn send(&mut self, to: PeerAddress, header: Header, body: &[&[u8]]) -> Result<(), SendError> {
        let place = self.place(to.peer).ok_or(SendError::UnknownPeer)?;
        let head = header.encode();
        let message = Gather::new(&head, body)
            .filter(|message| message.len() <= MAX_MESSAGE)
            .ok_or(SendError::TooLong)?;
        self.channels[place].send(to.generation, &message, &*self.doorbell)
    }

    /// Hands what has happened to `events`, and sends what waits. Returns whether
    /// anything moved: if so, poll again before sleeping.
    ///
    /// Takes bounded time: a turn of each channel, starting with another one
    /// each time. `now_ns` is a clock that never goes back.
    pub fn poll(&mut self, now_ns: u64, events: &mut impl Extend<Event>) -> bool {
        let mut moved = !self.pending.is_empty();
        events.extend(self.pending.drain(..));
        let (later, first) = self.channels.split_at_mut(self.turn);
        for channel in first.iter_mut().chain(later) {
            channel.tick(now_ns);
            moved |= channel.turn(events, &*self.doorbell);
        }
        self.turn = if self.turn + 1 < self.channels.len() { self.turn + 1 } else { 0 };
        moved
    }

    /// Asks all peers to ring for what they send from now on, and looks whether
    /// something arrived before they could know. True: nothing did, the VM may
    /// sleep until a doorbell rings. False: poll, until nothing moves, before
    /// calling it again.
    ///
    /// Shared memory is touched only for channels through which something was
    /// received since the last call, or to which something waits to be sent; the
    /// others still are armed.
    pub fn prepare_sleep(&mut self) -> bool {
        if !self.pending.is_empty() {
            return false;
        }
        let mut any = false;
        for channel in &mut self.channels {
            any |= channel.arm();
        }
        if any {
            sleep_fence();
        }
        // Channels that are not looked at because one before them is ready are
        // looked at by the poll that must follow: it too comes after the fence.
        !self.channels.iter_mut().any(Channel::is_ready)
    }

    /// When to poll at the latest though no doorbell rings.
    pub fn deadline(&self) -> Option<u64> {
        self.channels.iter().filter_map(Channel::deadline).min()
    }

    /// Whether something waits to be sent to `peer` by a later poll.
    pub fn has_backlog(&self, peer: u16) -> bool {
        self.place(peer).is_some_and(|place| self.channels[place].has_backlog())
    }

    /// What has passed through the channel to `peer`.
    pub fn counters(&self, peer: u16) -> Option<ChannelCounters> {
        Some(self.channels[self.place(peer)?].counters())
    }

    /// The peers to which there are channels.
    pub fn peers(&self) -> impl Iterator<Item = u16> + '_ {
        self.channels.iter().map(Channel::peer)
    }

    fn place(&self, peer: u16) -> Option<usize> {
        *self.places.get(usize::from(peer))?
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({:?}, {} channels)", self.own, self.channels.len())
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
