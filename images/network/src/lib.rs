//! The sockets of programs: TCP, UDP and names over an IP stack (smoltcp) per node.
//!
//! ```text
//! Socket ─┐
//! Socket ─┼─ Stack ─ smoltcp ─ Wire ─┬─ loopback: what is for the node itself
//! Socket ─┘                          └─ Card ═══ outside
//! ```
//! * [`stack`]: the one lock, the turn that moves packets, ports. [`gate`]: what
//!   is done with a packet that comes. [`set`]: whose smoltcp's sockets are, and
//!   how many there may be.
//! * [`socket`]: what a descriptor stands for; [`stream`], [`listener`] and
//!   [`datagram`] are what it does.
//! * [`address`]: IPv4 and IPv6, and which addresses are a socket's. [`names`]: addresses
//!   of names. [`wire`], [`packet`], [`arp`] and [`ndp`]: packets and frames.
//!
//! Nothing here blocks, sleeps or reads a clock of its own: what cannot be done
//! yet is [`Errno::AGAIN`](kernel::errno::Errno::AGAIN), and a socket counts what
//! happens to it ([`Socket::changes`]). Whoever calls moves the packets that this
//! causes; what comes from outside and what is due at a time, [`Stack::turn`]
//! moves, which its owner calls when the card interrupts and when it said.
//!
//! **Whatever comes from the card is an allegation**: smoltcp checks it, and the
//! wire lets nothing in that claims to come from the node itself.
#![forbid(unsafe_code)]

mod address;
mod arp;
mod datagram;
mod gate;
mod listener;
mod names;
mod ndp;
mod packet;
mod set;
mod socket;
mod stack;
mod stream;
#[cfg(test)]
mod tests;
mod wire;

pub use address::Family;
pub use names::{Lookup, known};
pub use set::Owner;
pub use socket::{Kind, Readiness, Shutdown, Socket};
pub use stack::Stack;
pub use stream::BUFFER_BYTES;
