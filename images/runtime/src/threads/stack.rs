//! A thread's stack, with its thread-locals at the top.
//!
//! ```text
//! guard page | stack, growing down from the right | thread-locals | thread control block
//! ```
//!
//! Thread-locals are laid out as variant II of the ELF TLS ABI says: the
//! thread pointer (the base of `fs`) points at the control block, whose first
//! word points at itself, and the thread-locals end there. Frames are mapped on
//! first touch; freed stacks of the usual sizes are kept for reuse as addresses
//! and page tables, without their frames. With several cores, the last few small
//! ones keep their frames: to take these away, all cores must be asked to forget
//! them, so it is done for several stacks at once.

use crate::memory::paging::{self, OutOfFrames, Taken};
use crate::memory::{PAGE, limbo};
use crate::processor::cores;
use crate::processor::critical::Locked;
use alloc::vec::Vec;
use core::ops::Range;
use core::ptr::copy_nonoverlapping;

/// Alignment of thread-locals; the linker script gives their section the same.
const TLS_ALIGNMENT: usize = 64;
/// Bytes of the control block.
const CONTROL_BLOCK: usize = 64;
/// Bytes that a call of the OS needs.
pub const CALL: usize = 32 * 1024;
/// The least stack, without thread-locals.
const LEAST: usize = CALL + 32 * 1024;

/// Most stacks that keep their frames, and most frames of each.
const KEPT: usize = 8;
const KEPT_FRAMES: usize = 8;

unsafe extern "C" {
    safe static tls_start: u8;
    safe static tls_data_end: u8;
    safe static tls_end: u8;
}

/// Addresses of stacks that are free again.
static FREE: Locked<Vec<Range<usize>>> = Locked::new(Vec::new());

/// Stacks that nobody uses, with frames; empty ranges are none.
static RETIRED: Locked<[Range<usize>; KEPT]> = Locked::new([const { 0..0 }; KEPT]);

/// A stack that belongs to one thread.
pub struct Stack {
    range: Range<usize>,
    /// The thread pointer.
    pub thread_pointer: usize,
    /// Where the stack begins, a multiple of 16; it grows down from here.
    pub top: usize,
}

impl Stack {
    /// A stack of at least `bytes` bytes, its thread-locals in their first state.
    pub fn new(bytes: usize) -> Result<Self, OutOfFrames> {
        let template = &raw const tls_start;
        let data = &raw const tls_data_end as usize - template as usize;
        let locals = (&raw const tls_end as usize - template as usize).next_multiple_of(TLS_ALIGNMENT);
        let above = locals + CONTROL_BLOCK;
        let size = bytes.max(LEAST).checked_add(above + PAGE).ok_or(OutOfFrames)? / PAGE * PAGE;
        let range = reserve(size)?;
        let thread_pointer = range.end - CONTROL_BLOCK;
        let stack = Self { range, thread_pointer, top: thread_pointer - locals };
        // The pages under the thread-locals and the first of the stack, so that
        // a lack of memory shows here.
        for page in ((stack.top - PAGE) / PAGE * PAGE..stack.range.end).step_by(PAGE) {
            if paging::resolve(page) != paging::Met::Grown {
                return Err(OutOfFrames);
            }
        }
        // SAFETY: the pages were just mapped and belong to this stack; the
        // template is the linker's.
        unsafe {
            let target = (thread_pointer - locals) as *mut u8;
            copy_nonoverlapping(template, target, data);
            target.add(data).write_bytes(0, locals - data);
            *(thread_pointer as *mut usize) = thread_pointer;
        }
        Ok(stack)
    }
}

impl Stack {
    /// Where it starts, above its guard page.
    pub fn start(&self) -> usize {
        self.range.start
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let range = self.range.clone();
        if !cores::many() {
            let mut taken = Taken::NONE;
            // SAFETY: a stack is dropped when its thread has ended, by another
            // one, and there is no other core to remember its frames.
            unsafe {
                paging::unmap_stack(&range, &mut taken);
                taken.give();
            }
            remember(core::iter::once(range));
        } else if let Some(stacks) = retire(range) {
            // SAFETY: as above; what was retired is nobody's either.
            unsafe { limbo::add_stacks(stacks.iter().filter(|range| !Range::is_empty(range))) };
        }
    }
}

/// Keeps addresses for a next stack.
pub fn remember(ranges: impl Iterator<Item = Range<usize>>) {
    FREE.with(|free| {
        for range in ranges {
            // Without memory to remember them, the addresses are lost; there are plenty.
            if free.try_reserve(1).is_ok() {
                free.push(range);
            }
        }
    });
}

/// Keeps a stack with its frames for the next thread, or says which stacks are
/// to lose theirs now: this one and those that were kept. Empty ranges are none.
fn retire(range: Range<usize>) -> Option<[Range<usize>; KEPT + 1]> {
    let small = paging::frames_of(&range) <= KEPT_FRAMES;
    RETIRED.with(|retired| {
        let free = retired.iter_mut().find(|slot| Range::is_empty(slot));
        if let Some(slot) = free.filter(|_| small) {
            *slot = range;
            return None;
        }
        let mut all = [const { 0..0 }; KEPT + 1];
        all[..KEPT].swap_with_slice(retired);
        all[KEPT] = range;
        Some(all)
    })
}

/// Addresses for a stack of exactly `size` bytes.
fn reserve(size: usize) -> Result<Range<usize>, OutOfFrames> {
    let kept = RETIRED.with(|retired| {
        let slot = retired.iter_mut().find(|range| range.len() == size)?;
        Some(core::mem::take(slot))
    });
    if let Some(range) = kept {
        return Ok(range);
    }
    let old = FREE.with(|free| {
        let position = free.iter().rposition(|range| range.len() == size)?;
        Some(free.swap_remove(position))
    });
    match old {
        Some(range) => paging::arm_stack(&range).map(|()| range),
        None => paging::reserve_stack(size),
    }
}
