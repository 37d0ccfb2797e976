//! What ends an activity, or the VM: a fault of a thread in its own code, an
//! abort, a deadlock.
//!
//! ```text
//! exception ──> processor/faults ──┬── in the OS ──> a line on the console, the VM ends
//! abort ───────────────────────────┤
//! deadlock (threads/scheduler) ────┴── an activity's own ──> System::fault, the activity ends
//! ```
//!
//! A fault is an activity's own if its thread carries a tag and is within no
//! call of the OS: then it holds nothing that others need. From there on the
//! thread is within a call, so that it is not ended before it has reported, and
//! another fault ends the VM.

pub use ivshmem::fault::{Access, Backtrace, Kind, Place};

use crate::console;
use crate::exit::{ExitCode, exit};
use crate::memory::{is_routine, paging};
use crate::processor::critical;
use crate::processor::traps::{self, FloatState, TrapFrame};
use crate::system;
use crate::threads::scheduler;
use crate::threads::stack::Stack;
use crate::threads::thread::{Own, ThreadId};
use alloc::vec::Vec;
use core::arch::asm;
use core::sync::atomic::Ordering::Relaxed;
use x86_64::instructions::interrupts;

/// Bytes of the stack on which a thread ends that is taken out of its code.
const LAST_STACK: usize = 256 * 1024;
/// Most threads of a deadlock that are reported, without the one that reports.
const MOST_OTHERS: usize = 15;

/// What went wrong, and where.
#[derive(Debug)]
pub struct Fault {
    /// What.
    pub kind: Kind,
    /// Where the calling thread was.
    pub backtrace: Backtrace,
    /// In a deadlock: the other threads of the activity, and where they wait.
    pub others: Vec<(ThreadId, Backtrace)>,
}

impl Fault {
    /// One thread's.
    pub fn new(kind: Kind, backtrace: Backtrace) -> Self {
        Self { kind, backtrace, others: Vec::new() }
    }
}

/// Where interrupted code was.
pub(crate) fn interrupted(frame: &TrapFrame) -> Backtrace {
    let mut backtrace = Backtrace::default();
    backtrace.push(frame.rip);
    // Where nothing can be executed, somebody called; the routines that copy
    // keep no frame. Both leave where their caller goes on on top of the stack.
    if (is_routine(frame.rip as usize) || !paging::is_code(frame.rip))
        && let Some(caller) = paging::read(frame.rsp).filter(|&address| paging::is_code(address))
    {
        backtrace.push(caller);
    }
    backtrace.walk(frame.rbp, paging::read, paging::is_code);
    backtrace
}

/// Where the caller is.
#[inline(always)]
fn here() -> Backtrace {
    let (address, frame): (u64, u64);
    // SAFETY: reads registers.
    unsafe {
        asm!(
            "lea {}, [rip]", "mov {}, rbp", out(reg) address, out(reg) frame,
            options(nomem, nostack, preserves_flags),
        );
    }
    let mut backtrace = Backtrace::default();
    backtrace.push(address);
    backtrace.walk(frame, paging::read, paging::is_code);
    backtrace
}

/// Whether what the calling thread does now is an activity's, and somebody
/// there to be told.
pub(crate) fn is_activitys() -> bool {
    scheduler::with_current(Own::is_in_own_code) == Some(true) && system::installed().is_some()
}

/// From here on the calling thread is within a call: nobody ends it, for it holds
/// a stack, and then the report.
fn begin() {
    scheduler::with_current(|own| own.calls.store(own.calls.load(Relaxed) + 1, Relaxed));
}

/// Ends the calling thread's activity: takes the thread out of its code, to
/// another stack. Its own may be full, and others of the activity use what lies
/// on it. Returns if there is no memory for a stack.
pub(crate) fn end_activity(fault: &mut Fault) {
    begin();
    let Ok(stack) = Stack::new(LAST_STACK) else { return };
    let place = (stack.top - size_of::<Fault>()) & !15;
    let fault = core::mem::replace(fault, Fault::new(Kind::Abort, Backtrace::default()));
    // SAFETY: within the page of the new stack that is mapped already; nobody else has the stack.
    unsafe { (place as *mut Fault).write(fault) };
    // SAFETY: the fault lies at `place`.
    unsafe { leave_code(stack, tell, place) }
}

/// Has the calling thread leave its code for `function`, on another stack.
///
/// # Safety
/// What `function` looks for is at `top`, which is a multiple of 16 within the stack.
unsafe fn leave_code(stack: Stack, function: unsafe extern "C" fn(usize) -> !, top: usize) -> ! {
    let section = critical::enter();
    // Interrupts stay off until the thread is on its new stack.
    core::mem::forget(section);
    scheduler::keep_last_stack(stack);
    // SAFETY: interrupts are off; `function` begins on a fresh stack of the
    // running thread, with what it looks for above it, and does not return.
    unsafe { traps::resume(&TrapFrame::at(function, top), &FloatState::fresh()) }
}

/// Tells the OS above of an activity's fault.
///
/// # Safety
/// `fault` is on the stack on which this was called, and nobody else reads it.
unsafe extern "C" fn tell(fault: usize) -> ! {
    // SAFETY: the caller's promise.
    let fault = unsafe { (fault as *const Fault).read() };
    match (scheduler::whereabouts(), system::installed()) {
        (Some((_, tag)), Some(system)) => system.fault(tag, fault),
        _ => exit(ExitCode::Fault),
    }
}

/// The calling thread's code gives up: it panicked, or ran out of memory.
#[inline(never)]
pub(crate) fn abort() -> ! {
    let backtrace = here();
    // Not within a section: what it holds would stay held.
    if interrupts::are_enabled() && is_activitys() {
        end_activity(&mut Fault::new(Kind::Abort, backtrace));
    }
    console::finish();
    if let Some((thread, activity @ 1..)) = scheduler::whereabouts() {
        console::emergency(format_args!(
            "fault: aborted in a call of the operating system, thread {thread}, activity {activity}"
        ));
    }
    console::emergency(format_args!("{backtrace}"));
    let out_of_memory = scheduler::with_current(|own| own.allocation_failed.load(Relaxed));
    exit(if out_of_memory == Some(true) { ExitCode::OutOfMemory } else { ExitCode::Panic })
}

/// There is no room in the activity's heap for what a call, which is over, hands over.
pub(crate) fn out_of_memory() -> ! {
    let lacking = scheduler::with_current(|own| own.lacking.swap(0, Relaxed)).unwrap_or(0);
    let mut fault = Fault::new(Kind::OutOfMemory(lacking as u64), here());
    if scheduler::whereabouts().is_some_and(|(_, activity)| activity != 0) && system::installed().is_some() {
        end_activity(&mut fault);
    }
    give_up(&fault, ExitCode::OutOfMemory)
}

/// Every thread of the calling thread's activity waits for another one.
pub(crate) fn deadlock() -> ! {
    let is_activitys = is_activitys();
    let mut fault = Fault::new(Kind::Deadlock, here());
    // What is told of the others is not the activity's.
    begin();
    let mut places = [(0, 0, 0); MOST_OTHERS];
    let count = scheduler::where_others_wait(&mut places);
    for &(thread, address, frame) in &places[..count] {
        let mut backtrace = Backtrace::default();
        backtrace.push(address);
        backtrace.walk(frame, paging::read, paging::is_code);
        fault.others.push((thread, backtrace));
    }
    if is_activitys {
        end_activity(&mut fault);
    }
    give_up(&fault, ExitCode::Fault)
}

/// There is nobody to go on for.
fn give_up(fault: &Fault, code: ExitCode) -> ! {
    console::finish();
    console::emergency(format_args!("fault: {}", fault.kind));
    console::emergency(format_args!("{}", fault.backtrace));
    exit(code)
}
