//! The ABI's memory: the heap, and random bytes.

use crate::entropy;
use crate::memory::heap;
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

#[unsafe(no_mangle)]
extern "C" fn sys_malloc(size: usize, align: usize) -> *mut u8 {
    noted(Layout::from_size_align(size, align).map_or(null_mut(), heap::allocate))
}

#[unsafe(no_mangle)]
extern "C" fn sys_alloc(size: usize, align: usize) -> *mut u8 {
    sys_malloc(size, align)
}

#[unsafe(no_mangle)]
extern "C" fn sys_alloc_zeroed(size: usize, align: usize) -> *mut u8 {
    let pointer = sys_malloc(size, align);
    if !pointer.is_null() {
        // SAFETY: so many bytes were just allocated.
        unsafe { pointer.write_bytes(0, size) };
    }
    pointer
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_realloc(pointer: *mut u8, size: usize, align: usize, new_size: usize) -> *mut u8 {
    let Ok(layout) = Layout::from_size_align(size, align) else { return null_mut() };
    // SAFETY: the caller allocated it with this layout.
    noted(unsafe { heap::reallocate(pointer, layout, new_size) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_free(pointer: *mut u8, size: usize, align: usize) {
    if let Ok(layout) = Layout::from_size_align(size, align) {
        // SAFETY: the caller allocated it with this layout.
        unsafe { heap::free(pointer, layout) };
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_dealloc(pointer: *mut u8, size: usize, align: usize) {
    // SAFETY: the caller's promise.
    unsafe { sys_free(pointer, size, align) };
}

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
