//! Physical memory: who gets which part of the RAM.
//!
//! ```text
//! image | page tables of the boot | first frames | heap, growing up -> ... <- frames, growing down |
//! ```
//!
//! In each stretch of RAM the heap takes from the bottom and single frames
//! (thread stacks, later page tables) come from the top, until the two meet.
//! The first frames stand beside the image and the heap's beginning: hosts give
//! a VM memory in pages of 2 MiB, and a VM that does little touches only one.
//! The heap leaves [`RESERVE`] bytes, so that a program that used up the heap
//! takes no stack from the others, and programs leave [`FOR_SYSTEM`] bytes of it
//! to the OS, and of the frames [`FRAMES_FOR_SYSTEM`], which goes on when they are out of memory; where even these are gone, a frame is taken
//! from what is free within the heap. Frames given back wait in a list that is
//! written into the frames themselves, or go back into the heap. Nothing is
//! touched before it is handed out.

use super::{PAGE, heap, segment};
use crate::boot::start_info::MAX_RAM;
use crate::processor::critical::Locked;
use core::alloc::Layout;
use core::ops::Range;

/// Bytes of each stretch that the heap leaves to the frames.
const RESERVE: usize = 256 * 1024;
/// Bytes of each stretch that programs leave to the OS's own heap.
const FOR_SYSTEM: usize = 256 * 1024;
/// Bytes of frames that programs leave to the OS, and so many more for each
/// activity: it may be about to end for lack of memory, as all may at once. Of
/// twelve times that forty did, 40 KiB each were too little once, 48 never.
const FRAMES_FOR_SYSTEM: usize = 128 * 1024;
const FRAMES_FOR_AN_END: usize = 64 * 1024;
/// Bytes of the frames that come first.
const FIRST: usize = 512 * 1024;
/// A frame, as the heap sees it.
// SAFETY: the size and the alignment are powers of two and not zero.
const FRAME: Layout = unsafe { Layout::from_size_align_unchecked(PAGE, PAGE) };

/// The RAM beyond the image. Identity-mapped, so addresses are both physical and virtual.
pub struct Frames {
    /// What is left of each stretch.
    stretches: [Range<usize>; MAX_RAM],
    /// Where each stretch ended in the beginning.
    ends: [usize; MAX_RAM],
    /// The first frames, those that nobody has taken.
    first: Range<usize>,
    /// The frame given back last; its first word is the address of the one before.
    free: usize,
    /// How many there are of these.
    free_count: usize,
}

/// More room for the heap.
pub struct Room {
    /// Addresses of the new room.
    pub range: Range<usize>,
}

static FRAMES: Locked<Frames> = Locked::new(Frames {
    stretches: [const { 0..0 }; MAX_RAM],
    ends: [0; MAX_RAM],
    first: 0..0,
    free: 0,
    free_count: 0,
});

/// Takes over the RAM; what lies below `image_end` is not used.
pub fn initialize(ram: &[Range<u64>; MAX_RAM], image_end: usize) {
    FRAMES.with(|frames| {
        for (stretch, given) in frames.stretches.iter_mut().zip(ram) {
            let start = (given.start as usize).max(image_end).next_multiple_of(PAGE);
            let end = given.end as usize / PAGE * PAGE;
            *stretch = start..end.max(start);
        }
        frames.stretches.sort_unstable_by_key(|stretch| (stretch.is_empty(), stretch.start));
        for (end, stretch) in frames.ends.iter_mut().zip(&frames.stretches) {
            *end = stretch.end;
        }
    });
}

/// A frame from the bottom, while the boot's page tables reach no further than the first GiB.
pub fn take_low() -> Option<usize> {
    FRAMES.with(|frames| {
        let frame = frames.stretches[0].start;
        (frame + PAGE <= frames.stretches[0].end).then(|| {
            frames.stretches[0].start += PAGE;
            frame
        })
    })
}

/// Sets the first frames aside, when the boot has what it needs.
pub fn set_first_aside() {
    FRAMES.with(|frames| {
        let stretch = &mut frames.stretches[0];
        let bytes = FIRST.min(stretch.len() / 8) / PAGE * PAGE;
        frames.first = stretch.start..stretch.start + bytes;
        stretch.start += bytes;
    });
}

/// A frame, its content whatever was in it.
pub fn take() -> Option<usize> {
    let fresh = FRAMES.with(|frames| {
        if frames.free != 0 {
            let frame = frames.free;
            // SAFETY: a frame in the list is RAM that nobody uses, and its first word is the list's.
            frames.free = unsafe { *(frame as *const usize) };
            frames.free_count -= 1;
            return Some(frame);
        }
        if !frames.first.is_empty() {
            frames.first.start += PAGE;
            return Some(frames.first.start - PAGE);
        }
        let stretch = frames.stretches.iter_mut().find(|stretch| stretch.len() >= PAGE)?;
        stretch.end -= PAGE;
        Some(stretch.end)
    });
    fresh.or_else(|| heap::allocate_within(FRAME))
}

/// The same for a program, which leaves the last ones to the OS: so it can
/// report that the program lacks memory.
pub fn take_for_program() -> Option<usize> {
    let left = FRAMES.with(|frames| untouched_of(frames) + frames.free_count * PAGE);
    let reserved = FRAMES_FOR_SYSTEM + segment::count() * FRAMES_FOR_AN_END;
    if left > reserved { take() } else { heap::allocate_within(FRAME) }
}

/// Gives a frame back.
///
/// # Safety
/// It came from [`take`] and nobody uses it any more.
pub unsafe fn give(frame: usize) {
    let of_heap = FRAMES.with(|frames| {
        let mut stretches = frames.stretches.iter().zip(frames.ends);
        let from_top = stretches.any(|(stretch, end)| (stretch.end..end).contains(&frame));
        let of_heap = !from_top && frame >= frames.first.end;
        if !of_heap {
            // SAFETY: the caller's promise: the frame is RAM of nobody.
            unsafe { *(frame as *mut usize) = frames.free };
            frames.free = frame;
            frames.free_count += 1;
        }
        of_heap
    });
    if of_heap {
        // SAFETY: it is neither a first frame nor one from the top, so `take` had it from the heap.
        unsafe { heap::free(frame as *mut u8, FRAME) };
    }
}

/// Room for the heap: `wanted` bytes if there are as many in one piece, else at
/// least `needed`; for the OS, from what is left to it as well. It adjoins the room given before wherever it can.
pub fn take_room(needed: usize, wanted: usize, for_system: bool) -> Option<Room> {
    FRAMES.with(|frames| {
        let needed = needed.next_multiple_of(PAGE);
        let reserve = if for_system { RESERVE } else { RESERVE + FOR_SYSTEM };
        let room = |stretch: &Range<usize>| stretch.len().saturating_sub(reserve);
        let stretch = frames.stretches.iter_mut().find(|stretch| room(stretch) >= needed)?;
        let bytes = room(stretch).min(wanted.next_multiple_of(PAGE));
        let range = stretch.start..stretch.start + bytes;
        stretch.start = range.end;
        Some(Room { range })
    })
}

/// Bytes of RAM that nobody has taken yet.
pub fn untouched() -> usize {
    FRAMES.with(|frames| untouched_of(frames))
}

fn untouched_of(frames: &Frames) -> usize {
    frames.stretches.iter().map(|stretch| stretch.len()).sum::<usize>() + frames.first.len()
}
