//! The ABI's memory: the heap, pages with a protection of their own, and random bytes.
//!
//! No page is both writable and executable: code is written first, then made
//! executable by `sys_mprotect`. Pages that an activity did not give back stay
//! taken until its VM starts again.

use super::status;
use crate::entropy;
use crate::memory::areas::{self, AreaError};
use crate::memory::paging::Access;
use crate::memory::{PAGE, heap};
use crate::system::Errno;
use crate::threads::scheduler;
use core::alloc::Layout;
use core::ptr::null_mut;
use core::sync::atomic::Ordering::Relaxed;
use hermit_abi::errno::EINVAL;

/// Remembers whether the calling thread got what it asked for: if it aborts
/// next, the VM says that it ran out of memory.
fn noted(pointer: *mut u8) -> *mut u8 {
    if pointer.is_null() {
        scheduler::with_current(|thread| thread.allocation_failed.store(true, Relaxed));
    }
    pointer
}

/// Memory of a size and alignment from the heap; null if there is none.
///
/// Tested: std::alloc
#[unsafe(no_mangle)]
extern "C" fn sys_malloc(size: usize, align: usize) -> *mut u8 {
    noted(Layout::from_size_align(size, align).map_or(null_mut(), heap::allocate))
}

/// The same as `sys_malloc`.
///
/// Tested: selftest::memory_calls
#[unsafe(no_mangle)]
extern "C" fn sys_alloc(size: usize, align: usize) -> *mut u8 {
    sys_malloc(size, align)
}

/// The same as `sys_malloc`, zeroed.
///
/// Tested: selftest::memory_calls
#[unsafe(no_mangle)]
extern "C" fn sys_alloc_zeroed(size: usize, align: usize) -> *mut u8 {
    let pointer = sys_malloc(size, align);
    if !pointer.is_null() {
        // SAFETY: so many bytes were just allocated.
        unsafe { pointer.write_bytes(0, size) };
    }
    pointer
}

/// Makes memory of the heap longer or shorter, elsewhere if need be; null if there is none, and then
/// nothing changes.
///
/// Tested: std::alloc
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_realloc(pointer: *mut u8, size: usize, align: usize, new_size: usize) -> *mut u8 {
    let Ok(layout) = Layout::from_size_align(size, align) else { return null_mut() };
    // SAFETY: the caller allocated it with this layout.
    noted(unsafe { heap::reallocate(pointer, layout, new_size) })
}

/// Gives memory back to the heap.
///
/// Tested: std::alloc
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_free(pointer: *mut u8, size: usize, align: usize) {
    if let Ok(layout) = Layout::from_size_align(size, align) {
        // SAFETY: the caller allocated it with this layout.
        unsafe { heap::free(pointer, layout) };
    }
}

/// The same as `sys_free`.
///
/// Tested: selftest::memory_calls
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_dealloc(pointer: *mut u8, size: usize, align: usize) {
    // SAFETY: the caller's promise.
    unsafe { sys_free(pointer, size, align) };
}

/// Fills a buffer with random bytes: how many. EINVAL for flags or a null buffer.
///
/// Tested: std::collections, selftest::memory_calls
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_read_entropy(target: *mut u8, length: usize, flags: u32) -> isize {
    if flags != 0 || target.is_null() {
        return -(EINVAL as isize);
    }
    // SAFETY: the caller's buffer; zeroed first, since it may never have been written.
    let target = unsafe {
        target.write_bytes(0, length);
        core::slice::from_raw_parts_mut(target, length)
    };
    entropy::fill(target);
    length as isize
}

/// Bytes of a page: 4096.
///
/// Tested: selftest::memory_calls
#[unsafe(no_mangle)]
extern "C" fn sys_getpagesize() -> i32 {
    PAGE as i32
}

impl From<AreaError> for Errno {
    fn from(error: AreaError) -> Self {
        match error {
            AreaError::Invalid => Self::INVALID,
            AreaError::OutOfMemory => Self::OUT_OF_MEMORY,
        }
    }
}

/// What a page may be used for, by the ABI's bits. What is written or executed can be read as well.
fn access(protection: u32) -> Result<Access, Errno> {
    use hermit_abi::{PROT_EXEC, PROT_READ, PROT_WRITE};
    match protection {
        bits if bits & !(PROT_READ | PROT_WRITE | PROT_EXEC) != 0 => Err(Errno::INVALID),
        bits if bits & PROT_WRITE != 0 && bits & PROT_EXEC != 0 => Err(Errno::ACCESS),
        bits if bits & PROT_WRITE != 0 => Ok(Access::Write),
        bits if bits & PROT_EXEC != 0 => Ok(Access::Execute),
        bits if bits & PROT_READ != 0 => Ok(Access::Read),
        _ => Ok(Access::None),
    }
}

/// Maps zeroed pages, each with memory from the beginning. EACCES for pages that are written and
/// executed, EINVAL for no bytes or unknown bits, ENOMEM without memory.
///
/// Tested: selftest::pages
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_mmap(size: usize, protection: u32, result: *mut *mut u8) -> i32 {
    if result.is_null() {
        return status(Err(Errno::INVALID));
    }
    let mapped = access(protection).and_then(|access| areas::map(size, access).map_err(Errno::from));
    status(mapped.map(|start| {
        // SAFETY: the caller's variable, not null.
        unsafe { *result = start as *mut u8 };
    }))
}

/// Gives pages back, all that were mapped together or some. EINVAL for an address within a page, or
/// pages that are not mapped.
///
/// Tested: selftest::pages
#[unsafe(no_mangle)]
extern "C" fn sys_munmap(start: *mut u8, size: usize) -> i32 {
    status(areas::unmap(start as usize, size).map_err(Errno::from))
}

/// Changes what may be done with pages that were mapped. Errors as of `sys_mmap` and `sys_munmap`.
///
/// Tested: selftest::pages
#[unsafe(no_mangle)]
extern "C" fn sys_mprotect(start: *mut u8, size: usize, protection: u32) -> i32 {
    let changed = access(protection)
        .and_then(|access| areas::protect(start as usize, size, access).map_err(Errno::from));
    status(changed)
}
