//! The ABI's waiting for descriptors: `poll`, `eventfd`, and whether a call waits.

use super::files::above;
use super::{number, small_number, status};
use crate::system::Errno;
use core::ffi::c_void;
use core::time::Duration;
use hermit_abi::{
    F_DUPFD, F_GETFD, F_GETFL, F_SETFD, F_SETFL, FD_CLOEXEC, FIONBIO, O_NONBLOCK, POLLIN, pollfd,
};

/// Waits for descriptors (POLLIN, POLLOUT; POLLHUP, POLLERR and POLLNVAL are always told): of how many there is
/// something to tell. Files and the console never wait. -1 for an error, which `sys_errno` has: `std` knows no other.
///
/// Tested: crates::events, std::net
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_poll(descriptors: *mut pollfd, count: usize, timeout_ms: i32) -> i32 {
    let poll = || {
        let (tag, system) = above(Errno::NOT_SUPPORTED)?;
        let descriptors = match (descriptors.is_null(), count) {
            (_, 0) => &mut [],
            (true, _) => return Err(Errno::INVALID),
            // SAFETY: the caller's array.
            (false, _) => unsafe { core::slice::from_raw_parts_mut(descriptors, count) },
        };
        let timeout = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
        system.sockets().poll(tag, descriptors, timeout)
    };
    small_number(poll()).max(-1)
}

/// Whether a read would wait for something to come.
pub(super) fn would_wait(fd: i32) -> bool {
    let Ok((tag, system)) = above(Errno::NOT_SUPPORTED) else { return false };
    let mut one = [pollfd { fd, events: POLLIN, revents: 0 }];
    system.sockets().poll(tag, &mut one, Some(Duration::ZERO)) == Ok(0)
}

/// A counter with a descriptor: a write adds 8 bytes' number, a read takes all of it (1 with EFD_SEMAPHORE) and waits
/// while it is 0. EINVAL for another flag.
///
/// Tested: crates::events
#[unsafe(no_mangle)]
extern "C" fn sys_eventfd(value: u64, flags: i16) -> i32 {
    small_number(
        above(Errno::NOT_SUPPORTED).and_then(|(tag, system)| system.sockets().counter(tag, value, flags)),
    )
}

fn set_nonblocking(fd: i32, on: bool) -> Result<(), Errno> {
    let (tag, system) = above(Errno::NOT_SUPPORTED)?;
    system.sockets().set_nonblocking(tag, fd, on)
}

/// FIONBIO: whether calls on a socket or counter wait. ENOSYS for anything else.
///
/// Tested: std::net, crates::sockets
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_ioctl(fd: i32, command: i32, argument: *mut c_void) -> i32 {
    status(match command {
        FIONBIO if argument.is_null() => Err(Errno::INVALID),
        // SAFETY: the argument of this command is a number of the caller's.
        FIONBIO => set_nonblocking(fd, unsafe { argument.cast::<i32>().read() } != 0),
        _ => Err(Errno::NOT_SUPPORTED),
    })
}

/// F_GETFL and F_SETFL know O_NONBLOCK, F_DUPFD is `sys_dup`; F_SETFD keeps FD_CLOEXEC for F_GETFD, and there is no
/// `exec` that would close anything (ENOSYS for the console, whose descriptors belong to all). ENOSYS for anything else.
///
/// Tested: crates::events
#[unsafe(no_mangle)]
extern "C" fn sys_fcntl(fd: i32, command: i32, argument: i32) -> i32 {
    let answer = || {
        let (tag, system) = above(Errno::NOT_SUPPORTED)?;
        match command {
            F_GETFL => {
                let waits_not = system.sockets().is_nonblocking(tag, fd)?;
                Ok(if waits_not { O_NONBLOCK } else { 0 })
            }
            F_SETFL => system.sockets().set_nonblocking(tag, fd, argument & O_NONBLOCK != 0).map(|()| 0),
            F_GETFD => Ok(if system.closes_on_exec(tag, fd)? { FD_CLOEXEC } else { 0 }),
            F_SETFD => system.close_on_exec(tag, fd, argument & FD_CLOEXEC != 0).map(|()| 0),
            F_DUPFD if argument <= 3 => system.dup(tag, fd),
            _ => Err(Errno::NOT_SUPPORTED),
        }
    };
    number(answer()) as i32
}
