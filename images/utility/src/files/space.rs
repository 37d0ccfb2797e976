//! Which blocks and inodes are free.
//!
//! Blocks: a bitmap, above it a summary with a bit per full word of it, and a
//! count. Each activity goes on looking where it last found a block, so that
//! files grow in runs. Inodes: a list of freed ones, and above a mark all that
//! were never used.

use super::FileSystem;
use super::inode::{Field, Inode};
use super::layout::Counter;
use crate::shared::cells::View;
use crate::shared::tables::Change;
use kernel::errno::Errno;
use kernel::protocol::files::FileKind;
use std::sync::atomic::Ordering::Relaxed;

const FULL: u64 = u64::MAX;

impl FileSystem {
    /// A free block, used from now on. What is in it is whatever was left there.
    pub(super) fn take_block(&self, change: &mut Change<'_>) -> Result<u32, Errno> {
        let used = self.counter(change, Counter::UsedBlocks);
        if used >= self.layout.block_count() as u64 {
            return Err(Errno::NOSPC);
        }
        let word = self.word_with_room(change)?;
        self.hint.store(word, Relaxed);
        let at = self.layout.bitmap + word * 8;
        let bits = change.word(at);
        let bit = bits.trailing_ones() as usize;
        change.set(at, bits | 1 << bit);
        if bits | 1 << bit == FULL {
            let (summary, mask) = self.summary_of(word);
            let full = change.word(summary) | mask;
            change.set(summary, full);
        }
        self.set_counter(change, Counter::UsedBlocks, used + 1);
        Ok((word * 64 + bit + 1) as u32)
    }

    /// Gives a block back; one that is not used is spoilt.
    pub(super) fn release_block(&self, change: &mut Change<'_>, block: u32) -> Result<(), Errno> {
        self.layout.block(block)?;
        let (word, mask) = ((block as usize - 1) / 64, 1 << ((block - 1) % 64));
        let at = self.layout.bitmap + word * 8;
        let bits = change.word(at);
        if bits & mask == 0 {
            return Err(Errno::IO);
        }
        change.set(at, bits & !mask);
        let (summary, mask) = self.summary_of(word);
        let full = change.word(summary) & !mask;
        change.set(summary, full);
        let used = self.counter(change, Counter::UsedBlocks);
        self.set_counter(change, Counter::UsedBlocks, used.checked_sub(1).ok_or(Errno::IO)?);
        Ok(())
    }

    /// A word of the bitmap that has a free block: the last one used, or the
    /// next that the summary knows.
    fn word_with_room(&self, view: &impl View) -> Result<usize, Errno> {
        let words = self.layout.bitmap_words;
        let has_room = |word: usize| word < words && view.word(self.layout.bitmap + word * 8) != FULL;
        let hint = self.hint.load(Relaxed);
        if has_room(hint) {
            return Ok(hint);
        }
        let groups = words.div_ceil(64);
        for step in 0..groups {
            let group = (hint / 64 + step) % groups;
            let mut open = !view.word(self.layout.summary + group * 8);
            while open != 0 {
                let word = group * 64 + open.trailing_zeros() as usize;
                if has_room(word) {
                    return Ok(word);
                }
                open &= open - 1;
            }
        }
        Err(Errno::IO)
    }

    /// Where the summary has its bit for this word of the bitmap.
    pub(super) fn summary_of(&self, word: usize) -> (usize, u64) {
        (self.layout.summary + word / 64 * 8, 1 << (word % 64))
    }

    /// A new inode, without a name.
    pub(super) fn take_inode(
        &self,
        change: &mut Change<'_>,
        kind: FileKind,
        mode: u16,
        now_ns: u64,
    ) -> Result<Inode, Errno> {
        let free = self.counter(change, Counter::FreeInode);
        let inode = if free == 0 {
            let number = self.counter(change, Counter::InodesTouched).saturating_add(1);
            let inode = self.layout.inode(number).map_err(|_| Errno::NOSPC)?;
            self.set_counter(change, Counter::InodesTouched, number);
            inode
        } else {
            let inode = self.layout.inode(free)?;
            let next = inode.get(change, Field::Chain);
            self.set_counter(change, Counter::FreeInode, next);
            inode
        };
        if inode.kind(change)?.is_some() {
            return Err(Errno::IO);
        }
        inode.initialise(change, kind, mode, now_ns);
        self.count(change, Counter::UsedInodes, 1)?;
        Ok(inode)
    }

    /// Gives back an inode that has no name, no openings and no blocks.
    pub(super) fn release_inode(&self, change: &mut Change<'_>, inode: Inode) -> Result<(), Errno> {
        inode.retire(change);
        let first = self.counter(change, Counter::FreeInode);
        inode.set(change, Field::Chain, first);
        self.set_counter(change, Counter::FreeInode, u64::from(inode.number));
        self.count(change, Counter::UsedInodes, -1)
    }

    /// A counter.
    pub(super) fn counter(&self, view: &impl View, counter: Counter) -> u64 {
        view.word(self.layout.counter(counter))
    }

    /// Changes a counter.
    pub(super) fn set_counter(&self, change: &mut Change<'_>, counter: Counter, value: u64) {
        change.set(self.layout.counter(counter), value);
    }

    /// Adds to a counter.
    fn count(&self, change: &mut Change<'_>, counter: Counter, amount: i64) -> Result<(), Errno> {
        let value = self.counter(change, counter).checked_add_signed(amount).ok_or(Errno::IO)?;
        self.set_counter(change, counter, value);
        Ok(())
    }
}
