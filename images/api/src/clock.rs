//! The machine's clock.
//!
//! `std`'s `Instant` and `SystemTime` read it: they agree on all VMs of a
//! machine. An `Instant` cannot be sent to another node; [`now_ns`] is the same
//! time as a number, and [`uncertainty`] says how well it is known.
//!
//! ```
//! let event = cyanea::clock::now_ns();
//! let error = cyanea::clock::uncertainty();
//! println!("at {event} ns since the machine's start, give or take {error:?}");
//! ```

use crate::system;
use std::time::Duration;

/// Nanoseconds since the machine's start, on every node the same; on the host,
/// since the first look. Never goes back.
pub fn now_ns() -> u64 {
    system::get().now_ns()
}

/// By how much [`now_ns`] may differ from the machine's time just now: of two
/// events on two nodes that are further apart than both nodes' uncertainties
/// together, the one with the lower number was first. `None` if nobody knows,
/// as after the host was suspended.
pub fn uncertainty() -> Option<Duration> {
    system::get().uncertainty()
}
