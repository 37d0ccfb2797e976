//! Giving back what a file no longer needs, however much it is.
//!
//! Cutting a file is one small transaction: it sets the size and names the
//! inode as the one that is *draining*. Its blocks beyond the end, which
//! nobody can see any more, are then given back by some more transactions of
//! bounded size, at most one pointer table each; the last one names no inode
//! any more. All of them under one holding of the lock; if the holder is
//! killed, its successor finds the name and goes on. The same for an inode
//! whose last name and opening are gone: it drains to nothing and is freed.
//!
//! ```text
//!   unlink, truncate, close ──► draining ──► a table given back ──┐
//!                                 ▲  │                            │
//!                                 │  └── nothing is left: done    │
//!                                 └───────────────────────────────┘
//! ```

use super::FileSystem;
use super::inode::{Field, Inode};
use super::layout::{BLOCK, Counter};
use super::map::{DIRECT, DOUBLE_START, Pointer, TABLE};
use crate::shared::tables::Change;
use kernel::errno::Errno;
use kernel::protocol::files::FileKind;

/// Whether there is more to give back.
#[derive(PartialEq, Eq)]
enum Step {
    More,
    Last,
}

impl FileSystem {
    /// Names the inode as draining if nothing holds it any more.
    pub(super) fn drain_if_unused(&self, change: &mut Change<'_>, inode: Inode) {
        if inode.get(change, Field::Links) == 0 && inode.get(change, Field::Openings) == 0 {
            self.set_counter(change, Counter::Draining, u64::from(inode.number));
        }
    }

    /// Cuts or extends a file.
    pub(super) fn set_size(&self, change: &mut Change<'_>, inode: Inode, size: u64) {
        if size < inode.get(change, Field::Size) {
            self.set_counter(change, Counter::Draining, u64::from(inode.number));
        }
        inode.set(change, Field::Size, size);
    }

    /// Finishes what is draining. A file that is spoilt is left as it is.
    pub(super) fn drain(&self, change: &mut Change<'_>) {
        let number = self.counter(change, Counter::Draining);
        if number == 0 {
            return;
        }
        let finished = self.layout.inode(number).and_then(|inode| self.drain_inode(change, inode));
        if finished.is_err() {
            change.discard();
            self.set_counter(change, Counter::Draining, 0);
            // A transaction of one word is never too large.
            let _ = change.commit();
        }
    }

    fn drain_inode(&self, change: &mut Change<'_>, inode: Inode) -> Result<(), Errno> {
        // Each step but the last clears a pointer to a table.
        for _ in 0..TABLE + 3 {
            let step = self.drain_step(change, inode)?;
            if step == Step::Last {
                self.set_counter(change, Counter::Draining, 0);
            }
            change.commit().map_err(|_| Errno::IO)?;
            if step == Step::Last {
                return Ok(());
            }
        }
        Err(Errno::IO)
    }

    /// Puts one transaction's worth of giving back together.
    fn drain_step(&self, change: &mut Change<'_>, inode: Inode) -> Result<Step, Errno> {
        let kind = inode.kind(change)?.ok_or(Errno::IO)?;
        let unused = inode.get(change, Field::Links) == 0 && inode.get(change, Field::Openings) == 0;
        if kind != FileKind::Directory {
            let size = if unused { 0 } else { inode.get(change, Field::Size) };
            let keep = size.div_ceil(BLOCK as u64);
            if self.drain_double(change, inode, keep)? == Step::More {
                return Ok(Step::More);
            }
            self.drain_table(change, inode, Pointer::single(inode), keep.saturating_sub(DIRECT))?;
            for index in keep..DIRECT {
                self.drop_block(change, inode, Pointer::of_inode(inode, index))?;
            }
        }
        if unused {
            self.release_inode(change, inode)?;
        }
        Ok(Step::Last)
    }

    /// The last table of the table of tables, or at last that one itself.
    fn drain_double(&self, change: &mut Change<'_>, inode: Inode, keep: u64) -> Result<Step, Errno> {
        let double = Pointer::double(inode);
        let tables = match double.get(change) {
            0 => return Ok(Step::Last),
            block => self.layout.block(block)?,
        };
        let keep = keep.saturating_sub(DOUBLE_START);
        let last =
            (keep / TABLE..TABLE).rev().find(|&index| Pointer::of_table(tables, index).get(change) != 0);
        match last {
            Some(index) => {
                let keep_in_it = keep.saturating_sub(index * TABLE);
                self.drain_table(change, inode, Pointer::of_table(tables, index), keep_in_it)?;
                Ok(if keep_in_it == 0 { Step::More } else { Step::Last })
            }
            None if keep == 0 => self.drop_block(change, inode, double).map(|()| Step::More),
            None => Ok(Step::Last),
        }
    }

    /// All blocks of a table but the first `keep`; if that is 0, the table too.
    fn drain_table(
        &self,
        change: &mut Change<'_>,
        inode: Inode,
        pointer: Pointer,
        keep: u64,
    ) -> Result<(), Errno> {
        let table = match pointer.get(change) {
            0 => return Ok(()),
            block => self.layout.block(block)?,
        };
        for index in keep..TABLE {
            let slot = Pointer::of_table(table, index);
            match slot.get(change) {
                0 => {}
                // The table goes as a whole: its pointers may stay as they are.
                block if keep == 0 => self.release_block_of(change, inode, block)?,
                _ => self.drop_block(change, inode, slot)?,
            }
        }
        if keep == 0 { self.drop_block(change, inode, pointer) } else { Ok(()) }
    }

    /// Gives back what a pointer points to, and clears it.
    fn drop_block(&self, change: &mut Change<'_>, inode: Inode, pointer: Pointer) -> Result<(), Errno> {
        match pointer.get(change) {
            0 => Ok(()),
            block => {
                pointer.set(change, 0);
                self.release_block_of(change, inode, block)
            }
        }
    }

    fn release_block_of(&self, change: &mut Change<'_>, inode: Inode, block: u32) -> Result<(), Errno> {
        self.release_block(change, block)?;
        inode.add(change, Field::Blocks, -1)
    }
}
