//! Rings in memory that both ends have.

use super::{End, Medium};
use crate::ethernet::faults::Random;
use crate::link::{Link, RingLink};
use crate::memory::{SharedMemory, WORD};
use core::sync::atomic::Ordering::Relaxed;

/// A ring each way.
pub struct Rings {
    /// As each end sees them: the ring that end 0 writes, and the other.
    windows: [[SharedMemory; 2]; 2],
}

impl Rings {
    /// Rings of so many bytes on the heap.
    pub fn on_heap(bytes: usize) -> Self {
        let rings = [SharedMemory::heap(bytes), SharedMemory::heap(bytes)];
        Self { windows: [rings.clone(), rings] }
    }

    /// Rings in memory that is mapped for each end: the ring that end 0
    /// writes, and the other.
    pub fn mapped(windows: [[SharedMemory; 2]; 2]) -> Self {
        Self { windows }
    }
}

impl Medium for Rings {
    fn link(&mut self, end: End) -> Box<dyn Link> {
        let window = |index: usize| self.windows[end][index].clone();
        Box::new(RingLink::new(window(end), window(1 - end)).expect("the rings are large enough"))
    }

    fn spoil(&mut self, end: End, random: &mut Random) {
        let window = &self.windows[end][random.below(2) as usize];
        for _ in 0..1 + random.below(8) {
            let word = window.word(random.below((window.len() / WORD) as u64) as usize * WORD);
            let found = word.load(Relaxed);
            let value = match random.below(4) {
                0 => random.next(),
                1 => found ^ 1 << random.below(64),
                2 => found.wrapping_add(1),
                _ => 0,
            };
            word.store(value, Relaxed);
        }
    }

    fn keeps(&self) -> bool {
        true
    }
}
