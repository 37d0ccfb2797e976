//! The ABI's sockets. There are none yet: every call answers `-ENOSYS`, so
//! `std::net` reports an error where it opens something.

use super::{number, status};
use crate::system::Errno;
use core::ffi::{c_char, c_void};
use hermit_abi::{addrinfo, sockaddr, socklen_t};

/// Defines functions that answer `-ENOSYS`.
macro_rules! refused {
    ($($name:ident($($argument:ty),*);)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name($(_: $argument),*) -> i32 {
            status(Err(Errno::NOT_SUPPORTED))
        }
    )*};
}

/// The same for functions that answer with a length.
macro_rules! refused_transfer {
    ($($name:ident($($argument:ty),*);)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name($(_: $argument),*) -> isize {
            number::<i64>(Err(Errno::NOT_SUPPORTED)) as isize
        }
    )*};
}

refused! {
    sys_socket(i32, i32, i32);
    sys_bind(i32, *const sockaddr, socklen_t);
    sys_listen(i32, i32);
    sys_accept(i32, *mut sockaddr, *mut socklen_t);
    sys_connect(i32, *const sockaddr, socklen_t);
    sys_shutdown(i32, i32);
    sys_getpeername(i32, *mut sockaddr, *mut socklen_t);
    sys_getsockname(i32, *mut sockaddr, *mut socklen_t);
    sys_getsockopt(i32, i32, i32, *mut c_void, *mut socklen_t);
    sys_setsockopt(i32, i32, i32, *const c_void, socklen_t);
}

refused_transfer! {
    sys_send(i32, *const c_void, usize, i32);
    sys_sendto(i32, *const c_void, usize, i32, *const sockaddr, socklen_t);
    sys_recv(i32, *mut u8, usize, i32);
    sys_recvfrom(i32, *mut u8, usize, i32, *mut sockaddr, *mut socklen_t);
}

/// Answers `EAI_FAIL`: names cannot be looked up.
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
#[unsafe(no_mangle)]
extern "C" fn sys_freeaddrinfo(_list: *mut addrinfo) {}
