//! What the OS above supplies of sockets, and of waiting for descriptors.

use super::Errno;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use hermit_abi::pollfd;

/// What a socket carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// Streams of bytes: TCP.
    Streams,
    /// Datagrams: UDP.
    Datagrams,
}

/// Which version of IP a socket is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A setting of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "POSIX says what they mean")]
pub enum SocketOption {
    ReceiveTimeout,
    SendTimeout,
    /// What went wrong since it was asked last: its error number, or 0.
    Error,
    ReuseAddress,
    KeepAlive,
    Broadcast,
    Linger,
    ReceiveBuffer,
    SendBuffer,
    NoDelay,
    TimeToLive,
    OnlyV6,
}

/// The value of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionValue {
    /// A number, or 0 and 1 for off and on.
    Number(i32),
    /// A time, or none.
    Time(Option<Duration>),
}

/// The sockets of the OS above; descriptors are those of [`super::System`].
/// Whatever is not supplied answers `ENOSYS`.
#[allow(unused_variables, reason = "the defaults refuse whatever they are given")]
pub trait Sockets: Sync {
    /// A socket; its descriptor.
    fn socket(&self, tag: u64, family: Family, carries: Carries) -> Result<i32, Errno> {
        Err(Errno::NOT_SUPPORTED)
    }

    /// Gives it an address.
    fn bind(&self, tag: u64, fd: i32, address: SocketAddr) -> Result<(), Errno> {
        Err(Errno::NOT_SUPPORTED)
    }

    /// Takes connections, of which so many may wait.
    fn listen(&self, tag: u64, fd: i32, backlog: i32) -> Result<(), Errno> {
        Err(Errno::NOT_SUPPORTED)
    }

    /// A connection that came, as a descriptor, and from whom.
    fn accept(&self, tag: u64, fd: i32) -> Result<(i32, SocketAddr), Errno> {
        Err(Errno::NOT_SUPPORTED)
    }

    /// Connects.
    fn connect(&self, tag: u64, fd: i32, address: SocketAddr) -> Result<(), Errno> {
        Err(Errno::NOT_SUPPORTED)
    }

    /// Ends a direction, by `SHUT_RD` and its kin.
    fn shutdown(&self, tag: u64, fd: i32, how: i32) -> Result<(), Errno> {
        Err(Errno::NOT_SUPPORTED)
    }

    /// Its own address, or (if `peer`) that of whom it is connected with.
    fn name(&self, tag: u64, fd: i32, peer: bool) -> Result<SocketAddr, Errno> {
        Err(Errno::NOT_SUPPORTED)
    }

    /// Sends, to an address or to whom it is connected with.
    fn send(&self, tag: u64, fd: i32, source: &[u8], to: Option<SocketAddr>) -> Result<usize, Errno> {
        Err(Errno::NOT_SUPPORTED)
    }

    /// Receives, or only looks if `peek`; from whom, if it does not follow from the connection.
    fn receive(
        &self,
        tag: u64,
        fd: i32,
        target: &mut [u8],
        peek: bool,
    ) -> Result<(usize, Option<SocketAddr>), Errno> {
        Err(Errno::NOT_SUPPORTED)
    }

    /// A setting.
    fn option(&self, tag: u64, fd: i32, option: SocketOption) -> Result<OptionValue, Errno> {
        Err(Errno::NOT_SUPPORTED)
    }

    /// Changes a setting. The value is of the option's type.
    fn set_option(&self, tag: u64, fd: i32, option: SocketOption, value: OptionValue) -> Result<(), Errno> {
        Err(Errno::NOT_SUPPORTED)
    }

    /// The addresses of a name.
    fn addresses(&self, tag: u64, name: &str) -> Result<Vec<IpAddr>, Errno> {
        Err(Errno::NOT_SUPPORTED)
    }

    /// A counter that can be waited for (`eventfd`); its descriptor.
    fn counter(&self, tag: u64, value: u64, flags: i16) -> Result<i32, Errno> {
        Err(Errno::NOT_SUPPORTED)
    }

    /// Whether calls on a descriptor answer `EAGAIN` instead of waiting.
    fn is_nonblocking(&self, tag: u64, fd: i32) -> Result<bool, Errno> {
        Err(Errno::BAD_DESCRIPTOR)
    }

    /// Changes that.
    fn set_nonblocking(&self, tag: u64, fd: i32, on: bool) -> Result<(), Errno> {
        Err(Errno::BAD_DESCRIPTOR)
    }

    /// Waits until something can be done with some of these, at most so long;
    /// notes what in each, and says with how many.
    fn poll(&self, tag: u64, descriptors: &mut [pollfd], timeout: Option<Duration>) -> Result<usize, Errno> {
        Err(Errno::NOT_SUPPORTED)
    }
}

/// No sockets.
pub struct NoSockets;

impl Sockets for NoSockets {}
