//! The messages of the operating system, a file per pipe.
//!
//! A request travels to a well-known pipe of a VM, its body is one of the
//! `Request` types below in postcard; its reply is the `Response` of the same
//! file. Who sent it is known from the ring it came through.

pub mod fault;
pub mod files;
pub mod launcher;
pub mod monitor;
pub mod node;
pub mod tasks;

use alloc::vec::Vec;
use core::fmt;
use serde::{Deserialize, Serialize};
extern crate alloc;

/// The well-known pipes, one per service of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Pipe {
    /// [`node`]: served by nodes.
    Node = 1,
    /// [`files`]: served by the activities of `files`.
    Files = 2,
    /// [`tasks`]: served by the activities of `tasks`.
    Tasks = 3,
    /// [`launcher`]: served by the launcher, peer 0.
    Launcher = 4,
    /// [`monitor`]: served by every VM and the launcher.
    Monitor = 5,
    /// Served by the launcher: an empty request makes it answer asks for its
    /// ticks for a moment ([`crate::clock::exchange`]); its answer is empty.
    Clock = 6,
}

/// Identifies a peer on the rings: the launcher is 0, VMs count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Peer(pub u16);

impl Peer {
    /// The launcher.
    pub const LAUNCHER: Self = Self(0);
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VM {}", self.0)
    }
}

/// One life of a peer: every start of a VM has a generation of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation {
    /// Which peer.
    pub peer: Peer,
    /// Which of its starts, from 1.
    pub generation: u32,
}

/// A body that does not decode as what its pipe expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the message's body does not decode")
    }
}

impl core::error::Error for Malformed {}

/// The body of a message, encoded.
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    postcard::to_allocvec(message).expect("messages hold no type that postcard refuses")
}

/// The message that a body encodes; it may borrow from the body.
pub fn decode<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Malformed> {
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        _ => Err(Malformed),
    }
}
