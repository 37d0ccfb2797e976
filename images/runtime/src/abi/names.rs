//! The ABI's addresses of names.

use super::net::{Address, abi_address, sockets};
use super::status;
use crate::system::Errno;
use alloc::boxed::Box;
use core::ffi::{CStr, c_char};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::ptr::null_mut;
use hermit_abi as abi;
use hermit_abi::{addrinfo, in_addr, sockaddr_in, socklen_t};

/// A list entry and the address that it points at, in one piece.
#[repr(C)]
struct Found {
    info: addrinfo,
    address: Address,
}

/// The addresses of a name: a number, localhost (127.0.0.1, then ::1), or what the name server outside says. EAI_NONAME if it says nothing,
/// or there is no way to it; EAI_SERVICE for a service that is no number.
///
/// Tested: crates::sockets
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_getaddrinfo(
    node: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    result: *mut *mut addrinfo,
) -> i32 {
    let text = |text: *const c_char| {
        // SAFETY: a string of the caller's.
        (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_str())
    };
    let port = match text(service).map(|service| service.map(str::parse)) {
        None => 0,
        Some(Ok(Ok(port))) => port,
        Some(_) => return abi::EAI_SERVICE,
    };
    // SAFETY: null, or the caller's.
    let hints = unsafe { hints.as_ref() };
    let (family, kind) = hints.map_or((abi::AF_UNSPEC, 0), |hints| (hints.ai_family, hints.ai_socktype));
    let addresses = match text(node) {
        None => Ok(alloc::vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]),
        Some(Ok(name)) => sockets().and_then(|(tag, sockets)| sockets.addresses(tag, name)),
        Some(Err(_)) => return abi::EAI_NONAME,
    };
    let mut addresses = match addresses {
        Ok(addresses) => addresses,
        Err(Errno::NOT_FOUND) => return abi::EAI_NONAME,
        Err(Errno::AGAIN | Errno::TIMED_OUT) => return abi::EAI_AGAIN,
        Err(_) => return abi::EAI_FAIL,
    };
    addresses.retain(|address| match family {
        abi::AF_INET => address.is_ipv4(),
        abi::AF_INET6 => address.is_ipv6(),
        _ => true,
    });
    if addresses.is_empty() {
        return abi::EAI_NODATA;
    }
    let list = addresses
        .into_iter()
        .rev()
        .fold(null_mut(), |next, address| found(SocketAddr::new(address, port), kind, next));
    // SAFETY: the caller's variable.
    unsafe { *result = list };
    0
}

/// A list entry for an address, before the others.
fn found(address: SocketAddr, kind: i32, next: *mut addrinfo) -> *mut addrinfo {
    let (address, length) = abi_address(address);
    let family = if length == size_of::<sockaddr_in>() { abi::AF_INET } else { abi::AF_INET6 };
    let info = addrinfo {
        ai_flags: 0,
        ai_family: family,
        ai_socktype: kind,
        ai_protocol: 0,
        ai_addrlen: length as socklen_t,
        ai_canonname: null_mut(),
        ai_addr: null_mut(),
        ai_next: next,
    };
    let entry = Box::into_raw(Box::new(Found { info, address }));
    // SAFETY: just made, and nobody else's.
    unsafe {
        (*entry).info.ai_addr = (&raw mut (*entry).address).cast();
    }
    entry.cast()
}

/// Frees what `sys_getaddrinfo` made.
///
/// Tested: crates::sockets
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_freeaddrinfo(mut list: *mut addrinfo) {
    while !list.is_null() {
        // SAFETY: the list was made by `found`, whose entries start with their info.
        let entry = unsafe { Box::from_raw(list.cast::<Found>()) };
        list = entry.info.ai_next;
    }
}

/// The first IPv4 address of a name, into 4 bytes. EINVAL for another size, ENOENT for another name.
///
/// Tested: crates::events
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_getaddrbyname(name: *const c_char, target: *mut u8, length: usize) -> i32 {
    let find = || {
        if name.is_null() || target.is_null() || length != size_of::<in_addr>() {
            return Err(Errno::INVALID);
        }
        // SAFETY: a string of the caller's.
        let name = unsafe { CStr::from_ptr(name) }.to_str().map_err(|_| Errno::NOT_FOUND)?;
        let (tag, sockets) = sockets()?;
        let found = sockets.addresses(tag, name)?;
        let address = found.into_iter().find_map(|address| match address {
            IpAddr::V4(address) => Some(address.octets()),
            IpAddr::V6(_) => None,
        });
        // SAFETY: the caller's buffer of so many bytes.
        unsafe { target.cast::<[u8; 4]>().write_unaligned(address.ok_or(Errno::NOT_FOUND)?) };
        Ok(())
    };
    status(find())
}

/// Says whether there are sockets: ENOSYS if not. They need no beginning.
///
/// Tested: crates::events
#[unsafe(no_mangle)]
extern "C" fn sys_network_init() -> i32 {
    status(sockets().map(|_| ()))
}
