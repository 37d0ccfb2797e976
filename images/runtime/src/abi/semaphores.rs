//! The ABI's semaphores: the kernel's own object, in the word that the caller supplies.
//!
//! ```text
//! sem_t, 8 bytes:   units there are: 32 | threads that wait: 32
//! ```
//!
//! So one takes nothing from the heap, and one that is forgotten leaves nothing behind.

use super::{status, time};
use crate::clock;
use crate::system::Errno;
use crate::threads::futex::{self, NotWoken};
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::SeqCst;
use hermit_abi::{sem_t, timespec};

/// Most units of a semaphore, as in POSIX.
const MOST: u32 = i32::MAX as u32;

/// A semaphore, where the caller has it.
#[repr(C)]
struct Semaphore {
    units: AtomicU32,
    waiting: AtomicU32,
}

const _: () = assert!(size_of::<Semaphore>() <= size_of::<sem_t>());

impl Semaphore {
    fn post(&self) -> Result<(), Errno> {
        let more = |units| (units < MOST).then_some(units + 1);
        self.units.fetch_update(SeqCst, SeqCst, more).map_err(|_| Errno::OVERFLOW)?;
        // SYNC: semaphore-post, with `wait`: either the waiter counts here, or it sees the unit.
        if self.waiting.load(SeqCst) > 0 {
            futex::wake(&self.units, 1);
        }
        Ok(())
    }

    fn try_wait(&self) -> Result<(), Errno> {
        let less = |units: u32| units.checked_sub(1);
        self.units.fetch_update(SeqCst, SeqCst, less).map(|_| ()).map_err(|_| Errno::AGAIN)
    }

    fn wait(&self, deadline: Option<u64>) -> Result<(), Errno> {
        while self.try_wait().is_err() {
            // SYNC: semaphore-post
            self.waiting.fetch_add(1, SeqCst);
            let woken = futex::wait(&self.units, 0, deadline);
            self.waiting.fetch_sub(1, SeqCst);
            if woken == Err(NotWoken::TimedOut) {
                return self.try_wait().map_err(|_| Errno::TIMED_OUT);
            }
        }
        Ok(())
    }
}

/// The semaphore at an address.
///
/// # Safety
/// The address is null, or a semaphore is there that lives as long as the result is used.
unsafe fn semaphore<'a>(address: *mut sem_t) -> Result<&'a Semaphore, Errno> {
    let address = address.cast::<Semaphore>();
    if !address.is_aligned() {
        return Err(Errno::INVALID);
    }
    // SAFETY: aligned; the rest is the caller's promise.
    unsafe { address.as_ref() }.ok_or(Errno::INVALID)
}

/// Makes a semaphore of `value` units. One that other processes share is refused with ENOSYS: there
/// are none; more than 2^31 - 1 units or a null pointer, with EINVAL.
///
/// Tested: selftest::semaphores
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_sem_init(address: *mut sem_t, shared: i32, value: u32) -> i32 {
    if shared != 0 {
        return status(Err(Errno::NOT_SUPPORTED));
    }
    if address.is_null() || !address.cast::<Semaphore>().is_aligned() || value > MOST {
        return status(Err(Errno::INVALID));
    }
    let fresh = Semaphore { units: AtomicU32::new(value), waiting: AtomicU32::new(0) };
    // SAFETY: the caller's variable, not null and aligned (checked above).
    unsafe { address.cast::<Semaphore>().write(fresh) };
    0
}

/// Ends a semaphore. EBUSY while threads wait for it.
///
/// Tested: selftest::semaphores
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_sem_destroy(address: *mut sem_t) -> i32 {
    // SAFETY: the caller's semaphore.
    status(unsafe { semaphore(address) }.and_then(|semaphore| match semaphore.waiting.load(SeqCst) {
        0 => Ok(()),
        _ => Err(Errno::BUSY),
    }))
}

/// Adds a unit, and wakes one who waits for it. EOVERFLOW at 2^31 - 1 units.
///
/// Tested: selftest::semaphores
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_sem_post(address: *mut sem_t) -> i32 {
    // SAFETY: the caller's semaphore.
    status(unsafe { semaphore(address) }.and_then(Semaphore::post))
}

/// Takes a unit if there is one, else EAGAIN.
///
/// Tested: selftest::semaphores
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_sem_trywait(address: *mut sem_t) -> i32 {
    // SAFETY: the caller's semaphore.
    status(unsafe { semaphore(address) }.and_then(Semaphore::try_wait))
}

/// Takes a unit, waiting for one until a time of day (null: for ever), then ETIMEDOUT.
///
/// Tested: selftest::semaphores
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_sem_timedwait(address: *mut sem_t, until: *const timespec) -> i32 {
    // SAFETY: null, or the caller's structure.
    let deadline = match unsafe { until.as_ref() }.map(time::nanoseconds) {
        None => None,
        Some(None) => return status(Err(Errno::INVALID)),
        Some(Some(until)) => Some(clock::now_ns().saturating_add(until.saturating_sub(clock::realtime_ns()))),
    };
    // SAFETY: the caller's semaphore.
    status(unsafe { semaphore(address) }.and_then(|semaphore| semaphore.wait(deadline)))
}
