//! Has every core forget translations of addresses that are no more.
//!
//! A core that translated an address goes on using what it found until it is
//! told. [`elsewhere`] counts up, interrupts those that run, and returns when
//! each of them has forgotten. One that is asleep forgets when it wakes up,
//! before it looks at anything else: it is not waited for.
//!
//! Two cores may call at once, with interrupts off: whoever waits here does
//! for the other one what the interrupt would. So no [`super::critical::Locked`]
//! is held during the call: who waits for a lock does not answer.

use super::cores::{self, CORES, Core};
use super::{apic, traps};
use core::ptr;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use x86_64::instructions::tlb;

/// How often everybody was told to forget.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// Forgets, if somebody asked for it since the last time.
#[inline]
fn answer() {
    let own = cores::own();
    // SYNC: shootdown-calls, with `elsewhere`.
    let calls = CALLS.load(SeqCst);
    if own.forgotten.load(SeqCst) != calls {
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
        // SYNC: shootdown-asleep, with `elsewhere`.
        own.asleep.store(false, SeqCst);
    }
    answer();
}

/// Returns when no other core remembers what the page tables said before the
/// call. Interrupts are off; what this core remembers is the caller's business.
pub fn elsewhere() {
    if !cores::many() {
        return;
    }
    // SYNC: shootdown-calls, with `answer`.
    let call = CALLS.fetch_add(1, SeqCst) + 1;
    let own = cores::own();
    if own.forgotten.load(SeqCst) + 1 == call {
        own.forgotten.store(call, SeqCst);
    }
    let waiting = CORES.each_ref().map(|core| !ptr::eq(core, own) && has_to_forget(core, call));
    for (core, _) in waiting.iter().enumerate().filter(|(_, waiting)| **waiting) {
        apic::interrupt(core, traps::LOOK);
    }
    for (core, _) in CORES.iter().zip(waiting).filter(|(_, waiting)| *waiting) {
        while has_to_forget(core, call) {
            answer();
            core::hint::spin_loop();
        }
    }
}

/// Whether a core may still remember what was so before this call.
fn has_to_forget(core: &Core, call: u64) -> bool {
    // SYNC: shootdown-asleep, with `wake_up`: this sees that it is awake, or it
    // sees this call when it wakes up. The same goes for one that comes online.
    core.online.load(SeqCst) && core.forgotten.load(SeqCst) < call && !core.asleep.load(SeqCst)
}
