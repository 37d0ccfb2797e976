//! The kernel lock: a section in which no interrupt comes.
//!
//! All state of the runtime lies in [`Locked`] cells, which open only with
//! interrupts off. A VM has one vCPU; with several, the spinlock goes into
//! [`Locked::with`] and nothing else changes.
//!
//! Invariants:
//! * Nothing inside a section blocks, or takes the same cell again (it panics).
//! * Thread stacks are mapped page by page, on the first touch. So that a
//!   section never faults while it holds the page tables or the frames,
//!   [`enter`] touches the next [`STACK_AHEAD`] bytes of stack first.

use core::arch::asm;
use core::cell::{Cell, UnsafeCell};
use core::marker::PhantomData;
use x86_64::instructions::interrupts;

/// Bytes of stack that a section may use.
pub const STACK_AHEAD: usize = 8192;

/// Interrupts are off while it lives; then they are as they were before.
pub struct Section {
    were_enabled: bool,
    not_send: PhantomData<*const ()>,
}

/// Switches interrupts off until the result is dropped.
#[inline]
pub fn enter() -> Section {
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
    let were_enabled = interrupts::are_enabled();
    interrupts::disable();
    Section { were_enabled, not_send: PhantomData }
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
    held: Cell<bool>,
    value: UnsafeCell<T>,
}

// SAFETY: there is one vCPU, and whoever looks inside has interrupts off; a
// second look from within the first panics.
unsafe impl<T: Send> Sync for Locked<T> {}

impl<T> Locked<T> {
    /// A cell with `value` in it.
    pub const fn new(value: T) -> Self {
        Self { held: Cell::new(false), value: UnsafeCell::new(value) }
    }

    /// Runs `f` on the value in a section.
    ///
    /// # Panics
    /// If the value is in use: the runtime has called itself.
    #[inline]
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        match self.try_with(f) {
            Some(result) => result,
            None => panic!("the runtime's state was entered twice"),
        }
    }

    /// As [`Locked::with`], but `None` if the value is in use: for whoever
    /// reports a fault in the midst of things.
    #[inline]
    pub fn try_with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        let _section = enter();
        if self.held.replace(true) {
            return None;
        }
        // SAFETY: interrupts are off and `held` was clear, so nobody else has a reference.
        let result = f(unsafe { &mut *self.value.get() });
        self.held.set(false);
        Some(result)
    }
}
