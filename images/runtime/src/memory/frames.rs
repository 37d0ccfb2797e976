//! Physical memory: who gets which part of the RAM.
//!
//! ```text
//! image | page tables of the boot | owners | first frames | rooms -> ... <- frames |
//! ```
//!
//! In each stretch of RAM heaps have rooms from the bottom ([`super::rooms`]) and
//! single frames (thread stacks, later page tables) come from the top, until the two
//! meet. The first frames stand beside the image and the first room: hosts give a VM
//! memory in pages of 2 MiB, and a VM that does little touches only one.
//!
//! Nobody takes the last of it for something that matters less:
//!
//! | who takes | leaves |
//! |---|---|
//! | a program's heap | the below, and [`FOR_STACKS`], so that it takes no stack from the others |
//! | a program's stacks and pages | the below, and [`FOR_SYSTEM`], so that the OS can report that there is no memory |
//! | the OS's heap | [`FOR_FRAMES`], and [`FOR_AN_END`] for each activity |
//! | the OS's frames | nothing |
//!
//! Where no frame is left, one is taken from a free unit, or from what is free within
//! the OS's heap. Frames given back wait in a list that is written into the frames
//! themselves, or go back into the heap. Nothing is touched before it is handed out.

use super::rooms::{self, Owners, Rooms, Stretch, UNIT, Wanted};
use super::{PAGE, heap, segment};
use crate::boot::start_info::MAX_RAM;
use crate::processor::critical::Locked;
use core::alloc::Layout;
use core::ops::Range;
use core::ptr::null_mut;
use core::slice;
use core::sync::atomic::Ordering::{Relaxed, Release};
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize};

/// Bytes that the OS's heap leaves to the OS's frames, and so many more for each
/// activity: it may be about to end for lack of memory, as all may at once. Of
/// twelve times that forty did, 40 KiB each were too little once, 48 never.
const FOR_FRAMES: usize = 128 * 1024;
const FOR_AN_END: usize = 64 * 1024;
/// Bytes that programs leave to the OS's heap as well.
const FOR_SYSTEM: usize = 256 * 1024;
/// Bytes that programs' heaps leave to their stacks as well.
const FOR_STACKS: usize = 256 * 1024;
/// Bytes of the frames that come first.
const FIRST: usize = 512 * 1024;
/// A frame, as the heap sees it.
// SAFETY: the size and the alignment are powers of two and not zero.
const FRAME: Layout = unsafe { Layout::from_size_align_unchecked(PAGE, PAGE) };

/// The owner of units of which the frames are single ones: no heap's number.
const SINGLE: u32 = 1;

/// The RAM beyond the image. Identity-mapped, so addresses are both physical and virtual.
pub struct Frames {
    stretches: [Stretch; MAX_RAM],
    rooms: Rooms,
    /// The first frames, those that nobody has taken.
    first: Range<usize>,
    /// The frame given back last; its first word is the address of the one before.
    free: usize,
    /// How many there are of these.
    free_count: usize,
}

static FRAMES: Locked<Frames> = Locked::new(Frames {
    stretches: [const { Stretch { start: 0, untouched: 0..0 } }; MAX_RAM],
    rooms: Rooms { free: 0 },
    first: 0..0,
    free: 0,
    free_count: 0,
});

/// Where the owners are, and of how many units.
static OWNERS: (AtomicPtr<AtomicU32>, AtomicUsize) = (AtomicPtr::new(null_mut()), AtomicUsize::new(0));

#[inline]
fn owners() -> &'static Owners {
    let (start, count) = (OWNERS.0.load(Relaxed), OWNERS.1.load(Relaxed));
    // SAFETY: so many are there for good (`initialize`, in the boot, before there is anybody else).
    if start.is_null() { &[] } else { unsafe { slice::from_raw_parts(start, count) } }
}

/// Takes over the RAM; what lies below `image_end` is not used.
pub fn initialize(ram: &[Range<u64>; MAX_RAM], image_end: usize) {
    FRAMES.with(|frames| {
        for (stretch, given) in frames.stretches.iter_mut().zip(ram) {
            let start = (given.start as usize).max(image_end).next_multiple_of(PAGE);
            let end = given.end as usize / PAGE * PAGE;
            stretch.untouched = start..end.max(start);
        }
        frames
            .stretches
            .sort_unstable_by_key(|Stretch { untouched, .. }| (untouched.is_empty(), untouched.start));
        let end = frames.stretches.iter().map(|stretch| stretch.untouched.end).max().unwrap_or(0);
        let (units, stretch) = (end / UNIT, &mut frames.stretches[0].untouched);
        let bytes = (units * size_of::<AtomicU32>()).next_multiple_of(PAGE);
        if stretch.len() > bytes {
            let start = stretch.start as *mut AtomicU32;
            // SAFETY: RAM that nobody has, and nobody gets.
            unsafe { start.cast::<u8>().write_bytes(0, bytes) };
            stretch.start += bytes;
            OWNERS.1.store(units, Relaxed);
            OWNERS.0.store(start, Release);
        }
    });
}

/// A frame from the bottom, while the boot's page tables reach no further than the first GiB.
pub fn take_low() -> Option<usize> {
    FRAMES.with(|frames| {
        let untouched = &mut frames.stretches[0].untouched;
        let frame = untouched.start;
        (frame + PAGE <= untouched.end).then(|| {
            untouched.start += PAGE;
            frame
        })
    })
}

/// Sets the first frames aside, when the boot has what it needs; from there on there may be rooms.
pub fn set_first_aside() {
    FRAMES.with(|frames| {
        for (index, stretch) in frames.stretches.iter_mut().enumerate() {
            let untouched = &mut stretch.untouched;
            let bytes = if index == 0 { FIRST.min(untouched.len() / 8) } else { 0 };
            let rooms = (untouched.start + bytes).next_multiple_of(UNIT).min(untouched.end);
            if index == 0 {
                frames.first = untouched.start..rooms;
            }
            untouched.start = rooms;
            stretch.start = rooms;
        }
    });
}

/// A frame, its content whatever was in it.
pub fn take() -> Option<usize> {
    FRAMES.with(Frames::take).or_else(|| heap::allocate_within(FRAME))
}

/// The same for a program, which leaves the last ones to the OS.
pub fn take_for_program() -> Option<usize> {
    let left = FRAMES.with(|frames| frames.left());
    if left > for_frames() + FOR_SYSTEM { take() } else { heap::allocate_within(FRAME) }
}

/// What the OS's heap leaves.
fn for_frames() -> usize {
    FOR_FRAMES + segment::count() * FOR_AN_END
}

impl Frames {
    fn take(&mut self) -> Option<usize> {
        if self.free == 0 && self.first.is_empty() && self.top().is_none() {
            self.take_unit();
        }
        if self.free != 0 {
            let frame = self.free;
            // SAFETY: a frame in the list is RAM that nobody uses, and its first word is the list's.
            self.free = unsafe { *(frame as *const usize) };
            self.free_count -= 1;
            return Some(frame);
        }
        if !self.first.is_empty() {
            self.first.start += PAGE;
            return Some(self.first.start - PAGE);
        }
        let untouched = self.top()?;
        untouched.end -= PAGE;
        Some(untouched.end)
    }

    /// What has a frame that nobody touched.
    fn top(&mut self) -> Option<&mut Range<usize>> {
        self.stretches
            .iter_mut()
            .map(|stretch| &mut stretch.untouched)
            .find(|untouched| untouched.len() >= PAGE)
    }

    /// Makes single frames of a free unit, for good.
    fn take_unit(&mut self) {
        let wanted = Wanted { bytes: UNIT, owner: SINGLE };
        let unit = self.rooms.take(owners(), &mut self.stretches, wanted);
        unit.into_iter().flat_map(|unit| unit.step_by(PAGE)).for_each(|frame| self.give(frame));
    }

    fn give(&mut self, frame: usize) {
        // SAFETY: whoever gives it says that the frame is RAM of nobody.
        unsafe { *(frame as *mut usize) = self.free };
        self.free = frame;
        self.free_count += 1;
    }

    /// Bytes that nobody has.
    fn left(&self) -> usize {
        self.untouched() + self.free_count * PAGE
    }

    /// The same, but for the frames given back.
    fn untouched(&self) -> usize {
        let untouched: usize = self.stretches.iter().map(|stretch| stretch.untouched.len()).sum();
        untouched + self.rooms.free * UNIT + self.first.len()
    }
}

/// Gives a frame back.
///
/// # Safety
/// It came from [`take`] and nobody uses it any more.
pub unsafe fn give(frame: usize) {
    match heap_at(frame) {
        None => FRAMES.with(|frames| frames.give(frame)),
        // SAFETY: `take` had it from there.
        Some(_) => unsafe { heap::free(frame as *mut u8, FRAME) },
    }
}

/// The number of the heap that has the room at an address, if one has.
#[inline]
pub fn heap_at(address: usize) -> Option<u32> {
    Some(rooms::owner(owners(), address)).filter(|&owner| owner > SINGLE)
}

/// A room for a heap: whole units that are at least `bytes`; for the OS, from
/// what is left to it as well.
pub fn take_room(bytes: usize, owner: u32, for_system: bool) -> Option<Range<usize>> {
    take_room_by(bytes, owner, for_system, Rooms::take)
}

/// The same, at this address.
pub fn take_room_at(at: usize, bytes: usize, owner: u32, for_system: bool) -> Option<Range<usize>> {
    take_room_by(bytes, owner, for_system, |rooms, owners, stretches, wanted| {
        rooms.take_at(owners, stretches, at, wanted)
    })
}

fn take_room_by(
    bytes: usize,
    owner: u32,
    for_system: bool,
    take: impl FnOnce(&mut Rooms, &Owners, &mut [Stretch], Wanted) -> Option<Range<usize>>,
) -> Option<Range<usize>> {
    let wanted = Wanted { bytes: bytes.checked_next_multiple_of(UNIT)?, owner };
    let leaves = for_frames() + if for_system { 0 } else { FOR_SYSTEM + FOR_STACKS };
    FRAMES.with(|frames| {
        let is_left = frames.left().checked_sub(wanted.bytes).is_some_and(|left| left >= leaves);
        is_left.then(|| take(&mut frames.rooms, owners(), &mut frames.stretches, wanted)).flatten()
    })
}

/// Takes back units that a heap took as rooms.
///
/// # Safety
/// Nobody uses what lies there any more.
pub unsafe fn give_room(units: Range<usize>) {
    FRAMES.with(|frames| frames.rooms.give(owners(), &mut frames.stretches, units));
}

/// Takes back all rooms of a heap.
///
/// # Safety
/// Nobody uses what lies there, and nobody takes rooms with this number meanwhile.
pub unsafe fn give_all(owner: u32) {
    for index in 0..MAX_RAM {
        let stretch = FRAMES.with(|frames| frames.stretches[index].clone());
        let mut from = stretch.start;
        while let Some(room) = rooms::first_of(owners(), owner, from..stretch.untouched.start) {
            from = room.end;
            // SAFETY: the caller's promise.
            unsafe { give_room(room) };
        }
    }
}

/// Bytes of RAM that nobody has, but for the frames given back.
pub fn untouched() -> usize {
    FRAMES.with(|frames| frames.untouched())
}
