//! The kernel lock: a section in which no interrupt comes.
//!
//! All state of the runtime lies in [`Locked`] cells, which open only with
//! interrupts off, and for one core at a time: the others spin. In a VM with
//! one core nobody else is there, and opening a cell is a load and a store.
//!
//! The lock is a word that is tried when it looks free. It is not first come,
//! first served: a host may have put away the vCPU whose turn it is, and all
//! others would wait for that one. What is done within a section is short, so
//! whoever wants in finds the word free soon.
//!
//! Invariants:
//! * Nothing inside a section blocks, or takes the same cell again (it panics).
//! * Cells are nested in this order only: the doorbell, the bus, the page
//!   tables, a heap, the frames; the scheduler, a heap, the frames, or the page
//!   tables. No two heaps at a time. The clock is the innermost everywhere.
//! * Thread stacks are mapped page by page, on the first touch. So that a
//!   section never faults while it holds the page tables or the frames,
//!   [`enter`] touches the next [`STACK_AHEAD`] bytes of stack first.

use super::cores;
use core::arch::asm;
use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use x86_64::instructions::interrupts;

/// Bytes of stack that a section may use.
pub const STACK_AHEAD: usize = 8192;

/// Looks at a lock after which [`Locked::try_with`] gives up.
const MOST_LOOKS: u32 = 1 << 20;

/// Interrupts are off while it lives; then they are as they were before.
pub struct Section {
    were_enabled: bool,
    not_send: PhantomData<*const ()>,
}

/// Switches interrupts off until the result is dropped. Where they are off
/// already, this is within a section that touched the stack for all in it, or
/// on a stack that is mapped.
#[inline]
pub fn enter() -> Section {
    let were_enabled = interrupts::are_enabled();
    if were_enabled {
        touch_stack();
        interrupts::disable();
    }
    Section { were_enabled, not_send: PhantomData }
}

/// Has the next [`STACK_AHEAD`] bytes of stack mapped.
#[inline]
fn touch_stack() {
    // SAFETY: reads below the stack pointer: the thread's own stack (mapped on
    // this very touch), its guard page (an overflow, reported as such), or the
    // image's data below one of its static stacks.
    unsafe {
        asm!(
            "test byte ptr [rsp - {half}], 0",
            "test byte ptr [rsp - {whole}], 0",
            half = const STACK_AHEAD / 2,
            whole = const STACK_AHEAD,
            options(nostack, readonly),
        );
    }
}

impl Drop for Section {
    #[inline]
    fn drop(&mut self) {
        if self.were_enabled {
            interrupts::enable();
        }
    }
}

/// A value that is only reached with interrupts off, by one at a time.
pub struct Locked<T> {
    /// The core that is inside, plus 1; 0 if none is.
    holder: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: `holder` lets one core in at a time, and that one has interrupts off;
// a second look from within the first panics.
unsafe impl<T: Send> Sync for Locked<T> {}

impl<T> Locked<T> {
    /// A cell with `value` in it.
    pub const fn new(value: T) -> Self {
        Self { holder: AtomicU32::new(0), value: UnsafeCell::new(value) }
    }

    /// Runs `f` on the value in a section.
    ///
    /// # Panics
    /// If the value is in use by this core: the runtime has called itself.
    #[inline]
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        let _section = enter();
        if cores::many() {
            self.acquire();
        } else if self.holder.load(Relaxed) == 0 {
            self.holder.store(1, Relaxed);
        } else {
            entered_twice();
        }
        // SAFETY: interrupts are off and `holder` was 0, so nobody else has a reference.
        let result = f(unsafe { &mut *self.value.get() });
        // SYNC: locked-handover, with `acquire`.
        self.holder.store(0, Release);
        result
    }

    /// As [`Locked::with`], but `None` if this core is inside already, or another
    /// one for very long: for whoever reports a fault in the midst of things.
    pub fn try_with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        let _section = enter();
        let own = cores::index() as u32 + 1;
        let mut looks = 0..MOST_LOOKS;
        // SYNC: locked-handover, with the releases here and in `with`.
        while let Err(holder) = self.holder.compare_exchange_weak(0, own, Acquire, Relaxed) {
            looks.next().filter(|_| holder != own)?;
            core::hint::spin_loop();
        }
        // SAFETY: interrupts are off and `holder` was 0, so nobody else has a reference.
        let result = f(unsafe { &mut *self.value.get() });
        self.holder.store(0, Release);
        Some(result)
    }

    /// Waits until no core is inside, and goes in.
    #[inline(never)]
    fn acquire(&self) {
        let own = cores::index() as u32 + 1;
        // SYNC: locked-handover, with the release in `with`.
        while let Err(holder) = self.holder.compare_exchange_weak(0, own, Acquire, Relaxed) {
            if holder == own {
                entered_twice();
            }
            while self.holder.load(Relaxed) != 0 {
                core::hint::spin_loop();
            }
        }
    }
}

#[cold]
fn entered_twice() -> ! {
    panic!("the runtime's state was entered twice")
}
