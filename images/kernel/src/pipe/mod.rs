//! Pipes: whole messages from many senders, anywhere in the machine, to one
//! reader.
//!
//! ```text
//!   Sender ── Data ──▶ Receiver      a notice per message, nothing else in it
//!          ◀─ Credit ─               as the reader reads, in batches
//! ```
//! [`Pipes`] holds this VM's ends of all pipes: those whose reading end is here
//! ([`Receiver`]) and the sending ends that were opened here ([`Sender`]), to
//! pipes of other VMs or of this one. [`wire`] says what travels.
//!
//! Invariants:
//! - A message arrives whole, once, and after what the same end sent before,
//!   within the life of both VMs; then what was sent by one that died arrives as
//!   far as it was complete, followed by [`ReceiveError::SenderDied`].
//! - The messages of a sending end that wait here take at most its window
//!   ([`WINDOW`]): a sender that floods holds up itself and nobody else.
//! - Who sends is known from the ring (the VM) and from that VM's node (the
//!   activity); the pipe's owner lets it in or not ([`Admission`]) when it opens
//!   a sending end.
//! - Whatever a peer sends: no panic, memory bounded by the pipes that there are
//!   ([`MAX_SENDERS`]), a count in [`Counters`] for what makes no sense.
//!
//! No hardware: messages go and come through a [`Carrier`].

mod carrier;
mod names;
mod pipes;
mod receiver;
mod sender;
mod slots;
mod wait;
pub mod wire;

#[cfg(test)]
mod tests;

pub use carrier::{Carrier, Coroutine};
pub use names::{Activity, Origin, PipeName, Target};
pub use pipes::{Counters, Pipes};
pub use receiver::{Admission, Admit, Message, ReceiveError, Receiver};
pub use sender::{OpenError, SendError, Sender};
pub use transport::Body;
pub use wait::{Event, wait_any};

/// Most bytes of a message.
pub const MAX_MESSAGE: usize = 56 * 1024;

/// Bytes of messages, each with [`OVERHEAD`], that a sending end may have at its
/// pipe, unread or under way.
pub const WINDOW: u32 = 256 * 1024;

/// What a message takes of the window beyond its bytes: it is kept somewhere.
pub const OVERHEAD: u32 = 64;

/// Most sending ends of a pipe that are open or of which something is unread: so
/// its unread messages take at most 16 MiB.
pub const MAX_SENDERS: usize = 64;

/// Most sending ends of a pipe that one activity has. Its threads can share one.
pub const MAX_SENDERS_OF_ONE: usize = 16;
