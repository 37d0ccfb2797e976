//! The processor: its tables, its exceptions and interrupts, its timer.

pub mod apic;
pub mod cores;
pub mod critical;
pub mod descriptors;
mod faults;
pub mod features;
pub mod shootdown;
pub mod traps;
