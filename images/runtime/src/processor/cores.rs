//! The processors of this VM ("cores"), and what each knows of itself.
//!
//! `gs` points at the core's own [`Core`] from its first instruction in Rust
//! on. A VM with one core never sets [`many`]: whatever only several need (an
//! atomic exchange, a look at another core's queue) hangs on that.

use crate::console;
use crate::memory::segment::Pages;
use core::arch::asm;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize};
pub use ivshmem::layout::MAX_CORES;
use x86_64::VirtAddr;
use x86_64::registers::model_specific::GsBase;

/// Bytes of a [`Core`]: a cache line. The entry of the other cores knows it.
pub const CORE_BYTES: usize = 64;
/// Where the idle stack's top is in a [`Core`].
pub const STACK_TOP: usize = 8;

/// What a core knows of itself. The assembly knows the first fields.
#[repr(C, align(64))]
pub struct Core {
    index: AtomicU32,
    /// Where the stack of its idle loop begins: nobody's while a thread runs.
    pub stack_top: AtomicUsize,
    /// Where the record of the running thread is; 0 in the boot and the idle loop.
    pub running: AtomicUsize,
    /// The number by which interrupts reach it.
    pub interrupt_id: AtomicU32,
    /// The TSC of the core that interrupted it last, just before.
    called_at: AtomicU64,
    /// It halts: it forgets translations when it wakes up.
    pub asleep: AtomicBool,
    /// It has come so far as to take interrupts.
    pub online: AtomicBool,
    /// Up to which call of [`super::shootdown`] it has forgotten translations.
    pub forgotten: AtomicU64,
    /// The data segment that it sees; null is the first.
    pub segment: AtomicPtr<Pages>,
}

const _: () = assert!(size_of::<Core>() == CORE_BYTES && core::mem::offset_of!(Core, stack_top) == STACK_TOP);

/// All of them, those that are there first.
pub static CORES: [Core; MAX_CORES] = [const {
    Core {
        index: AtomicU32::new(0),
        stack_top: AtomicUsize::new(0),
        running: AtomicUsize::new(0),
        interrupt_id: AtomicU32::new(0),
        called_at: AtomicU64::new(0),
        asleep: AtomicBool::new(false),
        online: AtomicBool::new(false),
        forgotten: AtomicU64::new(0),
        segment: AtomicPtr::new(core::ptr::null_mut()),
    }
}; MAX_CORES];

static MANY: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicUsize = AtomicUsize::new(1);

/// Whether there are several cores. Changes once, before the second one runs.
#[inline]
pub fn many() -> bool {
    MANY.load(Relaxed)
}

/// How many cores there are.
pub fn count() -> usize {
    COUNT.load(Relaxed)
}

/// Says how many there are; in the boot, outside of every [`super::critical::Locked`].
pub fn set_count(count: usize) {
    COUNT.store(count, Relaxed);
    MANY.store(count > 1, Relaxed);
}

/// Makes the calling processor core `index`.
pub fn become_core(index: usize) {
    let core = &CORES[index];
    core.index.store(index as u32, Relaxed);
    GsBase::write(VirtAddr::from_ptr(core));
}

/// Before a core interrupts another one, or starts it.
pub fn note_call(core: usize) {
    CORES[core].called_at.store(ticks(), Release);
}

/// After a core was interrupted by another one, or started: if that was in the
/// future, the clocks of the cores are apart. Says so, once.
pub fn check_clock() {
    static SAID: AtomicBool = AtomicBool::new(false);
    let called_at = own().called_at.load(Acquire);
    // SAFETY: every processor in long mode has this; the clock is not read before what went before.
    unsafe { core::arch::x86_64::_mm_lfence() };
    let behind = called_at.saturating_sub(ticks());
    if behind > 0 && !SAID.swap(true, Relaxed) {
        let core = index();
        console::emergency(format_args!("clock: core {core} is {behind} ticks behind another core"));
    }
}

fn ticks() -> u64 {
    // SAFETY: every processor in long mode has a TSC.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Which core this is. Only with interrupts off does it stay so.
#[inline]
pub fn index() -> usize {
    let index: u32;
    // SAFETY: `gs` points at this core's `Core` (`become_core`), whose first field this is.
    unsafe { asm!("mov {:e}, gs:[0]", out(reg) index, options(nostack, readonly, preserves_flags)) };
    // No more than a look at the number: it says that there is such a core.
    index as usize % MAX_CORES
}

/// Where the record of the calling thread is; 0 if there is none. One read, so
/// it does not matter on which core the thread goes on.
#[inline]
pub fn running() -> usize {
    let running: usize;
    // SAFETY: as in `index`.
    unsafe {
        asm!(
            "mov {}, gs:[{offset}]",
            out(reg) running,
            offset = const core::mem::offset_of!(Core, running),
            options(nostack, readonly, preserves_flags),
        );
    }
    running
}

/// What this core knows of itself.
#[inline]
pub fn own() -> &'static Core {
    &CORES[index()]
}
