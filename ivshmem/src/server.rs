//! The host's side of QEMU's `ivshmem-doorbell` device: who may ring whom.
//!
//! Every peer of a machine, the launcher included, has one *bell*: an eventfd
//! made once, for the life of the machine. A VM's QEMU gets all of them through
//! a socket of its own, so its peer id is the one that the launcher gave it,
//! and a VM that is started again simply gets a fresh socket on the old bells.
//!
//! What goes over the socket (QEMU's `docs/specs/ivshmem-spec.txt`, "client
//! protocol"), each a little-endian 64-bit integer:
//!
//! ```text
//! server ──► QEMU    0                  version of the protocol
//!                    own peer id
//!                    -1      + fd       the shared memory
//!                    peer id + fd       bell of that peer, for every other peer
//!                    own peer id + fd   own bell, last
//! ```
//!
//! One descriptor travels with one message, because a stream socket would merge
//! what is sent together. Nothing is ever sent back.

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{Errno, Result};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg,
    socketpair,
};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::vec::Vec;

/// Version of the protocol that QEMU speaks.
const PROTOCOL_VERSION: i64 = 0;
/// Stands for "the shared memory" where a peer id would be.
const MEMORY: i64 = -1;

/// The bells of a machine, one per peer id. Clones are the same bells.
#[derive(Clone, Debug)]
pub struct Bells {
    eventfds: Arc<[OwnedFd]>,
}

impl Bells {
    /// Bells for the peers 0 to `peers - 1`.
    pub fn new(peers: usize) -> Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let eventfds: Result<Vec<OwnedFd>> = (0..peers).map(|_| eventfd(0, flags)).collect();
        Ok(Self { eventfds: eventfds?.into() })
    }

    /// How many peers there are.
    pub fn len(&self) -> usize {
        self.eventfds.len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.eventfds.is_empty()
    }

    /// Rings `peer`. A bell that rings already goes on ringing; ringing a peer
    /// that there is not, or whose VM is dead, has no effect.
    pub fn ring(&self, peer: u16) {
        if let Some(bell) = self.eventfds.get(usize::from(peer)) {
            // The only failure is a counter at its limit, and then it rings.
            let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
        }
    }

    /// Takes back what rang for `peer`; says whether anything did.
    pub fn silence(&self, peer: u16) -> bool {
        let mut count = [0; 8];
        self.eventfds
            .get(usize::from(peer))
            .is_some_and(|bell| rustix::io::read(bell, &mut count[..]).is_ok())
    }

    /// The eventfd of `peer`, to wait on: readable while it rings.
    pub fn eventfd(&self, peer: u16) -> Option<BorrowedFd<'_>> {
        self.eventfds.get(usize::from(peer)).map(AsFd::as_fd)
    }

    /// A connection for one start of the VM with id `peer`, and the end of it
    /// that its QEMU inherits (close it here once QEMU has it).
    pub fn connect(&self, peer: u16) -> Result<(Connection, OwnedFd)> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        Ok((Connection { socket: ours, bells: self.clone(), peer, sent: 0, partial: 0 }, theirs))
    }
}

/// How far a greeting has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// Everything has been sent.
    Done,
    /// The socket is full: go on when it is writable.
    Blocked,
}

/// The server's end of one VM's socket. Keep it for as long as the VM runs.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    bells: Bells,
    peer: u16,
    /// Messages that have been sent whole.
    sent: usize,
    /// Bytes of the next message that have been sent (its descriptor went with the first).
    partial: usize,
}

impl Connection {
    /// Sends what is left of the greeting as far as that goes without waiting.
    /// `memory` is the VM's own bell region.
    pub fn greet(&mut self, memory: BorrowedFd<'_>) -> Result<Greeting> {
        while let Some((number, descriptor)) = self.message(self.sent, memory) {
            let bytes = number.to_le_bytes();
            let descriptor = descriptor.filter(|_| self.partial == 0);
            match send(self.socket.as_fd(), &bytes[self.partial..], descriptor) {
                Ok(count) if self.partial + count == bytes.len() => {
                    self.sent += 1;
                    self.partial = 0;
                }
                Ok(count) => self.partial += count,
                // TOOMANYREFS: too many descriptors are under way to other VMs.
                Err(Errno::AGAIN | Errno::TOOMANYREFS | Errno::NOBUFS) => return Ok(Greeting::Blocked),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Greeting::Done)
    }

    /// Message `index` of the greeting; `None` after the last one.
    fn message<'a>(&'a self, index: usize, memory: BorrowedFd<'a>) -> Option<(i64, Option<BorrowedFd<'a>>)> {
        match index {
            0 => Some((PROTOCOL_VERSION, None)),
            1 => Some((i64::from(self.peer), None)),
            2 => Some((MEMORY, Some(memory))),
            _ => {
                let others = (0..self.bells.len() as u16).filter(|&peer| peer != self.peer);
                let peer = others.chain([self.peer]).nth(index - 3)?;
                Some((i64::from(peer), self.bells.eventfd(peer)))
            }
        }
    }
}

impl AsFd for Connection {
    /// To wait on until it is writable.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Sends `bytes`, and `descriptor` with the first of them; never waits.
fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptor: Option<BorrowedFd<'_>>) -> Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = descriptor.as_slice();
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
}

#[cfg(test)]
mod tests;
