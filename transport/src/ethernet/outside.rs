//! The Ethernet that leads out of the machine: QEMU's user network, as the VM
//! at its one other end sees it.
//!
//! QEMU fixes the gateway's hardware address (52:55, then its IPv4 address) and
//! takes whatever goes to it; the rest its command line says.

use super::HardwareAddress;
use core::net::Ipv6Addr;

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

/// The VM's address by IPv6.
pub const ADDRESS_V6: Ipv6Addr = Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0x15);
/// The network that it is in.
pub const NETWORK_V6: Ipv6Addr = Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0);
/// Bits of an address that are that network's.
pub const PREFIX_V6: u8 = 64;
/// The host itself: its `::1`.
pub const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 2);
/// Who knows names, if the host knows somebody by IPv6.
pub const NAME_SERVER_V6: Ipv6Addr = Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 3);
/// Most bytes of a packet of IPv6: the gateway passes on no longer ones.
pub const MAX_PACKET_V6: usize = 1500;
