//! A TCP connection: from the call for it until both directions have ended.

use crate::socket::Readiness;
use kernel::errno::Errno;
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{RecvError, Socket, SocketBuffer, State};
use smoltcp::time::Duration;
use smoltcp::wire::IpEndpoint;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddrV4};

/// How often a peer that says nothing is asked if it is still there, if it is at all.
pub const KEEP_ALIVE: Duration = Duration::from_secs(2 * 60 * 60);
/// Bytes of a connection's buffer, each way.
pub const BUFFER_BYTES: usize = 32 * 1024;
/// How long a call may go unanswered.
pub const CALL_NS: u64 = 75_000_000_000;

/// A connection that a socket has.
pub struct Stream {
    pub handle: SocketHandle,
    /// Until when the call must be answered; `None` once that is known.
    calls_until_ns: Option<u64>,
    /// What went wrong and was not told yet.
    error: Option<Errno>,
    /// It has been told that the connection broke.
    told: bool,
    /// The owner wants to read no more.
    deaf: bool,
    /// What was unread when both directions had ended: smoltcp forgets it some
    /// seconds later, and that the end was a good one.
    rest: Option<VecDeque<u8>>,
    seen: Seen,
}

/// What its owner may wait for.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    state: State,
    unread: usize,
    unsent: usize,
}

impl Seen {
    fn of(socket: &Socket<'_>) -> Self {
        Self { state: socket.state(), unread: socket.recv_queue(), unsent: socket.send_queue() }
    }
}

/// A connection's end in smoltcp, in no state yet.
pub fn socket() -> Socket<'static> {
    let buffer = || SocketBuffer::new(vec![0; BUFFER_BYTES]);
    Socket::new(buffer(), buffer())
}

/// One end of a connection as programs write it. (All is IPv4.)
pub fn address(end: IpEndpoint) -> SocketAddrV4 {
    let IpAddr::V4(address) = end.addr.into() else { unreachable!("there is no other IP here") };
    SocketAddrV4::new(address, end.port)
}

/// The port of a connection's end.
pub fn port(sockets: &SocketSet<'_>, handle: SocketHandle) -> Option<u16> {
    sockets.get::<Socket<'_>>(handle).local_endpoint().map(|end| end.port)
}

/// Ends a connection for an owner that goes away: with a reset if `at_once` or if
/// there is something that nobody will read.
pub fn close(sockets: &mut SocketSet<'_>, handle: SocketHandle, at_once: bool) {
    let socket = sockets.get_mut::<Socket<'_>>(handle);
    if at_once || socket.can_recv() {
        socket.abort();
    } else {
        socket.close();
    }
}

/// How far a connection is that nobody has any more.
pub enum Ending {
    /// Something is to be sent yet, or to be waited for.
    UnderWay,
    /// Both directions have ended; the peer may not have heard it.
    LastWord,
    /// Nothing more is to come.
    Over,
}

/// How far a connection is that was closed; it has to end if it is `late`.
pub fn ending(sockets: &mut SocketSet<'_>, handle: SocketHandle, late: bool) -> Ending {
    let socket = sockets.get_mut::<Socket<'_>>(handle);
    match socket.state() {
        // Its reset is sent when it has no peer any more.
        State::Closed if socket.remote_endpoint().is_none() => Ending::Over,
        State::Closed | State::TimeWait if late => Ending::Over,
        State::Closed => Ending::UnderWay,
        State::TimeWait => Ending::LastWord,
        _ => {
            // What comes now, nobody will read.
            if late || socket.can_recv() {
                socket.abort();
            }
            Ending::UnderWay
        }
    }
}

impl Stream {
    /// A connection that has been called for.
    pub fn calling(handle: SocketHandle, now_ns: u64) -> Self {
        Self { calls_until_ns: Some(now_ns.saturating_add(CALL_NS)), ..Self::accepted(handle) }
    }

    /// A connection that came.
    pub fn accepted(handle: SocketHandle) -> Self {
        let seen = Seen { state: State::Closed, unread: 0, unsent: 0 };
        Self { handle, calls_until_ns: None, error: None, told: false, deaf: false, rest: None, seen }
    }

    fn socket<'a>(&self, sockets: &'a mut SocketSet<'static>) -> &'a mut Socket<'static> {
        sockets.get_mut(self.handle)
    }

    /// Whether its owner should look.
    pub fn has_changed(&mut self, sockets: &mut SocketSet<'static>) -> bool {
        let (before, now) = (self.seen, Seen::of(self.socket(sockets)));
        self.seen = now;
        if now.state == State::TimeWait && self.rest.is_none() {
            self.rest = Some(unread(self.socket(sockets)));
        }
        now.state != before.state || now.unread > before.unread || now.unsent < before.unsent
    }

    /// Whether the call was answered, and how.
    pub fn called(&mut self, sockets: &mut SocketSet<'static>, now_ns: u64) -> Result<(), Errno> {
        let Some(until_ns) = self.calls_until_ns else { return Ok(()) };
        let socket = self.socket(sockets);
        match socket.state() {
            State::SynSent | State::SynReceived => return Err(Errno::AGAIN),
            State::Closed => {
                self.calls_until_ns = None;
                // That it went wrong is told once by whoever asks first.
                self.told = true;
                let error = if now_ns >= until_ns { Errno::TIMEDOUT } else { Errno::CONNREFUSED };
                self.error = Some(error);
                return Err(error);
            }
            _ => socket.set_timeout(None),
        }
        self.calls_until_ns = None;
        Ok(())
    }

    /// Whether an answer to the call is waited for.
    pub fn is_calling(&self) -> bool {
        self.calls_until_ns.is_some()
    }

    /// What went wrong, once.
    pub fn take_error(&mut self, sockets: &mut SocketSet<'static>, now_ns: u64) -> Option<Errno> {
        let _ = self.called(sockets, now_ns);
        if self.error.is_none() && self.is_broken(sockets) && !self.told {
            self.told = true;
            return Some(Errno::CONNRESET);
        }
        self.error.take()
    }

    /// Whether the connection ended otherwise than by both ends' wish.
    fn is_broken(&self, sockets: &mut SocketSet<'static>) -> bool {
        let socket = self.socket(sockets);
        self.rest.is_none()
            && socket.state() == State::Closed
            && socket.peek(1) == Err(RecvError::InvalidState)
    }

    /// Takes bytes, without removing them if `peek`; 0: no more will come.
    pub fn receive(
        &mut self,
        sockets: &mut SocketSet<'static>,
        target: &mut [u8],
        peek: bool,
    ) -> Result<usize, Errno> {
        if self.deaf || target.is_empty() {
            return Ok(0);
        }
        if let Some(rest) = &mut self.rest {
            let length = rest.len().min(target.len());
            target.iter_mut().zip(rest.iter()).for_each(|(target, byte)| *target = *byte);
            rest.drain(..if peek { 0 } else { length });
            return Ok(length);
        }
        let socket = self.socket(sockets);
        let is_closed = socket.state() == State::Closed;
        match socket.peek(target.len()) {
            Ok([]) => Err(Errno::AGAIN),
            Ok(_) if peek => Ok(socket.peek_slice(target).unwrap_or(0)),
            Ok(_) => Ok(socket.recv_slice(target).unwrap_or(0)),
            Err(RecvError::Finished) => Ok(0),
            Err(RecvError::InvalidState) if is_closed => self.broken(Ok(0)),
            // The other direction goes on.
            Err(RecvError::InvalidState) => Ok(0),
        }
    }

    /// Gives bytes; how many were taken.
    pub fn send(&mut self, sockets: &mut SocketSet<'static>, source: &[u8]) -> Result<usize, Errno> {
        let is_broken = self.is_broken(sockets);
        let socket = self.socket(sockets);
        match socket.send_slice(source) {
            Ok(0) if !source.is_empty() => Err(Errno::AGAIN),
            Ok(sent) => Ok(sent),
            Err(_) if is_broken => self.broken(Err(Errno::PIPE)),
            Err(_) => Err(Errno::PIPE),
        }
    }

    /// Tells that the connection broke, once; `then` afterwards.
    fn broken(&mut self, then: Result<usize, Errno>) -> Result<usize, Errno> {
        match std::mem::replace(&mut self.told, true) {
            false => Err(Errno::CONNRESET),
            true => then,
        }
    }

    /// Ends directions.
    pub fn shut_down(
        &mut self,
        sockets: &mut SocketSet<'static>,
        receive: bool,
        send: bool,
    ) -> Result<(), Errno> {
        let socket = self.socket(sockets);
        if !socket.is_active() {
            return Err(Errno::NOTCONN);
        }
        if send {
            socket.close();
        }
        self.deaf |= receive;
        Ok(())
    }

    /// What can be done without waiting.
    pub fn readiness(&mut self, sockets: &mut SocketSet<'static>) -> Readiness {
        let state = self.socket(sockets).state();
        if self.is_calling() && matches!(state, State::SynSent | State::SynReceived) {
            return Readiness::default();
        }
        let failed = self.error.is_some() || !self.told && self.is_broken(sockets);
        let deaf = self.deaf || self.rest.is_some();
        let socket = self.socket(sockets);
        Readiness {
            readable: deaf || socket.can_recv() || !socket.may_recv(),
            // A write that would fail does not wait either.
            writable: socket.can_send() || !socket.may_send(),
            over: matches!(state, State::Closed | State::TimeWait),
            failed,
        }
    }
}

/// Takes all that a connection's owner has not read.
fn unread(socket: &mut Socket<'_>) -> VecDeque<u8> {
    let mut all = VecDeque::with_capacity(socket.recv_queue());
    // A buffer is a ring: what is there are two pieces at most.
    for _ in 0..2 {
        let _ = socket.recv(|piece| {
            all.extend(piece.iter());
            (piece.len(), ())
        });
    }
    all
}

/// Gives a call that is about to be made the time it has.
pub fn set_call_timeout(socket: &mut Socket<'_>) {
    socket.set_timeout(Some(Duration::from_micros(CALL_NS / 1000)));
}
