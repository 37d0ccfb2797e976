//! Which block holds which part of a file.
//!
//! As in the Unix file systems: 34 direct pointers, a table of 1,024 pointers,
//! and a table of 1,024 such tables; a little over 4 GiB. A pointer is a block
//! number in half a word; 0 is a hole, which reads as zeros.

use super::FileSystem;
use super::inode::{Field, Inode, POINTERS};
use super::layout::BLOCK;
use crate::shared::cells::View;
use crate::shared::tables::Change;
use kernel::errno::Errno;
use transport::memory::WORD;

/// Direct pointers of an inode.
pub(super) const DIRECT: u64 = 34;
/// Pointers in a table.
pub(super) const TABLE: u64 = (BLOCK / 4) as u64;
/// First part of a file that is reached through the table of tables.
pub(super) const DOUBLE_START: u64 = DIRECT + TABLE;
/// Most bytes of a file.
pub const MAX_SIZE: u64 = (DOUBLE_START + TABLE * TABLE) * BLOCK as u64;

/// Where a pointer is: a byte offset, a multiple of 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pointer(usize);

impl Pointer {
    /// The `index`-th pointer of an inode.
    pub fn of_inode(inode: Inode, index: u64) -> Self {
        Self(inode.at + POINTERS * WORD + index as usize * 4)
    }

    /// The `index`-th pointer of a table at byte `table`.
    pub fn of_table(table: usize, index: u64) -> Self {
        Self(table + index as usize * 4)
    }

    /// An inode's pointer to its table.
    pub fn single(inode: Inode) -> Self {
        Self::of_inode(inode, DIRECT)
    }

    /// An inode's pointer to its table of tables.
    pub fn double(inode: Inode) -> Self {
        Self::of_inode(inode, DIRECT + 1)
    }

    /// The block that it points to; 0 for none.
    pub fn get(self, view: &impl View) -> u32 {
        (view.word(self.0 & !7) >> self.shift()) as u32
    }

    /// Points it to another block.
    pub fn set(self, change: &mut Change<'_>, block: u32) {
        let word = change.word(self.0 & !7);
        let kept = word & !(0xffff_ffff << self.shift());
        change.set(self.0 & !7, kept | u64::from(block) << self.shift());
    }

    fn shift(self) -> u32 {
        (self.0 as u32 & 4) * 8
    }
}

impl FileSystem {
    /// The block with part `index` of a file; 0 if it is a hole.
    pub(super) fn find_block(&self, view: &impl View, inode: Inode, index: u64) -> Result<u32, Errno> {
        if index < DIRECT {
            return Ok(Pointer::of_inode(inode, index).get(view));
        }
        let (table, index) = if index < DOUBLE_START {
            (Pointer::single(inode).get(view), index - DIRECT)
        } else {
            let rest = index - DOUBLE_START;
            let tables = match Pointer::double(inode).get(view) {
                0 => return Ok(0),
                tables => self.layout.block(tables)?,
            };
            (Pointer::of_table(tables, (rest / TABLE).min(TABLE - 1)).get(view), rest % TABLE)
        };
        match table {
            0 => Ok(0),
            table => Ok(Pointer::of_table(self.layout.block(table)?, index).get(view)),
        }
    }

    /// The block with part `index` of a file, and whether it was taken just
    /// now: then what is in it is undefined.
    pub(super) fn need_block(
        &self,
        change: &mut Change<'_>,
        inode: Inode,
        index: u64,
    ) -> Result<(u32, bool), Errno> {
        let pointer = if index < DIRECT {
            Pointer::of_inode(inode, index)
        } else if index < DOUBLE_START {
            let table = self.need_table(change, inode, Pointer::single(inode))?;
            Pointer::of_table(table, index - DIRECT)
        } else {
            let rest = index - DOUBLE_START;
            if rest >= TABLE * TABLE {
                return Err(Errno::FBIG);
            }
            let tables = self.need_table(change, inode, Pointer::double(inode))?;
            let table = self.need_table(change, inode, Pointer::of_table(tables, rest / TABLE))?;
            Pointer::of_table(table, rest % TABLE)
        };
        self.need(change, inode, pointer)
    }

    /// Where the table behind a pointer is; an empty one is made if there is none.
    fn need_table(&self, change: &mut Change<'_>, inode: Inode, pointer: Pointer) -> Result<usize, Errno> {
        let (block, fresh) = self.need(change, inode, pointer)?;
        let at = self.layout.block(block)?;
        if fresh {
            // Nothing that is committed points to it, so this needs no journal.
            change.cells().clear(at, BLOCK);
        }
        Ok(at)
    }

    fn need(&self, change: &mut Change<'_>, inode: Inode, pointer: Pointer) -> Result<(u32, bool), Errno> {
        match pointer.get(change) {
            0 => {
                let block = self.take_block(change)?;
                pointer.set(change, block);
                inode.add(change, Field::Blocks, 1)?;
                Ok((block, true))
            }
            block => self.layout.block(block).map(|_| (block, false)),
        }
    }
}
