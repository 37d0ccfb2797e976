//! The regions of shared memory that this VM has, found at the addresses that
//! `ivshmem::layout` fixes.
//!
//! A region is placed and mapped when it is first asked for, and stays. What is
//! in it is the business of `ivshmem::layout` and `transport`.

use super::pci;
use crate::console;
use crate::memory::paging::{self, Caching};
use crate::processor::critical::Locked;
use alloc::vec::Vec;
use core::ptr::NonNull;
use ivshmem::device;
pub use ivshmem::layout::DeviceAddress;
use transport::memory::SharedMemory;

/// What is mapped already.
static MAPPED: Locked<Vec<(DeviceAddress, SharedMemory)>> = Locked::new(Vec::new());

/// The control region.
pub fn control() -> Option<SharedMemory> {
    region(DeviceAddress::CONTROL)
}

/// The region of the utility that this VM is an activity of.
pub fn utility() -> Option<SharedMemory> {
    region(DeviceAddress::UTILITY)
}

/// The pool of the VM's cluster.
pub fn pool() -> Option<SharedMemory> {
    region(DeviceAddress::POOL)
}

/// The region shared with `peer`.
///
/// # Panics
/// If `peer` is not below `ivshmem::layout::MAX_PEERS`.
pub fn pair(peer: u16) -> Option<SharedMemory> {
    region(DeviceAddress::pair(peer))
}

/// A PCI function of this VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Where it is.
    pub address: DeviceAddress,
    /// Its vendor id.
    pub vendor: u16,
    /// Its device id.
    pub device: u16,
}

/// Every PCI function there is.
pub fn devices() -> Vec<Function> {
    let mut found = Vec::new();
    for slot in 0..32 {
        for function in 0..8 {
            let address = DeviceAddress { slot, function };
            let id = pci::with_bus(|access, _| device::identify(&access, address));
            found.extend(id.map(|(vendor, device)| Function { address, vendor, device }));
        }
    }
    found
}

/// The memory of the device at `address`; `None` if there is none, or one that
/// is refused (which is said on the console).
fn region(address: DeviceAddress) -> Option<SharedMemory> {
    let known =
        MAPPED.with(|mapped| mapped.iter().find(|(at, _)| *at == address).map(|(_, memory)| memory.clone()));
    if known.is_some() {
        return known;
    }
    let placed = pci::with_bus(|access, windows| device::place_memory(&access, address, windows));
    let physical = match placed {
        Ok(physical) => physical?,
        Err(error) => {
            refused(address, format_args!("{error}"));
            return None;
        }
    };
    let bytes = (physical.end - physical.start) as usize;
    // SAFETY: the memory of the device that was just placed there.
    let Ok(start) = (unsafe { paging::map(physical.start, bytes, Caching::WriteBack) }) else {
        refused(address, format_args!("there is no memory for its page tables"));
        return None;
    };
    // SAFETY: mapped for good, page-aligned, a power of two of at least 16
    // bytes (PCI), and there never is a Rust reference to it.
    let memory = unsafe { SharedMemory::new(NonNull::new(start)?, bytes, None) };
    MAPPED.with(|mapped| mapped.push((address, memory.clone())));
    Some(memory)
}

/// Says why a device is not used.
pub(super) fn refused(address: DeviceAddress, why: core::fmt::Arguments<'_>) {
    let line = alloc::format!("device {address} is refused: {why}\n");
    console::write(true, line.as_bytes());
}
