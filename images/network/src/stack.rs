//! The stack of a node: one lock over smoltcp and everything that its sockets
//! keep; the turn that moves packets; who has which port.

use crate::datagram::Datagram;
use crate::listener::Listener;
use crate::names::Names;
use crate::stream::{self, Ending, Stream};
use crate::wire::Wire;
use kernel::errno::Errno;
use kernel::waiters::Waiters;
use smoltcp::iface::{Config, Interface, PollIngressSingleResult, PollResult, SocketHandle, SocketSet};
use smoltcp::socket::Socket;
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr, IpEndpoint};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError};
use transport::ethernet::{Card, outside};

/// Most packets that one turn takes in.
const PACKETS_PER_TURN: usize = 64;
/// When a card without room is looked at again.
const CARD_RETRY_NS: u64 = 100_000;
/// How long a connection that its owner has closed may take to end.
const LINGER_NS: u64 = 60_000_000_000;
/// How long one that has ended on both sides still answers: what it would wait
/// for longer are segments that were late, and no way here can be that long.
const LAST_WORD_NS: u64 = 20_000_000;
/// Most connections that may be ending.
const MAX_ORPHANS: usize = 64;
/// Most sockets of a node.
const MAX_SOCKETS: usize = 1024;
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
    /// A turn is due earlier than [`Stack::turn`] said.
    wanted: Waiters,
}

/// What the lock holds.
pub(crate) struct Inner {
    pub now_ns: u64,
    wire: Wire,
    pub interface: Interface,
    pub sockets: SocketSet<'static>,
    entries: Vec<Option<Entry>>,
    /// Connections that are ending, and by when they must have.
    orphans: Vec<(SocketHandle, u64)>,
    /// Most sockets with buffers: those of programs, those that listen or wait to
    /// be accepted, those that are ending.
    pub most: usize,
    pub names: Names,
    next_port: u16,
    /// When the next turn is, as far as its caller knows.
    armed_ns: u64,
    /// Who is to be woken when the lock is free again.
    woken: Vec<Arc<Waiters>>,
}

/// What the stack keeps of a socket.
pub(crate) struct Entry {
    pub changes: Arc<Waiters>,
    /// The port that is this socket's own, and on which of the node's addresses;
    /// `None`: on all.
    pub bound: Option<(Option<Ipv4Addr>, u16)>,
    pub state: State,
}

/// What a socket is about.
pub(crate) enum State {
    /// TCP, neither connected nor listening.
    Fresh,
    Stream(Stream),
    Listener(Listener),
    Datagram(Datagram),
}

impl Entry {
    fn is_datagram(&self) -> bool {
        matches!(self.state, State::Datagram(_))
    }
}

impl Stack {
    /// A stack over the loopback and a card, if there is one. `clock` gives
    /// nanoseconds and never goes back; `seed` makes numbers of connections and
    /// ports hard to guess; of `memory` bytes a quarter may go into buffers.
    pub fn new(
        card: Option<Box<dyn Card>>,
        seed: u64,
        memory: usize,
        clock: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Arc<Self> {
        let mut wire = Wire::new(card);
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut wire, Instant::ZERO);
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
            sockets: SocketSet::new(Vec::new()),
            entries: Vec::new(),
            orphans: Vec::new(),
            most: (memory / 4 / SOCKET_BYTES).clamp(FEWEST, MAX_SOCKETS),
            names: Names::default(),
            next_port: ANY_PORTS.start() + (seed % u64::from(ports)) as u16,
            armed_ns: u64::MAX,
            woken: Vec::new(),
        };
        Arc::new(Self { inner: Mutex::new(inner), clock: Box::new(clock), wanted: Waiters::default() })
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
                if self.is_called_again() {
                    self.wire.discard();
                    left -= 1;
                    continue;
                }
                let taken = self.interface.poll_ingress_single(now, &mut self.wire, &mut self.sockets);
                if matches!(taken, PollIngressSingleResult::None) {
                    break;
                }
                (left, moved) = (left - 1, true);
                self.replenish();
            }
            let sent = self.interface.poll_egress(now, &mut self.wire, &mut self.sockets);
            if left == 0 || !moved && sent == PollResult::None {
                break;
            }
        }
        self.sweep();
        let Self { entries, sockets, woken, names, .. } = self;
        for entry in entries.iter_mut().flatten() {
            let changed = match &mut entry.state {
                State::Fresh => false,
                State::Stream(stream) => stream.has_changed(sockets),
                State::Listener(listener) => listener.has_changed(sockets),
                State::Datagram(datagram) => datagram.has_changed(sockets),
            };
            if changed {
                woken.push(entry.changes.clone());
            }
        }
        woken.extend(names.waited_for());
    }

    /// Whether the staged packet calls for a connection that there is: it was sent
    /// again, because the answer took long. smoltcp would give it to whoever
    /// comes first, which may be the socket that listens for others.
    fn is_called_again(&self) -> bool {
        let Some((from, to)) = self.wire.call() else { return false };
        let ends = (Some(IpEndpoint::from(to)), Some(IpEndpoint::from(from)));
        self.sockets.iter().any(|(_, socket)| match socket {
            Socket::Tcp(socket) => (socket.local_endpoint(), socket.remote_endpoint()) == ends,
            _ => false,
        })
    }

    /// Lets every listener go on listening.
    fn replenish(&mut self) {
        let Self { entries, sockets, .. } = self;
        for entry in entries.iter_mut().flatten() {
            if let State::Listener(listener) = &mut entry.state {
                listener.replenish(sockets);
            }
        }
    }

    /// Forgets the connections that have ended.
    fn sweep(&mut self) {
        let Self { orphans, sockets, now_ns, .. } = self;
        orphans.retain_mut(|(handle, until_ns)| {
            match stream::ending(sockets, *handle, *now_ns >= *until_ns) {
                Ending::Over => {
                    sockets.remove(*handle);
                    false
                }
                Ending::LastWord => {
                    *until_ns = (*until_ns).min(now_ns.saturating_add(LAST_WORD_NS));
                    true
                }
                Ending::UnderWay => true,
            }
        });
    }

    /// When there is something to do: in the past, if there is by now.
    fn next_ns(&mut self) -> Option<u64> {
        let at = self.interface.poll_at(self.time(), &self.sockets);
        // The microsecond must have come when smoltcp is called for it.
        let timer = at.map(|at| (at.total_micros() as u64).saturating_mul(1000));
        let packet = self.wire.has_packet().then_some(0);
        let orphan = self.orphans.iter().map(|&(_, until_ns)| until_ns).min();
        let next = [timer, packet, orphan].into_iter().flatten().min()?;
        Some(if self.wire.can_send() { next } else { next.max(self.now_ns + CARD_RETRY_NS) })
    }

    /// Sees to it that there may be one more socket with buffers.
    ///
    /// # Errors
    /// `NOBUFS`.
    pub fn make_room(&self) -> Result<(), Errno> {
        if self.sockets.iter().count() < self.most { Ok(()) } else { Err(Errno::NOBUFS) }
    }

    /// Keeps a socket; its number.
    pub fn insert(&mut self, state: State) -> Result<(usize, Arc<Waiters>), Errno> {
        let changes = Arc::new(Waiters::default());
        let entry = Entry { changes: changes.clone(), bound: None, state };
        let id = match self.entries.iter().position(Option::is_none) {
            Some(free) => free,
            None if self.entries.len() < MAX_SOCKETS => {
                self.entries.push(None);
                self.entries.len() - 1
            }
            None => return Err(Errno::NOBUFS),
        };
        self.entries[id] = Some(entry);
        Ok((id, changes))
    }

    /// The entry of a socket, and smoltcp's sockets.
    ///
    /// # Panics
    /// If there is none of this number.
    pub fn entry(&mut self, id: usize) -> (&mut Entry, &mut SocketSet<'static>) {
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
        let fresh = if entry.is_datagram() { State::Datagram(Datagram::default()) } else { State::Fresh };
        entry.bound = None;
        match std::mem::replace(&mut entry.state, fresh) {
            State::Fresh => {}
            State::Stream(stream) => self.abandon(stream.handle, false),
            State::Listener(listener) => {
                for handle in listener.into_waiting(&mut self.sockets) {
                    self.abandon(handle, true);
                }
            }
            State::Datagram(datagram) => {
                // What it has sent has left by now.
                datagram.handle.map(|handle| self.sockets.remove(handle));
            }
        }
    }

    /// Ends a connection that nobody has any more: at once, or when what was
    /// sent has arrived.
    pub fn abandon(&mut self, handle: SocketHandle, at_once: bool) {
        stream::close(&mut self.sockets, handle, at_once);
        self.orphans.push((handle, self.now_ns.saturating_add(LINGER_NS)));
        if self.orphans.len() > MAX_ORPHANS {
            // The one that has tried longest.
            stream::close(&mut self.sockets, self.orphans[0].0, true);
            self.orphans[0].1 = 0;
        }
    }

    /// The address from which packets to `to` come.
    pub fn source(&self, to: Ipv4Addr) -> Result<Ipv4Addr, Errno> {
        match to {
            _ if to.is_loopback() => Ok(Ipv4Addr::LOCALHOST),
            _ if self.wire.has_card() => Ok(outside::ADDRESS.into()),
            _ => Err(Errno::NETUNREACH),
        }
    }

    /// Gives a socket its port.
    pub fn bind(&mut self, id: usize, wanted: SocketAddrV4) -> Result<(), Errno> {
        let address = Some(*wanted.ip()).filter(|address| !address.is_unspecified());
        if address.is_some_and(|address| !self.interface.has_ip_addr(address)) {
            return Err(Errno::ADDRNOTAVAIL);
        }
        let is_datagram = self.entry(id).0.is_datagram();
        if self.entry(id).0.bound.is_some() {
            return Err(Errno::INVAL);
        }
        let port = match wanted.port() {
            0 => self.any_port(is_datagram)?,
            port if self.is_bound(is_datagram, address, port) => return Err(Errno::ADDRINUSE),
            port => port,
        };
        if is_datagram {
            self.make_room()?;
        }
        let (entry, sockets) = self.entry(id);
        if let State::Datagram(datagram) = &mut entry.state {
            datagram.open(sockets, address, port)?;
        }
        entry.bound = Some((address, port));
        Ok(())
    }

    /// Whether a socket has this port on this address.
    fn is_bound(&self, is_datagram: bool, address: Option<Ipv4Addr>, port: u16) -> bool {
        self.entries.iter().flatten().filter(|entry| entry.is_datagram() == is_datagram).any(|entry| {
            entry.bound.is_some_and(|(other, bound)| {
                bound == port && (other.is_none() || address.is_none() || other == address)
            })
        })
    }

    /// A port that nobody has.
    fn any_port(&mut self, is_datagram: bool) -> Result<u16, Errno> {
        for _ in ANY_PORTS {
            let port = self.next_port;
            self.next_port = if port == *ANY_PORTS.end() { *ANY_PORTS.start() } else { port + 1 };
            let ends =
                self.orphans.iter().any(|&(handle, _)| stream::port(&self.sockets, handle) == Some(port));
            if !ends && !self.is_bound(is_datagram, None, port) {
                return Ok(port);
            }
        }
        Err(Errno::ADDRNOTAVAIL)
    }

    /// Where packets to `to` go: to nowhere in particular is to this node.
    pub fn destination(to: SocketAddrV4) -> SocketAddrV4 {
        match to.ip().is_unspecified() {
            true => SocketAddrV4::new(Ipv4Addr::LOCALHOST, to.port()),
            false => to,
        }
    }
}
