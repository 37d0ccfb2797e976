//! Rings, and pages that are lent, in memory that both ends have.

use super::{End, Medium};
use crate::endpoint::Doorbell;
use crate::ethernet::faults::Random;
use crate::link::delay::{Delay, Delayed};
use crate::link::{Link, RingLink, Windows};
use crate::memory::{SharedMemory, WORD};
use crate::pages::window_bytes;
use core::sync::atomic::AtomicBool;
use core::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

/// Pages that each end lends, on the heap.
const PAGES: usize = 16;

/// A ring each way.
pub struct Rings {
    /// As each end sees them.
    windows: [Windows; 2],
    bells: Arc<Bells>,
    /// How far the ends are from each other, if not together.
    delay: Option<Delay>,
}

/// Who was rung by whoever gave pages back.
#[derive(Default)]
struct Bells([AtomicBool; 2]);

impl Doorbell for Bells {
    fn ring(&self, peer: u16) {
        self.0[usize::from(peer)].store(true, Relaxed);
    }
}

impl Rings {
    /// Rings of so many bytes on the heap, with pages or without.
    pub fn on_heap(bytes: usize, with_pages: bool) -> Self {
        let [one, other] = [SharedMemory::heap(bytes), SharedMemory::heap(bytes)];
        let lent = || SharedMemory::heap(window_bytes(PAGES));
        let pages = with_pages.then(|| [lent(), lent()]);
        let turned = pages.clone().map(|[lower, higher]| [higher, lower]);
        Self::mapped([
            Windows { outgoing: one.clone(), incoming: other.clone(), pages },
            Windows { outgoing: other, incoming: one, pages: turned },
        ])
    }

    /// Rings in memory that each end has mapped.
    pub fn mapped(windows: [Windows; 2]) -> Self {
        Self { windows, bells: Arc::default(), delay: None }
    }

    /// The same at a distance.
    pub fn at_distance(self, delay: Delay) -> Self {
        Self { delay: Some(delay), ..self }
    }
}

impl Medium for Rings {
    fn link(&mut self, end: End) -> Box<dyn Link> {
        let link = RingLink::new(self.windows[end].clone(), 1 - end as u16, self.bells.clone());
        let link = link.expect("the windows are large enough");
        match &self.delay {
            Some(delay) => Box::new(Delayed::new(link, delay.clone())),
            None => Box::new(link),
        }
    }

    fn carry(&mut self, _now_ns: u64) -> [bool; 2] {
        [0, 1].map(|end: End| self.bells.0[end].swap(false, Relaxed))
    }

    fn spoil(&mut self, end: End, random: &mut Random) {
        let Windows { outgoing, incoming, pages } = &self.windows[end];
        let all: Vec<_> = [outgoing, incoming].into_iter().chain(pages.iter().flatten()).collect();
        let window = all[random.below(all.len() as u64) as usize];
        for _ in 0..1 + random.below(8) {
            // Most often where the words are that mean something.
            let words = (window.len() / WORD) as u64;
            let among = if random.happens(0.5) { words.min(128) } else { words };
            let word = window.word(random.below(among) as usize * WORD);
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
