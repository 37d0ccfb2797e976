//! What is in files: read, write, cut.
//!
//! * Fresh blocks are filled before the transaction that links them; blocks
//!   that the file has already are overwritten in place. So a write that was
//!   killed and is done again gives the same bytes, and one that has no room
//!   changes nothing: all blocks are taken before any byte is stored.
//! * What lies beyond a file's end in its last block is undefined. Whoever
//!   makes the file longer clears it first; until the new size is committed,
//!   nobody sees that.

use super::FileSystem;
use super::inode::{Field, Inode};
use super::layout::BLOCK;
use super::map::MAX_SIZE;
use crate::shared::cells::{Cells, View};
use crate::shared::tables::Change;
use kernel::errno::Errno;
use kernel::protocol::files::{FileKind, Handle, MAX_DATA, Reply};

/// Most blocks that one write touches.
const SPAN: usize = MAX_DATA / BLOCK + 1;

/// A part of a write: where in the file, in which block, what.
struct Piece<'d> {
    start: u64,
    block: u32,
    fresh: bool,
    data: &'d [u8],
}

impl FileSystem {
    /// The inode of a handle.
    pub(super) fn of_handle(&self, view: &impl View, handle: Handle) -> Result<(Inode, FileKind), Errno> {
        let inode = self.layout.inode(u64::from(handle.inode)).map_err(|_| Errno::STALE)?;
        if inode.generation(view) != handle.generation {
            return Err(Errno::STALE);
        }
        Ok((inode, inode.kind(view)?.ok_or(Errno::STALE)?))
    }

    /// The inode of a handle on a file.
    fn file_of(&self, view: &impl View, handle: Handle) -> Result<Inode, Errno> {
        match self.of_handle(view, handle)? {
            (inode, FileKind::Regular) => Ok(inode),
            (_, FileKind::Directory) => Err(Errno::ISDIR),
            // No handle was ever given on a link.
            (_, FileKind::Link) => Err(Errno::IO),
        }
    }

    /// Copies from a file into `buffer`, which it makes longer if need be;
    /// returns how many bytes.
    pub(super) fn read_data(
        &self,
        cells: &Cells,
        handle: Handle,
        offset: u64,
        length: u32,
        buffer: &mut Vec<u8>,
    ) -> Result<usize, Errno> {
        let inode = self.file_of(cells, handle)?;
        let size = inode.get(cells, Field::Size);
        if size > MAX_SIZE {
            return Err(Errno::IO);
        }
        let length = (length as u64).min(MAX_DATA as u64).min(size.saturating_sub(offset)) as usize;
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        let mut target = &mut buffer[..length];
        let mut offset = offset;
        while !target.is_empty() {
            let (run, bytes) = self.run_at(cells, inode, offset, target.len())?;
            let (now, later) = target.split_at_mut(bytes);
            match run {
                Some(at) => cells.read_bytes(at, now),
                None => now.fill(0),
            }
            (target, offset) = (later, offset + bytes as u64);
        }
        Ok(length)
    }

    /// Where the bytes of a file from `offset` on are (`None`: a hole), and how
    /// many of `wanted` are there in one piece.
    fn run_at(
        &self,
        cells: &Cells,
        inode: Inode,
        offset: u64,
        wanted: usize,
    ) -> Result<(Option<usize>, usize), Errno> {
        let (index, within) = (offset / BLOCK as u64, offset as usize % BLOCK);
        let first = self.find_block(cells, inode, index)?;
        let mut blocks = 1;
        while blocks * BLOCK - within < wanted {
            let block = self.find_block(cells, inode, index + blocks as u64)?;
            let follows = if first == 0 { 0 } else { first.wrapping_add(blocks as u32) };
            if block != follows || (block != 0 && self.layout.block(block).is_err()) {
                break;
            }
            blocks += 1;
        }
        let bytes = wanted.min(blocks * BLOCK - within);
        match first {
            0 => Ok((None, bytes)),
            first => Ok((Some(self.layout.block(first)? + within), bytes)),
        }
    }

    /// Writes all of `data`, or nothing.
    pub(super) fn write_data(
        &self,
        change: &mut Change<'_>,
        handle: Handle,
        offset: Option<u64>,
        data: &[u8],
        now_ns: u64,
    ) -> Result<Reply<'static>, Errno> {
        let inode = self.file_of(change, handle)?;
        if data.len() > MAX_DATA {
            return Err(Errno::INVAL);
        }
        let size = inode.get(change, Field::Size);
        let start = offset.unwrap_or(size);
        let end = start.checked_add(data.len() as u64).filter(|&end| end <= MAX_SIZE).ok_or(Errno::FBIG)?;
        if !data.is_empty() {
            let pieces = self.pieces(change, inode, start, data)?;
            if start > size {
                self.clear_gap(change, inode, size, start)?;
            }
            for piece in pieces {
                self.store_piece(change, &piece, size)?;
            }
            inode.set(change, Field::Size, size.max(end));
            inode.set(change, Field::Modified, now_ns);
        }
        Ok(Reply::Written { end })
    }

    /// Divides a write by blocks, and takes those that are missing.
    fn pieces<'d>(
        &self,
        change: &mut Change<'_>,
        inode: Inode,
        start: u64,
        data: &'d [u8],
    ) -> Result<Vec<Piece<'d>>, Errno> {
        let mut pieces = Vec::with_capacity(SPAN);
        let (mut start, mut rest) = (start, data);
        while !rest.is_empty() {
            let bytes = rest.len().min(BLOCK - start as usize % BLOCK);
            let (data, later) = rest.split_at(bytes);
            let (block, fresh) = self.need_block(change, inode, start / BLOCK as u64)?;
            pieces.push(Piece { start, block, fresh, data });
            (start, rest) = (start + bytes as u64, later);
        }
        Ok(pieces)
    }

    /// Stores a piece; of a fresh block also the zeros around it.
    fn store_piece(&self, change: &Change<'_>, piece: &Piece<'_>, size: u64) -> Result<(), Errno> {
        let (at, cells) = (self.layout.block(piece.block)?, change.cells());
        let within = piece.start as usize % BLOCK;
        let end = within + piece.data.len();
        if piece.fresh {
            cells.clear(at, within);
            if size > piece.start + piece.data.len() as u64 {
                cells.clear(at + end, BLOCK - end);
            }
        }
        cells.write_bytes(at + within, piece.data);
        Ok(())
    }

    /// Clears what lies between a file's end and `until` in its last block.
    fn clear_gap(&self, change: &Change<'_>, inode: Inode, size: u64, until: u64) -> Result<(), Errno> {
        let within = size as usize % BLOCK;
        let block = match within {
            0 => 0,
            _ => self.find_block(change, inode, size / BLOCK as u64)?,
        };
        if block != 0 {
            let bytes = (until - size).min((BLOCK - within) as u64) as usize;
            change.cells().clear(self.layout.block(block)? + within, bytes);
        }
        Ok(())
    }

    /// Cuts a file or extends it with zeros.
    pub(super) fn truncate(
        &self,
        change: &mut Change<'_>,
        handle: Handle,
        size: u64,
        now_ns: u64,
    ) -> Result<Reply<'static>, Errno> {
        let inode = self.file_of(change, handle)?;
        if size > MAX_SIZE {
            return Err(Errno::FBIG);
        }
        let old = inode.get(change, Field::Size);
        if old > MAX_SIZE {
            return Err(Errno::IO);
        }
        if size > old {
            self.clear_gap(change, inode, old, size)?;
        }
        self.set_size(change, inode, size);
        inode.set(change, Field::Modified, now_ns);
        Ok(Reply::Done)
    }
}
