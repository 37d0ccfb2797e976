//! Where a thread goes on, and the switch from one to another.
//!
//! A thread that gave the processor up itself has its state on its own stack
//! (what the calling convention says survives a call, and the control words of
//! x87 and SSE). A thread that was interrupted has all of it here.

use super::thread::Thread;
use crate::memory::paging;
use crate::processor::descriptors::{CODE, DATA};
use crate::processor::traps::{self, FloatState, INTERRUPTS_ON, TrapFrame};
use core::arch::naked_asm;
use x86_64::VirtAddr;
use x86_64::registers::model_specific::FsBase;

/// Where a thread goes on.
pub struct Context {
    /// The stack pointer under which `switch` saved, if it gave up the processor itself.
    own: Option<usize>,
    frame: TrapFrame,
    float: FloatState,
}

impl Context {
    /// Starts at `entry(function, argument)` on the stack that ends at `top`.
    pub fn fresh(
        entry: extern "C" fn(extern "C" fn(usize), usize) -> !,
        function: extern "C" fn(usize),
        argument: usize,
        top: usize,
    ) -> Self {
        let frame = TrapFrame {
            rip: entry as usize as u64,
            rdi: function as usize as u64,
            rsi: argument as u64,
            // As if `entry` had been called.
            rsp: top as u64 - 8,
            rflags: INTERRUPTS_ON,
            cs: CODE,
            ss: DATA,
            ..TrapFrame::default()
        };
        Self { own: None, frame, float: FloatState::fresh() }
    }

    /// Where the thread goes on, and its frame; for one that does not run.
    pub fn whereabouts(&self) -> Option<(u64, u64)> {
        let Some(own) = self.own else { return Some((self.frame.rip, self.frame.rbp)) };
        // As `save` left it: control words, six registers, the last of which is
        // the frame's, and where the caller goes on.
        Some((paging::read(own as u64 + 56)?, paging::read(own as u64 + 48)?))
    }

    /// Keeps where an interrupted thread goes on.
    pub fn keep(&mut self, frame: &TrapFrame, float: &FloatState) {
        self.own = None;
        self.frame = *frame;
        self.float.0.copy_from_slice(&float.0);
    }
}

/// Goes on with a thread.
///
/// # Safety
/// Interrupts are off, `thread` is in the table and is the scheduler's current one.
pub unsafe extern "C" fn resume(thread: *mut Thread) -> ! {
    // SAFETY: the caller's promise; nobody else is looking, with interrupts off.
    let thread = unsafe { &mut *thread };
    FsBase::write(VirtAddr::new(thread.stack.thread_pointer as u64));
    let context = &mut thread.context;
    // SAFETY: what was saved by `switch`, by a trap, or made by `fresh`.
    unsafe {
        match context.own.take() {
            Some(stack_pointer) => restore(stack_pointer),
            None => traps::resume(&context.frame, &context.float),
        }
    }
}

/// Saves the calling thread as `from` and goes on with `next(to)`; returns when
/// somebody resumes `from`.
///
/// # Safety
/// Interrupts are off, `from` is the calling thread, and `next(to)` goes on somewhere.
pub unsafe fn switch(from: *mut Thread, next: unsafe extern "C" fn(*mut Thread) -> !, to: *mut Thread) {
    // SAFETY: the caller's promise: the thread is in the table.
    let own = unsafe { &raw mut (*from).context.own };
    // SAFETY: the caller's promise; `own` stays where it is while the thread lives.
    unsafe { save(own, next, to) };
}

/// Saves on the stack, leaves the stack pointer in `own`, and calls `next(to)` on the same stack.
#[unsafe(naked)]
unsafe extern "C" fn save(
    own: *mut Option<usize>,
    next: unsafe extern "C" fn(*mut Thread) -> !,
    to: *mut Thread,
) {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "stmxcsr [rsp]",
        "fnstcw [rsp + 4]",
        "mov rcx, rsi",
        "mov rsi, rsp",
        "mov r12, rcx",
        "mov r13, rdx",
        "call {keep}",
        "mov rdi, r13",
        "call r12",
        "ud2",
        keep = sym keep,
    )
}

/// Leaves the stack pointer where `resume` finds it.
unsafe extern "C" fn keep(own: *mut Option<usize>, stack_pointer: usize) {
    // SAFETY: `switch` passed its thread's field.
    unsafe { *own = Some(stack_pointer) };
}

/// Returns from the `save` that left `stack_pointer`.
#[unsafe(naked)]
unsafe extern "C" fn restore(stack_pointer: usize) -> ! {
    naked_asm!(
        "mov rsp, rdi",
        "ldmxcsr [rsp]",
        "fldcw [rsp + 4]",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}
