//! Addresses of both versions of IP, and which of them a socket has.
//!
//! Within the crate an IPv4 address is one, however a program wrote it. A socket of
//! IPv6 sees it mapped, as `::ffff:a.b.c.d` (RFC 4291, 2.5.5.2): [`Family::taken`] and
//! [`Family::shown`] turn one into the other at the border.

use kernel::errno::Errno;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use transport::ethernet::outside;

/// Which version of IP a program asked for. A socket of IPv6 talks both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Nowhere in particular.
    pub const fn unspecified(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Self::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }
    }

    /// An address that a program gave its socket.
    ///
    /// # Errors
    /// `AFNOSUPPORT`: it is IPv6's, and the socket is not.
    pub fn taken(self, given: SocketAddr) -> Result<SocketAddr, Errno> {
        match (self, given) {
            (Self::V4, SocketAddr::V6(_)) => Err(Errno::AFNOSUPPORT),
            _ => Ok(SocketAddr::new(given.ip().to_canonical(), given.port())),
        }
    }

    /// An address as a program sees it through its socket.
    pub fn shown(self, address: SocketAddr) -> SocketAddr {
        match (self, address.ip()) {
            (Self::V6, IpAddr::V4(ip)) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
            _ => address,
        }
    }
}

/// On which of the node's addresses a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// On all of them.
    All,
    /// On all of this version.
    Version(Family),
    /// On one.
    One(IpAddr),
}

impl Reach {
    /// That of a socket which asks for this address, and for nothing of IPv4 if
    /// `only_v6`.
    pub fn of(wanted: IpAddr, only_v6: bool) -> Self {
        match wanted {
            wanted if !wanted.is_unspecified() => Self::One(wanted),
            IpAddr::V4(_) => Self::Version(Family::V4),
            IpAddr::V6(_) if only_v6 => Self::Version(Family::V6),
            IpAddr::V6(_) => Self::All,
        }
    }

    /// The one address.
    pub fn one(self) -> Option<IpAddr> {
        match self {
            Self::One(address) => Some(address),
            Self::All | Self::Version(_) => None,
        }
    }

    /// The address as a name of all this.
    pub fn name(self) -> IpAddr {
        match self {
            Self::All => Family::V6.unspecified(),
            Self::Version(family) => family.unspecified(),
            Self::One(address) => address,
        }
    }

    /// Whether it has this address.
    pub fn has(self, address: IpAddr) -> bool {
        match self {
            Self::All => true,
            Self::Version(family) => family == of(address),
            Self::One(own) => own == address,
        }
    }

    /// Whether both have an address.
    pub fn meets(self, other: Self) -> bool {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => true,
            (Self::Version(one), Self::Version(other)) => one == other,
            (reach, Self::One(address)) | (Self::One(address), reach) => reach.has(address),
        }
    }
}

/// Which version of IP an address is of.
pub const fn of(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}

/// The node itself, in this version.
pub const fn loopback(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Family::V6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
    }
}

/// The node's address outside.
pub fn outside(family: Family) -> IpAddr {
    match family {
        Family::V4 => outside::ADDRESS.into(),
        Family::V6 => outside::ADDRESS_V6.into(),
    }
}

/// Whether what goes to this address stays on the node.
pub fn is_own(address: IpAddr) -> bool {
    address.is_loopback() || outside(of(address)) == address
}

/// Whether no single one could answer there: the first and the last address of a
/// network are nobody's.
pub fn is_nobodys(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            address.is_loopback() && matches!(address.octets(), [_, 0, 0, 0] | [_, 255, 255, 255])
        }
        IpAddr::V6(address) => address.is_multicast() || address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn ipv4_is_mapped_for_sockets_of_ipv6_alone() {
        let [plain, mapped, other] =
            ["10.0.2.15:80", "[::ffff:10.0.2.15]:80", "[::1]:80"].map(|text| text.parse().unwrap());
        assert_eq!([plain, mapped].map(|given| Family::V6.taken(given)), [Ok(plain), Ok(plain)]);
        assert_eq!(Family::V6.taken(other), Ok(other));
        assert_eq!(Family::V4.taken(plain), Ok(plain));
        assert_eq!([mapped, other].map(|given| Family::V4.taken(given)), [Err(Errno::AFNOSUPPORT); 2]);
        assert_eq!([plain, other].map(|address| Family::V6.shown(address)), [mapped, other]);
        assert_eq!(Family::V4.shown(plain), plain);
    }

    #[test]
    fn who_has_which_addresses_and_who_shares_some() {
        let of = |text: &str| Reach::of(ip(text), false);
        let only = Reach::of(ip("::"), true);
        let all = [of("::"), of("0.0.0.0"), only, of("::1"), of("127.0.0.1"), of("127.0.0.2")];
        let meets = [
            [true; 6],
            [true, true, false, false, true, true],
            [true, false, true, true, false, false],
            [true, false, true, true, false, false],
            [true, true, false, false, true, false],
            [true, true, false, false, false, true],
        ];
        assert_eq!(all.map(|one| all.map(|other| one.meets(other))), meets);
        assert_eq!(all.map(|one| one.has(ip("::1"))), [true, false, true, true, false, false]);
        assert_eq!(all.map(|one| one.has(ip("127.0.0.2"))), [true, true, false, false, false, true]);
        assert_eq!(all.map(Reach::name)[..3], ["::", "0.0.0.0", "::"].map(ip));
    }
}
