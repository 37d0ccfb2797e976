//! What a packet says of itself, before anybody takes it in: smoltcp reads it anew,
//! and checks it.

use crate::address::is_own;
use kernel::errno::Errno;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What follows a packet's header: TCP, with four of its flags; UDP; ICMP of either version.
const TCP: u8 = 6;
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;
const UDP: u8 = 17;
const ICMP: u8 = 1;
pub const ICMPV6: u8 = 58;
/// The type of ICMP's message that a packet did not arrive (RFC 792, RFC 4443).
const UNREACHABLE: u8 = 3;
const UNREACHABLE_V6: u8 = 1;
/// Bytes of such a message before the packet that it is about.
const ICMP_HEADER_BYTES: usize = 8;
/// Bytes of a header of IPv6.
pub const V6_HEADER_BYTES: usize = 40;

/// From whom a packet comes, and to whom it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    pub from: SocketAddr,
    pub to: SocketAddr,
}

/// A packet that did not arrive, as somebody says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    pub ends: Ends,
    /// It was UDP; else TCP.
    pub is_datagram: bool,
    /// Why.
    pub error: Errno,
}

/// What a packet is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// It calls for a connection.
    Call(Ends),
    /// It breaks one.
    Reset,
    /// It is the last of one that carries something. Whoever sent it takes so many bytes.
    End(Ends, u16),
    /// It belongs to one otherwise; the same.
    Segment(Ends, u16),
    /// UDP.
    Datagram(Ends),
    /// A packet did not arrive.
    Lost(Lost),
    /// Anything else.
    Other,
}

/// An address that stands there in a packet of IPv4.
fn v4(packet: &[u8], at: usize) -> Option<IpAddr> {
    packet.get(at..)?.first_chunk::<4>().map(|&octets| Ipv4Addr::from(octets).into())
}

/// The same of IPv6.
fn v6(packet: &[u8], at: usize) -> Option<IpAddr> {
    packet.get(at..)?.first_chunk::<16>().map(|&octets| Ipv6Addr::from(octets).into())
}

/// To whom a packet goes, of either version.
pub fn destination(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => v4(packet, 16),
        6 => v6(packet, 24),
        _ => None,
    }
}

/// The header of a packet, and what it carries.
pub struct Header<'a> {
    pub from: IpAddr,
    pub to: IpAddr,
    protocol: u8,
    carries: &'a [u8],
    /// Whether it is no piece of a packet.
    pub is_whole: bool,
}

impl<'a> Header<'a> {
    /// That of a packet of either version, if it has one.
    pub fn of(packet: &'a [u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::v4(packet),
            6 => Self::v6(packet),
            _ => None,
        }
    }

    fn v4(packet: &'a [u8]) -> Option<Self> {
        let pieces = *packet.get(6..)?.first_chunk::<2>()?;
        Some(Self {
            from: v4(packet, 12)?,
            to: destination(packet)?,
            protocol: *packet.get(9)?,
            carries: packet.get(usize::from(packet[0] & 15) * 4..)?,
            is_whole: (pieces[0] & 0x3f, pieces[1]) == (0, 0),
        })
    }

    /// What stands between the header and what a packet carries, pieces included,
    /// makes it something else.
    fn v6(packet: &'a [u8]) -> Option<Self> {
        let protocol = *packet.get(6)?;
        Some(Self {
            from: v6(packet, 8)?,
            to: destination(packet)?,
            protocol,
            carries: packet.get(V6_HEADER_BYTES..)?,
            is_whole: matches!(protocol, TCP | UDP | ICMPV6),
        })
    }

    fn ends(&self) -> Option<Ends> {
        let port = |at: usize| self.carries.get(at..)?.first_chunk().map(|port| u16::from_be_bytes(*port));
        Some(Ends { from: SocketAddr::new(self.from, port(0)?), to: SocketAddr::new(self.to, port(2)?) })
    }

    /// How many bytes the sender of a segment takes, or, if it counts in units of more
    /// than one, how many units.
    fn window(&self) -> Option<u16> {
        self.carries.get(14..)?.first_chunk().map(|window| u16::from_be_bytes(*window))
    }

    fn about(&self) -> Option<About> {
        Some(match (self.protocol, self.from) {
            (TCP, _) => match self.carries.get(13)? & (FIN | SYN | RST | ACK) {
                SYN => About::Call(self.ends()?),
                flags if flags & RST != 0 => About::Reset,
                flags if flags & FIN != 0 => About::End(self.ends()?, self.window()?),
                _ => About::Segment(self.ends()?, self.window()?),
            },
            (UDP, _) => About::Datagram(self.ends()?),
            (ICMP, IpAddr::V4(_)) => self.lost(reason)?,
            (ICMPV6, IpAddr::V6(_)) => self.lost(reason_v6)?,
            _ => About::Other,
        })
    }

    /// It may carry the start of a packet that did not arrive. Nobody but the node
    /// says that of what the node sent to itself.
    fn lost(&self, reason: fn(u8, u8) -> Option<Errno>) -> Option<About> {
        let error = reason(*self.carries.first()?, *self.carries.get(1)?)?;
        let lost = Self::of(self.carries.get(ICMP_HEADER_BYTES..)?)?;
        let may_say = lost.from == self.to && (lost.to == self.from || !is_own(lost.to));
        let is_known = may_say && matches!(lost.protocol, TCP | UDP);
        let is_datagram = lost.protocol == UDP;
        Some(if is_known {
            About::Lost(Lost { ends: lost.ends()?, is_datagram, error })
        } else {
            About::Other
        })
    }
}

/// Why a packet of IPv4 did not arrive, as Linux tells it.
fn reason(kind: u8, code: u8) -> Option<Errno> {
    match (kind, code) {
        (UNREACHABLE, 0 | 6 | 9 | 11) => Some(Errno::NETUNREACH),
        (UNREACHABLE, 1 | 8 | 10 | 12 | 13) => Some(Errno::HOSTUNREACH),
        (UNREACHABLE, 3) => Some(Errno::CONNREFUSED),
        _ => None,
    }
}

/// The same of IPv6.
fn reason_v6(kind: u8, code: u8) -> Option<Errno> {
    match (kind, code) {
        (UNREACHABLE_V6, 0) => Some(Errno::NETUNREACH),
        (UNREACHABLE_V6, 1) => Some(Errno::ACCES),
        (UNREACHABLE_V6, 2 | 3) => Some(Errno::HOSTUNREACH),
        (UNREACHABLE_V6, 4) => Some(Errno::CONNREFUSED),
        _ => None,
    }
}

/// What a packet is about, as far as it says so.
pub fn about(packet: &[u8]) -> About {
    Header::of(packet).and_then(|header| header.about()).unwrap_or(About::Other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: [u8; 20] = [0x45, 0, 0, 40, 0, 0, 0, 0, 64, UDP, 0, 0, 10, 0, 2, 2, 10, 0, 2, 15];
    const PORTS: [u8; 8] = [0, 99, 1, 0, 0, 8, 0, 0];

    fn header_v6(protocol: u8) -> Vec<u8> {
        let (from, to) = (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 2), Ipv6Addr::LOCALHOST);
        [&[0x60, 0, 0, 0, 0, 8, protocol, 64][..], &from.octets(), &to.octets()].concat()
    }

    fn ends(from: &str, to: &str) -> Ends {
        Ends { from: from.parse().unwrap(), to: to.parse().unwrap() }
    }

    #[test]
    fn datagrams_of_both_versions_say_between_whom_they_are() {
        let v4 = [&V4[..], &PORTS].concat();
        assert_eq!(about(&v4), About::Datagram(ends("10.0.2.2:99", "10.0.2.15:256")));
        let v6 = [header_v6(UDP), PORTS.to_vec()].concat();
        assert_eq!(about(&v6), About::Datagram(ends("[fec0::2]:99", "[::1]:256")));
        for packet in [v4, v6] {
            for length in 0..packet.len() - 4 {
                assert_eq!(about(&packet[..length]), About::Other, "{length} bytes");
            }
        }
    }

    #[test]
    fn what_did_not_arrive_is_told_from_its_own_packet() {
        let (mut inner, mut outer) = ([&V4[..], &PORTS].concat(), V4);
        inner[12..20].rotate_left(4);
        outer[9] = ICMP;
        let said = [&outer[..], &[3, 3, 0, 0, 0, 0, 0, 0], &inner].concat();
        let mut inner = header_v6(UDP);
        inner[8..40].rotate_left(16);
        let said_v6 = [&header_v6(ICMPV6)[..], &[1, 4, 0, 0, 0, 0, 0, 0], &inner, &PORTS].concat();
        let lost = |ends, is_datagram, error| About::Lost(Lost { ends, is_datagram, error });
        let (v4, v6) = (ends("10.0.2.15:99", "10.0.2.2:256"), ends("[::1]:99", "[fec0::2]:256"));
        let other = About::Other;
        // As it is; the kind, the reason, the protocol of the packet, its sender, and
        // each version's ICMP in the other one.
        for (packet, at, byte, says) in [
            (&said, 20, 3, lost(v4, true, Errno::CONNREFUSED)),
            (&said, 20, 8, other),
            (&said, 21, 0, lost(v4, true, Errno::NETUNREACH)),
            (&said, 21, 1, lost(v4, true, Errno::HOSTUNREACH)),
            (&said, 21, 4, other),
            (&said, 28 + 9, TCP, lost(v4, false, Errno::CONNREFUSED)),
            (&said, 28 + 9, ICMP, other),
            (&said, 28 + 15, 16, other),
            (&said, 9, ICMPV6, other),
            (&said_v6, 40, 1, lost(v6, true, Errno::CONNREFUSED)),
            (&said_v6, 40, 2, other),
            (&said_v6, 41, 0, lost(v6, true, Errno::NETUNREACH)),
            (&said_v6, 41, 3, lost(v6, true, Errno::HOSTUNREACH)),
            (&said_v6, 48 + 6, TCP, lost(v6, false, Errno::CONNREFUSED)),
            (&said_v6, 6, ICMP, other),
        ] {
            let mut packet = packet.clone();
            packet[at] = byte;
            assert_eq!(about(&packet), says, "byte {at}: {byte}");
        }
        for length in 0..said.len() - 4 {
            assert_eq!(about(&said[..length]), About::Other, "{length} bytes");
        }
    }
}
