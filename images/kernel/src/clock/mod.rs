//! One clock for the machine (protocol.md C1 to C6).
//!
//! All VMs of a host count the same ticks: each VM's counter is the host's, less
//! an offset that is constant from the VM's start. So the clock is made of two parts:
//!
//! ```text
//! launcher   readings of the host's clocks ──> Keeper ──> Timeline, a function of the host's ticks
//!                                                           │ Page, in the control region
//! VM         rounds with the launcher ──> Offset ──> Steering ──> Map, a function of the VM's ticks
//! ```
//! The host's clocks drift and are corrected; the timeline follows, and with it
//! all VMs at the same tick. Between VMs nothing drifts: how far two of them
//! disagree is how well both know their offsets, and what a VM knows of its own
//! only gets better.
//!
//! * [`line`]: time as a function of ticks.
//! * [`keeper`]: makes the timeline follow the host's clocks.
//! * [`page`]: the timeline in memory that all VMs can read.
//! * [`offset`]: what rounds tell of the offset, as an interval that holds it.
//! * [`exchange`]: the words through which rounds go.
//! * [`steering`]: what a VM shows, which never goes back.
//!
//! Nothing here reads a clock, waits or spins.

pub mod exchange;
pub mod keeper;
pub mod line;
pub mod offset;
pub mod page;
pub mod steering;

#[cfg(test)]
mod tests;
