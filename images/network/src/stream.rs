//! A TCP connection: from the call for it until both directions have ended.

use crate::set::Set;
use crate::socket::Readiness;
use kernel::errno::Errno;
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{RecvError, Socket, SocketBuffer, State};
use smoltcp::time::Duration;
use smoltcp::wire::IpEndpoint;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// How long a peer may say nothing before it is asked if it is still there, if it
/// is at all; how often it is asked, and how long after one another.
const SILENT_NS: u64 = 2 * 60 * 60 * 1_000_000_000;
const QUESTIONS: u32 = 9;
const QUESTION_NS: u64 = 75_000_000_000;
/// How long what was sent may go unanswered: as long as fifteen attempts take.
const UNANSWERED: Duration = Duration::from_secs(924);
/// Bytes of a connection's buffer, each way.
pub const BUFFER_BYTES: usize = 32 * 1024;
/// How long a call may go unanswered.
const CALL: Duration = Duration::from_secs(75);

/// A connection that a socket has.
pub struct Stream {
    pub handle: SocketHandle,
    /// It was called for, and that was not answered yet.
    calls: bool,
    /// The peer has said that it sends no more.
    peer_ended: bool,
    /// The owner has.
    owner_ended: bool,
    /// It is over, and what of it was an error is known.
    over: bool,
    /// What went wrong and was not told yet.
    error: Option<Errno>,
    /// The owner wants to read no more.
    deaf: bool,
    /// What was unread when both directions had ended: smoltcp forgets it some
    /// seconds later.
    rest: Option<VecDeque<u8>>,
    /// There if the peer is to be asked, when it says nothing, if it is still there.
    silence: Option<Silence>,
    seen: Seen,
}

/// How long a peer has said nothing.
struct Silence {
    /// When it is asked next.
    until_ns: u64,
    /// How often it was asked since it said something.
    asked: u32,
}

impl Silence {
    fn from(now_ns: u64) -> Self {
        Self { until_ns: now_ns.saturating_add(SILENT_NS), asked: 0 }
    }
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

/// One end of a connection as `std` writes it.
pub fn address(end: IpEndpoint) -> SocketAddr {
    SocketAddr::new(end.addr.into(), end.port)
}

/// What is left of a connection that has ended on both sides: no ends, no buffers.
pub fn ended() -> Socket<'static> {
    Socket::new(SocketBuffer::new(Vec::new()), SocketBuffer::new(Vec::new()))
}

impl Stream {
    /// A connection that has been called for.
    pub fn calling(handle: SocketHandle) -> Self {
        Self { calls: true, ..Self::accepted(handle) }
    }

    /// A connection that came.
    pub fn accepted(handle: SocketHandle) -> Self {
        Self {
            handle,
            calls: false,
            peer_ended: false,
            owner_ended: false,
            over: false,
            error: None,
            deaf: false,
            rest: None,
            silence: None,
            seen: Seen { state: State::Closed, unread: 0, unsent: 0 },
        }
    }

    fn socket<'a>(&self, sockets: &'a mut SocketSet<'static>) -> &'a mut Socket<'static> {
        sockets.get_mut(self.handle)
    }

    /// Finds out how far it is; `reset`: the peer has broken a connection just
    /// now, perhaps this one. What is over otherwise was given up.
    pub fn look(&mut self, sockets: &mut SocketSet<'static>, reset: bool) {
        match self.socket(sockets).state() {
            State::SynSent | State::SynReceived => {}
            State::Closed if self.over => {}
            State::Closed => {
                self.over = true;
                self.error = match reset {
                    true if self.calls => Some(Errno::CONNREFUSED),
                    // Nothing is missing but what the peer does not want.
                    true => (!self.peer_ended).then_some(Errno::CONNRESET),
                    false => (!(self.peer_ended && self.owner_ended)).then_some(Errno::TIMEDOUT),
                };
            }
            state => {
                self.calls = false;
                self.peer_ended |=
                    matches!(state, State::CloseWait | State::LastAck | State::Closing | State::TimeWait);
                if state == State::TimeWait && self.rest.is_none() {
                    self.rest = Some(unread(self.socket(sockets)));
                }
            }
        }
    }

    /// Whether its owner should look.
    pub fn has_changed(&mut self, sockets: &mut SocketSet<'static>, now_ns: u64) -> bool {
        self.listen_for(sockets, now_ns);
        self.look(sockets, false);
        let (before, now) = (self.seen, Seen::of(self.socket(sockets)));
        self.seen = now;
        if !self.calls {
            // Counted from when there was something to send, or from what was heard since.
            self.socket(sockets).set_timeout((now.unsent > 0).then_some(UNANSWERED));
        }
        now.state != before.state || now.unread > before.unread || now.unsent < before.unsent
    }

    /// Whether it has called, from one of these ends the other one.
    pub fn calls_between(&self, sockets: &SocketSet<'static>, from: SocketAddr, to: SocketAddr) -> bool {
        let socket = sockets.get::<Socket<'_>>(self.handle);
        self.calls
            && (socket.local_endpoint(), socket.remote_endpoint()) == (Some(from.into()), Some(to.into()))
    }

    /// The call does not arrive.
    pub fn fail_call(&mut self, sockets: &mut SocketSet<'static>, error: Errno) {
        self.socket(sockets).abort();
        (self.over, self.error) = (true, Some(error));
    }

    /// The connection that was called for and is not there: why.
    pub fn failed_call(&self) -> Option<Errno> {
        self.error.filter(|_| self.calls)
    }

    /// Whether an answer to the call is waited for.
    pub fn is_calling(&self) -> bool {
        self.calls
    }

    /// What went wrong, once.
    pub fn take_error(&mut self) -> Option<Errno> {
        self.error.take()
    }

    /// Whether a peer that says nothing is asked if it is still there, and given up
    /// if it does not answer.
    pub fn set_keep_alive(&mut self, on: bool, now_ns: u64) {
        if self.silence.is_some() != on {
            self.silence = on.then(|| Silence::from(now_ns));
        }
    }

    /// Asks the peer if it has long said nothing; gives it up if it was asked often.
    fn listen_for(&mut self, sockets: &mut SocketSet<'static>, now_ns: u64) {
        let due = |silence: &&mut Silence| now_ns >= silence.until_ns;
        let Some(silence) = self.silence.as_mut().filter(due).filter(|_| !self.over) else { return };
        let socket = sockets.get_mut::<Socket<'_>>(self.handle);
        if socket.send_queue() > 0 {
            // It has to answer that.
            *silence = Silence::from(now_ns);
        } else if silence.asked >= QUESTIONS {
            socket.abort();
        } else {
            ask(socket);
            *silence = Silence { until_ns: now_ns.saturating_add(QUESTION_NS), asked: silence.asked + 1 };
        }
    }

    /// When the peer is to be asked or given up.
    pub fn next_ns(&self) -> Option<u64> {
        self.silence.as_ref().filter(|_| !self.over).map(|silence| silence.until_ns)
    }

    /// The peer has said something.
    pub fn hear(&mut self, now_ns: u64) {
        self.silence = self.silence.take().map(|_| Silence::from(now_ns));
    }

    /// Breaks it.
    pub fn abort(&mut self, sockets: &mut SocketSet<'static>) {
        self.socket(sockets).abort();
        (self.over, self.calls) = (true, false);
    }

    /// Takes bytes, without removing them if `peek`; 0: no more will come.
    pub fn receive(
        &mut self,
        sockets: &mut SocketSet<'static>,
        target: &mut [u8],
        peek: bool,
    ) -> Result<usize, Errno> {
        if self.calls {
            return Err(Errno::AGAIN);
        }
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
        match socket.peek(target.len()) {
            Ok([]) => Err(Errno::AGAIN),
            Ok(_) if peek => Ok(socket.peek_slice(target).unwrap_or(0)),
            Ok(_) => Ok(socket.recv_slice(target).unwrap_or(0)),
            Err(RecvError::Finished) => Ok(0),
            // If nothing went wrong, the other direction goes on.
            Err(RecvError::InvalidState) => self.error.take().map_or(Ok(0), Err),
        }
    }

    /// Gives bytes; how many were taken.
    pub fn send(&mut self, sockets: &mut SocketSet<'static>, source: &[u8]) -> Result<usize, Errno> {
        if self.calls {
            return Err(Errno::AGAIN);
        }
        if self.owner_ended {
            return Err(self.error.take().unwrap_or(Errno::PIPE));
        }
        match self.socket(sockets).send_slice(source) {
            Ok(0) if !source.is_empty() => Err(Errno::AGAIN),
            Ok(sent) => Ok(sent),
            Err(_) => Err(self.error.take().unwrap_or(Errno::PIPE)),
        }
    }

    /// Ends directions.
    pub fn shut_down(&mut self, sockets: &mut Set, receive: bool, send: bool) -> Result<(), Errno> {
        let is_calling = self.calls;
        let socket = self.socket(sockets);
        if is_calling || !socket.is_active() {
            return Err(Errno::NOTCONN);
        }
        if send {
            sockets.close(self.handle);
            self.owner_ended = true;
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
        let failed = self.error.is_some();
        let (deaf, owner_ended) = (self.deaf || self.rest.is_some(), self.owner_ended);
        let socket = self.socket(sockets);
        Readiness {
            readable: deaf || socket.can_recv() || !socket.may_recv(),
            // A write that would fail does not wait either.
            writable: owner_ended || socket.can_send() || !socket.may_send(),
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

/// Asks the peer of a connection if it knows of that: it answers, and with a reset
/// if not. (What is under way asks as well.)
pub fn ask(socket: &mut Socket<'_>) {
    // smoltcp asks at once when this is set.
    socket.set_keep_alive(Some(Duration::from_secs(1)));
    socket.set_keep_alive(None);
}

/// Gives a call that is about to be made the time it has.
pub fn set_call_timeout(socket: &mut Socket<'_>) {
    socket.set_timeout(Some(CALL));
}
