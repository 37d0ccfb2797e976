//! The heap under `std`'s allocator: talc, fed with RAM as it is needed.
//!
//! Small blocks come from those that were freed last, where there are any
//! ([`super::recent`]). All other calls run under its lock, with interrupts off, so a thread may
//! allocate wherever it is; copying on reallocation does not. Talc writes only into chunks it hands out
//! and at their edges, so RAM that was never allocated stays untouched.

use super::frames;
use super::recent::Class;
use crate::processor::critical::Locked;
use core::alloc::Layout;
use core::ptr::{NonNull, copy_nonoverlapping, null_mut};
use talc::base::Talc;
use talc::base::binning::{Binning, DefaultBinning};
use talc::source::Source;

/// The heap grows by at least this many bytes while there are as many.
const GROWTH: usize = 256 * 1024;

/// Where talc gets memory from: the RAM that nobody has taken.
#[derive(Debug)]
struct Ram {
    /// The end of the room claimed last.
    end: Option<NonNull<u8>>,
}

// SAFETY: the pointer is only used by the talc that owns this source, under the lock.
unsafe impl Send for Ram {}

// SAFETY: `acquire` does not allocate.
unsafe impl Source for Ram {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        // Room for the allocation, its alignment, and talc's own tags and lists.
        let needed = layout.size().checked_add(layout.align()).ok_or(())?.checked_add(8192).ok_or(())?;
        let room = frames::take_room(needed, needed.max(GROWTH)).ok_or(())?.range;
        if let Some(end) = talc.source.end
            && room.start.wrapping_sub(end.as_ptr() as usize) < talc::base::CHUNK_UNIT
        {
            // SAFETY: the room adjoins the end of the last heap (talc rounds ends down) and is ours alone.
            let end = unsafe { talc.extend(end, room.end as *mut u8) };
            talc.source.end = Some(end);
            return Ok(());
        }
        // SAFETY: the room is mapped RAM that nobody else has.
        let end = unsafe { talc.claim(room.start as *mut u8, room.len()) };
        talc.source.end = Some(end.ok_or(())?);
        Ok(())
    }
}

/// Talc itself; its lists hold raw pointers into the heap.
struct Heap(Talc<Ram, DefaultBinning>);

// SAFETY: the heap is reached under its lock only.
unsafe impl Send for Heap {}

static HEAP: Locked<Heap> = Locked::new(Heap(Talc::new(Ram { end: None })));

/// Memory of the given layout, or null if there is none.
#[inline]
pub fn allocate(layout: Layout) -> *mut u8 {
    if layout.size() == 0 {
        return layout.align() as *mut u8;
    }
    match Class::of(layout) {
        Some(class) => class.take().map_or_else(|| from_talc(class.layout()), NonNull::as_ptr),
        None => from_talc(layout),
    }
}

#[inline(never)]
fn from_talc(layout: Layout) -> *mut u8 {
    // SAFETY: the size is not zero.
    HEAP.with(|heap| unsafe { heap.0.allocate(layout) }).map_or(null_mut(), NonNull::as_ptr)
}

/// The address of memory of the given layout that is free within the heap as it
/// is; the heap does not grow for it.
pub fn allocate_within(layout: Layout) -> Option<usize> {
    // SAFETY: whoever calls this asks for frames; their size is not zero.
    HEAP.with(|heap| unsafe { heap.0.try_allocate(layout) }).map(|pointer| pointer.as_ptr() as usize)
}

/// Gives memory back.
///
/// # Safety
/// `pointer` came from [`allocate`] or [`reallocate`] with this layout.
#[inline]
pub unsafe fn free(pointer: *mut u8, layout: Layout) {
    let Some(block) = NonNull::new(pointer).filter(|_| layout.size() != 0) else { return };
    let class = Class::of(layout);
    // SAFETY: the caller's promise; a block of a class was allocated with the
    // class's layout; all RAM stays mapped, and a VM has less than 64 GiB.
    if class.is_some_and(|class| unsafe { class.keep(block) }) {
        return;
    }
    // SAFETY: the caller's promise.
    unsafe { to_talc(pointer, class.map_or(layout, Class::layout)) };
}

/// # Safety
/// `pointer` came from [`from_talc`] with this layout.
#[inline(never)]
unsafe fn to_talc(pointer: *mut u8, layout: Layout) {
    // SAFETY: the caller's promise.
    HEAP.with(|heap| unsafe { heap.0.deallocate(pointer, layout) });
}

/// Memory of `size` bytes with the content of `pointer`, or null if there is
/// none: then `pointer` stays as it is.
///
/// # Safety
/// `pointer` came from [`allocate`] or [`reallocate`] with this layout.
pub unsafe fn reallocate(pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
    let Ok(wanted) = Layout::from_size_align(size, layout.align()) else { return null_mut() };
    let stays = match (Class::of(layout), Class::of(wanted)) {
        (None, None) if layout.size() != 0 && size != 0 => {
            // SAFETY: the caller's promise, and neither size is zero.
            HEAP.with(|heap| unsafe { heap.0.try_realloc_in_place(pointer, layout, size) })
        }
        (Some(old), new) => new == Some(old),
        _ => false,
    };
    if stays {
        return pointer;
    }
    let target = allocate(wanted);
    if !target.is_null() {
        // SAFETY: both are at least as long, and distinct.
        unsafe {
            copy_nonoverlapping(pointer, target, layout.size().min(size));
            free(pointer, layout);
        }
    }
    target
}
