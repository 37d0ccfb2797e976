//! What no thread uses any more and other cores may still remember: stacks whose
//! frames were taken away, data segments.
//!
//! It is collected, then all cores are asked to forget it, and when these have,
//! its frames and addresses are free. Nobody is waited for, unless that is much:
//! a host may have put a core away. In a VM with one core nothing comes here.

use super::paging::segment::Pages;
use super::paging::{self, Taken};
use crate::processor::critical::Locked;
use crate::processor::shootdown;
use crate::threads::stack;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

/// Frames that may wait here before anybody waits for the other cores.
const MOST: usize = 256;

/// What is to be forgotten at once.
struct Batch {
    /// Frames of stacks.
    frames: Taken,
    stacks: Vec<Range<usize>>,
    /// Linked through themselves.
    segments: Option<Box<Pages>>,
    /// How many frames there are in all of it.
    count: usize,
}

struct Limbo {
    collecting: Batch,
    asked: Option<(shootdown::Call, Batch)>,
}

static LIMBO: Locked<Limbo> = Locked::new(Limbo { collecting: Batch::NEW, asked: None });

impl Batch {
    const NEW: Self = Self { frames: Taken::NONE, stacks: Vec::new(), segments: None, count: 0 };

    /// Gives everything back.
    ///
    /// # Safety
    /// Every core has forgotten it.
    unsafe fn free(mut self) {
        // SAFETY: the caller's promise.
        unsafe { self.frames.give() };
        stack::remember(self.stacks.into_iter());
        while let Some(mut pages) = self.segments {
            self.segments = pages.next.take();
        }
    }
}

/// Takes the frames of stacks away, and keeps these until they are forgotten.
///
/// # Safety
/// Nobody uses the stacks any more.
pub unsafe fn add_stacks<'a>(stacks: impl Iterator<Item = &'a Range<usize>>) {
    LIMBO.with(|limbo| {
        let batch = &mut limbo.collecting;
        for range in stacks {
            let before = batch.frames.count;
            // SAFETY: the caller's promise.
            unsafe { paging::unmap_stack(range, &mut batch.frames) };
            batch.count += batch.frames.count - before;
            // Without memory to remember them, the addresses are lost.
            if batch.stacks.try_reserve(1).is_ok() {
                batch.stacks.push(range.clone());
            }
        }
    });
    reap();
}

/// Keeps a segment that no thread has any more until no core sees it.
pub fn add_segment(mut pages: Box<Pages>) {
    LIMBO.with(|limbo| {
        let batch = &mut limbo.collecting;
        batch.count += pages.frames();
        pages.next = batch.segments.take();
        batch.segments = Some(pages);
    });
    reap();
}

/// Frees what every core has forgotten, and has them forget what was collected
/// meanwhile.
pub fn reap() {
    loop {
        let (forgotten, wait_for) = LIMBO.with(|limbo| {
            let forgotten = limbo.asked.take_if(|(call, _)| call.is_answered());
            if limbo.asked.is_none() && limbo.collecting.count > 0 {
                let batch = core::mem::replace(&mut limbo.collecting, Batch::NEW);
                limbo.asked = Some((shootdown::ask(), batch));
            }
            let too_much = limbo.collecting.count > MOST;
            (forgotten, limbo.asked.as_ref().filter(|_| too_much).map(|&(call, _)| call))
        });
        if let Some((_, batch)) = forgotten {
            // SAFETY: so it is.
            unsafe { batch.free() };
        }
        match wait_for {
            Some(call) => call.wait(),
            None => return,
        }
    }
}
