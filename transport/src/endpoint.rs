//! An endpoint: all channels of one VM.
//!
//! ```text
//! loop {
//!     for each peer whose word in the liveness table changed: set_peer
//!     while poll(now, rang, take) { handle the events, send }
//!     if prepare_sleep() { sleep until a doorbell rings, or the deadline }
//! }
//! ```
//!
//! Invariants:
//! - Nothing blocks. What does not fit a ring goes to a bounded backlog, whose
//!   messages stay in order before later ones.
//! - For each incarnation of a peer that was made known and ended: its messages
//!   that were completely received by then, one [`Event::PeerDied`], nothing more
//!   (protocol.md E1, E6 and E7).
//! - A turn of [`Endpoint::poll`] handles a bounded number of messages of each
//!   peer, so a flood from one does not starve the others.
//! - A poll looks at the *hot* channels alone, those that are not armed: what it
//!   costs does not grow with the number of peers that are silent. These ring
//!   when they have something to say, and the next poll looks at all channels.
//! - Whoever is sent to becomes hot, for it is about to answer. Between a
//!   [`prepare_sleep`] that returned true and the next poll nobody looks: then a
//!   channel that is sent through stays armed, and its peer is rung at once.
//! - Otherwise whom to ring is looked for at the end of the next poll, not when sending:
//!   it costs a fence, which is better spent while waiting for an answer.
//! - Whatever the peers write: no panic, bounded work per call, memory bounded by
//!   [`MAX_MESSAGE`] per peer (and the backlog that this VM filled itself).
//!
//! **The doorbell is a latch** (protocol.md D1). The sleep that follows a
//! [`prepare_sleep`] that returned true must end at once if a doorbell rang since
//! the previous sleep ended; and the liveness table is looked at after each sleep
//! (L6). What rings while the VM is awake must reach the next poll as its `rang`,
//! or end the next sleep at once.
//!
//! [`prepare_sleep`]: Endpoint::prepare_sleep

use crate::body::Body;
use crate::channel::{Carrier, Channel, ChannelCounters};
use crate::fragments::Gather;
use crate::link::{Link, MAX_MESSAGE, Malformed, RingLink, Windows};
use crate::ring::{TooSmall, sleep_fence};
use crate::wire::Header;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
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
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A message arrived.
    Message {
        /// Who sent it: known from the ring it came through.
        from: PeerAddress,
        /// Its header.
        header: Header,
        /// Its body, which may be anything.
        body: Body,
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
    doorbell: Arc<dyn Doorbell + Send + Sync>,
    channels: Vec<Channel>,
    /// The place in `channels` of each peer's channel, by peer.
    places: Vec<Option<usize>>,
    /// Places of the channels that every poll looks at.
    hot: Vec<usize>,
    /// Places of the channels whose peers may have to be rung.
    unflushed: Vec<usize>,
    /// Some link wants to be told the time.
    is_timed: bool,
    /// Nobody polls for now.
    sleeps: bool,
    /// Places of the channels that were sent through meanwhile.
    awaited: Vec<usize>,
    /// What became known between polls.
    pending: VecDeque<Event>,
}

impl Endpoint {
    /// An endpoint without channels for the incarnation `own` of this VM.
    pub fn new(own: PeerAddress, doorbell: Arc<dyn Doorbell + Send + Sync>) -> Self {
        Self {
            own,
            doorbell,
            channels: Vec::new(),
            places: Vec::new(),
            hot: Vec::new(),
            unflushed: Vec::new(),
            is_timed: false,
            sleeps: false,
            awaited: Vec::new(),
            pending: VecDeque::new(),
        }
    }

    /// Which incarnation this is.
    pub fn own(&self) -> PeerAddress {
        self.own
    }

    /// Makes a channel to `peer` through windows of shared memory. The peer is
    /// not known to live before [`Endpoint::set_peer`] says so.
    pub fn attach(&mut self, peer: u16, windows: Windows) -> Result<(), AttachError> {
        let link = RingLink::new(windows, peer, self.doorbell.clone())?;
        self.attach_carrier(peer, Carrier::Ring(link))
    }

    /// Makes a channel to `peer` of any link.
    pub fn attach_link(&mut self, peer: u16, link: Box<dyn Link>) -> Result<(), AttachError> {
        self.attach_carrier(peer, Carrier::Other(link))
    }

    fn attach_carrier(&mut self, peer: u16, link: Carrier) -> Result<(), AttachError> {
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
        self.is_timed |= matches!(link, Carrier::Other(_));
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
            self.list(place);
        }
    }

    /// The incarnation of `peer` that lives, as far as known.
    pub fn address(&self, peer: u16) -> Option<PeerAddress> {
        self.channels[self.place(peer)?].address()
    }

    /// Sends a message whose body is the parts of `body` one after the other.
    /// Never blocks: what does not fit the ring is kept and sent by later polls.
    ///
    /// The peer is rung, should it sleep, by the next [`Endpoint::poll`] or
    /// [`Endpoint::flush`], of which one must follow; at once if this endpoint sleeps.
    #[inline]
    pub fn send(&mut self, to: PeerAddress, header: Header, body: &[&[u8]]) -> Result<(), SendError> {
        let place = self.place(to.peer).ok_or(SendError::UnknownPeer)?;
        let message = Gather::new(header.to_words(), body)
            .filter(|message| message.len() <= MAX_MESSAGE)
            .ok_or(SendError::TooLong)?;
        let channel = &mut self.channels[place];
        channel.send(to.generation, &message)?;
        if self.sleeps {
            self.send_asleep(place);
        } else {
            channel.heat();
            self.list(place);
        }
        Ok(())
    }

    /// What follows a send while nobody polls.
    #[cold]
    fn send_asleep(&mut self, place: usize) {
        let channel = &mut self.channels[place];
        if !core::mem::replace(&mut channel.is_awaited, true) {
            self.awaited.push(place);
        }
        channel.ring_if_due(&*self.doorbell);
    }

    /// Somebody polls again: looks at the channels that were sent through.
    #[cold]
    fn wake(&mut self) {
        self.sleeps = false;
        while let Some(place) = self.awaited.pop() {
            self.channels[place].is_awaited = false;
            self.channels[place].heat();
            self.list(place);
        }
    }

    /// Takes note of what a channel wants: polls, flushes.
    #[inline]
    fn list(&mut self, place: usize) {
        let channel = &mut self.channels[place];
        if !channel.is_listed && channel.is_hot() {
            channel.is_listed = true;
            self.hot.push(place);
        }
        if !channel.is_unflushed && channel.wants_flush() {
            channel.is_unflushed = true;
            self.unflushed.push(place);
        }
    }

    /// Rings whoever sleeps and waits for what happened since the last flush.
    #[inline(never)]
    pub fn flush(&mut self) {
        while let Some(place) = self.unflushed.pop() {
            self.channels[place].is_unflushed = false;
            self.channels[place].ring_if_due(&*self.doorbell);
        }
    }

    /// Hands what has happened to `take`, and sends what waits. Returns whether
    /// anything moved: if so, poll again before sleeping.
    ///
    /// `rang` says that a doorbell rang since the last poll, or may have:
    /// then all channels are looked at, otherwise the hot ones. Takes bounded
    /// time: a turn of each channel.
    #[inline(always)]
    pub fn poll(&mut self, now_ns: u64, rang: bool, mut take: impl FnMut(Event)) -> bool {
        let is_due = self.is_timed && self.deadline().is_some_and(|deadline| deadline <= now_ns);
        let mut moved = self.sleeps | rang | is_due | !self.pending.is_empty();
        if moved {
            moved = self.poll_cold(now_ns, rang | is_due, &mut take);
        }
        let mut index = 0;
        while let Some(&place) = self.hot.get(index) {
            let channel = &mut self.channels[place];
            index += 1;
            if channel.turn(now_ns, &mut take) {
                moved = true;
                self.list(place);
            } else if !channel.stays_hot() {
                channel.is_listed = false;
                index -= 1;
                self.hot.swap_remove(index);
            }
        }
        if !self.unflushed.is_empty() {
            self.flush();
        }
        moved
    }

    /// What became known between polls and, if `look`, a turn of each channel
    /// that is not hot.
    #[cold]
    fn poll_cold(&mut self, now_ns: u64, look: bool, take: &mut impl FnMut(Event)) -> bool {
        if self.sleeps {
            self.wake();
        }
        let mut moved = !self.pending.is_empty();
        self.pending.drain(..).for_each(&mut *take);
        for place in 0..if look { self.channels.len() } else { 0 } {
            let channel = &mut self.channels[place];
            if !channel.is_listed {
                moved |= channel.turn(now_ns, take);
                self.list(place);
            }
        }
        moved
    }

    /// Asks all peers to ring for what they send from now on, and looks whether
    /// something arrived before they could know. True: nothing did, the VM may
    /// sleep until a doorbell rings, or [`Endpoint::deadline`]. False: poll,
    /// until nothing moves, before calling it again.
    ///
    /// Shared memory is touched only for hot channels; the others still are armed.
    pub fn prepare_sleep(&mut self) -> bool {
        self.flush();
        if !self.pending.is_empty() {
            return false;
        }
        if self.hot.is_empty() {
            self.sleeps = true;
            return true;
        }
        for &place in &self.hot {
            self.channels[place].arm();
        }
        sleep_fence();
        let Self { hot, channels, .. } = self;
        // Those that are armed and ready are polled before the next sleep: they
        // stay in the list, as they must.
        if hot.iter().any(|&place| channels[place].is_ready()) {
            return false;
        }
        hot.drain(..).for_each(|place| channels[place].is_listed = false);
        self.sleeps = true;
        true
    }

    /// Nobody polls for a while, though peers will not ring for what they send on
    /// hot channels: what is sent from here meanwhile rings at once.
    pub fn stand_aside(&mut self) {
        self.flush();
        self.sleeps = true;
    }

    /// When the next poll is due at the latest, whether or not somebody rings.
    pub fn deadline(&self) -> Option<u64> {
        self.channels.iter().filter(|_| self.is_timed).filter_map(Channel::deadline).min()
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
