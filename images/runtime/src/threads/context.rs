//! Where a thread goes on, and the switch from one to another.
//!
//! A thread that gave the processor up itself has its state on its own stack
//! (what the calling convention says survives a call, and the control words of
//! x87 and SSE). A thread that was interrupted has all of it here.
//!
//! A thread may be woken, and picked by another core, while this one is still
//! about to leave it. So `state` says when it has been left: it is written last,
//! on another stack, and [`resume`] waits for it. Nobody waits on the stack of a
//! thread: first the core leaves the old thread for its own idle stack, then it
//! waits for the new one. So no two cores wait for one another.

use super::thread::Thread;
use crate::memory::paging;
use crate::processor::cores::{self, STACK_TOP};
use crate::processor::descriptors::{CODE, DATA};
use crate::processor::traps::{self, FloatState, INTERRUPTS_ON, TrapFrame};
use core::arch::naked_asm;
use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use x86_64::VirtAddr;
use x86_64::registers::model_specific::FsBase;

/// A core runs it, or has not left it yet.
const RUNNING: usize = 0;
/// It was interrupted, or has not run yet. No stack pointer is this.
const INTERRUPTED: usize = 1;

/// Where a thread goes on.
pub struct Context {
    /// `RUNNING`, `INTERRUPTED`, or the stack pointer under which `save` saved.
    state: AtomicUsize,
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
        Self { state: AtomicUsize::new(INTERRUPTED), frame, float: FloatState::fresh() }
    }

    /// Where the thread goes on, and its frame; for one that does not run.
    pub fn whereabouts(&self) -> Option<(u64, u64)> {
        // SYNC: thread-left, with `save` and `Context::keep`.
        match self.state.load(Acquire) {
            RUNNING => None,
            INTERRUPTED => Some((self.frame.rip, self.frame.rbp)),
            // As `save` left it: control words, six registers, the last of which
            // is the frame's, and where the caller goes on.
            own => Some((paging::read(own as u64 + 56)?, paging::read(own as u64 + 48)?)),
        }
    }

    /// Keeps where an interrupted thread goes on.
    pub fn keep(&mut self, frame: &TrapFrame, float: &FloatState) {
        self.frame = *frame;
        self.float.0.copy_from_slice(&float.0);
        // SYNC: thread-left, with `resume`.
        self.state.store(INTERRUPTED, Release);
    }
}

/// Goes on with a thread.
///
/// # Safety
/// Interrupts are off, `thread` is in the table and is the scheduler's current
/// one on this core, whose stack of now is nobody else's.
pub unsafe extern "C" fn resume(thread: *mut Thread) -> ! {
    // SAFETY: the caller's promise: it stays in the table while it is somebody's current one.
    let state = unsafe { &(*thread).context.state };
    // SYNC: thread-left, with `save` and `Context::keep`.
    let mut left = state.load(Acquire);
    while left == RUNNING {
        core::hint::spin_loop();
        left = state.load(Acquire);
    }
    state.store(RUNNING, Relaxed);
    // SAFETY: the thread has been left, and is this core's now: what it goes on with is only read here.
    let (thread_pointer, segment, context) =
        unsafe { ((*thread).stack.thread_pointer, &(*thread).own.segment, &raw const (*thread).context) };
    cores::own().running.store(thread as usize, Relaxed);
    if let Some(segment) = segment {
        segment.enter();
    }
    FsBase::write(VirtAddr::new(thread_pointer as u64));
    // SAFETY: what was saved by `save`, by a trap, or made by `fresh`.
    unsafe {
        match left {
            INTERRUPTED => traps::resume(&raw const (*context).frame, &raw const (*context).float),
            stack_pointer => restore(stack_pointer),
        }
    }
}

/// Saves the calling thread as `from` and goes on with `next(to)`; returns when
/// somebody resumes `from`.
///
/// # Safety
/// Interrupts are off, `from` is the calling thread, and `next(to)` goes on somewhere.
pub unsafe fn switch(from: *mut Thread, next: unsafe extern "C" fn(*mut Thread) -> !, to: *mut Thread) {
    // SAFETY: the caller's promise: the thread is in the table, and stays there until it ends.
    unsafe { save(&raw const (*from).context.state, next, to) };
}

/// Saves on the stack, changes to the core's idle stack, leaves the stack
/// pointer in `state`, and calls `next(to)`.
#[unsafe(naked)]
unsafe extern "C" fn save(
    state: *const AtomicUsize,
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
        "mov rax, rsp",
        "mov rsp, gs:[{stack_top}]",
        // SYNC: thread-left, with `resume`: stores are seen in their order.
        "mov [rdi], rax",
        "mov rdi, rdx",
        "xor ebp, ebp",
        "call rsi",
        "ud2",
        stack_top = const STACK_TOP,
    )
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
