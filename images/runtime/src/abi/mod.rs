//! The Hermit ABI: the functions that `std` for `x86_64-unknown-hermit` calls.
//!
//! Each is a thin face: it checks what it is given, calls what does the work,
//! and turns the result into a number (negative: an error number). What the
//! runtime does not have answers `-ENOSYS`; nothing pretends. Signatures follow
//! the `hermit-abi` crate, version 0.5.
//!
//! Pointers come from `std` in the same address space and are trusted as far
//! as `std` is; only null is refused where the ABI says so.
//!
//! `docs/abi.md` is made from these files (`tests/tests/abi.rs`), a section for
//! each with what stands at its head, and a row for each function of `hermit-abi`:
//! * the first paragraph of a function's comment is its row: what it does, and what
//!   it refuses, with which error and why;
//! * the comment's last line says who tests it: `Tested: selftest::NAME` (a function
//!   of `examples/selftest.rs`), `Tested: std::NAME` (a program of `tests/std`) or
//!   `Tested: crates::NAME` (one of `tests/crates`), several with commas between.
//!
//! A test fails when the page is not what these files say, when a function of
//! `hermit-abi` is missing here or has other arguments, and when a test that is named is not there.

mod events;
mod files;
mod memory;
mod names;
mod net;
mod queues;
mod semaphores;
mod threads;
mod time;

use crate::system::Errno;
use crate::threads::scheduler;
use core::sync::atomic::Ordering::Relaxed;

/// The number for a result, and the thread's error number where it is one.
fn number<T: TryInto<i64>>(result: Result<T, Errno>) -> i64 {
    match result.map(TryInto::try_into) {
        Ok(Ok(value)) => value,
        Ok(Err(_)) => failed(Errno(hermit_abi::errno::EOVERFLOW)),
        Err(error) => failed(error),
    }
}

/// The same as a 32-bit number.
fn small_number<T: TryInto<i64>>(result: Result<T, Errno>) -> i32 {
    i32::try_from(number(result)).unwrap_or(-hermit_abi::errno::EOVERFLOW)
}

/// The same for what has no value.
fn status(result: Result<(), Errno>) -> i32 {
    small_number(result.map(|()| 0i64))
}

/// Remembers an error number for `sys_get_errno`.
fn failed(Errno(error): Errno) -> i64 {
    scheduler::with_current(|thread| thread.error.store(error, Relaxed));
    -i64::from(error)
}

/// The calling thread's last error number.
///
/// Tested: selftest::refusals
#[unsafe(no_mangle)]
extern "C" fn sys_get_errno() -> i32 {
    scheduler::with_current(|thread| thread.error.load(Relaxed)).unwrap_or(0)
}

/// The calling thread's last error number, by its other name.
///
/// Tested: selftest::refusals
#[unsafe(no_mangle)]
extern "C" fn sys_errno() -> i32 {
    sys_get_errno()
}
