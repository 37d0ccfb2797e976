//! Exceptions: a stack that grows goes on; anything else ends the VM with one line that says what happened.

use super::cores;
use super::traps::TrapFrame;
use crate::console;
use crate::exit::{ExitCode, exit};
use crate::memory::paging::{self, Fault};
use crate::threads::scheduler;
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use x86_64::registers::control::Cr2;

/// The core that reports a fault, plus 1. A fault while reporting ends the VM at
/// once; another core's waits for that end.
static REPORTING: AtomicU32 = AtomicU32::new(0);

/// A page fault: maps a stack's next page, or reports.
pub fn page_fault(frame: &TrapFrame) {
    let address = Cr2::read_raw();
    // Bit 0 of the error code: the page was there, but not for this.
    let fault = if frame.error & 1 == 0 { paging::resolve(address as usize) } else { Fault::Invalid };
    let note = match fault {
        Fault::Grown => return,
        Fault::OutOfFrames => {
            console::finish();
            report(frame, format_args!("no memory left for a stack, at {address:#x}"));
            exit(ExitCode::OutOfMemory)
        }
        Fault::StackOverflow => ", stack overflow",
        Fault::Invalid if address < 4096 => ", null pointer",
        Fault::Invalid => "",
    };
    let access = match frame.error {
        error if error & 16 != 0 => "executing",
        error if error & 2 != 0 => "writing",
        _ => "reading",
    };
    report(frame, format_args!("page fault {access} {address:#x}{note}"));
    exit(ExitCode::Fault)
}

/// Any other exception.
pub fn exception(frame: &TrapFrame) {
    let name = NAMES[frame.vector as usize & 31];
    report(frame, format_args!("{name} (error code {:#x})", frame.error));
    exit(ExitCode::Fault)
}

fn report(frame: &TrapFrame, what: fmt::Arguments<'_>) {
    let own = cores::index() as u32 + 1;
    match REPORTING.compare_exchange(0, own, Relaxed, Relaxed) {
        Ok(_) => {}
        Err(first) if first == own => exit(ExitCode::Fault),
        Err(_) => loop {
            x86_64::instructions::hlt();
        },
    }
    console::finish();
    let rip = frame.rip;
    match scheduler::whereabouts() {
        Some((thread, activity)) => console::emergency(format_args!(
            "fault: {what}, rip {rip:#x}, thread {thread}, activity {activity}"
        )),
        None => console::emergency(format_args!("fault: {what}, rip {rip:#x}, in the runtime itself")),
    }
}

/// The names of the exceptions, by vector.
const NAMES: [&str; 32] = [
    "divide error",
    "debug exception",
    "non-maskable interrupt",
    "breakpoint",
    "overflow",
    "bound range exceeded",
    "invalid opcode",
    "device not available",
    "double fault",
    "coprocessor segment overrun",
    "invalid TSS",
    "segment not present",
    "stack-segment fault",
    "general protection fault",
    "page fault",
    "reserved exception 15",
    "x87 floating-point exception",
    "alignment check",
    "machine check",
    "SIMD floating-point exception",
    "virtualization exception",
    "control protection exception",
    "reserved exception 22",
    "reserved exception 23",
    "reserved exception 24",
    "reserved exception 25",
    "reserved exception 26",
    "reserved exception 27",
    "hypervisor injection exception",
    "VMM communication exception",
    "security exception",
    "reserved exception 31",
];
