//! Exceptions: a stack that grows goes on; what an activity's thread did in its
//! own code ends the activity; anything else ends the VM, with a line that says
//! what happened.

use super::cores;
use super::traps::TrapFrame;
use crate::console;
use crate::exit::{ExitCode, exit};
use crate::fault::{self, Access, Fault, Kind, Place};
use crate::memory::paging::{self, Met};
use crate::threads::scheduler;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use x86_64::registers::control::Cr2;
use x86_64::registers::rflags::RFlags;

/// The core that reports a fault, plus 1. A fault while reporting ends the VM at
/// once; another core's waits for that end.
static REPORTING: AtomicU32 = AtomicU32::new(0);

/// Exceptions that are never an activity's: non-maskable interrupt, double
/// fault, machine check.
const MACHINE: [u64; 3] = [2, 8, 18];

/// A page fault: maps a stack's next page, or reports.
pub fn page_fault(frame: &TrapFrame) {
    let address = Cr2::read_raw();
    // Bit 0 of the error code: the page was there, but not for this.
    let was_there = frame.error & 1 != 0;
    let met = if was_there { Met::Protected } else { paging::resolve(address as usize) };
    let access = match frame.error {
        error if error & 16 != 0 => Access::Execute,
        error if error & 2 != 0 => Access::Write,
        _ => Access::Read,
    };
    let place = match met {
        Met::Grown => return,
        Met::OutOfFrames => return raise(frame, Kind::OutOfMemory(crate::memory::PAGE as u64)),
        Met::StackGuard => Place::StackGuard,
        Met::Protected => Place::Protected,
        Met::Nothing => Place::Nothing,
    };
    raise(frame, Kind::Access { access, address, place });
}

/// Any other exception.
pub fn exception(frame: &TrapFrame) {
    raise(frame, Kind::of_exception(frame.vector as u8));
}

/// Ends the activity whose thread was interrupted, if it was in its own code,
/// or the VM.
fn raise(frame: &TrapFrame, kind: Kind) {
    let mut fault = Fault::new(kind, fault::interrupted(frame));
    // With interrupts off, it was in the midst of the runtime's state.
    let in_section = !RFlags::from_bits_truncate(frame.rflags).contains(RFlags::INTERRUPT_FLAG);
    if !in_section && !MACHINE.contains(&frame.vector) && fault::is_activitys() {
        fault::end_activity(&mut fault);
    }
    report(&fault);
    exit(match kind {
        Kind::OutOfMemory(_) => ExitCode::OutOfMemory,
        _ => ExitCode::Fault,
    })
}

/// Says what ends the VM.
fn report(fault: &Fault) {
    let own = cores::index() as u32 + 1;
    match REPORTING.compare_exchange(0, own, Relaxed, Relaxed) {
        Ok(_) => {}
        Err(first) if first == own => exit(ExitCode::Fault),
        Err(_) => loop {
            x86_64::instructions::hlt();
        },
    }
    console::finish();
    match scheduler::whereabouts() {
        Some((thread, activity)) => {
            console::emergency(format_args!("fault: {}, thread {thread}, activity {activity}", fault.kind));
        }
        None => console::emergency(format_args!("fault: {}, in the runtime itself", fault.kind)),
    }
    console::emergency(format_args!("{}", fault.backtrace));
}
