//! The file system: a Unix-like tree in the region that the activities of
//! `files` share.
//!
//! Every activity attaches a [`FileSystem`] of its own to the same memory, and
//! all of them answer any request at any time. An activity may be killed at any
//! store: its clients send what was not answered to another one, with the same
//! request ids, and see what they would have seen.
//!
//! ```text
//!   Request ──► FileSystem::handle
//!                 │ reads: no lock, tried until nothing changed meanwhile
//!                 │ changes: one transaction under the lock, with the reply
//!                 ▼
//!   operations  open, close, make, remove, rename        data  read, write, cut
//!      │            │                                       │
//!    path         openings   who has what open, locked  map   file part -> block
//!      │            │                                       │
//!    names        drain ─────── gives back what is not ── space  free blocks, inodes
//!      └────────────┴── inode   needed any more ────────────┘
//!                         │
//!                       layout   where everything lies; checks every number
//! ```
//!
//! Invariants, which [`FileSystem::check`] verifies:
//! * every block is either free or belongs to exactly one file, at or before
//!   its end, or is a table of its pointers;
//! * every inode is free, or has one name in one directory, or no name and at
//!   least one opening; only the root has neither;
//! * every name is found by its hash, and in its directory's list;
//! * a file's locks exclude each other, and are of clients that have it open.
//!
//! What stands in the region is never trusted: numbers are checked where they
//! become offsets (`layout`), walks have a bound, and what contradicts
//! itself is `EIO`.

mod check;
mod data;
mod drain;
mod inode;
mod layout;
mod map;
mod names;
mod openings;
mod operations;
mod path;
pub mod service;
mod space;
#[cfg(test)]
mod tests;

pub use check::{Problem, Report};
pub use layout::BLOCK;
pub use map::MAX_SIZE;

use crate::shared::cells::{Cells, View};
use crate::shared::completed::{Completed, Found, RecordError};
use crate::shared::environment::Environment;
use crate::shared::tables::{Change, Tables};
use inode::{Field, Inode};
use kernel::errno::Errno;
use kernel::protocol::files::{FileKind, Reply, Request, Response};
use kernel::protocol::{Incarnation, decode, encode};
use layout::{Counter, Layout, TABLES, TRANSACTION};
use path::Links;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use transport::memory::{SharedMemory, WORD};

/// First word of a formatted region.
const MAGIC: u64 = u64::from_le_bytes(*b"CYfiles\x02");

/// Why a region cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatError {
    /// It is smaller than the tables and a few blocks.
    TooSmall,
    /// It is neither zeroed nor a file system of this version and size.
    Foreign,
    /// It is a file system already.
    Formatted,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooSmall => "the region is too small for a file system",
            Self::Foreign => "the region holds something else than a file system of this version and size",
            Self::Formatted => "the region holds a file system already",
        })
    }
}

impl std::error::Error for FormatError {}

/// One activity's access to the file system. An activity has one, for all of
/// its threads.
pub struct FileSystem {
    tables: Tables,
    layout: Layout,
    completed: Completed,
    /// Word of the bitmap where this activity last found a free block.
    hint: AtomicUsize,
}

impl FileSystem {
    /// Makes a file system in zeroed memory that nobody else uses yet.
    pub fn format(memory: &SharedMemory, now_ns: u64) -> Result<(), FormatError> {
        let layout = Layout::of(memory.len()).ok_or(FormatError::TooSmall)?;
        let cells = Cells::new(memory.clone());
        match cells.acquire(0) {
            0 => write_fresh(&cells, &layout, now_ns),
            MAGIC => Err(FormatError::Formatted),
            _ => Err(FormatError::Foreign),
        }
    }

    /// Attaches to the file system in this memory; the first of all activities
    /// that come makes it. One that dies over that is succeeded by the next.
    pub fn attach_or_format(
        memory: &SharedMemory,
        env: Arc<dyn Environment>,
        now_ns: u64,
    ) -> Result<Self, FormatError> {
        Self::attach(Cells::new(memory.clone()), env, now_ns)
    }

    fn attach(cells: Cells, env: Arc<dyn Environment>, now_ns: u64) -> Result<Self, FormatError> {
        let layout = Layout::of(cells.len()).ok_or(FormatError::TooSmall)?;
        if !matches!(cells.acquire(0), 0 | MAGIC) {
            return Err(FormatError::Foreign);
        }
        let completed = layout.completed;
        let tables = Tables::new(cells, TABLES, TRANSACTION, env);
        let change = tables.exclusive();
        if change.cells().acquire(0) == 0 {
            write_fresh(change.cells(), &layout, now_ns)?;
        }
        check_identity(change.cells())?;
        drop(change);
        Ok(Self { tables, layout, completed, hint: AtomicUsize::new(0) })
    }

    /// Answers a request.
    ///
    /// `request_id` is the client's; see [`crate::shared::completed`] for what
    /// it must keep to. Data that is read is put into `buffer`, which grows if
    /// need be and is best used again. The client must live by the
    /// environment's word: what changes something is refused with `CANCELED`
    /// otherwise, as is a request that nobody can be waiting for any more.
    pub fn handle<'b>(
        &self,
        caller: Incarnation,
        request_id: u64,
        request: Request<'_>,
        now_ns: u64,
        buffer: &'b mut Vec<u8>,
    ) -> Response<'b> {
        match request {
            Request::Read { handle, offset, length } => {
                let read = |cells: &Cells| self.read_data(cells, handle, offset, length, buffer);
                let bytes = self.tables.read(read)?;
                Ok(Reply::Data(&buffer[..bytes]))
            }
            Request::ReadLink { path } => {
                let read = |cells: &Cells| self.link_at(cells, path);
                Ok(put(self.tables.read(read)?, buffer))
            }
            Request::Canonical { path } => {
                let read = |cells: &Cells| self.canonical(cells, path);
                Ok(put(self.tables.read(read)?, buffer))
            }
            Request::Stat { .. }
            | Request::StatLink { .. }
            | Request::StatHandle { .. }
            | Request::List { .. }
            | Request::Space => self.tables.read(|cells| self.look(cells, &request)),
            _ => self.change(caller, request_id, &request, now_ns),
        }
    }

    /// Releases what a client's dead incarnation held open. Any activity may do
    /// that, several at once, and again.
    pub fn forget(&self, dead: Incarnation) {
        let mut change = self.begin();
        self.release_openings_of(&mut change, dead);
    }

    /// Releases what clients held open that do not live: for an activity that
    /// starts and does not know whose deaths it missed.
    pub fn forget_all_dead(&self) {
        let mut change = self.begin();
        self.release_openings_of_dead(&mut change);
    }

    /// Takes the lock, and finishes what its last holder may have left.
    fn begin(&self) -> Change<'_> {
        let mut change = self.tables.exclusive();
        self.drain(&mut change);
        change
    }

    /// Answers what changes nothing.
    fn look(&self, view: &impl View, request: &Request<'_>) -> Response<'static> {
        match *request {
            Request::Stat { path } => self.status_at(view, path, Links::Follow),
            Request::StatLink { path } => self.status_at(view, path, Links::FollowBeforeSlash),
            Request::StatHandle { handle } => self.of_handle(view, handle)?.0.status(view).map(Reply::Status),
            Request::List { handle, cookie } => match self.of_handle(view, handle)? {
                (_, FileKind::Regular | FileKind::Link) => Err(Errno::NOTDIR),
                (directory, FileKind::Directory) => {
                    let (entries, next) = self.list_names(view, directory, cookie)?;
                    Ok(Reply::Entries { entries, next })
                }
            },
            Request::Space => Ok(self.space(view)),
            _ => Err(Errno::NOSYS),
        }
    }

    fn status_at(&self, view: &impl View, path: &[u8], links: Links) -> Response<'static> {
        self.resolve(view, path, links)?.existing(view)?.status(view).map(Reply::Status)
    }

    /// What the link at `path` stands for.
    fn link_at(&self, view: &impl View, path: &[u8]) -> Result<Vec<u8>, Errno> {
        let inode = self.resolve(view, path, Links::FollowBeforeSlash)?.existing(view)?;
        match inode.kind(view)? {
            Some(FileKind::Link) => self.link_target(view, inode),
            _ => Err(Errno::INVAL),
        }
    }

    /// How much there is, and how much of it is free.
    fn space(&self, view: &impl View) -> Reply<'static> {
        let (blocks, inodes) = (self.layout.block_count() as u64, self.layout.inode_count as u64);
        let free = blocks.saturating_sub(self.counter(view, Counter::UsedBlocks));
        Reply::Space {
            total: blocks * BLOCK as u64,
            free: free * BLOCK as u64,
            inodes,
            inodes_free: inodes.saturating_sub(self.counter(view, Counter::UsedInodes)),
        }
    }

    /// Carries out what changes something, exactly once.
    fn change(&self, client: Incarnation, id: u64, request: &Request<'_>, now_ns: u64) -> Response<'static> {
        let mut change = self.begin();
        if !self.tables.environment().lives(client) {
            // Nobody would forget what it opens now.
            return Err(Errno::CANCELED);
        }
        match self.completed.find(&change, client, id)? {
            Found::Nothing => {}
            Found::Reply(reply) => return recorded(&reply),
            Found::Outdated => return Err(Errno::CANCELED),
        }
        let reply = self.carry_out(&mut change, client, request, now_ns)?;
        self.completed.record(&mut change, client, id, &encode(&reply))?;
        change.commit().map_err(|_| Errno::IO)?;
        self.drain(&mut change);
        Ok(reply)
    }

    /// Puts the transaction of a request together.
    fn carry_out(
        &self,
        change: &mut Change<'_>,
        client: Incarnation,
        request: &Request<'_>,
        now_ns: u64,
    ) -> Response<'static> {
        match *request {
            Request::Open { path, flags, mode } => self.open(change, client, path, (flags, mode), now_ns),
            Request::Close { handle } => self.close(change, client, handle),
            Request::Write { handle, offset, data } => self.write_data(change, handle, offset, data, now_ns),
            Request::Truncate { handle, size } => self.truncate(change, handle, size, now_ns),
            Request::MakeDirectory { path, mode } => self.make_directory(change, path, mode, now_ns),
            Request::RemoveDirectory { path } => self.remove_directory(change, path, now_ns),
            Request::Unlink { path } => self.unlink(change, path, now_ns),
            Request::Rename { from, to } => self.rename(change, from, to, now_ns),
            Request::MakeLink { target, path } => self.make_link(change, target, path, now_ns),
            Request::SetStatus { path, mode, modified_ns } => {
                self.set_status(change, path, mode, modified_ns)
            }
            Request::Lock { handle, holder, exclusive } => {
                self.lock(change, client, handle, (holder, exclusive))
            }
            Request::Unlock { handle, holder } => self.unlock(change, client, handle, holder),
            Request::OpenIn { directory, name } => self.open_in(change, client, directory, name),
            Request::RemoveIn { directory, name } => self.remove_in(change, directory, name, now_ns),
            _ => Err(Errno::NOSYS),
        }
    }
}

impl From<RecordError> for Errno {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::UnknownPeer => Errno::PERM,
            RecordError::TooLong => Errno::IO,
        }
    }
}

/// A reply of these bytes, which are put into the buffer.
fn put(bytes: Vec<u8>, buffer: &mut Vec<u8>) -> Reply<'_> {
    buffer.clear();
    buffer.extend_from_slice(&bytes);
    Reply::Data(buffer)
}

/// A recorded reply, out of the region.
fn recorded(reply: &[u8]) -> Response<'static> {
    match decode(reply) {
        Ok(Reply::Done) => Ok(Reply::Done),
        Ok(Reply::Opened { handle, status }) => Ok(Reply::Opened { handle, status }),
        Ok(Reply::Written { end }) => Ok(Reply::Written { end }),
        _ => Err(Errno::IO),
    }
}

/// Writes an empty file system into zeroed memory, its magic number last: to
/// begin again after a death on the way is to store the same again.
fn write_fresh(cells: &Cells, layout: &Layout, now_ns: u64) -> Result<(), FormatError> {
    let Inode { at, .. } = layout.inode(path::ROOT).map_err(|_| FormatError::TooSmall)?;
    let put = |field: Field, value: u64| cells.store(at + field as usize * WORD, value);
    put(Field::State, inode::state(FileKind::Directory, 0o755) | 1 << 32);
    put(Field::Links, 2);
    put(Field::Parent, path::ROOT);
    put(Field::NextPlace, 1);
    put(Field::Modified, now_ns);
    put(Field::Created, now_ns);
    cells.store(layout.counter(Counter::UsedInodes), 1);
    cells.store(layout.counter(Counter::InodesTouched), 1);
    cells.store(WORD, cells.len() as u64);
    // SYNC: formatted
    cells.publish(0, MAGIC);
    Ok(())
}

fn check_identity(cells: &Cells) -> Result<(), FormatError> {
    // SYNC: formatted
    match (cells.acquire(0), cells.word(WORD)) {
        (MAGIC, bytes) if bytes == cells.len() as u64 => Ok(()),
        _ => Err(FormatError::Foreign),
    }
}
