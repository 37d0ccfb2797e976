//! What is between two peers, and what a hostile one writes there.

use crate::input::Input;
use std::sync::atomic::Ordering::Relaxed;
use transport::Windows;
use transport::endpoint::Doorbell;
use transport::memory::{LINE, SharedMemory, WORD};
use transport::pages::{MAX_PAGES, window_bytes};
use transport::ring::{Epoch, PAYLOAD_BYTES};

/// Lines of a ring before its slots.
const LINES_BEFORE_SLOTS: usize = 2;
/// Lines of a window of pages that hold words about pages, and some.
const WORDS_OF_PAGES: usize = 4 * LINE / WORD;

/// Rings nobody: nobody sleeps in a fuzz target.
pub struct Silent;

impl Doorbell for Silent {
    fn ring(&self, _: u16) {}
}

/// The memory between two peers: for each, the ring that it writes and the
/// pages that it lends.
#[derive(Clone)]
pub struct Between {
    rings: [SharedMemory; 2],
    pages: Option<[SharedMemory; 2]>,
}

impl Between {
    /// Fresh rings of so many slots, and the fewest pages if any.
    pub fn new(slots: usize, pages: bool) -> Self {
        Self {
            rings: [(); 2].map(|()| SharedMemory::heap((LINES_BEFORE_SLOTS + slots) * LINE)),
            pages: pages.then(|| [(); 2].map(|()| SharedMemory::heap(window_bytes(MAX_PAGES)))),
        }
    }

    /// What peer 0 or 1 sees of it.
    pub fn windows(&self, end: usize) -> Windows {
        let turned = |mut both: [SharedMemory; 2]| {
            both.rotate_left(end);
            both
        };
        let [outgoing, incoming] = turned(self.rings.clone());
        Windows { outgoing, incoming, pages: self.pages.clone().map(turned) }
    }
}

/// A word that rings or pages might hold in one of these epochs, or any word at all.
fn word(input: &mut Input<'_>, epochs: [Epoch; 2]) -> u64 {
    let choice = input.byte();
    let tag = u64::from(epochs[usize::from(choice & 1)].tag()) << 32;
    match choice >> 1 & 7 {
        0 => input.word(),
        1 => 0,
        2 => tag | u64::from(input.short()),
        // Of a page: taken so often, held or not.
        3 => tag | u64::from(input.byte() & 1) << 31 | u64::from(input.byte()),
        _ => tag | u64::from(input.short()) << 8 | u64::from(input.byte()),
    }
}

/// Writes one word somewhere.
pub fn scribble(input: &mut Input<'_>, between: &Between, epochs: [Epoch; 2]) {
    let choice = input.byte();
    let side = usize::from(choice & 1);
    let (memory, words) = match &between.pages {
        Some(pages) if choice & 2 != 0 => (&pages[side], WORDS_OF_PAGES),
        _ => (&between.rings[side], between.rings[side].len() / WORD),
    };
    let offset = input.below(words) * WORD;
    memory.word(offset).store(word(input, epochs), Relaxed);
}

/// Writes a whole slot into the ring of one end that the other may take: the
/// one for a sequence, under the tag of an epoch, of any use and any payload.
pub fn forge(input: &mut Input<'_>, between: &Between, end: usize, epoch: Epoch) {
    let ring = &between.rings[end];
    let slots = 1 << (ring.len() / LINE - LINES_BEFORE_SLOTS).ilog2();
    let (sequence, used) = (usize::from(input.short()), input.byte());
    let at = (LINES_BEFORE_SLOTS + sequence % slots) * LINE;
    ring.copy_in(at + WORD, input.bytes(PAYLOAD_BYTES));
    let header = u64::from(epoch.tag()) << 32 | (sequence as u64) << 8 | u64::from(used);
    ring.word(at).store(header, Relaxed);
}
