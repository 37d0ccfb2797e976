//! One channel of an endpoint: a link to a peer, and what is kept about it.
//!
//! ```text
//!             set_peer(Some(higher))
//!   Unknown ─────────────────────────▶ Alive(generation) ◀┐
//!                                        │ set_peer(None) │ set_peer(Some(higher)):
//!                                        ▼                │ PeerDied, then the new one
//!                                      Dead ──────────────┘
//! ```
//! Only while the peer is alive is the link used.

use crate::endpoint::{Doorbell, Event, PeerAddress, SendError};
use crate::fragments::Gather;
use crate::link::{Link, LinkCounters, Malformed, Received};
use crate::wire::Header;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Most bytes that wait to be sent to a peer, unless it is a single message.
pub const BACKLOG_BYTES: usize = 128 * 1024;
/// Most messages of a peer that one turn hands on.
pub const MESSAGES_PER_TURN: usize = 32;
/// Most parts of messages of a peer that one turn looks at.
pub const PARTS_PER_TURN: usize = 128;

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
    bytes: Vec<u8>,
    sent: usize,
}

/// A link to a peer, and what is kept about it.
pub(crate) struct Channel {
    peer: u16,
    link: Box<dyn Link>,
    /// The incarnation that lives.
    alive: Option<u32>,
    /// The highest generation that was ever known.
    latest: u32,
    /// The link is armed, as far as receiving goes.
    armed: bool,
    /// The link was armed by the `prepare_sleep` under way.
    fresh: bool,
    backlog: VecDeque<Waiting>,
    /// Bytes of the backlog.
    waiting: usize,
    counters: ChannelCounters,
}

impl Channel {
    pub(crate) fn new(peer: u16, link: Box<dyn Link>) -> Self {
        Self {
            peer,
            link,
            alive: None,
            latest: 0,
            armed: false,
            fresh: false,
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
        ChannelCounters { link: self.link.counters(), ..self.counters }
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
            self.link.synchronise(own, generation);
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
        for _ in 0..self.link.in_flight() {
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
        self.link.end();
        events.push_back(Event::PeerDied(address));
    }

    /// See [`Endpoint::send`](crate::endpoint::Endpoint::send).
    pub(crate) fn send(
        &mut self,
        generation: u32,
        message: &Gather<'_>,
        doorbell: &dyn Doorbell,
    ) -> Result<(), SendError> {
        if generation > self.latest {
            return Err(SendError::UnknownPeer);
        }
        if self.alive != Some(generation) {
            return Err(SendError::PeerDied);
        }
        if !self.backlog.is_empty() && self.waiting + message.len() > BACKLOG_BYTES {
            self.counters.would_block += 1;
            return Err(SendError::WouldBlock);
        }
        let sent = if self.backlog.is_empty() { self.link.send(message, 0) } else { 0 };
        if sent < message.len() {
            self.backlog.push_back(Waiting { bytes: message.to_vec(), sent });
            self.waiting += message.len();
            self.counters.delayed += 1;
        }
        self.counters.sent += 1;
        self.counters.sent_bytes += message.len() as u64;
        if sent > 0 {
            self.ring_if_due(doorbell);
        }
        Ok(())
    }

    /// Lets time pass.
    pub(crate) fn tick(&mut self, now_ns: u64) {
        if self.alive.is_some() {
            self.link.tick(now_ns);
        }
    }

    /// When [`Channel::tick`] is wanted.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.alive.and_then(|_| self.link.deadline())
    }

    /// Sends and receives a bounded amount. Returns whether anything moved.
    pub(crate) fn turn(&mut self, events: &mut impl Extend<Event>, doorbell: &dyn Doorbell) -> bool {
        let Some(address) = self.address() else { return false };
        let sent = !self.backlog.is_empty() && self.flush();
        let received = self.receive(address, events);
        if sent || received {
            self.ring_if_due(doorbell);
        }
        sent || received
    }

    /// Sends what waits, as far as it goes.
    fn flush(&mut self) -> bool {
        let mut moved = false;
        while let Some(first) = self.backlog.front_mut() {
            let sent = self.link.send(&Gather::whole(&first.bytes), first.sent);
            moved |= sent > first.sent;
            first.sent = sent;
            if sent < first.bytes.len() {
                break;
            }
            self.waiting -= first.bytes.len();
            self.backlog.pop_front();
        }
        moved
    }

    /// Takes what arrived, as far as a turn goes.
    fn receive(&mut self, from: PeerAddress, events: &mut impl Extend<Event>) -> bool {
        let mut messages = 0;
        for parts in 0..PARTS_PER_TURN {
            let received = self.link.receive();
            if received == Received::Nothing {
                return parts > 0;
            }
            self.armed = false;
            if let Some(event) = self.event(from, received) {
                events.extend([event]);
                messages += 1;
                if messages == MESSAGES_PER_TURN {
                    break;
                }
            }
        }
        true
    }

    /// What the kernel hears of something received.
    fn event(&mut self, from: PeerAddress, received: Received) -> Option<Event> {
        let error = match received {
            Received::Nothing | Received::Part => return None,
            Received::Malformed(error) => error,
            Received::Message(header, body) => match Header::decode(&header) {
                Ok(decoded) => {
                    self.counters.received += 1;
                    self.counters.received_bytes += (header.len() + body.len()) as u64;
                    return Some(Event::Message { from, header: decoded, body });
                }
                Err(error) => error,
            },
        };
        self.counters.malformed[error as usize] += 1;
        Some(Event::Malformed { from, error })
    }

    fn ring_if_due(&mut self, doorbell: &dyn Doorbell) {
        if self.link.bell_due() {
            self.counters.doorbells += 1;
            doorbell.ring(self.peer);
        }
    }

    /// Arms the link for a sleep, if need be. Returns whether need was.
    pub(crate) fn arm(&mut self) -> bool {
        self.fresh = self.alive.is_some() && (!self.armed || !self.backlog.is_empty());
        if self.fresh {
            self.link.arm(!self.backlog.is_empty());
            self.armed = true;
        }
        self.fresh
    }

    /// Whether something came while the link was being armed.
    pub(crate) fn is_ready(&mut self) -> bool {
        self.fresh && self.link.is_ready(!self.backlog.is_empty())
    }
}
