//! The ABI's sockets: addresses and settings turned into Rust and back; the OS
//! above does the rest.

use super::files::{above, bytes, bytes_mut};
use super::{number, small_number, status};
use crate::system::{Carries, Errno, Family, OptionValue, SocketOption, Sockets};
use core::ffi::c_void;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use core::time::Duration;
use hermit_abi as abi;
use hermit_abi::{in_addr, in6_addr, linger, sockaddr, sockaddr_in, sockaddr_in6, socklen_t, timeval};

/// The sockets of the OS above, for the calling thread's activity.
pub(super) fn sockets() -> Result<(u64, &'static dyn Sockets), Errno> {
    above(Errno::NOT_SUPPORTED).map(|(tag, system)| (tag, system.sockets()))
}

/// An address of the caller's.
///
/// # Safety
/// `address` is null, or `length` bytes of the caller.
unsafe fn address(address: *const sockaddr, length: socklen_t) -> Result<SocketAddr, Errno> {
    if address.is_null() || (length as usize) < size_of::<sockaddr>() {
        return Err(Errno::INVALID);
    }
    // SAFETY: there are so many bytes.
    let family = unsafe { (*address).sa_family };
    match i32::from(family) {
        abi::AF_INET => {
            // SAFETY: an address of this family has the size of the general one.
            let inet = unsafe { address.cast::<sockaddr_in>().read_unaligned() };
            let ip = Ipv4Addr::from(inet.sin_addr.s_addr.to_ne_bytes());
            Ok(SocketAddrV4::new(ip, u16::from_be(inet.sin_port)).into())
        }
        abi::AF_INET6 if length as usize >= size_of::<sockaddr_in6>() => {
            // SAFETY: there are so many bytes.
            let inet = unsafe { address.cast::<sockaddr_in6>().read_unaligned() };
            let (ip, port) = (Ipv6Addr::from(inet.sin6_addr.s6_addr), u16::from_be(inet.sin6_port));
            Ok(SocketAddrV6::new(ip, port, inet.sin6_flowinfo, inet.sin6_scope_id).into())
        }
        abi::AF_INET6 => Err(Errno::INVALID),
        _ => Err(Errno(abi::errno::EAFNOSUPPORT)),
    }
}

/// An address as the ABI has it, in either form.
#[repr(C)]
pub(super) union Address {
    v4: sockaddr_in,
    v6: sockaddr_in6,
}

/// An address as the ABI has it, and its length.
pub(super) fn abi_address(address: SocketAddr) -> (Address, usize) {
    match address {
        SocketAddr::V4(address) => {
            let v4 = sockaddr_in {
                sin_len: size_of::<sockaddr_in>() as u8,
                sin_family: abi::AF_INET as u8,
                sin_port: address.port().to_be(),
                sin_addr: in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
                ..Default::default()
            };
            (Address { v4 }, size_of::<sockaddr_in>())
        }
        SocketAddr::V6(address) => {
            let v6 = sockaddr_in6 {
                sin6_len: size_of::<sockaddr_in6>() as u8,
                sin6_family: abi::AF_INET6 as u8,
                sin6_port: address.port().to_be(),
                sin6_flowinfo: address.flowinfo(),
                sin6_addr: in6_addr { s6_addr: address.ip().octets() },
                sin6_scope_id: address.scope_id(),
            };
            (Address { v6 }, size_of::<sockaddr_in6>())
        }
    }
}

/// Writes an address where the caller wants it, as far as there is room, and how
/// long it is.
///
/// # Safety
/// `length` is null or the caller's, and says how many bytes at `target`, if that
/// is not null, are the caller's.
unsafe fn put_address(address: SocketAddr, target: *mut sockaddr, length: *mut socklen_t) {
    if target.is_null() || length.is_null() {
        return;
    }
    let (source, bytes) = abi_address(address);
    // SAFETY: the caller's promise; the source has so many bytes.
    unsafe {
        let room = (*length as usize).min(bytes);
        core::ptr::copy_nonoverlapping((&raw const source).cast::<u8>(), target.cast::<u8>(), room);
        *length = bytes as socklen_t;
    }
}

/// A TCP or UDP socket of IPv4, or of IPv6, which then sees addresses of IPv4 as `::ffff:a.b.c.d`;
/// SOCK_NONBLOCK in the kind makes it one whose calls do not wait, SOCK_CLOEXEC is kept.
/// EAFNOSUPPORT for another family; ESOCKTNOSUPPORT, EPROTONOSUPPORT for another kind or protocol;
/// EMFILE: the activity has three quarters of the node's sockets, or 1024 descriptors; ENOBUFS, ENFILE: the node has no more.
///
/// Tested: std::net, crates::sockets
#[unsafe(no_mangle)]
extern "C" fn sys_socket(family: i32, kind: i32, protocol: i32) -> i32 {
    let make = || {
        let flags = abi::SOCK_NONBLOCK | abi::SOCK_CLOEXEC;
        let (carries, own) = match kind & !flags {
            abi::SOCK_STREAM => (Carries::Streams, abi::IPPROTO_TCP),
            abi::SOCK_DGRAM => (Carries::Datagrams, abi::IPPROTO_UDP),
            _ => return Err(Errno(abi::errno::ESOCKTNOSUPPORT)),
        };
        let family = match family {
            abi::AF_INET => Family::V4,
            abi::AF_INET6 => Family::V6,
            _ => return Err(Errno(abi::errno::EAFNOSUPPORT)),
        };
        if protocol != 0 && protocol != own {
            return Err(Errno(abi::errno::EPROTONOSUPPORT));
        }
        let (tag, sockets) = sockets()?;
        let fd = sockets.socket(tag, family, carries)?;
        if kind & abi::SOCK_NONBLOCK != 0 {
            sockets.set_nonblocking(tag, fd, true)?;
        }
        if kind & abi::SOCK_CLOEXEC != 0 {
            above(Errno::NOT_SUPPORTED)?.1.close_on_exec(tag, fd, true)?;
        }
        Ok(fd)
    };
    small_number(make())
}

/// Gives a socket an address and a port, any if that is 0. On `::` it is on all addresses of IPv4 as well, unless it has
/// IPV6_V6ONLY. EADDRINUSE, EADDRNOTAVAIL; EAFNOSUPPORT for an address of IPv6, if it is not; EINVAL if it has one.
///
/// Tested: std::net, crates::sockets
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_bind(fd: i32, name: *const sockaddr, length: socklen_t) -> i32 {
    // SAFETY: the caller's address.
    let address = unsafe { address(name, length) };
    status(address.and_then(|address| {
        let (tag, sockets) = sockets()?;
        sockets.bind(tag, fd, address)
    }))
}

/// Takes connections, of which so many (at most 128) may wait to be accepted; one more is refused.
/// EOPNOTSUPP for UDP, EINVAL for a socket that is connected. EMFILE, ENOBUFS as of `sys_socket`.
///
/// Tested: std::net, crates::sockets
#[unsafe(no_mangle)]
extern "C" fn sys_listen(fd: i32, backlog: i32) -> i32 {
    status(sockets().and_then(|(tag, sockets)| sockets.listen(tag, fd, backlog)))
}

/// The connection that has waited longest, as a descriptor. EAGAIN if there is none and the call does not wait;
/// EINVAL for a socket that does not listen. EMFILE, ENFILE as of `sys_socket`: whoever called goes on to wait.
///
/// Tested: std::net, crates::sockets
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_accept(fd: i32, name: *mut sockaddr, length: *mut socklen_t) -> i32 {
    let accepted = sockets().and_then(|(tag, sockets)| sockets.accept(tag, fd));
    small_number(accepted.map(|(fd, from)| {
        // SAFETY: the caller's address.
        unsafe { put_address(from, name, length) };
        fd
    }))
}

/// Connects. ECONNREFUSED; ETIMEDOUT after 75 s; ENETUNREACH from a node without a way out; EINVAL from the loopback to
/// the outside; EAFNOSUPPORT for an address of IPv6, if the socket is not; EINPROGRESS of one whose calls do not wait, EALREADY and EISCONN after that. One that failed may
/// connect again. EMFILE, ENOBUFS as of `sys_socket`.
///
/// Tested: std::net, crates::sockets
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_connect(fd: i32, name: *const sockaddr, length: socklen_t) -> i32 {
    // SAFETY: the caller's address.
    let address = unsafe { address(name, length) };
    status(address.and_then(|address| {
        let (tag, sockets) = sockets()?;
        sockets.connect(tag, fd, address)
    }))
}

/// Ends one direction of a connection, or both. ENOTCONN without one.
///
/// Tested: std::net, crates::sockets
#[unsafe(no_mangle)]
extern "C" fn sys_shutdown(fd: i32, how: i32) -> i32 {
    status(sockets().and_then(|(tag, sockets)| sockets.shutdown(tag, fd, how)))
}

/// `sys_shutdown` by its former name.
///
/// Tested: crates::events
#[unsafe(no_mangle)]
extern "C" fn sys_shutdown_socket(fd: i32, how: i32) -> i32 {
    sys_shutdown(fd, how)
}

/// Writes one of a socket's addresses.
///
/// # Safety
/// As [`put_address`].
unsafe fn name(fd: i32, peer: bool, name: *mut sockaddr, length: *mut socklen_t) -> i32 {
    let found = sockets().and_then(|(tag, sockets)| sockets.name(tag, fd, peer));
    // SAFETY: the caller's address.
    status(found.map(|address| unsafe { put_address(address, name, length) }))
}

/// The address of whom a socket is connected with. ENOTCONN.
///
/// Tested: std::net, crates::sockets
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_getpeername(fd: i32, target: *mut sockaddr, length: *mut socklen_t) -> i32 {
    // SAFETY: the caller's address.
    unsafe { name(fd, true, target, length) }
}

/// A socket's own address.
///
/// Tested: std::net, crates::sockets
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_getsockname(fd: i32, target: *mut sockaddr, length: *mut socklen_t) -> i32 {
    // SAFETY: the caller's address.
    unsafe { name(fd, false, target, length) }
}

/// Sends; `to` where no address is given, to whom it is connected with.
fn send(fd: i32, source: &[u8], flags: i32, to: Option<SocketAddr>) -> isize {
    let send = || match flags {
        0 => sockets().and_then(|(tag, sockets)| sockets.send(tag, fd, source, to)),
        _ => Err(Errno::NOT_SUPPORTED),
    };
    number(send()) as isize
}

/// Sends bytes of a stream (all of them, unless the call does not wait) or a datagram to the peer: how many.
/// EPIPE, ECONNRESET, ENOTCONN, EDESTADDRREQ; EMSGSIZE for a datagram of more than 3972 bytes (3952 by IPv6);
/// ECONNREFUSED, once, if the peer of a connected UDP socket said that nobody has that port; ENOSYS for a flag.
///
/// Tested: std::net, crates::sockets
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_send(fd: i32, source: *const c_void, length: usize, flags: i32) -> isize {
    // SAFETY: the caller's buffer.
    send(fd, unsafe { bytes(source.cast(), length) }, flags, None)
}

/// Sends a datagram to an address. EACCES for the broadcast address without SO_BROADCAST; else as `sys_send`.
///
/// Tested: std::net, crates::sockets
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_sendto(
    fd: i32,
    source: *const c_void,
    length: usize,
    flags: i32,
    name: *const sockaddr,
    name_length: socklen_t,
) -> isize {
    // SAFETY: the caller's buffer.
    let source = unsafe { bytes(source.cast(), length) };
    if name.is_null() {
        return send(fd, source, flags, None);
    }
    // SAFETY: the caller's address.
    match unsafe { address(name, name_length) } {
        Ok(to) => send(fd, source, flags, Some(to)),
        Err(error) => number::<i64>(Err(error)) as isize,
    }
}

/// Receives; from whom, if that does not follow from the connection.
///
/// # Safety
/// The buffer is the caller's.
unsafe fn receive(
    fd: i32,
    target: *mut u8,
    length: usize,
    flags: i32,
) -> Result<(usize, Option<SocketAddr>), Errno> {
    if flags & !abi::MSG_PEEK != 0 {
        return Err(Errno::NOT_SUPPORTED);
    }
    let (tag, sockets) = sockets()?;
    // SAFETY: the caller's buffer.
    sockets.receive(tag, fd, unsafe { bytes_mut(target, length) }, flags & abi::MSG_PEEK != 0)
}

/// Receives bytes of a stream, or a datagram, whose rest is lost; MSG_PEEK leaves it there. 0: the peer sends no more.
/// ECONNRESET, ENOTCONN; ECONNREFUSED as of `sys_send`; EAGAIN if there is nothing and the call does not wait, or not longer than SO_RCVTIMEO;
/// ENOSYS for another flag.
///
/// Tested: std::net, crates::sockets
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_recv(fd: i32, target: *mut u8, length: usize, flags: i32) -> isize {
    // SAFETY: the caller's buffer.
    number(unsafe { receive(fd, target, length, flags) }.map(|(received, _)| received)) as isize
}

/// Receives as `sys_recv`, and says from whom, in no bytes if that is a connection that is over.
///
/// Tested: std::net, crates::sockets
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_recvfrom(
    fd: i32,
    target: *mut u8,
    length: usize,
    flags: i32,
    name: *mut sockaddr,
    name_length: *mut socklen_t,
) -> isize {
    // SAFETY: the caller's buffer.
    let received = unsafe { receive(fd, target, length, flags) }.map(|(received, from)| {
        // What was received is not lost for want of a name.
        let peer = || sockets().and_then(|(tag, sockets)| sockets.name(tag, fd, true)).ok();
        match from.or_else(|| if name.is_null() { None } else { peer() }) {
            // SAFETY: the caller's address.
            Some(from) => unsafe { put_address(from, name, name_length) },
            None if name_length.is_null() => {}
            // SAFETY: the caller's length.
            None => unsafe { *name_length = 0 },
        }
        received
    });
    number(received) as isize
}

/// Which setting the ABI means.
fn option(level: i32, name: i32) -> Result<SocketOption, Errno> {
    Ok(match (level, name) {
        (abi::SOL_SOCKET, abi::SO_RCVTIMEO) => SocketOption::ReceiveTimeout,
        (abi::SOL_SOCKET, abi::SO_SNDTIMEO) => SocketOption::SendTimeout,
        (abi::SOL_SOCKET, abi::SO_ERROR) => SocketOption::Error,
        (abi::SOL_SOCKET, abi::SO_REUSEADDR) => SocketOption::ReuseAddress,
        (abi::SOL_SOCKET, abi::SO_KEEPALIVE) => SocketOption::KeepAlive,
        (abi::SOL_SOCKET, abi::SO_BROADCAST) => SocketOption::Broadcast,
        (abi::SOL_SOCKET, abi::SO_LINGER) => SocketOption::Linger,
        (abi::SOL_SOCKET, abi::SO_RCVBUF) => SocketOption::ReceiveBuffer,
        (abi::SOL_SOCKET, abi::SO_SNDBUF) => SocketOption::SendBuffer,
        (abi::IPPROTO_TCP, abi::TCP_NODELAY) => SocketOption::NoDelay,
        (abi::IPPROTO_IP, abi::IP_TTL) => SocketOption::TimeToLive,
        (abi::IPPROTO_IPV6, abi::IPV6_V6ONLY) => SocketOption::OnlyV6,
        _ => return Err(Errno(abi::errno::ENOPROTOOPT)),
    })
}

/// A setting's value, of the type that the ABI has for it.
///
/// # Safety
/// `value` is null, or `length` bytes of the caller.
unsafe fn value(option: SocketOption, value: *const c_void, length: socklen_t) -> Result<OptionValue, Errno> {
    let has = |bytes: usize| {
        if value.is_null() || (length as usize) < bytes { Err(Errno::INVALID) } else { Ok(()) }
    };
    match option {
        SocketOption::ReceiveTimeout | SocketOption::SendTimeout => {
            has(size_of::<timeval>())?;
            // SAFETY: there are so many bytes.
            let time = unsafe { value.cast::<timeval>().read_unaligned() };
            let (seconds, micros) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_usec));
            let (Ok(seconds), Ok(micros @ ..1_000_000)) = (seconds, micros) else {
                return Err(Errno::INVALID);
            };
            let time = Duration::new(seconds, micros * 1000);
            Ok(OptionValue::Time(Some(time).filter(|time| !time.is_zero())))
        }
        SocketOption::Linger => {
            has(size_of::<linger>())?;
            // SAFETY: there are so many bytes.
            let linger = unsafe { value.cast::<linger>().read_unaligned() };
            let time = Duration::from_secs(u64::try_from(linger.l_linger).map_err(|_| Errno::INVALID)?);
            Ok(OptionValue::Time((linger.l_onoff != 0).then_some(time)))
        }
        _ => {
            has(size_of::<i32>())?;
            // SAFETY: there are so many bytes.
            Ok(OptionValue::Number(unsafe { value.cast::<i32>().read_unaligned() }))
        }
    }
}

/// Changes a setting: SO_RCVTIMEO, SO_SNDTIMEO, SO_REUSEADDR (as if it always were on), SO_KEEPALIVE
/// (ETIMEDOUT: after two hours of silence, nine questions 75 s apart were not answered), SO_BROADCAST,
/// SO_LINGER (of no time: closing breaks the connection; of more: closing does not wait), TCP_NODELAY, IP_TTL,
/// IPV6_V6ONLY (EINVAL if it has a port). ENOPROTOOPT for any other.
///
/// Tested: std::net, crates::sockets
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_setsockopt(
    fd: i32,
    level: i32,
    name: i32,
    source: *const c_void,
    length: socklen_t,
) -> i32 {
    let set = || {
        let option = option(level, name)?;
        // SAFETY: the caller's value.
        let value = unsafe { value(option, source, length) }?;
        let (tag, sockets) = sockets()?;
        sockets.set_option(tag, fd, option, value)
    };
    status(set())
}

/// Writes a value where the caller wants it, as far as there is room.
///
/// # Safety
/// `length` is the caller's and says how many bytes at `target` are.
unsafe fn put<T>(value: T, target: *mut c_void, length: *mut socklen_t) {
    // SAFETY: the caller's promise.
    unsafe {
        let room = (*length as usize).min(size_of::<T>());
        core::ptr::copy_nonoverlapping((&raw const value).cast::<u8>(), target.cast::<u8>(), room);
        *length = room as socklen_t;
    }
}

/// A setting; also SO_ERROR (what went wrong, once), SO_RCVBUF and SO_SNDBUF. ENOPROTOOPT for any other.
///
/// Tested: std::net, crates::sockets
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_getsockopt(
    fd: i32,
    level: i32,
    name: i32,
    target: *mut c_void,
    length: *mut socklen_t,
) -> i32 {
    let get = || {
        if target.is_null() || length.is_null() {
            return Err(Errno::INVALID);
        }
        let option = option(level, name)?;
        let (tag, sockets) = sockets()?;
        let value = sockets.option(tag, fd, option)?;
        // SAFETY: the caller's value.
        unsafe {
            match (option, value) {
                (_, OptionValue::Number(number)) => put(number, target, length),
                (SocketOption::Linger, OptionValue::Time(time)) => {
                    let l_linger = time.map_or(0, |time| i32::try_from(time.as_secs()).unwrap_or(i32::MAX));
                    put(linger { l_onoff: time.is_some().into(), l_linger }, target, length);
                }
                (_, OptionValue::Time(time)) => {
                    let time = time.unwrap_or_default();
                    let tv_sec = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
                    put(timeval { tv_sec, tv_usec: time.subsec_micros() as i32 }, target, length);
                }
            }
        }
        Ok(())
    };
    status(get())
}
