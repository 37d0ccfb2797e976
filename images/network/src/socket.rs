//! A socket, as a descriptor stands for it.
//!
//! ```text
//! TCP: fresh ── connect ──> stream        UDP: datagram
//!        └───── listen ───> listener ── accept ──> another stream
//! ```
//! Every call is one attempt: what would have to wait is `AGAIN`.

use crate::address::Family;
use crate::datagram::Datagram;
use crate::listener::Listener;
use crate::set::Owner;
use crate::stack::{Entry, Inner, Stack, State};
use crate::stream::{self, Stream, address};
use kernel::errno::Errno;
use kernel::pipe::Event;
use kernel::waiters::Waiters;
use smoltcp::socket::tcp;
use smoltcp::wire::{IpEndpoint, IpListenEndpoint};
use std::net::SocketAddr;
use std::sync::Arc;

/// What a socket carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP.
    Stream,
    /// UDP.
    Datagram,
}

/// Which directions to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Nothing more is read.
    Receive,
    /// Nothing more is sent.
    Send,
    /// Both.
    Both,
}

/// What can be done without waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Something can be read or accepted, or reading says that there is no more.
    pub readable: bool,
    /// Something can be sent, or sending says that that is over.
    pub writable: bool,
    /// The connection is over, or there never was one.
    pub over: bool,
    /// It went wrong, and that was not told yet.
    pub failed: bool,
}

/// A socket. Dropping it closes it; what it has sent still arrives.
pub struct Socket {
    stack: Arc<Stack>,
    id: usize,
    family: Family,
    kind: Kind,
    changes: Arc<Waiters>,
}

impl Socket {
    /// A socket without a port.
    ///
    /// # Errors
    /// `MFILE`: its owner has as many as it may. `NOBUFS`: there are too many.
    pub fn new(stack: &Arc<Stack>, owner: Owner, family: Family, kind: Kind) -> Result<Self, Errno> {
        let state = match kind {
            Kind::Stream => State::Fresh(None),
            Kind::Datagram => State::Datagram(Datagram::default()),
        };
        let (id, changes) = stack.look(|inner| inner.insert(owner, family, state))?;
        Ok(Self { stack: stack.clone(), id, family, kind, changes })
    }

    /// What it carries.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Counts on when something that could not be done may be done.
    pub fn changes(&self) -> &Waiters {
        &self.changes
    }

    /// Gives it a port: this one, or any if it is 0.
    ///
    /// # Errors
    /// `ADDRINUSE`, `ADDRNOTAVAIL`, `AFNOSUPPORT`; `INVAL`: it has one.
    pub fn bind(&self, to: SocketAddr) -> Result<(), Errno> {
        let to = self.family.taken(to)?;
        self.stack.enter(|inner| match &inner.entry(self.id).0.state {
            State::Fresh(_) | State::Datagram(_) => inner.bind(self.id, to),
            State::Stream(_) | State::Listener(_) => Err(Errno::INVAL),
        })
    }

    /// Takes connections from now on, of which `backlog` may wait to be accepted.
    ///
    /// # Errors
    /// `OPNOTSUPP`: it is not TCP. `INVAL`: it is connected. `MFILE`, `NOBUFS`:
    /// there is no room for whoever calls.
    pub fn listen(&self, backlog: i32) -> Result<(), Errno> {
        self.stack.enter(|inner| {
            let (reach, port) = inner.bind_anywhere(self.id)?;
            let (entry, sockets) = inner.entry(self.id);
            match &mut entry.state {
                State::Listener(listener) => listener.set_backlog(backlog),
                state @ State::Fresh(_) => {
                    sockets.make_room(entry.owner)?;
                    let endpoint = IpListenEndpoint { addr: reach.one().map(Into::into), port };
                    *state = State::Listener(Listener::new(entry.owner, endpoint, backlog));
                }
                State::Datagram(_) => return Err(Errno::OPNOTSUPP),
                State::Stream(_) => return Err(Errno::INVAL),
            }
            Ok(())
        })
    }

    /// Takes the connection that has waited longest, and says from whom it is.
    ///
    /// # Errors
    /// `AGAIN`: there is none. `INVAL`: it does not listen. `MFILE`: its owner has
    /// as many sockets as it may.
    pub fn accept(&self) -> Result<(Self, SocketAddr), Errno> {
        let (id, changes, peer) = self.stack.enter(|inner| {
            let owner = inner.entry(self.id).0.owner;
            let may_insert = inner.may_insert(owner);
            let (entry, sockets) = inner.entry(self.id);
            let State::Listener(listener) = &mut entry.state else {
                return Err(if self.kind == Kind::Datagram { Errno::OPNOTSUPP } else { Errno::INVAL });
            };
            if !listener.is_ready(sockets) {
                return Err(Errno::AGAIN);
            }
            // Whoever cannot be taken goes on to wait.
            may_insert?;
            let handle = listener.accept(sockets).ok_or(Errno::AGAIN)?;
            let peer = sockets.get::<tcp::Socket<'_>>(handle).remote_endpoint();
            // One that is reset by now has no peer any more.
            let peer = peer.map_or(SocketAddr::new(self.family.unspecified(), 0), address);
            let (id, changes) = inner.insert(owner, self.family, State::Stream(Stream::accepted(handle)))?;
            Ok((id, changes, peer))
        })?;
        let accepted =
            Self { stack: self.stack.clone(), id, family: self.family, kind: Kind::Stream, changes };
        Ok((accepted, self.family.shown(peer)))
    }

    /// Connects. Of TCP this is the call alone; [`Socket::connected`] says how it
    /// was answered.
    ///
    /// # Errors
    /// `INPROGRESS`: it was called. `ALREADY`: it was before, and not answered.
    /// What became of an earlier call, if that was not told yet. `ISCONN`,
    /// `NETUNREACH`, `ADDRNOTAVAIL`, `AFNOSUPPORT`, `INVAL`, `MFILE`, `NOBUFS`.
    pub fn connect(&self, to: SocketAddr) -> Result<(), Errno> {
        let to = self.family.taken(to)?;
        let called = self.stack.enter(|inner| {
            let to = inner.destination(self.id, to);
            let (entry, _) = inner.entry(self.id);
            match &mut entry.state {
                State::Fresh(failed) => match failed.take() {
                    Some(error) => Err(error),
                    None => call(inner, self.id, to).map(|()| true),
                },
                State::Datagram(_) => connect_datagram(inner, self.id, to).map(|()| false),
                State::Listener(_) => Err(Errno::INVAL),
                State::Stream(stream) if stream.is_calling() => Err(Errno::ALREADY),
                State::Stream(_) => Err(Errno::ISCONN),
            }
        })?;
        if called { Err(Errno::INPROGRESS) } else { Ok(()) }
    }

    /// How the call for a connection was answered. If badly, it may call again,
    /// when [`Socket::take_error`] or another call has told that.
    ///
    /// # Errors
    /// `AGAIN`: not yet. `CONNREFUSED`, `TIMEDOUT`, `NETUNREACH`, `HOSTUNREACH`. `NOTCONN`: it
    /// has not called.
    pub fn connected(&self) -> Result<(), Errno> {
        self.stack.look(|inner| match &inner.entry(self.id).0.state {
            State::Stream(stream) if stream.is_calling() => Err(Errno::AGAIN),
            State::Stream(_) | State::Datagram(_) => Ok(()),
            State::Fresh(failed) => Err(failed.unwrap_or(Errno::NOTCONN)),
            State::Listener(_) => Err(Errno::NOTCONN),
        })
    }

    /// Sends bytes of a stream, or a datagram to its peer: how many were taken.
    ///
    /// # Errors
    /// `AGAIN`; `PIPE`, `CONNRESET`, `NOTCONN`, `DESTADDRREQ`, `MSGSIZE`. `CONNREFUSED`,
    /// once: of an earlier datagram the peer said that nobody has that port.
    pub fn send(&self, source: &[u8]) -> Result<usize, Errno> {
        self.stack.enter(|inner| {
            let (entry, sockets) = inner.entry(self.id);
            match &mut entry.state {
                State::Stream(stream) => stream.send(sockets, source),
                State::Datagram(datagram) => {
                    let to = datagram.peer.ok_or(Errno::DESTADDRREQ)?;
                    send_datagram(inner, self.id, source, to)
                }
                State::Fresh(failed) => Err(failed.take().unwrap_or(Errno::NOTCONN)),
                State::Listener(_) => Err(Errno::NOTCONN),
            }
        })
    }

    /// Sends a datagram to somebody; a stream sends to its peer whatever is said.
    ///
    /// # Errors
    /// As [`Socket::send`]; `AFNOSUPPORT`.
    pub fn send_to(&self, source: &[u8], to: SocketAddr) -> Result<usize, Errno> {
        match self.kind {
            Kind::Stream => self.send(source),
            Kind::Datagram => {
                let to = self.family.taken(to)?;
                self.stack.enter(|inner| {
                    let to = inner.destination(self.id, to);
                    send_datagram(inner, self.id, source, to)
                })
            }
        }
    }

    /// Takes bytes, or one datagram; leaves them there if `peek`. How many bytes,
    /// and of a datagram, from whom.
    ///
    /// # Errors
    /// `AGAIN`; `CONNRESET`, `NOTCONN`. `CONNREFUSED`, once, as of [`Socket::send`].
    pub fn receive(&self, target: &mut [u8], peek: bool) -> Result<(usize, Option<SocketAddr>), Errno> {
        let receive = |inner: &mut Inner| {
            let (entry, sockets) = inner.entry(self.id);
            match &mut entry.state {
                State::Stream(stream) => stream.receive(sockets, target, peek).map(|length| (length, None)),
                State::Datagram(datagram) => {
                    let received = datagram.receive(sockets, target, peek);
                    received.map(|(length, from)| (length, Some(self.family.shown(from))))
                }
                State::Fresh(failed) => Err(failed.take().unwrap_or(Errno::NOTCONN)),
                State::Listener(_) => Err(Errno::NOTCONN),
            }
        };
        // Only of a stream's bytes the peer is told that they were taken.
        match peek || self.kind == Kind::Datagram {
            true => self.stack.look(receive),
            false => self.stack.enter(receive),
        }
    }

    /// Ends one direction of a connection, or both.
    ///
    /// # Errors
    /// `NOTCONN`: it has none.
    pub fn shut_down(&self, how: Shutdown) -> Result<(), Errno> {
        self.stack.enter(|inner| {
            let (entry, sockets) = inner.entry(self.id);
            let State::Stream(stream) = &mut entry.state else { return Err(Errno::NOTCONN) };
            stream.shut_down(sockets, how != Shutdown::Send, how != Shutdown::Receive)
        })?;
        // Whoever waits to read learns it.
        self.changes.wake_all();
        Ok(())
    }

    /// Its own address.
    pub fn local(&self) -> SocketAddr {
        let local = self.stack.look(|inner| {
            let (entry, sockets) = inner.entry(self.id);
            let unbound = SocketAddr::new(self.family.unspecified(), 0);
            let bound = entry.bound.map_or(unbound, |(reach, port)| SocketAddr::new(reach.name(), port));
            match &entry.state {
                State::Stream(stream) => {
                    let end = sockets.get::<tcp::Socket<'_>>(stream.handle).local_endpoint();
                    end.map_or(bound, address)
                }
                &State::Datagram(Datagram { peer: Some(peer), .. }) if bound.ip().is_unspecified() => {
                    let source = inner.source(self.id, peer.ip()).unwrap_or(bound.ip());
                    SocketAddr::new(source, bound.port())
                }
                _ => bound,
            }
        });
        self.family.shown(local)
    }

    /// The address of whom it is connected with.
    ///
    /// # Errors
    /// `NOTCONN`.
    pub fn peer(&self) -> Result<SocketAddr, Errno> {
        self.stack.look(|inner| {
            let (entry, sockets) = inner.entry(self.id);
            let peer = match &entry.state {
                State::Stream(stream) if !stream.is_calling() => {
                    sockets.get::<tcp::Socket<'_>>(stream.handle).remote_endpoint().map(address)
                }
                State::Datagram(datagram) => datagram.peer,
                _ => None,
            };
            peer.map(|peer| self.family.shown(peer)).ok_or(Errno::NOTCONN)
        })
    }

    /// What can be done without waiting.
    pub fn readiness(&self) -> Readiness {
        self.stack.look(|inner| {
            let (entry, sockets) = inner.entry(self.id);
            match &mut entry.state {
                State::Fresh(failed) => {
                    let failed = failed.is_some();
                    Readiness { readable: failed, writable: true, over: true, failed }
                }
                State::Stream(stream) => stream.readiness(sockets),
                State::Listener(listener) => {
                    Readiness { readable: listener.is_ready(sockets), ..Readiness::default() }
                }
                State::Datagram(datagram) => datagram.readiness(sockets),
            }
        })
    }

    /// What went wrong with its connection, once.
    pub fn take_error(&self) -> Option<Errno> {
        self.stack.look(|inner| match &mut inner.entry(self.id).0.state {
            State::Stream(stream) => stream.take_error(),
            State::Fresh(failed) => failed.take(),
            State::Datagram(datagram) => datagram.take_error(),
            State::Listener(_) => None,
        })
    }

    /// Whether it has nothing to do with IPv4.
    ///
    /// # Errors
    /// `NOPROTOOPT`: it is IPv4's.
    pub fn only_v6(&self) -> Result<bool, Errno> {
        match self.family {
            Family::V4 => Err(Errno::NOPROTOOPT),
            Family::V6 => Ok(self.stack.look(|inner| inner.entry(self.id).0.only_v6)),
        }
    }

    /// Changes that.
    ///
    /// # Errors
    /// As of [`Socket::only_v6`]. `INVAL`: it has a port.
    pub fn set_only_v6(&self, on: bool) -> Result<(), Errno> {
        self.only_v6()?;
        self.stack.look(|inner| match inner.entry(self.id).0 {
            Entry { bound: Some(_), .. } => Err(Errno::INVAL),
            entry => {
                entry.only_v6 = on;
                Ok(())
            }
        })
    }

    /// Whether small pieces are sent at once instead of gathered.
    pub fn set_no_delay(&self, on: bool) {
        self.stack.look(|inner| {
            let (entry, sockets) = inner.entry(self.id);
            if let State::Stream(stream) = &entry.state {
                sockets.get_mut::<tcp::Socket<'_>>(stream.handle).set_nagle_enabled(!on);
            }
        });
    }

    /// Whether a peer that says nothing is asked if it is still there, and given
    /// up with `TIMEDOUT` if it does not answer.
    pub fn set_keep_alive(&self, on: bool) {
        // It cannot fail: nothing is waited for.
        let _ = self.stack.enter(|inner| {
            let now_ns = inner.now_ns;
            if let State::Stream(stream) = &mut inner.entry(self.id).0.state {
                stream.set_keep_alive(on, now_ns);
            }
            Ok(())
        });
    }

    /// How many routers may pass on what it sends; not 0.
    pub fn set_time_to_live(&self, hops: u8) {
        let hops = hops.max(1);
        self.stack.look(|inner| {
            let (entry, sockets) = inner.entry(self.id);
            match &mut entry.state {
                State::Stream(stream) => {
                    sockets.get_mut::<tcp::Socket<'_>>(stream.handle).set_hop_limit(Some(hops));
                }
                State::Datagram(datagram) => datagram.set_hops(sockets, hops),
                State::Fresh(_) | State::Listener(_) => {}
            }
        });
    }

    /// Closes it before it is dropped, whoever is about to use it: its port is free.
    pub fn close(&self) {
        // It cannot fail: nothing is waited for.
        let _ = self.stack.enter(|inner| {
            inner.end(self.id);
            Ok(())
        });
        self.changes.wake_all();
    }

    /// Breaks the connection: the peer is told, nothing else is sent.
    pub fn abort(&self) {
        // It cannot fail: nothing is waited for.
        let _ = self.stack.enter(|inner| {
            let (entry, sockets) = inner.entry(self.id);
            if let State::Stream(stream) = &mut entry.state {
                stream.abort(sockets);
            }
            Ok(())
        });
    }
}

/// Calls for a connection.
fn call(inner: &mut Inner, id: usize, to: SocketAddr) -> Result<(), Errno> {
    let from = from(inner, id, to)?;
    let owner = inner.entry(id).0.owner;
    inner.sockets.make_room(owner)?;
    let Inner { interface, sockets, .. } = inner;
    let mut socket = stream::socket();
    stream::set_call_timeout(&mut socket);
    let called = socket.connect(interface.context(), IpEndpoint::from(to), IpEndpoint::from(from));
    called.map_err(|_| Errno::ADDRNOTAVAIL)?;
    let handle = sockets.add(owner, socket);
    inner.entry(id).0.state = State::Stream(Stream::calling(handle));
    Ok(())
}

/// Where a socket sends to `to` from. It has a port then.
fn from(inner: &mut Inner, id: usize, to: SocketAddr) -> Result<SocketAddr, Errno> {
    let source = inner.source(id, to.ip())?;
    let (_, port) = inner.bind_anywhere(id)?;
    Ok(SocketAddr::new(source, port))
}

/// From now on a socket talks with `to` alone.
fn connect_datagram(inner: &mut Inner, id: usize, to: SocketAddr) -> Result<(), Errno> {
    from(inner, id, to)?;
    let (entry, sockets) = inner.entry(id);
    if let State::Datagram(datagram) = &mut entry.state {
        datagram.connect(sockets, to);
    }
    Ok(())
}

fn send_datagram(inner: &mut Inner, id: usize, source: &[u8], to: SocketAddr) -> Result<usize, Errno> {
    let from = from(inner, id, to)?;
    let (entry, sockets) = inner.entry(id);
    let State::Datagram(datagram) = &mut entry.state else { return Err(Errno::OPNOTSUPP) };
    datagram.send(sockets, source, from.ip(), to)
}

/// What a reader waits for.
impl Event for Socket {
    fn changes(&self) -> &Waiters {
        &self.changes
    }

    fn is_ready(&self) -> bool {
        self.readiness().readable
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // It cannot fail: nothing is waited for.
        let _ = self.stack.enter(|inner| {
            inner.remove(self.id);
            Ok(())
        });
    }
}
