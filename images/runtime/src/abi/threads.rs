//! The ABI's threads, futexes, and the end of the program.

use super::{queues, status, time};
use crate::clock;
use crate::exit::{ExitCode, exit};
use crate::processor::cores;
use crate::system::{self, Errno};
use crate::thread::within_call;
use crate::threads::futex::{self, NotWoken};
use crate::threads::scheduler;
use crate::threads::thread::{Priority, ThreadId};
use crate::{fault, thread};
use core::sync::atomic::AtomicU32;
use hermit_abi::{FUTEX_RELATIVE_TIMEOUT, timespec};

/// Stack bytes of a thread made by `sys_spawn`, which does not say.
const DEFAULT_STACK: usize = 1 << 20;

/// Makes a thread with a stack of at least so many bytes: its id, 0 if there is no memory. It
/// begins on the core that is asked for, if there is one and it is not busy, and may go on elsewhere.
///
/// Tested: std::thread
#[unsafe(no_mangle)]
extern "C" fn sys_spawn2(
    function: extern "C" fn(usize),
    argument: usize,
    priority: u8,
    stack: usize,
    core: isize,
) -> ThreadId {
    let core = usize::try_from(core).ok();
    within_call(|| scheduler::spawn(function, argument, Priority::from_number(priority), stack, core))
        .unwrap_or(0)
}

/// Makes a thread with a stack of 1 MiB, on a core as `sys_spawn2` does. ENOMEM without memory.
///
/// Tested: selftest::thread_calls
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_spawn(
    id: *mut ThreadId,
    function: extern "C" fn(usize),
    argument: usize,
    priority: u8,
    core: isize,
) -> i32 {
    let (priority, core) = (Priority::from_number(priority), usize::try_from(core).ok());
    let spawned = within_call(|| scheduler::spawn(function, argument, priority, DEFAULT_STACK, core));
    let Some(spawned) = spawned else { return status(Err(Errno::OUT_OF_MEMORY)) };
    if !id.is_null() {
        // SAFETY: the caller's variable.
        unsafe { *id = spawned };
    }
    0
}

/// Waits until a thread has ended; at once if there is none of that id.
///
/// Tested: std::thread
#[unsafe(no_mangle)]
extern "C" fn sys_join(id: ThreadId) -> i32 {
    scheduler::join(id);
    0
}

/// Lets other threads of the same priority have a turn.
///
/// Tested: std::thread
#[unsafe(no_mangle)]
extern "C" fn sys_yield() {
    queues::yield_or_block();
}

/// The calling thread's id.
///
/// Tested: selftest::thread_calls
#[unsafe(no_mangle)]
extern "C" fn sys_getpid() -> i32 {
    thread::current() as i32
}

/// The calling thread's priority, 1 to 3.
///
/// Tested: selftest::thread_calls
#[unsafe(no_mangle)]
extern "C" fn sys_get_priority() -> u8 {
    scheduler::priority().map_or(0, |priority| priority as u8)
}

/// Changes a thread's priority.
///
/// Tested: selftest::thread_calls
#[unsafe(no_mangle)]
extern "C" fn sys_set_priority(id: ThreadId, priority: u8) {
    scheduler::set_priority(id, Priority::from_number(priority));
}

/// How many threads can run at once.
///
/// Tested: std::thread
#[unsafe(no_mangle)]
extern "C" fn sys_available_parallelism() -> usize {
    cores::count()
}

/// How many threads can run at once, by its older name.
///
/// Tested: selftest::thread_calls
#[unsafe(no_mangle)]
extern "C" fn sys_get_processor_count() -> usize {
    sys_available_parallelism()
}

/// The word at an address, which must be aligned and not null.
///
/// # Safety
/// Such an address is a futex that lives as long as the result is used.
unsafe fn word<'a>(address: *mut u32) -> Result<&'a AtomicU32, Errno> {
    if address.is_null() || !address.is_aligned() {
        return Err(Errno::INVALID);
    }
    // SAFETY: not null and aligned (checked above); the rest is the caller's promise.
    Ok(unsafe { AtomicU32::from_ptr(address) })
}

/// Waits while a word is what is expected, until a wake-up (0), a point in time (ETIMEDOUT), or EAGAIN
/// if it is another. EINVAL for a null or odd address, unknown flags, a time that is none.
///
/// Tested: std::sync, selftest::thread_calls
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_futex_wait(
    address: *mut u32,
    expected: u32,
    timeout: *const timespec,
    flags: u32,
) -> i32 {
    // SAFETY: the caller's futex.
    let word = match unsafe { word(address) } {
        Ok(word) if flags & !FUTEX_RELATIVE_TIMEOUT == 0 => word,
        Ok(_) => return status(Err(Errno::INVALID)),
        Err(error) => return status(Err(error)),
    };
    // SAFETY: null, or the caller's structure.
    let deadline = match unsafe { timeout.as_ref() }.map(time::nanoseconds) {
        None => None,
        Some(None) => return status(Err(Errno::INVALID)),
        Some(Some(span)) if flags & FUTEX_RELATIVE_TIMEOUT != 0 => Some(clock::now_ns().saturating_add(span)),
        Some(absolute) => absolute,
    };
    status(futex::wait(word, expected, deadline).map_err(|reason| match reason {
        NotWoken::Changed => Errno::AGAIN,
        NotWoken::TimedOut => Errno::TIMED_OUT,
    }))
}

/// Wakes up to so many threads that wait for a word: how many. EINVAL for a null or odd address, or
/// less than 0.
///
/// Tested: std::sync, selftest::thread_calls
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_futex_wake(address: *mut u32, count: i32) -> i32 {
    let all = count == i32::MAX;
    // A waker may come when the futex is gone already (its waiter saw the
    // change and went on), so the word is never looked at.
    // SAFETY: see above; std passes a futex.
    match (unsafe { word(address) }, usize::try_from(count)) {
        (Ok(word), Ok(count)) => {
            let woken = futex::wake(word, if all { usize::MAX } else { count });
            i32::try_from(woken).unwrap_or(i32::MAX)
        }
        _ => status(Err(Errno::INVALID)),
    }
}

/// Ends the activity with a code; in the runtime alone, the VM.
///
/// Tested: selftest::system_above
#[unsafe(no_mangle)]
extern "C" fn sys_exit(code: i32) -> ! {
    match (thread::activity(), system::installed()) {
        (tag @ 1.., Some(system)) => within_call(|| system.exit(tag, code)),
        _ => exit(ExitCode::Shutdown),
    }
}

/// Ends the activity as failed; in the runtime alone, the VM.
///
/// Tested: selftest::system_above
#[unsafe(no_mangle)]
extern "C" fn sys_abort() -> ! {
    fault::abort()
}
