//! The ABI's sockets. There are none yet: every call answers `-ENOSYS`, so
//! `std::net` reports an error where it opens something.

use core::ffi::{c_char, c_void};
use hermit_abi::{addrinfo, sockaddr, socklen_t};

refused! {
    /// There are no sockets yet.
    ///
    /// Tested: selftest::refusals
    fn sys_socket(domain: i32, kind: i32, protocol: i32) -> i32;

    /// There are no sockets yet.
    ///
    /// Tested: selftest::refusals
    fn sys_bind(socket: i32, name: *const sockaddr, length: socklen_t) -> i32;

    /// There are no sockets yet.
    ///
    /// Tested: selftest::refusals
    fn sys_listen(socket: i32, backlog: i32) -> i32;

    /// There are no sockets yet.
    ///
    /// Tested: selftest::refusals
    fn sys_accept(socket: i32, name: *mut sockaddr, length: *mut socklen_t) -> i32;

    /// There are no sockets yet.
    ///
    /// Tested: selftest::refusals
    fn sys_connect(socket: i32, name: *const sockaddr, length: socklen_t) -> i32;

    /// There are no sockets yet.
    ///
    /// Tested: selftest::refusals
    fn sys_shutdown(socket: i32, how: i32) -> i32;

    /// There are no sockets yet.
    ///
    /// Tested: selftest::refusals
    fn sys_shutdown_socket(socket: i32, how: i32) -> i32;

    /// There are no sockets yet.
    ///
    /// Tested: selftest::refusals
    fn sys_getpeername(socket: i32, name: *mut sockaddr, length: *mut socklen_t) -> i32;

    /// There are no sockets yet.
    ///
    /// Tested: selftest::refusals
    fn sys_getsockname(socket: i32, name: *mut sockaddr, length: *mut socklen_t) -> i32;

    /// There are no sockets yet.
    ///
    /// Tested: selftest::refusals
    fn sys_getsockopt(socket: i32, level: i32, option: i32, value: *mut c_void, length: *mut socklen_t) -> i32;

    /// There are no sockets yet.
    ///
    /// Tested: selftest::refusals
    fn sys_setsockopt(socket: i32, level: i32, option: i32, value: *const c_void, length: socklen_t) -> i32;

    /// There are no sockets yet.
    ///
    /// Tested: selftest::refusals
    fn sys_send(socket: i32, source: *const c_void, length: usize, flags: i32) -> isize;

    /// There are no sockets yet.
    ///
    /// Tested: selftest::refusals
    fn sys_sendto(socket: i32, source: *const c_void, length: usize, flags: i32, name: *const sockaddr, bytes: socklen_t) -> isize;

    /// There are no sockets yet.
    ///
    /// Tested: selftest::refusals
    fn sys_recv(socket: i32, target: *mut u8, length: usize, flags: i32) -> isize;

    /// There are no sockets yet.
    ///
    /// Tested: selftest::refusals
    fn sys_recvfrom(socket: i32, target: *mut u8, length: usize, flags: i32, name: *mut sockaddr, bytes: *mut socklen_t) -> isize;

    /// There are no sockets yet.
    ///
    /// Tested: selftest::refusals
    fn sys_getaddrbyname(name: *const c_char, address: *mut u8, length: usize) -> i32;

    /// There are no sockets yet.
    ///
    /// Tested: selftest::refusals
    fn sys_network_init() -> i32;
}

/// Answers EAI_FAIL: names cannot be looked up.
///
/// Tested: selftest::refusals
#[unsafe(no_mangle)]
extern "C" fn sys_getaddrinfo(
    _node: *const c_char,
    _service: *const c_char,
    _hints: *const addrinfo,
    _result: *mut *mut addrinfo,
) -> i32 {
    hermit_abi::EAI_FAIL
}

/// Nothing was ever handed out that could be freed.
///
/// Tested: selftest::refusals
#[unsafe(no_mangle)]
extern "C" fn sys_freeaddrinfo(_list: *mut addrinfo) {}
