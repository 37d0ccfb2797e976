//! Has every core forget translations of addresses that are no more.
//!
//! A core that translated an address goes on using what it found until it is
//! told. [`ask`] counts up and interrupts those that run; when each of them has
//! forgotten, the [`Call`] is answered. One that is asleep forgets when it wakes up,
//! before it looks at anything else: it is not waited for. One that went to sleep
//! with an activity's data segment before it is waited for: those page tables may go.
//!
//! Two cores may wait at once, with interrupts off: whoever waits does for the
//! other one what the interrupt would. So no [`super::critical::Locked`] is held
//! meanwhile: who waits for a lock does not answer.

use super::cores::{self, CORES, Core};
use super::{apic, critical, traps};
use crate::memory::segment;
use core::ptr;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use x86_64::instructions::tlb;

/// How often everybody was told to forget.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// Forgets, if somebody asked for it since the last time, and leaves a data
/// segment that the running thread has no use for.
#[inline]
fn answer() {
    let own = cores::own();
    // SYNC: shootdown-calls, with `ask`.
    let calls = CALLS.load(SeqCst);
    if own.forgotten.load(SeqCst) != calls {
        segment::leave_unused();
        tlb::flush_all();
        own.forgotten.store(calls, SeqCst);
    }
}

/// Before this core halts. It touches nothing but the image until [`wake_up`].
pub fn fall_asleep() {
    if cores::many() {
        cores::own().asleep.store(true, SeqCst);
    }
}

/// In every interrupt, and when the idle loop goes on.
#[inline]
pub fn wake_up() {
    if !cores::many() {
        return;
    }
    let own = cores::own();
    if own.asleep.load(Relaxed) {
        // SYNC: shootdown-asleep, with `ask`.
        own.asleep.store(false, SeqCst);
    }
    answer();
}

/// A time at which all cores were asked to forget.
#[derive(Clone, Copy)]
pub struct Call(u64);

/// Has all cores forget what the page tables said before the call; this one
/// does at once: whoever changed them may have been another. Interrupts are off.
pub fn ask() -> Call {
    // SYNC: shootdown-calls, with `answer`.
    let call = CALLS.fetch_add(1, SeqCst) + 1;
    answer();
    let own = cores::own();
    for (index, core) in CORES.iter().enumerate() {
        if !ptr::eq(core, own) && has_to_forget(core, call) {
            apic::interrupt(index, traps::LOOK);
        }
    }
    Call(call)
}

/// Returns when no other core remembers what the page tables said before the
/// call. Interrupts are off, and the caller is inside of no `Locked`.
pub fn elsewhere() {
    if cores::many() {
        ask().wait();
    }
}

impl Call {
    /// Whether every core has forgotten.
    pub fn is_answered(self) -> bool {
        CORES.iter().all(|core| !has_to_forget(core, self.0))
    }

    /// Returns when every core has. The caller is inside of no `Locked`.
    pub fn wait(self) {
        while !self.is_answered() {
            let section = critical::enter();
            answer();
            drop(section);
            core::hint::spin_loop();
        }
    }
}

/// Whether a core may still remember what was so before this call.
fn has_to_forget(core: &Core, call: u64) -> bool {
    // SYNC: shootdown-asleep, with `wake_up`: this sees that it is awake, or it
    // sees this call when it wakes up. The same goes for one that comes online.
    let may_remember = core.online.load(SeqCst) && core.forgotten.load(SeqCst) < call;
    may_remember && (!core.asleep.load(SeqCst) || !core.segment.load(Relaxed).is_null())
}
