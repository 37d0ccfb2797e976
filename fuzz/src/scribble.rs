//! Words that a hostile peer writes into the rings between it and another.

use crate::input::Input;
use std::sync::atomic::Ordering::Relaxed;
use transport::memory::{LINE, SharedMemory, WORD};
use transport::ring::{Epoch, PAYLOAD_BYTES};

/// Lines of a ring before its slots.
const LINES_BEFORE_SLOTS: usize = 2;

/// A word that a ring might hold in one of these epochs, or any word at all.
fn word(input: &mut Input<'_>, epochs: [Epoch; 2]) -> u64 {
    let choice = input.byte();
    let tag = u64::from(epochs[usize::from(choice & 1)].tag()) << 32;
    match choice >> 1 & 7 {
        0 => input.word(),
        1 => 0,
        2 => tag | u64::from(input.short()),
        _ => tag | u64::from(input.short()) << 8 | u64::from(input.byte()),
    }
}

/// Writes one word somewhere.
pub fn scribble(input: &mut Input<'_>, rings: &[SharedMemory; 2], epochs: [Epoch; 2]) {
    let memory = &rings[usize::from(input.byte() & 1)];
    let offset = input.below(memory.len() / WORD) * WORD;
    memory.word(offset).store(word(input, epochs), Relaxed);
}

/// Writes a whole slot that the reader of `ring` may take: the one for a
/// sequence, under the tag of an epoch, of any use and with any payload.
pub fn forge(input: &mut Input<'_>, ring: &SharedMemory, epoch: Epoch) {
    let slots = 1 << (ring.len() / LINE - LINES_BEFORE_SLOTS).ilog2();
    let (sequence, used) = (usize::from(input.short()), input.byte());
    let at = (LINES_BEFORE_SLOTS + sequence % slots) * LINE;
    let payload = input.bytes(PAYLOAD_BYTES);
    ring.copy_in(at + WORD, payload);
    let header = u64::from(epoch.tag()) << 32 | (sequence as u64) << 8 | u64::from(used);
    ring.word(at).store(header, Relaxed);
}
