//! A region as words and bytes.
//!
//! Every load and store of a utility's tables goes through [`Cells`]. In unit
//! tests a fuse can be built in, which ends the activity at its n-th store
//! (see `testing`).
//!
//! Offsets are computed from numbers that were checked; like a slice, `Cells`
//! panics on an offset outside of itself.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use transport::memory::{SharedMemory, WORD};

/// Reads words of the tables: as they are in the region, or as a transaction
/// that is not committed yet would leave them.
pub trait View {
    /// The word at byte `offset`, a multiple of 8.
    fn word(&self, offset: usize) -> u64;
}

/// A window on a utility's region.
#[derive(Clone)]
pub struct Cells {
    memory: SharedMemory,
    #[cfg(test)]
    fuse: Option<std::sync::Arc<super::testing::Fuse>>,
}

impl View for Cells {
    #[inline]
    fn word(&self, offset: usize) -> u64 {
        self.memory.word(offset).load(Relaxed)
    }
}

impl Cells {
    /// Cells in this memory.
    pub fn new(memory: SharedMemory) -> Self {
        Self {
            memory,
            #[cfg(test)]
            fuse: None,
        }
    }

    /// The same cells, but whose stores burn this fuse.
    #[cfg(test)]
    pub(crate) fn with_fuse(mut self, fuse: std::sync::Arc<super::testing::Fuse>) -> Self {
        self.fuse = Some(fuse);
        self
    }

    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.memory.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.memory.is_empty()
    }

    /// The word at `offset`, and whatever was stored before it was published.
    #[inline]
    pub fn acquire(&self, offset: usize) -> u64 {
        self.memory.word(offset).load(Acquire)
    }

    /// Stores a word.
    #[inline]
    pub fn store(&self, offset: usize, value: u64) {
        if self.may_store() {
            self.memory.word(offset).store(value, Relaxed);
        }
    }

    /// Stores a word after everything stored before.
    #[inline]
    pub fn publish(&self, offset: usize, value: u64) {
        if self.may_store() {
            self.memory.word(offset).store(value, Release);
        }
    }

    /// Replaces `current` by `new`; says whether the word was `current`.
    pub fn exchange(&self, offset: usize, current: u64, new: u64) -> bool {
        self.may_store() && self.memory.word(offset).compare_exchange(current, new, AcqRel, Relaxed).is_ok()
    }

    /// Copies bytes out; `offset` need not be aligned.
    pub fn read_bytes(&self, offset: usize, target: &mut [u8]) {
        let within = offset % WORD;
        let head = if within == 0 { 0 } else { target.len().min(WORD - within) };
        let (first, rest) = target.split_at_mut(head);
        if head > 0 {
            let word = self.word(offset - within).to_le_bytes();
            first.copy_from_slice(&word[within..within + head]);
        }
        if !rest.is_empty() {
            self.memory.copy_out(offset + head, rest);
        }
    }

    /// Copies bytes in; `offset` need not be aligned, and the bytes around them
    /// stay as they are.
    pub fn write_bytes(&self, offset: usize, source: &[u8]) {
        let within = offset % WORD;
        let head = if within == 0 { 0 } else { source.len().min(WORD - within) };
        let (first, rest) = source.split_at(head);
        self.patch(offset, first);
        let (whole, last) = rest.split_at(rest.len() - rest.len() % WORD);
        self.copy_in(offset + head, whole);
        self.patch(offset + head + whole.len(), last);
    }

    /// Clears bytes; `offset` need not be aligned.
    pub fn clear(&self, offset: usize, bytes: usize) {
        const ZEROS: [u8; WORD] = [0; WORD];
        let end = offset + bytes;
        let aligned = offset.next_multiple_of(WORD).min(end);
        self.patch(offset, &ZEROS[..aligned - offset]);
        let tail = (end - aligned) % WORD;
        for at in (aligned..end - tail).step_by(WORD) {
            self.store(at, 0);
        }
        self.patch(end - tail, &ZEROS[..tail]);
    }

    /// Replaces some bytes within one word.
    fn patch(&self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let within = offset % WORD;
        let mut word = self.word(offset - within).to_le_bytes();
        word[within..within + bytes.len()].copy_from_slice(bytes);
        self.store(offset - within, u64::from_le_bytes(word));
    }

    /// Copies whole words in.
    fn copy_in(&self, offset: usize, source: &[u8]) {
        #[cfg(test)]
        if self.fuse.is_some() {
            for (index, bytes) in source.chunks_exact(WORD).enumerate() {
                let mut word = [0; WORD];
                word.copy_from_slice(bytes);
                self.store(offset + index * WORD, u64::from_le_bytes(word));
            }
            return;
        }
        if !source.is_empty() {
            self.memory.copy_in(offset, source);
        }
    }

    /// Whether this activity still lives. Outside of unit tests it does.
    #[inline]
    fn may_store(&self) -> bool {
        #[cfg(test)]
        if let Some(fuse) = &self.fuse {
            return fuse.burn();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_land_where_they_belong_at_every_alignment() {
        for offset in 0..17 {
            for length in 0..40 {
                let cells = Cells::new(SharedMemory::heap(128));
                cells.write_bytes(0, &[0xee; 128]);
                let data: Vec<u8> = (1..=length as u8).collect();
                cells.write_bytes(offset, &data);
                let mut all = [0; 128];
                cells.read_bytes(0, &mut all);
                assert_eq!(&all[offset..offset + length], &data);
                assert!(all[..offset].iter().chain(&all[offset + length..]).all(|&byte| byte == 0xee));
                let mut back = vec![0; length];
                cells.read_bytes(offset, &mut back);
                assert_eq!(back, data);
                cells.clear(offset, length);
                cells.read_bytes(0, &mut all);
                assert_eq!(all.iter().filter(|&&byte| byte == 0).count(), length);
            }
        }
    }
}
