//! Where everything lies in the region.
//!
//! A layout follows from the region's size alone, so nothing in the region is
//! trusted to say where things are. All numbers taken from the region come
//! back as offsets only through [`Layout::inode`], [`Layout::block`] and
//! [`Layout::opening`], which check them.
//!
//! ```text
//!   0            identity: magic, version, bytes           (page)
//!   4096         lock, journal (shared::Tables)            64 KiB
//!   counters     blocks and inodes used, free lists,       a cache line
//!                the inode that is being drained
//!   completed    replies of completed requests             (shared::Completed)
//!   openings     who holds which file open, or locked      64 bytes each
//!   buckets      hash table of all names: an inode each    8 bytes each
//!   inodes       with their names                          512 bytes each
//!   summary      a bit per word of the bitmap: it is full
//!   bitmap       a bit per block: it is used
//!   blocks       4 KiB each, numbered from 1
//! ```
//!
//! Zeroed memory is an empty file system but for the root, so formatting
//! touches three pages.

use super::inode::Inode;
use crate::shared::completed::Completed;
use crate::shared::tables::Tables;
use ivshmem::layout::MAX_PEERS;
use kernel::errno::Errno;
use kernel::protocol::files::{SMALL_PEERS, SMALL_REGION};

/// Bytes of a block.
pub const BLOCK: usize = 4096;
/// Bytes of an inode.
pub(super) const INODE: usize = 512;
/// Bytes of an opening.
pub(super) const OPENING: usize = 64;
/// Most words that one transaction changes: what releasing all blocks of one
/// pointer table may take (see `drain`), with room to spare.
pub(super) const TRANSACTION: usize = 4096;
/// Where lock and journal are.
pub(super) const TABLES: usize = BLOCK;

/// Words among the counters.
#[derive(Clone, Copy)]
pub(super) enum Counter {
    /// Blocks used.
    UsedBlocks,
    /// Inodes used.
    UsedInodes,
    /// First free inode below `InodesTouched`; 0 if there is none.
    FreeInode,
    /// Inodes above this number were never used.
    InodesTouched,
    /// First free opening below `OpeningsTouched`; 0 if there is none.
    FreeOpening,
    /// Openings above this number were never used.
    OpeningsTouched,
    /// The inode that has blocks beyond its end, or 0 (see `drain`).
    Draining,
}

/// Offsets in bytes and numbers of things.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    counters: usize,
    pub completed: Completed,
    openings: usize,
    pub opening_count: usize,
    buckets: usize,
    pub bucket_count: usize,
    inodes: usize,
    pub inode_count: usize,
    pub summary: usize,
    pub bitmap: usize,
    pub bitmap_words: usize,
    blocks: usize,
}

impl Layout {
    /// The layout of a region of so many bytes; `None` if it is too small.
    pub fn of(bytes: usize) -> Option<Self> {
        let peers = if bytes < SMALL_REGION { SMALL_PEERS } else { MAX_PEERS as u16 };
        let inode_count = (bytes / BLOCK).min(1 << 16).max(bytes / (4 * BLOCK)).min(1 << 24);
        let opening_count = inode_count.min(1 << 14);
        let bucket_count = inode_count.next_power_of_two();
        let counters = TABLES + Tables::bytes(TRANSACTION);
        let completed = counters + 64;
        let openings = completed + Completed::bytes(peers);
        let buckets = openings + opening_count * OPENING;
        let inodes = (buckets + bucket_count * 8).next_multiple_of(INODE);
        let summary = (inodes + inode_count * INODE).next_multiple_of(BLOCK);
        let room = bytes.checked_sub(summary)? / BLOCK / 64;
        let bitmap = summary + room.div_ceil(64) * 8;
        let blocks = (bitmap + room * 8).next_multiple_of(BLOCK);
        let bitmap_words = (bytes.checked_sub(blocks)? / BLOCK / 64).min(u32::MAX as usize / 64 - 1);
        (bitmap_words > 0).then(|| Self {
            counters,
            completed: Completed::at(completed, peers),
            openings,
            opening_count,
            buckets,
            bucket_count,
            inodes,
            inode_count,
            summary,
            bitmap,
            bitmap_words,
            blocks,
        })
    }

    /// Where a counter is.
    pub fn counter(&self, counter: Counter) -> usize {
        self.counters + counter as usize * 8
    }

    /// Blocks in all.
    pub fn block_count(&self) -> usize {
        self.bitmap_words * 64
    }

    /// Where the bytes of a block are; its number comes from the region.
    pub fn block(&self, number: u32) -> Result<usize, Errno> {
        match number as usize {
            number if (1..=self.block_count()).contains(&number) => Ok(self.blocks + (number - 1) * BLOCK),
            _ => Err(Errno::IO),
        }
    }

    /// The inode of a number that comes from the region or from a client.
    pub fn inode(&self, number: u64) -> Result<Inode, Errno> {
        match usize::try_from(number) {
            Ok(index) if (1..=self.inode_count).contains(&index) => {
                Ok(Inode { number: number as u32, at: self.inodes + (index - 1) * INODE })
            }
            _ => Err(Errno::IO),
        }
    }

    /// Where an opening is; its number, from 1, comes from the region.
    pub fn opening(&self, number: u64) -> Result<usize, Errno> {
        match usize::try_from(number) {
            Ok(number) if (1..=self.opening_count).contains(&number) => {
                Ok(self.openings + (number - 1) * OPENING)
            }
            _ => Err(Errno::IO),
        }
    }

    /// The head of the chain of names with this hash.
    pub fn bucket(&self, hash: u64) -> usize {
        self.buckets + (hash as usize & (self.bucket_count - 1)) * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::protocol::files::least_region;

    #[test]
    fn everything_fits_and_little_is_lost() {
        for bytes in [1 << 20, 3_000_064, 16 << 20, 64 << 20, 100 << 20, 1 << 30, 2 << 30, 1 << 36] {
            let layout = Layout::of(bytes).unwrap();
            let last = layout.block(layout.block_count() as u32).unwrap();
            assert!(last + BLOCK <= bytes);
            let summary_end = layout.summary + layout.bitmap_words.div_ceil(64) * 8;
            assert!(summary_end <= layout.bitmap);
            assert!(layout.bitmap + layout.bitmap_words * 8 <= layout.block(1).unwrap());
            assert!(layout.block(0).is_err() && layout.block(layout.block_count() as u32 + 1).is_err());
            // What the launcher may rely on when it sizes the region.
            let data = layout.block_count() * BLOCK;
            assert!(bytes < SMALL_REGION || data * 6 / 5 + (4 << 20) >= bytes, "{bytes}: {data}");
        }
        assert!(Layout::of(100 << 10).is_none());
    }

    #[test]
    fn the_least_region_of_a_machine_serves_all_of_its_peers() {
        for peers in [1, 16, 17, MAX_PEERS] {
            let layout = Layout::of(least_region(peers)).unwrap();
            assert!(layout.completed.serves(peers as u16 - 1), "{peers}");
            assert!(layout.block_count() * BLOCK > least_region(peers) / 3, "{peers}");
        }
        assert!(!Layout::of(least_region(16)).unwrap().completed.serves(16));
    }
}
