//! What runs under `std` in a VM: boot, memory, interrupts, threads, clock, devices.
//!
//! The crate supplies the Hermit ABI (`sys_*` functions and `memcpy`'s kin) on
//! which `std` for `x86_64-unknown-hermit` is built, on the vCPUs of a QEMU
//! microvm. A program that links it (`use runtime as _;`) and is built by
//! `scripts/guest` is a bootable image with all of `std`.
//!
//! ```text
//! program, std
//!   abi           sys_* functions: arguments checked, numbers for errors
//!   system        what the OS above supplies: files, the end of activities
//!   fault         what ends an activity or the VM
//!   thread, bell, card, regions, clock, console, exit, boot      for the OS above
//!   threads | memory | devices | processor                 beneath
//! ```
//!
//! * Kernel state lies in `Locked` cells and is only reached with interrupts off,
//!   by one core at a time.
//! * Programs and the runtime share one address space and privilege level: what
//!   guards are W^X pages, guard pages under stacks and an unmapped null page.
//!   The statics of programs alone are each activity's own (`memory/paging/segment.rs`).
//! * SSE state belongs to threads; AVX is switched off.
#![no_std]

extern crate alloc;

mod abi;
pub mod boot;
pub mod clock;
pub mod console;
mod devices;
mod entropy;
pub mod exit;
pub mod fault;
mod memory;
mod processor;
pub mod system;
pub mod thread;
mod threads;

pub use devices::{bell, card, regions};
pub use memory::frames::untouched as untouched_memory;
