//! What two stations say to each other in a connection (protocol.md W3, W5, W6, W7).
//!
//! ```text
//! greeting   MAGIC, generation of the sender, of the receiver: 4 bytes each
//! message    its length: 4 bytes; its bytes, header first
//! ```
//! All little-endian; each end greets once, then there are messages.
//!
//! ```text
//!          begin            greeted        the connection ends
//!   Idle ───────▶ Calling ──────────▶ Open ───────────────────▶ Broken
//!                  ▲   │ the connection ends,
//!                  └───┘ after a pause
//! ```
//! `end` leads back to Idle from everywhere. Messages are sent once the peer has
//! greeted, so a connection that ends before has lost nothing.

use super::wire::Route;
use super::{BUFFER_BYTES, ip};
use crate::body::Body;
use crate::fragments::Gather;
use crate::link::{MAX_MESSAGE, Malformed, Received};
use crate::wire::{HEADER_BYTES, HEADER_WORDS};
use alloc::vec;
use alloc::vec::Vec;
use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Duration;

/// First bytes of a greeting: also the version of what follows.
const MAGIC: [u8; 4] = *b"CyN1";
/// Bytes of a greeting.
const GREETING_BYTES: usize = 12;
/// Bytes of a message's length.
const LENGTH_BYTES: usize = 4;
/// How long it takes at least from one call to the next.
const PAUSE_NS: u64 = 5_000_000;
/// How often TCP asks, in its own time, whether there is room for what waits.
const ASK_FOR_ROOM: Duration = Duration::from_secs(4);
/// The first port, and how many there are to choose from.
const PORTS: (u16, u32) = (1024, 60_000);
/// Calls of `receive` that succeed at most once nothing arrives any more: each
/// takes a message or all that is there.
pub const MOST_RECEIVED: usize = BUFFER_BYTES / (LENGTH_BYTES + HEADER_BYTES) + 4;

/// The port of an incarnation: those of two in a row differ.
fn port(generation: u32) -> u16 {
    PORTS.0 + (generation % PORTS.1) as u16
}

/// Two incarnations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Epoch {
    own: u32,
    peer: u32,
}

impl Epoch {
    fn greeting(self) -> [u8; GREETING_BYTES] {
        let mut bytes = [0; GREETING_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&self.own.to_le_bytes());
        bytes[8..].copy_from_slice(&self.peer.to_le_bytes());
        bytes
    }

    /// The same as the peer sees it.
    fn turned(self) -> Self {
        Self { own: self.peer, peer: self.own }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Calling { greeted: bool },
    Open,
    Broken,
}

/// What comes next.
#[derive(Debug)]
enum Inward {
    /// A message's length.
    Length,
    /// The rest of a message: so many bytes in all, those that have come.
    Message { length: usize, bytes: Vec<u8> },
    /// So many bytes of a message that was refused.
    Refused(usize),
}

/// The connection to one peer.
#[derive(Debug)]
pub struct Conversation {
    peer: u16,
    epoch: Epoch,
    phase: Phase,
    socket: Option<SocketHandle>,
    /// When it is called again.
    call_at: Option<u64>,
    inward: Inward,
    /// The connection broke, and nobody has heard of it.
    complaint: bool,
}

impl Conversation {
    pub fn new(peer: u16) -> Self {
        Self {
            peer,
            epoch: Epoch { own: 0, peer: 0 },
            phase: Phase::Idle,
            socket: None,
            call_at: None,
            inward: Inward::Length,
            complaint: false,
        }
    }

    /// Starts an epoch.
    pub fn begin(&mut self, own: u32, peer: u32, sockets: &mut SocketSet<'static>) {
        self.end(sockets);
        self.epoch = Epoch { own, peer };
        self.phase = Phase::Calling { greeted: false };
        self.call_at = Some(0);
    }

    /// Ends the epoch. Not a word to the peer, which knows or is dead.
    pub fn end(&mut self, sockets: &mut SocketSet<'static>) {
        self.hang_up(sockets);
        (self.phase, self.inward, self.complaint, self.call_at) = (Phase::Idle, Inward::Length, false, None);
    }

    pub fn peer(&self) -> u16 {
        self.peer
    }

    fn hang_up(&mut self, sockets: &mut SocketSet<'static>) {
        if let Some(handle) = self.socket.take() {
            sockets.remove(handle);
        }
    }

    /// The ports of its connection, while there is one: without a socket, TCP
    /// would answer with a reset.
    pub fn route(&self) -> Option<Route> {
        self.socket.map(|_| self.ports())
    }

    fn ports(&self) -> Route {
        Route { own: port(self.epoch.own), peer: port(self.epoch.peer) }
    }

    /// When [`Conversation::advance`] has something to do.
    pub fn deadline(&self) -> Option<u64> {
        self.call_at
    }

    /// Does what follows from what came in.
    pub fn advance(&mut self, now_ns: u64, interface: &mut Interface, sockets: &mut SocketSet<'static>) {
        if self.call_at.is_some_and(|at| at <= now_ns) {
            self.call_at = None;
            self.call(interface, sockets);
        }
        let Some(handle) = self.socket else { return };
        let socket = sockets.get_mut::<Socket<'static>>(handle);
        // An acknowledgement that was overtaken can make TCP believe that there
        // is no room, which it then never asks about again; this asks.
        socket.set_keep_alive((socket.send_queue() > 0).then_some(ASK_FOR_ROOM));
        match (socket.state(), self.phase) {
            (State::SynSent | State::SynReceived, _) => {}
            (State::Established, Phase::Calling { greeted }) => self.greet(greeted, sockets),
            (State::Established, _) => {}
            (_, Phase::Calling { .. }) => {
                self.hang_up(sockets);
                self.phase = Phase::Calling { greeted: false };
                self.call_at = Some(now_ns + PAUSE_NS);
            }
            // What came before the end is received first.
            (_, Phase::Open) => {}
            _ => self.give_up(sockets),
        }
    }

    /// Calls the peer, which calls as well.
    fn call(&mut self, interface: &mut Interface, sockets: &mut SocketSet<'static>) {
        let buffer = || SocketBuffer::new(vec![0; BUFFER_BYTES]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);
        let route = self.ports();
        // It fails on port 0 alone, which none of the ports is.
        if socket.connect(interface.context(), (ip(self.peer), route.peer), route.own).is_ok() {
            self.socket = Some(sockets.add(socket));
        }
    }

    /// Greets, and looks for the peer's greeting.
    fn greet(&mut self, greeted: bool, sockets: &mut SocketSet<'static>) {
        let Some(handle) = self.socket else { return };
        let socket = sockets.get_mut::<Socket<'static>>(handle);
        if !greeted {
            // The buffer is empty: it takes all of it.
            let _ = socket.send_slice(&self.epoch.greeting());
            self.phase = Phase::Calling { greeted: true };
        }
        if socket.recv_queue() < GREETING_BYTES {
            return;
        }
        let mut greeting = [0; GREETING_BYTES];
        let _ = socket.recv_slice(&mut greeting);
        if greeting == self.epoch.turned().greeting() {
            self.phase = Phase::Open;
        } else {
            self.give_up(sockets);
        }
    }

    /// The peer does not keep to the protocol: no more of it in this epoch.
    fn give_up(&mut self, sockets: &mut SocketSet<'static>) {
        self.hang_up(sockets);
        (self.phase, self.complaint) = (Phase::Broken, true);
    }

    /// The socket, if there is one.
    #[cfg(all(test, not(loom)))]
    pub fn socket<'a>(&self, sockets: &'a mut SocketSet<'static>) -> Option<&'a mut Socket<'static>> {
        self.socket.map(|handle| sockets.get_mut(handle))
    }

    /// The socket, if messages go through it.
    fn open<'a>(&self, sockets: &'a mut SocketSet<'static>) -> Option<&'a mut Socket<'static>> {
        let handle = self.socket.filter(|_| self.phase == Phase::Open)?;
        Some(sockets.get_mut(handle))
    }

    /// See [`crate::link::Link::send`].
    pub fn send(&self, message: &Gather<'_>, from: usize, sockets: &mut SocketSet<'static>) -> usize {
        let Some(socket) = self.open(sockets) else { return from };
        // The length goes with the first byte, so that the message is known to have begun.
        if from == 0
            && (room(socket) <= LENGTH_BYTES
                || socket.send_slice(&(message.len() as u32).to_le_bytes()) != Ok(LENGTH_BYTES))
        {
            return from;
        }
        let mut sent = from;
        while sent < message.len() {
            let copied = socket.send(|room| {
                let count = message.copy(sent, room);
                (count, count)
            });
            match copied {
                Ok(count) if count > 0 => sent += count,
                _ => break,
            }
        }
        sent
    }

    /// See [`crate::link::Link::receive`].
    pub fn receive(&mut self, sockets: &mut SocketSet<'static>) -> Received {
        if core::mem::take(&mut self.complaint) {
            return Received::Malformed(Malformed::Broken);
        }
        let Some(socket) = self.open(sockets) else { return Received::Nothing };
        match self.inward.take(socket) {
            // Nothing more comes.
            Received::Nothing if socket.state() != State::Established => {
                self.give_up(sockets);
                self.complaint = false;
                Received::Malformed(Malformed::Broken)
            }
            received => received,
        }
    }

    /// Whether a call of [`Conversation::receive`] finds something.
    pub fn can_receive(&self, sockets: &mut SocketSet<'static>) -> bool {
        let least = if matches!(self.inward, Inward::Length) { LENGTH_BYTES } else { 1 };
        self.complaint || self.open(sockets).is_some_and(|socket| socket.recv_queue() >= least)
    }

    /// Whether a call of [`Conversation::send`] moves something.
    pub fn can_send(&self, sockets: &mut SocketSet<'static>) -> bool {
        self.open(sockets).is_some_and(|socket| socket.may_send() && room(socket) > LENGTH_BYTES)
    }
}

/// Bytes that can be sent without waiting.
fn room(socket: &Socket<'static>) -> usize {
    socket.send_capacity() - socket.send_queue()
}

impl Inward {
    /// Takes a message, or all that is there.
    fn take(&mut self, socket: &mut Socket<'static>) -> Received {
        if matches!(self, Self::Length) {
            let mut length = [0; LENGTH_BYTES];
            if socket.recv_queue() < LENGTH_BYTES || socket.recv_slice(&mut length) != Ok(LENGTH_BYTES) {
                return Received::Nothing;
            }
            let length = u32::from_le_bytes(length) as usize;
            let refused = match length {
                0..HEADER_BYTES => Some(Malformed::TooShort),
                HEADER_BYTES..=MAX_MESSAGE => None,
                _ => Some(Malformed::TooLong),
            };
            if let Some(reason) = refused {
                *self = if length == 0 { Self::Length } else { Self::Refused(length) };
                return Received::Malformed(reason);
            }
            *self = Self::Message { length, bytes: Vec::new() };
            if socket.recv_queue() == 0 {
                return Received::Part;
            }
        }
        self.go_on(socket)
    }

    /// Takes what is there of a message that has begun.
    fn go_on(&mut self, socket: &mut Socket<'static>) -> Received {
        let before = socket.recv_queue();
        // A buffer is a ring: what is there are two pieces at most.
        for _ in 0..2 {
            let _ = socket.recv(|piece| (self.add(piece), ()));
        }
        match self {
            Self::Message { length, bytes } if bytes.len() == *length => {
                let message = message(bytes);
                *self = Self::Length;
                message
            }
            Self::Refused(0) => {
                *self = Self::Length;
                Received::Part
            }
            _ if socket.recv_queue() == before => Received::Nothing,
            _ => Received::Part,
        }
    }

    /// Takes what belongs to the message of `piece`, and says how much that is.
    fn add(&mut self, piece: &[u8]) -> usize {
        match self {
            Self::Length => 0,
            Self::Message { length, bytes } => {
                let count = piece.len().min(*length - bytes.len());
                bytes.extend_from_slice(&piece[..count]);
                count
            }
            Self::Refused(left) => {
                let count = piece.len().min(*left);
                *left -= count;
                count
            }
        }
    }
}

/// A whole message; it is as long as a header at least.
fn message(bytes: &[u8]) -> Received {
    let Some((header, body)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Received::Malformed(Malformed::TooShort);
    };
    let mut words = [0; HEADER_WORDS];
    for (word, chunk) in words.iter_mut().zip(header.as_chunks().0) {
        *word = u64::from_le_bytes(*chunk);
    }
    Received::Message(words, Body::from(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_greetings_are_what_the_page_says() {
        let page = include_str!("../../../../docs/protocol.md");
        let says = |line: String| assert!(page.contains(&line), "docs/protocol.md lacks: {line}");
        says(format!("| `conversation::PORTS.0` | {} |", PORTS.0));
        says(format!("| `conversation::PORTS.1` | {} |", PORTS.1));
        says(format!("| `conversation::GREETING_BYTES` | {GREETING_BYTES} |"));
        says(format!("| `conversation::LENGTH_BYTES` | {LENGTH_BYTES} |"));
        says(format!("| `net::BUFFER_BYTES` | {BUFFER_BYTES} |"));
        let epoch = Epoch { own: 60_001, peer: 1 };
        let bytes = epoch.greeting().map(|byte| format!("{byte:02x}")).join(" ");
        says(format!("\nport      {}\ngreeting  {bytes}\n", port(epoch.own)));
    }
}
