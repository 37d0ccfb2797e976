//! Names: which inode has which name in which directory.
//!
//! Every inode holds its own name. A hash table over all directories finds a
//! name in a few steps however many there are; a list through a directory's
//! inodes, in the order of their *places*, enumerates them. Places only
//! increase along the list, and a new name is put at its end, so the place of
//! the last name listed says where to go on: a name that is there throughout
//! is listed exactly once. A name that `rename` replaces keeps its place.
//!
//! A walk takes at most as many steps as there are inodes: longer ones, and
//! whatever contradicts itself, are spoilt.

use super::FileSystem;
use super::inode::{Field, Inode, NAME};
use crate::shared::cells::View;
use crate::shared::tables::Change;
use kernel::errno::Errno;
use kernel::protocol::files::{Entry, MAX_NAME};
use transport::memory::WORD;

/// Most names in one answer to `List`...
const LIST_NAMES: usize = 512;
/// ...and most bytes of them, with what each costs beyond its name.
const LIST_BYTES: usize = 32 * 1024;
const ENTRY_COST: usize = 12;
/// Bits of a cookie that hold an inode number; the place is above.
const COOKIE_INODE: u32 = 24;

impl FileSystem {
    /// The inode that has this name in this directory.
    pub(super) fn lookup(
        &self,
        view: &impl View,
        directory: Inode,
        name: &[u8],
    ) -> Result<Option<Inode>, Errno> {
        let hash = hash(directory, name);
        let mut next = view.word(self.layout.bucket(hash));
        for _ in 0..=self.layout.inode_count {
            if next == 0 {
                return Ok(None);
            }
            let inode = self.layout.inode(next)?;
            if inode.get(view, Field::Hash) == hash
                && inode.get(view, Field::Parent) == u64::from(directory.number)
                && has_name(view, inode, name)
            {
                return Ok(Some(inode));
            }
            next = inode.get(view, Field::Chain);
        }
        Err(Errno::IO)
    }

    /// Gives a nameless inode a name, at the end of the directory.
    pub(super) fn add_name(
        &self,
        change: &mut Change<'_>,
        directory: Inode,
        inode: Inode,
        name: &[u8],
    ) -> Result<(), Errno> {
        let place = directory.get(change, Field::NextPlace);
        directory.set(change, Field::NextPlace, place.checked_add(1).ok_or(Errno::IO)?);
        inode.set(change, Field::Place, place);
        let last = directory.get(change, Field::Last);
        self.link(change, directory, inode, last, 0)?;
        directory.add(change, Field::Size, 1)?;
        self.write_name(change, directory, inode, name);
        self.count_subdirectory(change, directory, inode, 1)
    }

    /// Gives a nameless inode the name and the place that another loses.
    pub(super) fn replace_name(
        &self,
        change: &mut Change<'_>,
        directory: Inode,
        inode: Inode,
        victim: Inode,
        name: &[u8],
    ) -> Result<(), Errno> {
        let [place, previous, next] =
            [Field::Place, Field::Previous, Field::Next].map(|field| victim.get(change, field));
        self.remove_name(change, directory, victim)?;
        inode.set(change, Field::Place, place);
        self.link(change, directory, inode, previous, next)?;
        directory.add(change, Field::Size, 1)?;
        self.write_name(change, directory, inode, name);
        self.count_subdirectory(change, directory, inode, 1)
    }

    /// Takes an inode's name away.
    pub(super) fn remove_name(
        &self,
        change: &mut Change<'_>,
        directory: Inode,
        inode: Inode,
    ) -> Result<(), Errno> {
        self.unchain(change, inode)?;
        let (previous, next) = (inode.get(change, Field::Previous), inode.get(change, Field::Next));
        self.join(change, directory, previous, next)?;
        directory.add(change, Field::Size, -1)?;
        for field in [Field::Parent, Field::NameLength, Field::Hash, Field::Chain] {
            inode.set(change, field, 0);
        }
        for field in [Field::Previous, Field::Next, Field::Place] {
            inode.set(change, field, 0);
        }
        self.count_subdirectory(change, directory, inode, -1)
    }

    /// A subdirectory's `..` counts as a link of its parent.
    fn count_subdirectory(
        &self,
        change: &mut Change<'_>,
        directory: Inode,
        inode: Inode,
        amount: i64,
    ) -> Result<(), Errno> {
        if inode.is_directory(change)? { directory.add(change, Field::Links, amount) } else { Ok(()) }
    }

    /// Puts an inode between two neighbours (0 for an end) in its directory.
    fn link(
        &self,
        change: &mut Change<'_>,
        directory: Inode,
        inode: Inode,
        previous: u64,
        next: u64,
    ) -> Result<(), Errno> {
        inode.set(change, Field::Previous, previous);
        inode.set(change, Field::Next, next);
        self.join(change, directory, previous, u64::from(inode.number))?;
        self.join(change, directory, u64::from(inode.number), next)
    }

    /// Makes two inodes (0 for an end) neighbours in a directory.
    fn join(&self, change: &mut Change<'_>, directory: Inode, left: u64, right: u64) -> Result<(), Errno> {
        match left {
            0 => directory.set(change, Field::First, right),
            left => self.layout.inode(left)?.set(change, Field::Next, right),
        }
        match right {
            0 => directory.set(change, Field::Last, left),
            right => self.layout.inode(right)?.set(change, Field::Previous, left),
        }
        Ok(())
    }

    /// Writes a name and makes it found.
    fn write_name(&self, change: &mut Change<'_>, directory: Inode, inode: Inode, name: &[u8]) {
        for (index, chunk) in name.chunks(WORD).enumerate() {
            let mut word = [0; WORD];
            word[..chunk.len()].copy_from_slice(chunk);
            change.set(inode.at + (NAME + index) * WORD, u64::from_le_bytes(word));
        }
        let hash = hash(directory, name);
        let bucket = self.layout.bucket(hash);
        let first = change.word(bucket);
        inode.set(change, Field::Parent, u64::from(directory.number));
        inode.set(change, Field::NameLength, name.len() as u64);
        inode.set(change, Field::Hash, hash);
        inode.set(change, Field::Chain, first);
        change.set(bucket, u64::from(inode.number));
    }

    /// Takes an inode out of the chain of its hash.
    fn unchain(&self, change: &mut Change<'_>, inode: Inode) -> Result<(), Errno> {
        let mut link = self.layout.bucket(inode.get(change, Field::Hash));
        for _ in 0..=self.layout.inode_count {
            let found = self.layout.inode(change.word(link))?;
            if found == inode {
                let next = inode.get(change, Field::Chain);
                change.set(link, next);
                return Ok(());
            }
            link = found.at + Field::Chain as usize * WORD;
        }
        Err(Errno::IO)
    }

    /// Some names of a directory from a cookie on, and the cookie for more.
    pub(super) fn list_names(
        &self,
        view: &impl View,
        directory: Inode,
        cookie: u64,
    ) -> Result<(Vec<Entry>, Option<u64>), Errno> {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        let mut next = self.after_cookie(view, directory, cookie)?;
        let (mut last, mut cookie) = (cookie >> COOKIE_INODE, cookie);
        while next != 0 {
            if entries.len() == LIST_NAMES || bytes > LIST_BYTES {
                return Ok((entries, Some(cookie)));
            }
            let inode = self.layout.inode(next)?;
            let place = inode.get(view, Field::Place);
            if inode.get(view, Field::Parent) != u64::from(directory.number) || place <= last {
                return Err(Errno::IO);
            }
            let kind = inode.kind(view)?.ok_or(Errno::IO)?;
            let name = name_of(view, inode)?;
            bytes += name.len() + ENTRY_COST;
            entries.push(Entry { name, inode: inode.number, kind });
            (last, cookie) = (place, place << COOKIE_INODE | u64::from(inode.number));
            next = inode.get(view, Field::Next);
        }
        Ok((entries, None))
    }

    /// The first inode of a directory behind a cookie's place; 0 for none.
    fn after_cookie(&self, view: &impl View, directory: Inode, cookie: u64) -> Result<u64, Errno> {
        let place = cookie >> COOKIE_INODE;
        if let Ok(listed) = self.layout.inode(cookie & ((1 << COOKIE_INODE) - 1))
            && listed.get(view, Field::Parent) == u64::from(directory.number)
            && listed.get(view, Field::Place) == place
            && listed != directory
        {
            return Ok(listed.get(view, Field::Next));
        }
        let mut next = directory.get(view, Field::First);
        for _ in 0..=self.layout.inode_count {
            if next == 0 {
                return Ok(0);
            }
            let inode = self.layout.inode(next)?;
            if inode.get(view, Field::Place) > place {
                return Ok(next);
            }
            next = inode.get(view, Field::Next);
        }
        Err(Errno::IO)
    }
}

/// An inode's name, out of the region.
pub(super) fn name_of(view: &impl View, inode: Inode) -> Result<Vec<u8>, Errno> {
    let length = inode.get(view, Field::NameLength);
    if !(1..=MAX_NAME as u64).contains(&length) {
        return Err(Errno::IO);
    }
    let length = length as usize;
    let mut name = Vec::with_capacity(length.next_multiple_of(WORD));
    for index in 0..length.div_ceil(WORD) {
        name.extend_from_slice(&view.word(inode.at + (NAME + index) * WORD).to_le_bytes());
    }
    name.truncate(length);
    Ok(name)
}

/// Whether an inode has this name.
fn has_name(view: &impl View, inode: Inode, name: &[u8]) -> bool {
    inode.get(view, Field::NameLength) == name.len() as u64
        && name.chunks(WORD).enumerate().all(|(index, chunk)| {
            view.word(inode.at + (NAME + index) * WORD).to_le_bytes()[..chunk.len()] == *chunk
        })
}

/// A name's hash: multiply and rotate over its words, then mixed so that the
/// low bits depend on all (the finalizer of MurmurHash3).
pub(super) fn hash(directory: Inode, name: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = u64::from(directory.number) ^ (name.len() as u64) << 32;
    for chunk in name.chunks(WORD) {
        let mut word = [0; WORD];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = (hash.rotate_left(23) ^ u64::from_le_bytes(word)).wrapping_mul(FACTOR);
    }
    hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}
