//! The other cores of the VM: how many there are, and how they start.
//!
//! ```text
//! first core    count (from QEMU) ─> stacks ─> INIT, START to all others ─> goes on with the boot
//! other core    real mode ─> long mode (entry.rs) ─> begin: tables, APIC, timer ─> idle loop
//! ```
//! Nobody waits for a core: it takes threads when it has come so far. All are
//! started by one signal, so it does not matter by which numbers they go.

use super::entry::{self, TRAMPOLINE};
use crate::memory::PAGE;
use crate::memory::paging::{self, Fault, OutOfFrames};
use crate::processor::cores::{self, CORES, MAX_CORES};
use crate::processor::descriptors::{self, STACK, STACK_COUNT};
use crate::processor::{apic, shootdown};
use crate::threads::scheduler;
use core::array;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use x86_64::instructions::port::Port;

/// QEMU's firmware configuration: which item, and its bytes one after the other.
const ITEM: u16 = 0x510;
const BYTES: u16 = 0x511;
/// Items: the signature, and how many processors there are.
const SIGNATURE: u16 = 0;
const PROCESSORS: u16 = 5;
/// The stacks of a core: one for each kind of trap, and the idle loop's.
const STACKS: usize = STACK_COUNT + 1;

/// Tops of the other cores' trap stacks.
static TOPS: [[AtomicU64; STACK_COUNT]; MAX_CORES] =
    [const { [const { AtomicU64::new(0) }; STACK_COUNT] }; MAX_CORES];

/// How many processors the VM has, as QEMU says; 1 if there is nobody to ask.
fn present() -> usize {
    let item = |number: u16| -> [u8; 4] {
        // SAFETY: QEMU's configuration ports; without them, the reads give ones.
        unsafe {
            Port::<u16>::new(ITEM).write(number);
            array::from_fn(|_| Port::<u8>::new(BYTES).read())
        }
    };
    match &item(SIGNATURE) {
        b"QEMU" => usize::from(u16::from_le_bytes([item(PROCESSORS)[0], item(PROCESSORS)[1]])).max(1),
        _ => 1,
    }
}

/// Starts the other cores, if there are any.
pub fn start_others() -> Result<(), OutOfFrames> {
    let count = present().min(MAX_CORES);
    if count == 1 {
        return Ok(());
    }
    for core in 1..count {
        let mut tops = [0; STACKS];
        for top in &mut tops {
            *top = stack()?;
        }
        CORES[core].stack_top.store(tops[STACK_COUNT], Relaxed);
        for (slot, top) in TOPS[core].iter().zip(tops) {
            slot.store(top as u64, Relaxed);
        }
    }
    cores::set_count(count);
    entry::COUNT.store(count as u32, Relaxed);
    entry::ROOT.store(paging::root() as u32, Relaxed);
    (1..count).for_each(cores::note_call);
    apic::initialize_others();
    // The manual wants a second one, for cores that missed the first. One that did not ignores it.
    apic::start_others(TRAMPOLINE);
    apic::start_others(TRAMPOLINE);
    Ok(())
}

/// A stack of [`STACK`] bytes with a guard page below, all of it mapped: its top.
fn stack() -> Result<usize, OutOfFrames> {
    let range = paging::reserve_stack(STACK)?;
    match range.clone().step_by(PAGE).all(|page| paging::resolve(page) == Fault::Grown) {
        true => Ok(range.end),
        false => Err(OutOfFrames),
    }
}

/// The first Rust code of another core, on its own stack. Interrupts are off
/// until its first thread runs.
pub(super) extern "C" fn begin(core: usize) -> ! {
    cores::become_core(core);
    descriptors::load(core, array::from_fn(|index| TOPS[core][index].load(Relaxed) as usize));
    apic::switch_on();
    apic::start_timer();
    cores::check_clock();
    CORES[core].online.store(true, SeqCst);
    shootdown::wake_up();
    scheduler::join_in()
}
