//! The VM's devices: the ivshmem regions and the doorbell.

pub mod bell;
mod pci;
pub mod regions;
