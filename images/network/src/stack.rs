//! The stack of a node: one lock over smoltcp and everything that its sockets
//! keep; the turn that moves packets; who has which port.

use crate::address::{self, Family, Reach, loopback};
use crate::datagram::Datagram;
use crate::listener::Listener;
use crate::names::Names;
use crate::set::{self, Owner, Set};
use crate::stream::Stream;
use crate::wire::Wire;
use kernel::errno::Errno;
use kernel::waiters::Waiters;
use smoltcp::iface::{Config, Interface, PollResult};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use transport::ethernet::{Card, outside};

/// Most packets that one turn takes in.
const PACKETS_PER_TURN: usize = 64;
/// When a card without room is looked at again.
const CARD_RETRY_NS: u64 = 100_000;
/// Most sockets of a node.
const MAX_SOCKETS: usize = 1024;
/// Most of them that are one owner's.
const MAX_SHARE: usize = set::share(MAX_SOCKETS);
/// Bytes of the buffers of a socket, about.
const SOCKET_BYTES: usize = 80 * 1024;
/// Fewest sockets with buffers, however little memory there is.
const FEWEST: usize = 16;
/// The ports that are given to those who want any (RFC 6335).
const ANY_PORTS: std::ops::RangeInclusive<u16> = 49152..=65535;

/// The IP stack of a node.
pub struct Stack {
    inner: Mutex<Inner>,
    clock: Box<dyn Fn() -> u64 + Send + Sync>,
    random: Box<dyn Fn() -> u64 + Send + Sync>,
    /// A turn is due earlier than [`Stack::turn`] said.
    wanted: Waiters,
}

/// smoltcp's part of a stack, with random numbers that follow from a seed.
pub(crate) fn interface(wire: &mut Wire, seed: u64) -> Interface {
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = seed;
    Interface::new(config, wire, Instant::ZERO)
}

/// What the lock holds.
pub(crate) struct Inner {
    pub now_ns: u64,
    pub wire: Wire,
    pub interface: Interface,
    pub sockets: Set,
    pub entries: Vec<Option<Entry>>,
    pub names: Names,
    next_port: u16,
    /// When a peer that says nothing is to be asked or given up.
    pub silence_ns: Option<u64>,
    /// When the next turn is, as far as its caller knows.
    armed_ns: u64,
    /// Who is to be woken when the lock is free again.
    woken: Vec<Arc<Waiters>>,
}

/// What the stack keeps of a socket.
pub(crate) struct Entry {
    pub changes: Arc<Waiters>,
    pub owner: Owner,
    pub family: Family,
    /// Of IPv6, and has nothing to do with IPv4.
    pub only_v6: bool,
    /// The port that is this socket's own, and on which of the node's addresses.
    pub bound: Option<(Reach, u16)>,
    pub state: State,
}

/// What a socket is about.
pub(crate) enum State {
    /// TCP, neither connected nor listening; why not, if it called and that was
    /// not told yet.
    Fresh(Option<Errno>),
    Stream(Stream),
    Listener(Listener),
    Datagram(Datagram),
}

impl Entry {
    pub fn is_datagram(&self) -> bool {
        matches!(self.state, State::Datagram(_))
    }
}

impl Stack {
    /// A stack over the loopback and a card, if there is one. `clock` gives
    /// nanoseconds and never goes back; `random` gives numbers that nobody can
    /// guess; of `memory` bytes a quarter may go into buffers.
    pub fn new(
        card: Option<Box<dyn Card>>,
        random: impl Fn() -> u64 + Send + Sync + 'static,
        memory: usize,
        clock: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Arc<Self> {
        let mut wire = Wire::new(card);
        let seed = random();
        let mut interface = interface(&mut wire, seed);
        // All of 127.0.0.0/8 is the node; the wire knows what else is.
        interface.set_any_ip(true);
        interface.update_ip_addrs(|addresses| {
            // There is room for two at least.
            _ = addresses.push(IpCidr::new(Ipv4Addr::LOCALHOST.into(), 8));
            if wire.has_card() {
                _ = addresses.push(IpCidr::new(Ipv4Addr::from(outside::ADDRESS).into(), outside::PREFIX));
            }
        });
        let ports = ANY_PORTS.end() - ANY_PORTS.start();
        let inner = Inner {
            now_ns: 0,
            wire,
            interface,
            sockets: Set::new((memory / 4 / SOCKET_BYTES).clamp(FEWEST, MAX_SOCKETS)),
            entries: Vec::new(),
            names: Names::default(),
            next_port: ANY_PORTS.start() + (seed % u64::from(ports)) as u16,
            silence_ns: None,
            armed_ns: u64::MAX,
            woken: Vec::new(),
        };
        Arc::new(Self {
            inner: Mutex::new(inner),
            clock: Box::new(clock),
            random: Box::new(random),
            wanted: Waiters::default(),
        })
    }

    /// A number that nobody can guess.
    pub(crate) fn random(&self) -> u64 {
        (self.random)()
    }

    /// Does something with the sockets, and moves the packets that come of it,
    /// unless it could not be done.
    pub(crate) fn enter<R>(&self, act: impl FnOnce(&mut Inner) -> Result<R, Errno>) -> Result<R, Errno> {
        let now = (self.clock)();
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.now_ns = now;
        let result = act(&mut inner);
        if matches!(result, Err(Errno::AGAIN)) {
            return result;
        }
        inner.run();
        let next = inner.next_ns().unwrap_or(u64::MAX);
        let is_wanted = next < inner.armed_ns;
        if is_wanted {
            inner.armed_ns = next;
        }
        let woken = std::mem::take(&mut inner.woken);
        drop(inner);
        woken.iter().for_each(|changes| changes.wake_all());
        if is_wanted {
            self.wanted.wake_all();
        }
        result
    }

    /// Looks at the sockets and changes nothing that would move packets.
    pub(crate) fn look<R>(&self, act: impl FnOnce(&mut Inner) -> R) -> R {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut inner)
    }

    /// Moves what came and what is due. Says when the next turn is due; it may
    /// be due earlier: then [`Stack::wanted`] counts on.
    pub fn turn(&self) -> Option<u64> {
        let now = (self.clock)();
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.now_ns = now;
        inner.run();
        let next = inner.next_ns();
        inner.armed_ns = next.unwrap_or(u64::MAX);
        let woken = std::mem::take(&mut inner.woken);
        drop(inner);
        woken.iter().for_each(|changes| changes.wake_all());
        next
    }

    /// Counts on when a turn is due earlier than the last one said.
    pub fn wanted(&self) -> &Waiters {
        &self.wanted
    }

    /// Whether there is anything beyond the node.
    pub fn has_card(&self) -> bool {
        self.look(|inner| inner.wire.has_card())
    }
}

impl Inner {
    fn time(&self) -> Instant {
        Instant::from_micros((self.now_ns / 1000) as i64)
    }

    /// Moves packets until there are none, or enough for one turn, and finds
    /// out whom that concerns.
    fn run(&mut self) {
        let now = self.time();
        let mut left = PACKETS_PER_TURN;
        loop {
            let mut moved = false;
            while left > 0 && self.wire.stage() {
                left -= 1;
                moved |= self.take_in(now);
            }
            self.sockets.close_what_is_taken();
            let sent = self.interface.poll_egress(now, &mut self.wire, &mut self.sockets);
            if left == 0 || !moved && sent == PollResult::None {
                break;
            }
        }
        self.sockets.sweep(self.now_ns);
        self.find_changed();
    }

    /// Finds out whom it concerns.
    fn find_changed(&mut self) {
        let Self { entries, sockets, woken, names, now_ns, silence_ns, .. } = self;
        *silence_ns = None;
        for entry in entries.iter_mut().flatten() {
            let changed = match &mut entry.state {
                State::Fresh(_) => false,
                State::Stream(stream) => stream.has_changed(sockets, *now_ns),
                State::Listener(listener) => listener.has_changed(sockets),
                State::Datagram(datagram) => datagram.has_changed(sockets),
            };
            if changed {
                woken.push(entry.changes.clone());
            }
            let State::Stream(stream) = &entry.state else { continue };
            *silence_ns = [*silence_ns, stream.next_ns()].into_iter().flatten().min();
            // It may call again.
            if let Some(error) = stream.failed_call() {
                sockets.abandon(stream.handle, true, *now_ns);
                entry.state = State::Fresh(Some(error));
            }
        }
        woken.extend(names.waited_for());
    }

    /// When there is something to do: in the past, if there is by now.
    fn next_ns(&mut self) -> Option<u64> {
        let at = self.interface.poll_at(self.time(), &self.sockets);
        // The microsecond must have come when smoltcp is called for it.
        let timer = at.map(|at| (at.total_micros() as u64).saturating_mul(1000));
        let packet = self.wire.has_packet().then_some(0);
        let next = [timer, packet, self.sockets.next_ns(), self.silence_ns].into_iter().flatten().min()?;
        Some(if self.wire.can_send() { next } else { next.max(self.now_ns + CARD_RETRY_NS) })
    }

    /// Whether this owner may have one more socket.
    ///
    /// # Errors
    /// `MFILE`: it has its share. `NOBUFS`: there are too many.
    pub fn may_insert(&self, owner: Owner) -> Result<(), Errno> {
        let all = self.entries.iter().flatten();
        match all.fold((0, 0), |(all, own), entry| (all + 1, own + usize::from(entry.owner == owner))) {
            (_, MAX_SHARE..) => Err(Errno::MFILE),
            (MAX_SOCKETS.., _) => Err(Errno::NOBUFS),
            _ => Ok(()),
        }
    }

    /// Keeps a socket, if that may be; its number.
    pub fn insert(
        &mut self,
        owner: Owner,
        family: Family,
        state: State,
    ) -> Result<(usize, Arc<Waiters>), Errno> {
        self.may_insert(owner)?;
        let changes = Arc::new(Waiters::default());
        let entry = Entry { changes: changes.clone(), owner, family, only_v6: false, bound: None, state };
        let id = self.entries.iter().position(Option::is_none).unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() - 1
        });
        self.entries[id] = Some(entry);
        Ok((id, changes))
    }

    /// The entry of a socket, and smoltcp's sockets.
    ///
    /// # Panics
    /// If there is none of this number.
    pub fn entry(&mut self, id: usize) -> (&mut Entry, &mut Set) {
        let entry = self.entries[id].as_mut().expect("a socket has its entry until it is dropped");
        (entry, &mut self.sockets)
    }

    /// Forgets a socket.
    pub fn remove(&mut self, id: usize) {
        self.end(id);
        self.entries[id] = None;
    }

    /// Takes from a socket its connection and its port. What it has sent still arrives.
    pub fn end(&mut self, id: usize) {
        let (entry, _) = self.entry(id);
        let fresh =
            if entry.is_datagram() { State::Datagram(Datagram::default()) } else { State::Fresh(None) };
        entry.bound = None;
        match std::mem::replace(&mut entry.state, fresh) {
            State::Fresh(_) => {}
            State::Stream(stream) => self.sockets.abandon(stream.handle, false, self.now_ns),
            State::Listener(listener) => {
                for handle in listener.into_waiting(&mut self.sockets) {
                    self.sockets.abandon(handle, true, self.now_ns);
                }
            }
            State::Datagram(datagram) => {
                // What it has sent has left by now.
                datagram.handle.into_iter().for_each(|handle| self.sockets.remove(handle));
            }
        }
    }

    /// The address from which a socket sends to `to`.
    ///
    /// # Errors
    /// `NETUNREACH`, `AFNOSUPPORT`; `INVAL`: nobody there could answer.
    pub fn source(&self, id: usize, to: IpAddr) -> Result<IpAddr, Errno> {
        let is_own = self.wire.has_address(to);
        let entry = self.entries[id].as_ref();
        let bound = entry.and_then(|entry| entry.bound).and_then(|(reach, _)| reach.one());
        let is_barred = entry.is_some_and(|entry| entry.only_v6) && to.is_ipv4();
        let is_far = !is_own && !self.wire.has_card();
        match bound {
            _ if is_barred || is_far || address::is_nobodys(to) => Err(Errno::NETUNREACH),
            Some(IpAddr::V4(_)) if to.is_ipv6() => Err(Errno::AFNOSUPPORT),
            Some(IpAddr::V6(_)) if to.is_ipv4() => Err(Errno::NETUNREACH),
            Some(bound) if bound.is_loopback() && !is_own => Err(Errno::INVAL),
            Some(bound) => Ok(bound),
            None if to.is_loopback() => Ok(loopback(address::of(to))),
            None => Ok(address::outside(address::of(to))),
        }
    }

    /// Gives a socket its port.
    pub fn bind(&mut self, id: usize, wanted: SocketAddr) -> Result<(), Errno> {
        let (entry, _) = self.entry(id);
        let (is_datagram, only_v6) = (entry.is_datagram(), entry.only_v6);
        if entry.bound.is_some() || only_v6 && wanted.is_ipv4() {
            return Err(Errno::INVAL);
        }
        let reach = Reach::of(wanted.ip(), only_v6);
        if reach.one().is_some_and(|address| !self.wire.has_address(address)) {
            return Err(Errno::ADDRNOTAVAIL);
        }
        let port = match wanted.port() {
            0 => self.any_port(is_datagram)?,
            port if self.is_bound(is_datagram, reach, port) => return Err(Errno::ADDRINUSE),
            port => port,
        };
        let (entry, sockets) = self.entry(id);
        if let State::Datagram(datagram) = &mut entry.state {
            sockets.make_room(entry.owner)?;
            datagram.open(sockets, entry.owner, reach, port)?;
        }
        entry.bound = Some((reach, port));
        Ok(())
    }

    /// Gives a socket any port, if it has none.
    pub fn bind_anywhere(&mut self, id: usize) -> Result<(Reach, u16), Errno> {
        if self.entry(id).0.bound.is_none() {
            let anywhere = self.entry(id).0.family.unspecified();
            self.bind(id, SocketAddr::new(anywhere, 0))?;
        }
        self.entry(id).0.bound.ok_or(Errno::INVAL)
    }

    /// Whether a socket has this port somewhere there.
    fn is_bound(&self, is_datagram: bool, reach: Reach, port: u16) -> bool {
        self.entries
            .iter()
            .flatten()
            .filter(|entry| entry.is_datagram() == is_datagram)
            .any(|entry| entry.bound.is_some_and(|(other, bound)| bound == port && other.meets(reach)))
    }

    /// A port that nobody has.
    fn any_port(&mut self, is_datagram: bool) -> Result<u16, Errno> {
        for _ in ANY_PORTS {
            let port = self.next_port;
            self.next_port = if port == *ANY_PORTS.end() { *ANY_PORTS.start() } else { port + 1 };
            if !self.sockets.has_ending(port) && !self.is_bound(is_datagram, Reach::All, port) {
                return Ok(port);
            }
        }
        Err(Errno::ADDRNOTAVAIL)
    }

    /// Where packets of a socket to `to` go: to nowhere in particular is to this node.
    pub fn destination(&self, id: usize, to: SocketAddr) -> SocketAddr {
        if !to.ip().is_unspecified() {
            return to;
        }
        let bound = self.entries[id].as_ref().and_then(|entry| entry.bound);
        let family = address::of(bound.and_then(|(reach, _)| reach.one()).unwrap_or(to.ip()));
        SocketAddr::new(loopback(family), to.port())
    }
}
