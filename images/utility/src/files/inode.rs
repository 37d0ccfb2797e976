//! Inodes: what a file or directory is, where its blocks are, and its name.
//!
//! There are no hard links (symbolic ones are inodes, whose content is a path), so
//! an inode has one name or none, and holds it:
//! directories have no tables of their own (see `names`).
//!
//! ```text
//!   word  0  kind | mode << 8 | generation << 32; the generation survives freeing
//!         1  links                   2  first opening
//!         3  bytes (of a directory: names in it)
//!         4  blocks                  5  modified       6  created
//!         7  parent directory        8  bytes of the name
//!         9  hash of parent and name
//!        10  next with this hash (or next free inode)
//!        11  previous in directory  12  next in directory
//!        13  place in directory: increases along it
//!        14  file, link: pointers, two a word: 34 direct, a table, a table of tables
//!            directory: first name, last name, next place
//!        32  the name
//! ```

use super::layout::{BLOCK, INODE};
use crate::shared::cells::View;
use crate::shared::tables::Change;
use kernel::errno::Errno;
use kernel::protocol::files::{FileKind, Handle, Status};
use transport::memory::WORD;

/// An inode of which it is known that its number is in range, and no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inode {
    pub number: u32,
    pub at: usize,
}

/// Words of an inode.
#[derive(Clone, Copy)]
pub(super) enum Field {
    State = 0,
    Links = 1,
    Openings = 2,
    Size = 3,
    Blocks = 4,
    Modified = 5,
    Created = 6,
    Parent = 7,
    NameLength = 8,
    Hash = 9,
    Chain = 10,
    Previous = 11,
    Next = 12,
    Place = 13,
    /// Of a directory.
    First = 14,
    /// Of a directory.
    Last = 15,
    /// Of a directory.
    NextPlace = 16,
}

/// First word of the pointers.
pub(super) const POINTERS: usize = 14;
/// First word of the name.
pub(super) const NAME: usize = 32;
const _: () = assert!(NAME * WORD + 256 == INODE);

const REGULAR: u64 = 1;
const DIRECTORY: u64 = 2;
const LINK: u64 = 3;

impl Inode {
    /// A field.
    pub fn get(self, view: &impl View, field: Field) -> u64 {
        view.word(self.at + field as usize * WORD)
    }

    /// Changes a field.
    pub fn set(self, change: &mut Change<'_>, field: Field, value: u64) {
        change.set(self.at + field as usize * WORD, value);
    }

    /// What it is; `None` if it is free. A kind that there is not is spoilt.
    pub fn kind(self, view: &impl View) -> Result<Option<FileKind>, Errno> {
        match self.get(view, Field::State) & 0xff {
            0 => Ok(None),
            REGULAR => Ok(Some(FileKind::Regular)),
            DIRECTORY => Ok(Some(FileKind::Directory)),
            LINK => Ok(Some(FileKind::Link)),
            _ => Err(Errno::IO),
        }
    }

    /// Whether it is a directory; a free inode is spoilt here.
    pub fn is_directory(self, view: &impl View) -> Result<bool, Errno> {
        Ok(self.kind(view)?.ok_or(Errno::IO)? == FileKind::Directory)
    }

    /// How often this number was used.
    pub fn generation(self, view: &impl View) -> u32 {
        (self.get(view, Field::State) >> 32) as u32
    }

    /// How clients name it.
    pub fn handle(self, view: &impl View) -> Handle {
        Handle { inode: self.number, generation: self.generation(view) }
    }

    /// What `stat` tells.
    pub fn status(self, view: &impl View) -> Result<Status, Errno> {
        let kind = self.kind(view)?.ok_or(Errno::IO)?;
        let size = self.get(view, Field::Size);
        Ok(Status {
            inode: self.number,
            kind,
            mode: (self.get(view, Field::State) >> 8) as u16,
            links: self.get(view, Field::Links) as u32,
            size: if kind == FileKind::Directory { size.saturating_mul(INODE as u64) } else { size },
            blocks: self.get(view, Field::Blocks).saturating_mul((BLOCK / 512) as u64),
            modified_ns: self.get(view, Field::Modified),
            created_ns: self.get(view, Field::Created),
        })
    }

    /// Makes a free inode one of this kind, empty and without a name.
    pub fn initialise(self, change: &mut Change<'_>, kind: FileKind, mode: u16, now_ns: u64) {
        let generation = u64::from(self.generation(change).max(1));
        for word in 1..NAME {
            change.set(self.at + word * WORD, 0);
        }
        self.set(change, Field::State, state(kind, mode) | generation << 32);
        self.set(change, Field::Links, if kind == FileKind::Directory { 2 } else { 1 });
        self.set(change, Field::Modified, now_ns);
        self.set(change, Field::Created, now_ns);
        if kind == FileKind::Directory {
            self.set(change, Field::NextPlace, 1);
        }
    }

    /// Changes its permission bits.
    pub fn set_mode(self, change: &mut Change<'_>, mode: u16) {
        const MODE: u64 = 0xffff << 8;
        let state = self.get(change, Field::State);
        self.set(change, Field::State, state & !MODE | u64::from(mode) << 8);
    }

    /// Makes it free; from now on handles on it are stale.
    pub fn retire(self, change: &mut Change<'_>) {
        let generation = self.generation(change).wrapping_add(1).max(1);
        self.set(change, Field::State, u64::from(generation) << 32);
    }

    /// Adds to a counting field; below 0 and beyond its end it is spoilt.
    pub fn add(self, change: &mut Change<'_>, field: Field, amount: i64) -> Result<(), Errno> {
        let value = self.get(change, field).checked_add_signed(amount).ok_or(Errno::IO)?;
        self.set(change, field, value);
        Ok(())
    }
}

/// Kind and mode in the first word.
pub(super) fn state(kind: FileKind, mode: u16) -> u64 {
    let kind = match kind {
        FileKind::Regular => REGULAR,
        FileKind::Directory => DIRECTORY,
        FileKind::Link => LINK,
    };
    kind | u64::from(mode) << 8
}
