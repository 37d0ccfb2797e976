//! The Ethernet that leads out of the machine: QEMU's user network, as the VM
//! at its one other end sees it.
//!
//! QEMU fixes the gateway's hardware address (52:55, then its IPv4 address) and
//! takes whatever goes to it; the rest its command line says.

use super::HardwareAddress;

/// The hardware address of the VM's card.
pub const OWN_HARDWARE: HardwareAddress = [0x52, 0x54, 0, b'C', b'y', 1];
/// The hardware address of everybody else.
pub const GATEWAY_HARDWARE: HardwareAddress = [0x52, 0x55, 10, 0, 2, 2];
/// The VM's address.
pub const ADDRESS: [u8; 4] = [10, 0, 2, 15];
/// The network that it is in.
pub const NETWORK: [u8; 4] = [10, 0, 2, 0];
/// Bits of an address that are the network's.
pub const PREFIX: u8 = 24;
/// The way to everywhere else; the host itself.
pub const GATEWAY: [u8; 4] = [10, 0, 2, 2];
/// Who knows names.
pub const NAME_SERVER: [u8; 4] = [10, 0, 2, 3];
