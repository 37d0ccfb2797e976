//! The regions of shared memory between VMs (design section 5).
//!
//! * [`device`]: the guest's driver of QEMU's ivshmem devices.
//! * [`exit`]: the word with which a VM ends.
//! * [`fault`]: what went wrong in a VM.
//! * [`layout`]: which regions there are, at which device address each is found, and what stands where in it.
//! * `server` (with the feature `host`): hands QEMU's doorbell devices what they need.
#![no_std]
extern crate alloc;
#[cfg(feature = "host")]
extern crate std;

pub mod device;
pub mod exit;
pub mod fault;
pub mod layout;
#[cfg(feature = "host")]
pub mod server;
