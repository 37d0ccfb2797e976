//! The link through an Ethernet, for VMs that share no coherent memory.
//!
//! ```text
//! NetLink (per peer) ─┐
//! NetLink ────────────┼─ Station ─ smoltcp ─ Wire ─ Card ═══ switch
//! NetLink ────────────┘   one per VM
//! ```
//! A [`Station`] is a VM on the Ethernet; it has a TCP connection per peer. The
//! protocol within one is in `conversation`, what comes in at all in `wire`.
//!
//! - **An epoch is a connection.** Its ports follow from both generations, and
//!   its ends greet each other with them. Segments of any other are refused and
//!   counted as stale, before TCP sees them.
//! - Within an epoch a connection never times out: a partition is a delay.
//! - Nobody listens: both ends call, as TCP's simultaneous open has it. So a
//!   peer can neither fill a queue of half-open connections nor take the place
//!   of another.
//! - **Whatever arrives is an allegation.** A peer can break its own connection;
//!   the link then is silent until the next epoch, and says once that it is
//!   [`Malformed::Broken`](crate::link::Malformed::Broken). Memory per living peer is [`BUFFER_BYTES`] each way
//!   and one message.
//! - Time comes with [`Link::tick`] alone. A message leaves, and an answer to
//!   one that was taken, with the next tick; [`Link::deadline`] asks for it.
//!
//! **Time runs faster.** TCP's constants are made for the Internet: it waits a
//! second at least before it sends something again. Here the next machine is
//! at most some milliseconds away, so a second of TCP's takes
//! [`TCP_SECOND_NS`]; everything else in it scales.

mod conversation;
mod wire;

use crate::ethernet::Card;
use crate::fragments::Gather;
use crate::link::{Link, LinkCounters, Received};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use conversation::Conversation;
use smoltcp::iface::{Config, Interface, PollIngressSingleResult, PollResult, SocketSet};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr, Ipv4Address};
use spin::{Mutex, MutexGuard};
use wire::Wire;

/// Bytes of a peer's buffer, each way: as much as a ring has.
pub const BUFFER_BYTES: usize = 24 * 1024;
/// What TCP takes for a second.
pub const TCP_SECOND_NS: u64 = 20_000_000;
/// Nanoseconds of what TCP takes for a microsecond.
const TCP_MICROSECOND_NS: u64 = TCP_SECOND_NS / 1_000_000;
/// Most frames that a tick takes, and sends per connection.
const FRAMES_PER_TICK: usize = 64;
/// When a card without room is looked at again.
const CARD_RETRY_NS: u64 = 1_000_000;

/// A VM on the Ethernet.
#[derive(Clone)]
pub struct Station {
    shared: Arc<Mutex<Shared>>,
}

/// What the links of a station share. They all belong to one endpoint, which
/// uses one at a time: nobody ever waits for the lock.
struct Shared {
    wire: Wire,
    interface: Interface,
    sockets: SocketSet<'static>,
    /// By peer.
    conversations: Vec<Option<Conversation>>,
    /// Something waits to be sent, or to be looked at.
    due: bool,
    /// When TCP wants to be called.
    deadline_ns: Option<u64>,
}

/// TCP's time.
fn tcp_time(now_ns: u64) -> Instant {
    Instant::from_micros((now_ns / TCP_MICROSECOND_NS) as i64)
}

impl Station {
    /// The station of peer `own` with its card. `seed` makes the first numbers
    /// of its connections hard to guess.
    pub fn new(own: u16, card: Box<dyn Card>, seed: u64) -> Self {
        let mut wire = Wire::new(own, card);
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut wire, Instant::ZERO);
        let address = IpCidr::new(ip(own), 16);
        // There is room for one address at least.
        interface.update_ip_addrs(|addresses| _ = addresses.push(address));
        let sockets = SocketSet::new(Vec::new());
        let shared =
            Shared { wire, interface, sockets, conversations: Vec::new(), due: false, deadline_ns: None };
        Self { shared: Arc::new(Mutex::new(shared)) }
    }

    /// The link to `peer`.
    pub fn link(&self, peer: u16) -> NetLink {
        let mut shared = self.shared.lock();
        let index = usize::from(peer);
        if shared.conversations.len() <= index {
            shared.conversations.resize_with(index + 1, || None);
        }
        shared.conversations[index].get_or_insert_with(|| Conversation::new(peer));
        NetLink { shared: self.shared.clone(), peer }
    }
}

/// The address of a peer.
fn ip(peer: u16) -> IpAddress {
    IpAddress::Ipv4(Ipv4Address::from(crate::ethernet::ip_address(peer)))
}

impl Shared {
    /// Lets time pass, once for all links of a turn.
    fn tick(&mut self, now_ns: u64) {
        let timer = self.deadline_ns.is_some_and(|deadline| deadline <= now_ns);
        if !self.due && !timer && !self.wire.has_frame() {
            return;
        }
        let now = tcp_time(now_ns);
        let mut took_any = false;
        for _ in 0..FRAMES_PER_TICK {
            let taken = self.interface.poll_ingress_single(now, &mut self.wire, &mut self.sockets);
            if matches!(taken, PollIngressSingleResult::None) {
                break;
            }
            took_any = true;
        }
        for conversation in self.conversations.iter_mut().flatten() {
            conversation.advance(now_ns, &mut self.interface, &mut self.sockets);
            self.wire.set_route(conversation.peer(), conversation.route());
        }
        for _ in 0..FRAMES_PER_TICK {
            if self.interface.poll_egress(now, &mut self.wire, &mut self.sockets) == PollResult::None {
                break;
            }
        }
        // What was taken may be for a link that nobody looks at: the next poll,
        // being due, looks at all.
        self.due = took_any;
        self.deadline_ns = self.next_deadline(now_ns);
    }

    /// When the next tick is wanted; 0: at once.
    fn next_deadline(&mut self, now_ns: u64) -> Option<u64> {
        let retry = self.conversations.iter().flatten().filter_map(Conversation::deadline).min();
        let tcp = self.interface.poll_at(tcp_time(now_ns), &self.sockets).map(|at| {
            // The microsecond must have come when TCP is called for it.
            (at.total_micros() as u64).saturating_mul(TCP_MICROSECOND_NS)
        });
        let frame = self.wire.has_frame().then_some(0);
        let next = [retry, tcp, frame].into_iter().flatten().min()?;
        // Whatever there is to do, it cannot be done while the card has no room.
        Some(if self.wire.can_send() { next } else { next.max(now_ns + CARD_RETRY_NS) })
    }
}

/// The link of a VM to one peer through its [`Station`].
pub struct NetLink {
    shared: Arc<Mutex<Shared>>,
    peer: u16,
}

impl NetLink {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock()
    }

    /// Does something with the conversation, and the sockets it needs for that.
    fn with<R>(&self, act: impl FnOnce(&mut Conversation, &mut SocketSet<'static>) -> R) -> Option<R> {
        let mut shared = self.shared();
        let Shared { conversations, sockets, .. } = &mut *shared;
        Some(act(conversations.get_mut(usize::from(self.peer))?.as_mut()?, sockets))
    }
}

impl Link for NetLink {
    fn synchronise(&mut self, own: u32, peer: u32) {
        self.with(|conversation, sockets| conversation.begin(own, peer, sockets));
        let mut shared = self.shared();
        // What comes before the next tick calls is of another epoch, or comes again.
        shared.wire.set_route(self.peer, None);
        shared.due = true;
    }

    fn end(&mut self) {
        self.with(|conversation, sockets| conversation.end(sockets));
        self.shared().wire.set_route(self.peer, None);
    }

    fn send(&mut self, message: &Gather<'_>, from: usize) -> usize {
        let sent = self.with(|conversation, sockets| conversation.send(message, from, sockets));
        let sent = sent.unwrap_or(from);
        self.shared().due |= sent > from;
        sent
    }

    fn receive(&mut self) -> Received {
        let received = self.with(Conversation::receive).unwrap_or(Received::Nothing);
        // The peer may be told that there is room again.
        self.shared().due |= !matches!(received, Received::Nothing);
        received
    }

    fn in_flight(&self) -> usize {
        conversation::MOST_RECEIVED
    }

    fn bell_due(&mut self) -> bool {
        // The card rings.
        false
    }

    fn is_unflushed(&self) -> bool {
        false
    }

    fn arm(&mut self, _for_space: bool) {
        // The card interrupts for every frame, and what interrupts while the VM
        // is awake ends its next sleep.
    }

    fn is_ready(&mut self) -> bool {
        self.with(|conversation, sockets| conversation.can_receive(sockets)).unwrap_or(false)
            || self.shared().wire.has_frame()
    }

    fn has_space(&mut self) -> bool {
        self.with(|conversation, sockets| conversation.can_send(sockets)).unwrap_or(false)
    }

    fn tick(&mut self, now_ns: u64) {
        self.shared().tick(now_ns);
    }

    fn deadline(&self) -> Option<u64> {
        let shared = self.shared();
        if shared.due { Some(0) } else { shared.deadline_ns }
    }

    fn counters(&self) -> LinkCounters {
        let stale = self.shared().wire.stale(self.peer);
        LinkCounters { stale, ..LinkCounters::default() }
    }
}

#[cfg(all(test, feature = "conformance", not(loom)))]
mod tests;
