//! The heaps under `std`'s allocator: one of the OS, and one of each activity.
//!
//! What a program allocates is in its activity's heap, and goes with that: an
//! activity that was ended, ran out of memory or forgot what it had leaves
//! nothing behind. What the OS allocates, also on a program's thread within a
//! call ([`crate::thread::within_call`]), is in its own heap: so it may keep it,
//! and must not keep what programs hand to it. Whoever frees a block gives it
//! back to the heap that it is of ([`frames::heap_at`]).
//!
//! Small blocks come from those of the heap that were freed last, where there are any
//! ([`super::recent`]), others from talc, which is fed with rooms as they are
//! needed, and large ones ([`LARGE`]) are rooms of their own, of use to others as
//! soon as they are freed. All but the first run under a lock, with interrupts
//! off, so a thread may allocate wherever it is; copying on reallocation does
//! not. Talc writes only into chunks it hands out and at their edges, so RAM
//! that was never allocated stays untouched.

use super::frames;
use super::recent::{Class, Recent};
use super::rooms::UNIT;
use crate::processor::critical::Locked;
use crate::threads::scheduler;
use core::alloc::Layout;
use core::ops::Range;
use core::ptr::{self, NonNull, copy_nonoverlapping, null_mut};
use core::sync::atomic::Ordering::Relaxed;
use talc::base::Talc;
use talc::base::binning::{Binning, DefaultBinning};
use talc::source::Source;

/// Talc's rooms grow with the heap, from one unit to this.
const MOST_GROWTH: usize = 256 * 1024;
/// From so many bytes on, a block is a room of its own: less than a fifth of that is lost.
const LARGE: usize = 256 * 1024;

/// Where a heap's talc gets memory from: rooms.
#[derive(Debug)]
struct OfRooms {
    /// The end of the room claimed last.
    end: Option<NonNull<u8>>,
    /// Bytes of all rooms that were claimed.
    bytes: usize,
    /// Whose the rooms are.
    owner: u32,
    /// The OS asks, and gets from what programs leave to it.
    for_system: bool,
}

// SAFETY: the pointer is only used by the talc that owns this source, under the lock.
unsafe impl Send for OfRooms {}

impl OfRooms {
    const NONE: Self = Self { end: None, bytes: 0, owner: 0, for_system: false };

    /// A room, beside the last one if it can be.
    fn take(&self, bytes: usize) -> Option<Range<usize>> {
        let beside = self.end.map(|end| end.as_ptr() as usize);
        let beside = beside.and_then(|at| frames::take_room_at(at, bytes, self.owner, self.for_system));
        beside.or_else(|| frames::take_room(bytes, self.owner, self.for_system))
    }
}

// SAFETY: `acquire` does not allocate.
unsafe impl Source for OfRooms {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        // Room for the allocation, its alignment, and talc's own tags and lists.
        let needed = layout.size().checked_add(layout.align()).ok_or(())?.checked_add(8192).ok_or(())?;
        let source = &mut talc.source;
        let wanted = needed.max(source.bytes.clamp(UNIT, MOST_GROWTH));
        let room = source.take(wanted).or_else(|| source.take(needed)).ok_or(())?;
        source.bytes += room.len();
        let before = source.end.filter(|end| end.as_ptr() as usize == room.start);
        talc.source.end = match before {
            // SAFETY: the room adjoins the end of the last one, and is this heap's alone.
            Some(end) => Some(unsafe { talc.extend(end, room.end as *mut u8) }),
            // SAFETY: the room is mapped RAM that nobody else has.
            None => unsafe { talc.claim(room.start as *mut u8, room.len()) },
        };
        talc.source.end.map(|_| ()).ok_or(())
    }
}

/// A heap. It stays where it is as long as it has rooms: its address names it.
#[repr(align(64))]
pub struct Heap {
    recent: Recent,
    talc: Locked<Talc<OfRooms, DefaultBinning>>,
}

const _: () = assert!(align_of::<Heap>() == ALIGN);
/// The numbers of heaps are their addresses divided by this: below 256 GiB, as all RAM is.
const ALIGN: usize = 64;

/// What the OS allocates.
static SYSTEM: Heap = Heap::new();

impl Heap {
    /// A heap with nothing in it.
    pub const fn new() -> Self {
        Self { recent: Recent::new(), talc: Locked::new(Talc::new(OfRooms::NONE)) }
    }

    /// The heap of the calling thread, or rather of what it does.
    #[inline]
    fn own<'a>() -> &'a Self {
        let of_activity = scheduler::with_current(|own| {
            let is_own = own.calls.load(Relaxed) == 0 || own.hands_over.load(Relaxed);
            own.segment.as_ref().filter(|_| is_own).map(|segment| ptr::from_ref(&segment.heap))
        });
        // SAFETY: an activity's heap stays as long as a thread of it runs.
        of_activity.flatten().map_or(&SYSTEM, |heap| unsafe { &*heap })
    }

    /// The heap that has the room at an address.
    #[inline]
    fn at<'a>(address: *mut u8) -> Option<&'a Self> {
        let owner = frames::heap_at(address as usize)? as usize;
        // SAFETY: a heap's number is its address, and it gives its rooms back before it goes.
        Some(unsafe { &*((owner * ALIGN) as *const Self) })
    }

    fn number(&self) -> u32 {
        (ptr::from_ref(self) as usize / ALIGN) as u32
    }

    fn is_system(&self) -> bool {
        ptr::eq(self, &SYSTEM)
    }

    /// Memory from anywhere but the recent blocks; null if there is none.
    #[inline(never)]
    fn take(&self, layout: Layout) -> *mut u8 {
        // What programs leave to it the OS gets last: so it can report that an
        // activity has used up the rest.
        let found = self.take_as(layout, false);
        match found {
            Some(block) => block.as_ptr(),
            None if self.is_system() => self.take_as(layout, true).map_or(null_mut(), NonNull::as_ptr),
            // A call ends well even so, and then the activity ends.
            None if scheduler::with_current(|own| own.lacks(layout.size())) == Some(true) => {
                SYSTEM.take(layout)
            }
            None => null_mut(),
        }
    }

    fn take_as(&self, layout: Layout, for_system: bool) -> Option<NonNull<u8>> {
        if is_large(layout) {
            let room = frames::take_room(layout.size(), self.number(), for_system)?;
            return NonNull::new(room.start as *mut u8);
        }
        self.talc.with(|talc| {
            (talc.source.owner, talc.source.for_system) = (self.number(), for_system);
            // SAFETY: the size is not zero (`allocate`).
            unsafe { talc.allocate(layout) }
        })
    }

    /// # Safety
    /// `pointer` came from [`Self::take`] with this layout, and nobody uses it any more.
    #[inline(never)]
    unsafe fn give(&self, pointer: *mut u8, layout: Layout) {
        if is_large(layout) {
            let start = pointer as usize;
            // SAFETY: the caller's promise: these are the units of the room that was taken.
            unsafe { frames::give_room(start..start + layout.size().next_multiple_of(UNIT)) };
        } else {
            // SAFETY: the caller's promise.
            self.talc.with(|talc| unsafe { talc.deallocate(pointer, layout) });
        }
    }

    /// Makes a block longer or shorter where it is; whether that could be.
    ///
    /// # Safety
    /// `pointer` came from [`Self::take`] with this layout.
    unsafe fn resize(&self, pointer: *mut u8, layout: Layout, wanted: Layout) -> bool {
        if is_large(layout) != is_large(wanted) {
            return false;
        }
        if !is_large(layout) {
            // SAFETY: the caller's promise, and neither size is zero.
            return self
                .talc
                .with(|talc| unsafe { talc.try_realloc_in_place(pointer, layout, wanted.size()) });
        }
        let [end, new_end] =
            [layout, wanted].map(|layout| pointer as usize + layout.size().next_multiple_of(UNIT));
        if new_end < end {
            // SAFETY: the caller gives up what lies there.
            unsafe { frames::give_room(new_end..end) };
        }
        new_end <= end || frames::take_room_at(end, new_end - end, self.number(), false).is_some()
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        // SAFETY: nobody is left who could use what is in it (whoever drops it says so).
        unsafe { frames::give_all(self.number()) };
    }
}

/// Whether a block of this layout is a room of its own.
#[inline]
fn is_large(layout: Layout) -> bool {
    layout.size() >= LARGE && layout.align() <= UNIT
}

/// Memory of the given layout, or null if there is none.
#[inline]
pub fn allocate(layout: Layout) -> *mut u8 {
    if layout.size() == 0 {
        return layout.align() as *mut u8;
    }
    let heap = Heap::own();
    match Class::of(layout) {
        Some(class) => heap.recent.take(class).map_or_else(|| heap.take(class.layout()), NonNull::as_ptr),
        None => heap.take(layout),
    }
}

/// The address of memory of the given layout that is free within the OS's heap as it
/// is; the heap does not grow for it.
pub fn allocate_within(layout: Layout) -> Option<usize> {
    // SAFETY: whoever calls this asks for frames; their size is not zero.
    let found = SYSTEM.talc.with(|talc| unsafe { talc.try_allocate(layout) });
    found.map(|pointer| pointer.as_ptr() as usize)
}

/// Gives memory back.
///
/// # Safety
/// `pointer` came from [`allocate`] or [`reallocate`] with this layout.
#[inline]
pub unsafe fn free(pointer: *mut u8, layout: Layout) {
    let Some(block) = NonNull::new(pointer).filter(|_| layout.size() != 0) else { return };
    let Some(heap) = Heap::at(pointer) else { return };
    let class = Class::of(layout);
    // SAFETY: the caller's promise; a block of a class was allocated with the
    // class's layout; all RAM stays mapped, and a VM has less than 64 GiB.
    if class.is_some_and(|class| unsafe { heap.recent.keep(class, block) }) {
        return;
    }
    // SAFETY: the caller's promise.
    unsafe { heap.give(pointer, class.map_or(layout, Class::layout)) };
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
            Heap::at(pointer).is_some_and(|heap| unsafe { heap.resize(pointer, layout, wanted) })
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
