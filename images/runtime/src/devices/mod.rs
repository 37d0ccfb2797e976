//! The VM's devices: the ivshmem regions, the doorbell, the network card.

pub mod bell;
pub mod card;
mod pci;
mod queue;
pub mod regions;
mod virtio;
