//! A window on memory that somebody else may write at any time.
//!
//! **Shared memory is an allegation.** There is never a Rust reference to plain
//! data in a region: only atomic words, and copies out of and into them. What
//! is read is checked by its reader *after* it was copied out.
//!
//! This module is one of the few that hold `unsafe`: it turns mapped memory
//! into atomic words, once, in `SharedMemory::new`.
//!
//! Under `cfg(loom)` the words are the model checker's, on the heap only, and
//! everything above this module is the same code.

use alloc::sync::Arc;
#[cfg(not(loom))]
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;
#[cfg(not(loom))]
use core::{any::Any, ptr::NonNull};

#[cfg(not(loom))]
pub use core::sync::atomic::{AtomicU64, fence};
#[cfg(loom)]
pub use loom::sync::atomic::{AtomicU64, fence};

/// Bytes in a word.
pub const WORD: usize = 8;
/// Bytes in a cache line.
pub const LINE: usize = 64;
/// Words in a cache line.
pub const LINE_WORDS: usize = LINE / WORD;

/// A window on shared memory: so many 64-bit atomic words.
///
/// Cloning it makes a second window on the same memory. Offsets are in bytes
/// from the window's start. Like a slice, a window panics on an offset outside
/// of itself, so an offset that a peer can influence is checked first (see
/// [`SharedMemory::window`], which does not panic).
#[cfg(not(loom))]
#[derive(Clone)]
pub struct SharedMemory {
    first: NonNull<AtomicU64>,
    words: usize,
    /// Keeps the mapping alive for as long as a window on it exists.
    _mapping: Option<Arc<dyn Any + Send + Sync>>,
}

/// A window on heap memory whose every access the model checker sees.
#[cfg(loom)]
#[derive(Clone)]
pub struct SharedMemory {
    all: Arc<[AtomicU64]>,
    first: usize,
    words: usize,
}

// SAFETY: a window gives access to its memory through atomics alone, and the
// mapping behind it is Send + Sync.
#[cfg(not(loom))]
unsafe impl Send for SharedMemory {}
// SAFETY: as above.
#[cfg(not(loom))]
unsafe impl Sync for SharedMemory {}

/// What depends on where the words are.
#[cfg(not(loom))]
impl SharedMemory {
    /// A window on `bytes` bytes of mapped memory at `start`.
    ///
    /// `mapping` is dropped with the last window; `None` means that the memory
    /// stays mapped for the life of the program.
    ///
    /// # Safety
    /// `start` is aligned to 64 bytes, `bytes` is a multiple of 8, the range is
    /// mapped, readable and (unless nobody stores through the window) writable
    /// for as long as `mapping` lives, and this program has no Rust reference
    /// to anything in it.
    pub unsafe fn new(start: NonNull<u8>, bytes: usize, mapping: Option<Arc<dyn Any + Send + Sync>>) -> Self {
        assert!((start.as_ptr() as usize).is_multiple_of(LINE) && bytes.is_multiple_of(WORD));
        Self { first: start.cast(), words: bytes / WORD, _mapping: mapping }
    }

    /// A window on fresh zeroed heap memory of `bytes` bytes (rounded up to
    /// whole cache lines), for tests and for links within one program.
    pub fn heap(bytes: usize) -> Self {
        let lines: Vec<Line> = (0..bytes.div_ceil(LINE)).map(|_| Line::default()).collect();
        let words = lines.len() * LINE_WORDS;
        let first = NonNull::from(lines.as_slice()).cast();
        Self { first, words, _mapping: Some(Arc::new(lines)) }
    }

    /// A window on the `words` words from byte `offset` on.
    fn part(&self, offset: usize, words: usize) -> Self {
        let start = self.check(offset, words);
        // SAFETY: `start` is within the window (checked above).
        let first = unsafe { self.first.add(start) };
        Self { first, words, _mapping: self._mapping.clone() }
    }

    /// All words of the window.
    pub fn words(&self) -> &[AtomicU64] {
        self.words_at(0, self.words)
    }

    /// `words` words from byte `offset` on.
    #[inline]
    fn words_at(&self, offset: usize, words: usize) -> &[AtomicU64] {
        let start = self.check(offset, words);
        // SAFETY: the range is within the window (checked above), whose memory
        // is mapped and accessed through atomics alone (the contract of `new`).
        unsafe { core::slice::from_raw_parts(self.first.add(start).as_ptr(), words) }
    }
}

/// What depends on where the words are, for the model checker.
#[cfg(loom)]
impl SharedMemory {
    /// A window on fresh zeroed memory of `bytes` bytes (rounded up to whole
    /// cache lines). Call it within a model.
    pub fn heap(bytes: usize) -> Self {
        let words = bytes.div_ceil(LINE) * LINE_WORDS;
        Self { all: (0..words).map(|_| AtomicU64::new(0)).collect(), first: 0, words }
    }

    fn part(&self, offset: usize, words: usize) -> Self {
        Self { all: self.all.clone(), first: self.first + self.check(offset, words), words }
    }

    /// A hint that the model checker does not need.
    pub fn expect_read(&self, _offset: usize) {}

    fn words_at(&self, offset: usize, words: usize) -> &[AtomicU64] {
        let start = self.first + self.check(offset, words);
        &self.all[start..start + words]
    }
}

impl SharedMemory {
    /// Bytes in this window.
    pub fn len(&self) -> usize {
        self.words * WORD
    }

    /// Whether the window has no bytes.
    pub fn is_empty(&self) -> bool {
        self.words == 0
    }

    /// The part of this window of `bytes` bytes from `offset` on, or `None` if
    /// that is not within this window or not made of whole words.
    pub fn window(&self, offset: usize, bytes: usize) -> Option<Self> {
        let end = offset.checked_add(bytes)?;
        if end > self.len() || !offset.is_multiple_of(WORD) || !bytes.is_multiple_of(WORD) {
            return None;
        }
        Some(self.part(offset, bytes / WORD))
    }

    /// The word at byte `offset`.
    ///
    /// # Panics
    /// If `offset` is not a multiple of 8 within the window.
    #[inline]
    pub fn word(&self, offset: usize) -> &AtomicU64 {
        &self.words_at(offset, 1)[0]
    }

    /// The eight words from byte `offset` on.
    ///
    /// # Panics
    /// If `offset` is not a multiple of 8, or the words are not within the
    /// window.
    #[inline]
    pub fn line(&self, offset: usize) -> &[AtomicU64; LINE_WORDS] {
        match self.words_at(offset, LINE_WORDS).first_chunk() {
            Some(line) => line,
            None => unreachable!("words_at returns what it was asked for"),
        }
    }

    /// Copies `target.len()` bytes from byte `offset` on out of the window.
    ///
    /// The copy is made of relaxed loads of whole words: it may be torn if
    /// somebody writes meanwhile.
    ///
    /// # Panics
    /// If the bytes are not within the window.
    pub fn copy_out(&self, offset: usize, target: &mut [u8]) {
        let skip = offset % WORD;
        let source = self.words_at(offset - skip, (skip + target.len()).div_ceil(WORD));
        let load = |word: &AtomicU64| word.load(Relaxed).to_le_bytes();
        let (first, target) = target.split_at_mut(((WORD - skip) % WORD).min(target.len()));
        let (begun, source) = source.split_at(usize::from(!first.is_empty()));
        if let Some(word) = begun.first() {
            first.copy_from_slice(&load(word)[skip..skip + first.len()]);
        }
        // Line by line: a loop over single words takes twice as many instructions.
        let (target_lines, target) = target.as_chunks_mut();
        let (lines, source) = source.split_at(target_lines.len() * LINE_WORDS);
        for (line, target) in lines.as_chunks().0.iter().zip(target_lines) {
            copy_line(line, target);
        }
        for (word, target) in source.iter().zip(target.chunks_mut(WORD)) {
            target.copy_from_slice(&load(word)[..target.len()]);
        }
    }

    /// Copies `source` into the window from byte `offset` on.
    ///
    /// The copy is made of relaxed stores of whole words. `offset` must be a
    /// multiple of 8; if the length is not, the bytes that follow in the last
    /// word become zero.
    ///
    /// # Panics
    /// If the bytes are not within the window.
    pub fn copy_in(&self, offset: usize, source: &[u8]) {
        let target = self.words_at(offset, source.len().div_ceil(WORD));
        let (source_lines, source) = source.as_chunks();
        let (lines, target) = target.split_at(source_lines.len() * LINE_WORDS);
        for (line, source) in lines.as_chunks().0.iter().zip(source_lines) {
            store_line(line, source);
        }
        for (word, source) in target.iter().zip(source.chunks(WORD)) {
            let mut bytes = [0; WORD];
            bytes[..source.len()].copy_from_slice(source);
            word.store(u64::from_le_bytes(bytes), Relaxed);
        }
    }

    /// The index of the word at byte `offset`, from which on `words` words
    /// are within the window.
    #[inline]
    fn check(&self, offset: usize, words: usize) -> usize {
        let start = offset / WORD;
        assert!(
            offset.is_multiple_of(WORD) && start <= self.words && words <= self.words - start,
            "range outside of the window"
        );
        start
    }
}

/// Copies a line out.
#[inline(always)]
fn copy_line(line: &[AtomicU64; LINE_WORDS], target: &mut [u8; LINE]) {
    for (word, target) in line.iter().zip(target.as_chunks_mut().0) {
        *target = word.load(Relaxed).to_le_bytes();
    }
}

/// Copies a line in.
#[inline(always)]
fn store_line(line: &[AtomicU64; LINE_WORDS], source: &[u8; LINE]) {
    for (word, source) in line.iter().zip(source.as_chunks().0) {
        word.store(u64::from_le_bytes(*source), Relaxed);
    }
}

impl core::fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SharedMemory({} bytes)", self.len())
    }
}

/// A cache line of heap memory.
#[cfg(not(loom))]
#[repr(align(64))]
#[derive(Default)]
struct Line {
    _words: [AtomicU64; LINE_WORDS],
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn copies_keep_bytes_and_clear_the_rest_of_the_last_word() {
        let memory = SharedMemory::heap(64);
        memory.copy_in(8, &[0xff; 16]);
        memory.copy_in(8, b"eleven byte");
        let mut out = [0; 19];
        memory.copy_out(8, &mut out);
        assert_eq!(&out, b"eleven byte\0\0\0\0\0\0\0\0");
    }

    #[test]
    fn copies_out_start_and_end_anywhere() {
        let memory = SharedMemory::heap(64);
        let bytes: Vec<u8> = (1..=64).collect();
        memory.copy_in(0, &bytes);
        for from in 0..=64 {
            for to in from..=64 {
                let mut out = [0; 64];
                memory.copy_out(from, &mut out[from..to]);
                assert_eq!(out[from..to], bytes[from..to]);
            }
        }
    }

    #[test]
    fn a_window_outside_is_refused() {
        let memory = SharedMemory::heap(128);
        assert!(memory.window(64, 64).is_some());
        assert!(memory.window(64, 72).is_none());
        assert!(memory.window(4, 8).is_none());
        assert!(memory.window(usize::MAX - 7, 16).is_none());
    }
}
