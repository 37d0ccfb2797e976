//! Messages between virtual machines that share nothing but memory regions, or
//! an Ethernet.
//!
//! Bottom up:
//! - [`memory`]: a window on memory that a peer may write at any time.
//! - [`ring`]: slots of one cache line from one writer to one reader, the
//!   doorbell protocol, and what a restart of either does: `docs/protocol.md`
//!   states it exactly.
//! - [`pages`]: bulk by reference: pages that are lent and given back.
//! - [`link`]: what carries messages between two VMs; through rings, for one.
//! - [`ethernet`]: where there is no coherent memory: addresses, a switch and
//!   its faults.
//! - [`body`]: the body of a message as its receiver gets it.
//! - [`endpoint`]: all channels of one VM: send, poll, prepare to sleep.
//! - [`wire`]: the header of a message as bytes.
//! - `conformance` (a feature): what every kind of link is held to.
//! - [`pause`]: how long to poll before going to sleep.
//!
//! Nothing here sleeps, spins, reads a clock or starts a thread by itself, and
//! nothing here trusts a word that a peer can write.
#![cfg_attr(not(any(test, feature = "conformance")), no_std)]
extern crate alloc;

pub mod body;
mod channel;
#[cfg(all(feature = "conformance", not(loom)))]
pub mod conformance;
pub mod endpoint;
pub mod ethernet;
mod fragments;
pub mod link;
pub mod memory;
pub mod pages;
pub mod pause;
pub mod ring;
pub mod wire;

pub use body::Body;
pub use channel::{BACKLOG_BYTES, ChannelCounters, HOT_POLLS, MESSAGES_PER_TURN, PARTS_PER_TURN};
pub use endpoint::{AttachError, Doorbell, Endpoint, Event, PeerAddress, SendError};
pub use link::{Link, MAX_MESSAGE, Malformed, RingLink, Windows};
pub use wire::{HEADER_BYTES, Header, Kind};
