//! One channel of an endpoint: a link to a peer, and what is kept about it.
//!
//! ```text
//!             set_peer(Some(higher))
//!   Unknown ─────────────────────────▶ Alive(generation) ◀┐
//!                                        │ set_peer(None) │ set_peer(Some(higher)):
//!                                        ▼                │ PeerDied, then the new one
//!                                      Dead ──────────────┘
//! ```
//! The transitions are those of protocol.md E1 and E6. Only while the peer is
//! alive is the link used. A channel is *cold* while its
//! link is armed: the peer rings before it is worth looking. Others are *hot*:
//! they are looked at in every poll.

use crate::endpoint::{Doorbell, Event, PeerAddress, SendError};
use crate::fragments::Gather;
use crate::link::{Link, LinkCounters, Malformed, Received, RingLink};
use crate::ring::sleep_fence;
use crate::wire::{HEADER_BYTES, HEADER_WORDS, Header};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Most bytes that wait to be sent to a peer, unless it is a single message.
pub const BACKLOG_BYTES: usize = 128 * 1024;
/// Most messages of a peer that one turn hands on.
pub const MESSAGES_PER_TURN: usize = 32;
/// Most parts of messages of a peer that one turn looks at.
pub const PARTS_PER_TURN: usize = 128;

/// A hot channel through which nothing came for so many polls becomes cold. A
/// poll of it costs some 10 ns, a doorbell some 5 to 20 us: by then the polls
/// have cost about as much as the doorbell that they would have spared.
/// (To the model checker each poll is many steps.)
pub const HOT_POLLS: u32 = if cfg!(loom) { 1 } else { 512 };

/// What has passed through a channel since it was attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelCounters {
    /// Messages taken over by [`send`](crate::endpoint::Endpoint::send).
    pub sent: u64,
    /// Bytes of these, headers included.
    pub sent_bytes: u64,
    /// Messages received.
    pub received: u64,
    /// Bytes of these, headers included.
    pub received_bytes: u64,
    /// Doorbells rung.
    pub doorbells: u64,
    /// Messages to the peer that did not fit the ring at once.
    pub delayed: u64,
    /// Messages refused because too much was waiting already.
    pub would_block: u64,
    /// Messages to the peer that were not completely in its ring when it died.
    pub dropped: u64,
    /// Incarnations of the peer that ended.
    pub deaths: u64,
    /// What the peer sent and made no sense, by reason: see
    /// [`ChannelCounters::malformed`].
    malformed: [u64; Malformed::ALL.len()],
    /// What the link met with.
    pub link: LinkCounters,
}

impl ChannelCounters {
    /// How often the peer did not talk sense in that way.
    pub fn malformed(&self, reason: Malformed) -> u64 {
        self.malformed[reason as usize]
    }
}

/// A message that waits, and how much of it is sent.
#[derive(Debug)]
struct Waiting {
    header: [u64; HEADER_WORDS],
    body: Vec<u8>,
    sent: usize,
}

impl Waiting {
    /// Bytes of the message.
    fn len(&self) -> usize {
        HEADER_BYTES + self.body.len()
    }
}

/// The link of a channel: that through rings without a detour, or any other.
#[allow(clippy::large_enum_variant, reason = "the large one is the rule, and to be reached at once")]
pub(crate) enum Carrier {
    Ring(RingLink),
    Other(Box<dyn Link>),
}

impl Carrier {
    #[inline(always)]
    fn send(&mut self, message: &Gather<'_>, from: usize) -> usize {
        match self {
            Self::Ring(link) => link.send(message, from),
            Self::Other(link) => link.send(message, from),
        }
    }

    #[inline(always)]
    fn receive(&mut self) -> Received {
        match self {
            Self::Ring(link) => link.receive(),
            Self::Other(link) => link.receive(),
        }
    }

    #[inline]
    fn is_unflushed(&self) -> bool {
        match self {
            Self::Ring(link) => link.is_unflushed(),
            Self::Other(link) => link.is_unflushed(),
        }
    }

    /// As any link, off the paths that every message takes.
    fn link(&mut self) -> &mut dyn Link {
        match self {
            Self::Ring(link) => link,
            Self::Other(link) => &mut **link,
        }
    }
}

/// A link to a peer, and what is kept about it.
pub(crate) struct Channel {
    peer: u16,
    link: Carrier,
    /// The incarnation that lives.
    alive: Option<u32>,
    /// The highest generation that was ever known.
    latest: u32,
    /// The link is armed, as far as receiving goes.
    armed: bool,
    /// Polls since something came.
    idle: u32,
    /// It is in the endpoint's list of channels that every poll looks at.
    pub(crate) is_listed: bool,
    /// It is in the endpoint's list of those that were sent through while it slept.
    pub(crate) is_awaited: bool,
    /// It is in the endpoint's list of those whose peer may have to be rung.
    pub(crate) is_unflushed: bool,
    backlog: VecDeque<Waiting>,
    /// Bytes of the backlog.
    waiting: usize,
    counters: ChannelCounters,
}

impl Channel {
    pub(crate) fn new(peer: u16, link: Carrier) -> Self {
        Self {
            peer,
            link,
            alive: None,
            latest: 0,
            armed: false,
            idle: 0,
            is_listed: false,
            is_awaited: false,
            is_unflushed: false,
            backlog: VecDeque::new(),
            waiting: 0,
            counters: ChannelCounters::default(),
        }
    }

    pub(crate) fn peer(&self) -> u16 {
        self.peer
    }

    pub(crate) fn address(&self) -> Option<PeerAddress> {
        self.alive.map(|generation| PeerAddress { peer: self.peer, generation })
    }

    pub(crate) fn counters(&self) -> ChannelCounters {
        let link = match &self.link {
            Carrier::Ring(link) => link.counters(),
            Carrier::Other(link) => link.counters(),
        };
        ChannelCounters { link, ..self.counters }
    }

    /// Follows the liveness table. See
    /// [`Endpoint::set_peer`](crate::endpoint::Endpoint::set_peer).
    pub(crate) fn set_peer(&mut self, own: u32, generation: Option<u32>, events: &mut VecDeque<Event>) {
        let begins = generation.filter(|&generation| generation > self.latest);
        if generation.is_some() && begins.is_none() {
            return;
        }
        self.bury(events);
        if let Some(generation) = begins {
            self.latest = generation;
            self.alive = Some(generation);
            self.armed = false;
            self.idle = 0;
            self.link.link().synchronise(own, generation);
        }
    }

    /// Whether something waits to be sent by a later turn.
    pub(crate) fn has_backlog(&self) -> bool {
        !self.backlog.is_empty() || self.deadline() == Some(0)
    }

    /// If an incarnation lives, it has died: takes what it sent, forgets what
    /// was to be sent to it.
    fn bury(&mut self, events: &mut VecDeque<Event>) {
        let Some(address) = self.address() else { return };
        // What it published completely before it died is as good as ever. More
        // than the link holds is not from it.
        self.link.link().peer_died();
        for _ in 0..self.link.link().in_flight() {
            match self.link.receive() {
                Received::Nothing => break,
                received => events.extend(self.event(address, received)),
            }
        }
        self.counters.dropped += self.backlog.len() as u64;
        self.counters.deaths += 1;
        self.backlog = VecDeque::new();
        self.waiting = 0;
        self.alive = None;
        self.link.link().end();
        events.push_back(Event::PeerDied(address));
    }

    /// See [`Endpoint::send`](crate::endpoint::Endpoint::send).
    #[inline]
    pub(crate) fn send(&mut self, generation: u32, message: &Gather<'_>) -> Result<(), SendError> {
        if self.alive != Some(generation) {
            return Err(if generation > self.latest { SendError::UnknownPeer } else { SendError::PeerDied });
        }
        let is_free = self.backlog.is_empty();
        if !is_free && self.waiting + message.len() > BACKLOG_BYTES {
            self.counters.would_block += 1;
            return Err(SendError::WouldBlock);
        }
        let sent = if is_free { self.link.send(message, 0) } else { 0 };
        if sent < message.len() {
            self.keep(message, sent);
        }
        self.counters.sent += 1;
        self.counters.sent_bytes += message.len() as u64;
        Ok(())
    }

    /// Makes it hot: whoever is sent to is about to answer.
    #[inline]
    pub(crate) fn heat(&mut self) {
        self.idle = 0;
        if self.armed {
            self.link.link().disarm();
            self.armed = false;
        }
    }

    /// Keeps a message of which so many bytes are sent.
    #[cold]
    fn keep(&mut self, message: &Gather<'_>, sent: usize) {
        self.waiting += message.len();
        self.counters.delayed += 1;
        self.backlog.push_back(Waiting { header: message.header(), body: message.body_to_vec(), sent });
    }

    /// Sends and receives a bounded amount. Returns whether anything moved.
    #[inline(always)]
    pub(crate) fn turn(&mut self, now_ns: u64, take: &mut impl FnMut(Event)) -> bool {
        let Some(address) = self.address() else { return false };
        if let Carrier::Other(link) = &mut self.link {
            link.tick(now_ns);
        }
        let sent = !self.backlog.is_empty() && self.flush_backlog();
        let received = self.receive(address, take);
        if sent || received {
            self.idle = 0;
            return true;
        }
        self.idle = self.idle.saturating_add(1);
        false
    }

    /// Sends what waits, as far as it goes.
    #[cold]
    fn flush_backlog(&mut self) -> bool {
        let mut moved = false;
        while let Some(first) = self.backlog.front_mut() {
            let body = [&first.body[..]];
            let Some(message) = Gather::new(first.header, &body) else { break };
            let sent = self.link.send(&message, first.sent);
            moved |= sent > first.sent;
            first.sent = sent;
            if sent < first.len() {
                break;
            }
            self.waiting -= first.len();
            self.backlog.pop_front();
        }
        moved
    }

    /// Takes what arrived, as far as a turn goes.
    #[inline(always)]
    fn receive(&mut self, from: PeerAddress, take: &mut impl FnMut(Event)) -> bool {
        let mut messages = 0;
        for parts in 0..PARTS_PER_TURN {
            let received = self.link.receive();
            if matches!(received, Received::Nothing) {
                return parts > 0;
            }
            self.armed = false;
            if let Some(event) = self.event(from, received) {
                take(event);
                messages += 1;
                if messages == MESSAGES_PER_TURN {
                    break;
                }
            }
        }
        true
    }

    /// What the kernel hears of something received.
    #[inline(always)]
    fn event(&mut self, from: PeerAddress, received: Received) -> Option<Event> {
        let error = match received {
            Received::Nothing | Received::Part => return None,
            Received::Malformed(error) => error,
            Received::Message(header, body) => match Header::from_words(&header) {
                Ok(header) => {
                    self.counters.received += 1;
                    self.counters.received_bytes += (HEADER_BYTES + body.len()) as u64;
                    return Some(Event::Message { from, header, body });
                }
                Err(error) => error,
            },
        };
        self.counters.malformed[error as usize] += 1;
        Some(Event::Malformed { from, error })
    }

    /// Whether the peer may have to be rung.
    #[inline]
    pub(crate) fn wants_flush(&self) -> bool {
        self.link.is_unflushed()
    }

    /// Rings the peer, if it sleeps and something happened that it waits for.
    pub(crate) fn ring_if_due(&mut self, doorbell: &dyn Doorbell) {
        if self.alive.is_some() && self.link.link().bell_due() {
            self.counters.doorbells += 1;
            doorbell.ring(self.peer);
        }
    }

    /// Whether every poll must look at it.
    #[inline]
    pub(crate) fn is_hot(&self) -> bool {
        self.alive.is_some() && (!self.armed || !self.backlog.is_empty())
    }

    /// Whether every poll must go on to look at it, after one that moved nothing.
    /// What has been hot for long enough becomes cold here.
    #[inline]
    pub(crate) fn stays_hot(&mut self) -> bool {
        if self.idle >= HOT_POLLS && self.backlog.is_empty() && self.alive.is_some() {
            self.cool();
        }
        self.is_hot()
    }

    /// Makes it cold, unless something came that the peer did not ring for.
    #[cold]
    fn cool(&mut self) {
        self.idle = 0;
        self.arm();
        sleep_fence();
        self.armed = !self.link.link().is_ready();
    }

    /// Arms the link for a sleep, if need be.
    pub(crate) fn arm(&mut self) {
        if self.is_hot() {
            self.link.link().arm(!self.backlog.is_empty());
            self.armed = true;
        }
    }

    /// Whether something came while the link was being armed.
    pub(crate) fn is_ready(&mut self) -> bool {
        let for_space = !self.backlog.is_empty();
        let link = self.link.link();
        self.alive.is_some() && (link.is_ready() || for_space && link.has_space())
    }

    /// When the link wants to be polled at the latest.
    pub(crate) fn deadline(&self) -> Option<u64> {
        match &self.link {
            Carrier::Ring(_) => None,
            Carrier::Other(link) => self.alive.and_then(|_| link.deadline()),
        }
    }
}
