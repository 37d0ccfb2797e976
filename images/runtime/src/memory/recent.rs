//! Small blocks that were freed a moment ago, for whoever wants one of the size.
//!
//! What a message or a coroutine needs is mostly what the one before gave back.
//! To take it from here costs an atomic exchange; the heap's own way, with
//! interrupts off, costs ten times that in translated code.
//!
//! ```text
//! of each heap, one word per class of sizes: changes:24 | blocks:8 | address of the first / 16:32
//! first word of a block here:  address of the next / 16, 0 = none
//! ```
//! * A stack in Treiber's way ("Systems programming: coping with parallelism",
//!   1986). Whoever was interrupted between its look and its exchange, or was slower
//!   than another core, fails if anything changed: the word counts changes, so it would have to be away for
//!   exactly a multiple of 2^24 of them to take the old state for the new.
//! * Blocks are of their class's size, so any block serves any layout of the class.
//! * At most [`MOST`] blocks of a class are kept, so little is withheld from others.

use core::alloc::Layout;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

/// The largest sizes of each class, in bytes.
const CLASSES: [usize; 12] = [16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024];
/// Most blocks kept of a class.
const MOST: u64 = 128;
/// Alignment of every block.
const ALIGN: usize = 16;

const ADDRESS: u64 = u32::MAX as u64;
const BLOCK: u64 = 1 << 32;
const BLOCKS: u64 = 0xff << 32;
const CHANGE: u64 = 1 << 40;

/// The blocks of a heap that were freed last.
#[derive(Debug)]
pub struct Recent([AtomicU64; CLASSES.len()]);

/// The class of each number of 16-byte units, less one.
static OF_UNITS: [u8; 64] = {
    let mut table = [0; 64];
    let (mut units, mut class) = (0, 0);
    while units < 64 {
        if (units + 1) * ALIGN > CLASSES[class] {
            class += 1;
        }
        table[units] = class as u8;
        units += 1;
    }
    table
};

/// A class of sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class(u8);

impl Class {
    /// The class of a layout; `None` if it is too large or too strictly aligned.
    #[inline]
    pub fn of(layout: Layout) -> Option<Self> {
        if layout.align() > ALIGN || layout.size() == 0 {
            return None;
        }
        OF_UNITS.get((layout.size() - 1) / ALIGN).map(|&class| Self(class))
    }

    /// The layout of its blocks.
    pub fn layout(self) -> Layout {
        match Layout::from_size_align(CLASSES[usize::from(self.0)], ALIGN) {
            Ok(layout) => layout,
            Err(_) => unreachable!("classes are small"),
        }
    }
}

impl Recent {
    /// No blocks.
    pub const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; CLASSES.len()])
    }

    #[inline]
    fn stack(&self, class: Class) -> &AtomicU64 {
        &self.0[usize::from(class.0)]
    }

    /// Takes a block of a class, if there is one.
    #[inline]
    pub fn take(&self, class: Class) -> Option<NonNull<u8>> {
        let stack = self.stack(class);
        let mut found = stack.load(Ordering::Acquire);
        loop {
            let first = NonNull::new(((found & ADDRESS) * ALIGN as u64) as *mut u8)?;
            // SAFETY: blocks lie in RAM that stays mapped. If somebody took this
            // one meanwhile, what is read is anything, and the exchange fails.
            let next = unsafe { first.cast::<AtomicU64>().as_ref() }.load(Ordering::Relaxed) & ADDRESS;
            let left = ((found & !ADDRESS).wrapping_add(CHANGE) - BLOCK) | next;
            match stack.compare_exchange_weak(found, left, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(first),
                Err(now) => found = now,
            }
        }
    }

    /// Keeps a block, unless there are enough: then it is the caller's still.
    ///
    /// # Safety
    /// The block has the class's layout and is the heap's, lies in the first 64 GiB of RAM that
    /// stays mapped, and nobody uses it any more.
    #[inline]
    pub unsafe fn keep(&self, class: Class, block: NonNull<u8>) -> bool {
        let stack = self.stack(class);
        let mut found = stack.load(Ordering::Relaxed);
        let address = block.as_ptr() as u64 / ALIGN as u64;
        while found & BLOCKS < MOST * BLOCK && address <= ADDRESS {
            // SAFETY: the block is the caller's (its promise); others that look
            // at it (`take`) do so atomically.
            unsafe { block.cast::<AtomicU64>().as_ref() }.store(found & ADDRESS, Ordering::Relaxed);
            let more = ((found & !ADDRESS).wrapping_add(CHANGE) + BLOCK) | address;
            match stack.compare_exchange_weak(found, more, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => found = now,
            }
        }
        false
    }
}
