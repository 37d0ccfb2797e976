//! The ABI's clocks and sleeps.

use super::status;
use crate::clock;
use crate::system::Errno;
use crate::threads::scheduler;
use crate::threads::thread::Waiting;
use hermit_abi::{CLOCK_MONOTONIC, CLOCK_REALTIME, timespec};

/// Nanoseconds of a span of time; `None` if it is negative or spoilt.
pub fn nanoseconds(span: &timespec) -> Option<u64> {
    let seconds = u64::try_from(span.tv_sec).ok()?;
    let rest = u64::try_from(span.tv_nsec).ok().filter(|&rest| rest < 1_000_000_000)?;
    Some(seconds.saturating_mul(1_000_000_000).saturating_add(rest))
}

/// The deadline that is so many nanoseconds away.
pub fn after(span: u64) -> u64 {
    clock::now_ns().saturating_add(span)
}

/// Sleeps for at least so many nanoseconds.
fn sleep(span: u64) {
    scheduler::block(Waiting::Sleep, Some(after(span)), || true);
}

/// The time since the VM's start (CLOCK_MONOTONIC) or since 1970 (CLOCK_REALTIME). EINVAL for another
/// clock.
///
/// Tested: std::time
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_clock_gettime(clock: i32, time: *mut timespec) -> i32 {
    let now = match clock {
        CLOCK_MONOTONIC => clock::now_ns(),
        CLOCK_REALTIME => clock::realtime_ns(),
        _ => return status(Err(Errno::INVALID)),
    };
    let time_spec = timespec { tv_sec: (now / 1_000_000_000) as i64, tv_nsec: (now % 1_000_000_000) as i32 };
    // SAFETY: the caller's structure.
    unsafe { *time = time_spec };
    0
}

/// Sleeps for at least so many microseconds.
///
/// Tested: selftest::thread_calls
#[unsafe(no_mangle)]
extern "C" fn sys_usleep(microseconds: u64) {
    sleep(microseconds.saturating_mul(1000));
}

/// Sleeps for at least a span of time. EINVAL for one that is negative or null.
///
/// Tested: std::time
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_nanosleep(span: *const timespec) -> i32 {
    // SAFETY: null, or the caller's structure.
    match unsafe { span.as_ref() }.and_then(nanoseconds) {
        Some(span) => {
            sleep(span);
            0
        }
        None => status(Err(Errno::INVALID)),
    }
}
