//! The local APIC: its timer, and the end of interrupts.
//!
//! x2APIC where the processor has it (KVM), else the registers in memory. The
//! timer is one-shot: it is set for the next thing that is due and silent
//! otherwise. With a TSC deadline where that exists; else it counts ticks of
//! [`TICK`] nanoseconds, since QEMU's APIC (and KVM's) runs at 1 GHz by definition.

use super::cores::{self, CORES};
use super::{critical, features, traps};
use crate::clock;
use crate::memory::paging::{self, Caching, OutOfFrames};
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use core::sync::atomic::{AtomicBool, AtomicPtr, fence};
use x86_64::instructions::port::Port;
use x86_64::registers::model_specific::Msr;

/// Where the registers are in physical memory.
const BASE: u64 = 0xfee0_0000;
const ID: usize = 0x20;
const END_OF_INTERRUPT: usize = 0xb0;
const SPURIOUS: usize = 0xf0;
const COMMAND: usize = 0x300;
const COMMAND_TARGET: usize = 0x310;
const TIMER: usize = 0x320;
const LINE_0: usize = 0x350;
const INITIAL_COUNT: usize = 0x380;
const CURRENT_COUNT: usize = 0x390;
const DIVIDE: usize = 0x3e0;
const MASKED: u32 = 1 << 16;
const TSC_DEADLINE: u32 = 2 << 17;
/// Divide by 16 and by 1, as the divide register has it.
const BY_16: u32 = 0b0011;
const BY_1: u32 = 0b1011;
/// Nanoseconds of a tick of the timer divided by 16.
const TICK: u64 = 16;
/// MSRs.
const APIC_BASE: u32 = 0x1b;
const X2APIC: u32 = 0x800;
const DEADLINE: u32 = 0x6e0;
const X2APIC_COMMAND: u32 = 0x830;
/// Commands: the signal is given, to all others; initialize; start at a page.
const ASSERT: u32 = 1 << 14;
const ALL_OTHERS: u32 = 3 << 18;
const INITIALIZE: u32 = 5 << 8;
const START: u32 = 6 << 8;

/// The registers in memory; null with x2APIC.
static REGISTERS: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());
/// Whether the timer takes TSC deadlines.
static DEADLINES: AtomicBool = AtomicBool::new(false);

fn read(register: usize) -> u32 {
    let base = REGISTERS.load(Relaxed);
    // SAFETY: a register of the APIC, in the mode that `initialize` chose.
    unsafe {
        if base.is_null() {
            Msr::new(X2APIC + (register >> 4) as u32).read() as u32
        } else {
            base.add(register).cast::<u32>().read_volatile()
        }
    }
}

fn write(register: usize, value: u32) {
    let base = REGISTERS.load(Relaxed);
    // SAFETY: as in `read`; the values are those of this file.
    unsafe {
        if base.is_null() {
            Msr::new(X2APIC + (register >> 4) as u32).write(u64::from(value));
        } else {
            base.add(register).cast::<u32>().write_volatile(value);
        }
    }
}

/// Switches the APIC on, everything but the timer masked, and the old PICs off.
pub fn initialize() -> Result<(), OutOfFrames> {
    // SAFETY: the mask registers of the two PICs; without them, the writes go nowhere.
    unsafe {
        Port::<u8>::new(0x21).write(0xff);
        Port::<u8>::new(0xa1).write(0xff);
    }
    if !features::has_x2apic() {
        // SAFETY: the APIC's registers; each core finds its own there.
        REGISTERS.store(unsafe { paging::map(BASE, 4096, Caching::Uncached)? }, Relaxed);
    }
    switch_on();
    Ok(())
}

/// Switches this core's own APIC on, everything but the timer masked.
pub fn switch_on() {
    if features::has_x2apic() {
        let mut base = Msr::new(APIC_BASE);
        // SAFETY: sets the enable and x2APIC bits, which CPUID allows.
        unsafe { base.write(base.read() | 3 << 10) };
    }
    write(SPURIOUS, 1 << 8 | u32::from(traps::SPURIOUS));
    write(LINE_0, MASKED);
    write(TIMER, MASKED);
    cores::own().interrupt_id.store(id(), Relaxed);
}

/// The number by which interrupts reach this core.
fn id() -> u32 {
    if REGISTERS.load(Relaxed).is_null() { read(ID) } else { read(ID) >> 24 }
}

/// Sends a command to the APIC of number `target`. Interrupts are off.
fn command(target: u32, command: u32) {
    // What the other core is to find is there before the interrupt.
    fence(SeqCst);
    if REGISTERS.load(Relaxed).is_null() {
        // SAFETY: the command register; the commands are those of this file.
        unsafe { Msr::new(X2APIC_COMMAND).write(u64::from(target) << 32 | u64::from(command)) };
    } else {
        // An APIC in memory may still be busy with the last command.
        while read(COMMAND) & 1 << 12 != 0 {
            core::hint::spin_loop();
        }
        write(COMMAND_TARGET, target << 24);
        write(COMMAND, command);
    }
}

/// Interrupts a core with `vector`.
pub fn interrupt(core: usize, vector: u8) {
    let _section = critical::enter();
    cores::note_call(core);
    command(CORES[core].interrupt_id.load(Relaxed), ASSERT | u32::from(vector));
}

/// Puts all other cores back to where they wait for their start.
pub fn initialize_others() {
    command(0, ALL_OTHERS | ASSERT | INITIALIZE);
}

/// Starts all other cores in real mode at this address, a page's below 1 MiB.
pub fn start_others(address: u32) {
    command(0, ALL_OTHERS | ASSERT | START | address >> 12);
}

/// Lets the timer interrupt; the clock must run.
pub fn start_timer() {
    let deadlines = features::has_tsc_deadline();
    DEADLINES.store(deadlines, Relaxed);
    write(INITIAL_COUNT, 0);
    write(DIVIDE, BY_16);
    write(TIMER, u32::from(traps::TIMER) | if deadlines { TSC_DEADLINE } else { 0 });
}

/// Makes the timer interrupt once, at `due` nanoseconds of the clock or, if
/// that is far, earlier.
pub fn set_timer(due: u64) {
    if DEADLINES.load(Relaxed) {
        // A time long past is tick 0, which would disarm the timer.
        let ticks = clock::to_ticks(due).max(1);
        // SAFETY: the timer is in deadline mode.
        unsafe { Msr::new(DEADLINE).write(ticks) };
        return;
    }
    let ticks = due.saturating_sub(clock::now_ns()).div_ceil(TICK).clamp(1, u64::from(u32::MAX));
    write(INITIAL_COUNT, ticks as u32);
}

/// Tells the APIC that an interrupt has been dealt with.
pub fn end_of_interrupt() {
    write(END_OF_INTERRUPT, 0);
}

/// Where and with which message a device interrupts the first core with `vector`.
pub fn message(vector: u8) -> (u64, u32) {
    let id = CORES[0].interrupt_id.load(Relaxed);
    (BASE | u64::from(id & 0xff) << 12, u32::from(vector))
}

/// Starts the timer as a stopwatch of nanoseconds, 4.29 s long, without interrupts.
pub fn start_stopwatch() {
    write(TIMER, MASKED);
    write(DIVIDE, BY_1);
    write(INITIAL_COUNT, u32::MAX);
}

/// Nanoseconds since [`start_stopwatch`].
pub fn stopwatch() -> u32 {
    u32::MAX - read(CURRENT_COUNT)
}
