//! What changes names: open, close, make, remove, rename.
//!
//! Each puts one transaction together; nothing is changed until it is
//! committed, so an error on the way needs no undoing.

use super::FileSystem;
use super::inode::{Field, Inode};
use super::path::{Last, Links, Place, check_name};
use crate::shared::tables::Change;
use kernel::errno::Errno;
use kernel::protocol::Incarnation;
use kernel::protocol::files::{FileKind, Handle, MAX_PATH, OpenFlags, Reply};

type Outcome = Result<Reply<'static>, Errno>;

impl FileSystem {
    /// Opens a file, making it if that is asked for.
    pub(super) fn open(
        &self,
        change: &mut Change<'_>,
        client: Incarnation,
        path: &[u8],
        (flags, mode): (OpenFlags, u16),
        now_ns: u64,
    ) -> Outcome {
        if flags.contains(OpenFlags::CREATE | OpenFlags::DIRECTORY) {
            return Err(Errno::INVAL);
        }
        // A link is not what is to be made anew.
        let anew = flags.contains(OpenFlags::CREATE | OpenFlags::EXCLUSIVE);
        let place = self.resolve(change, path, if anew { Links::Keep } else { Links::Follow })?;
        let inode = match (place.found, &place.last) {
            (None, Last::Name(name)) if flags.contains(OpenFlags::CREATE) => {
                if place.slash {
                    return Err(Errno::ISDIR);
                }
                self.make(change, place.directory, name, (FileKind::Regular, mode), now_ns)?
            }
            _ => self.open_existing(change, &place, flags, now_ns)?,
        };
        self.add_opening(change, inode, client)?;
        Ok(Reply::Opened { handle: inode.handle(change), status: inode.status(change)? })
    }

    /// Checks that what is there may be opened so, and empties it if asked to.
    fn open_existing(
        &self,
        change: &mut Change<'_>,
        place: &Place<'_>,
        flags: OpenFlags,
        now_ns: u64,
    ) -> Result<Inode, Errno> {
        if flags.contains(OpenFlags::CREATE | OpenFlags::EXCLUSIVE) {
            return Err(Errno::EXIST);
        }
        let inode = place.existing(change)?;
        if inode.is_directory(change)? {
            let changing = OpenFlags::WRITE | OpenFlags::TRUNCATE | OpenFlags::CREATE;
            return if flags.intersects(changing) { Err(Errno::ISDIR) } else { Ok(inode) };
        }
        if flags.contains(OpenFlags::DIRECTORY) {
            return Err(Errno::NOTDIR);
        }
        if flags.contains(OpenFlags::TRUNCATE) {
            self.set_size(change, inode, 0);
            inode.set(change, Field::Modified, now_ns);
        }
        Ok(inode)
    }

    /// Makes a file or directory.
    fn make(
        &self,
        change: &mut Change<'_>,
        directory: Inode,
        name: &[u8],
        (kind, mode): (FileKind, u16),
        now_ns: u64,
    ) -> Result<Inode, Errno> {
        let inode = self.take_inode(change, kind, mode, now_ns)?;
        self.add_name(change, directory, inode, name)?;
        directory.set(change, Field::Modified, now_ns);
        Ok(inode)
    }

    /// Gives a handle back.
    pub(super) fn close(&self, change: &mut Change<'_>, client: Incarnation, handle: Handle) -> Outcome {
        let (inode, _) = self.of_handle(change, handle)?;
        self.remove_opening(change, inode, client)?;
        Ok(Reply::Done)
    }

    /// Makes a directory.
    pub(super) fn make_directory(
        &self,
        change: &mut Change<'_>,
        path: &[u8],
        mode: u16,
        now_ns: u64,
    ) -> Outcome {
        let place = self.resolve(change, path, Links::Keep)?;
        match (place.found, &place.last) {
            (None, Last::Name(name)) => {
                self.make(change, place.directory, name, (FileKind::Directory, mode), now_ns)?;
                Ok(Reply::Done)
            }
            _ => Err(Errno::EXIST),
        }
    }

    /// Makes a symbolic link.
    pub(super) fn make_link(
        &self,
        change: &mut Change<'_>,
        target: &[u8],
        path: &[u8],
        now_ns: u64,
    ) -> Outcome {
        if target.is_empty() {
            return Err(Errno::NOENT);
        }
        if target.len() > MAX_PATH {
            return Err(Errno::NAMETOOLONG);
        }
        if target.contains(&0) {
            return Err(Errno::INVAL);
        }
        let place = self.resolve(change, path, Links::Keep)?;
        match (place.found, &place.last) {
            (None, Last::Name(_)) if place.slash => Err(Errno::NOENT),
            (None, Last::Name(name)) => {
                let link = self.make(change, place.directory, name, (FileKind::Link, 0o777), now_ns)?;
                // The block is nobody's until the transaction is committed.
                let (block, _) = self.need_block(change, link, 0)?;
                change.cells().write_bytes(self.layout.block(block)?, target);
                link.set(change, Field::Size, target.len() as u64);
                Ok(Reply::Done)
            }
            _ => Err(Errno::EXIST),
        }
    }

    /// Changes what is recorded of a file, beside its contents.
    pub(super) fn set_status(
        &self,
        change: &mut Change<'_>,
        path: &[u8],
        mode: Option<u16>,
        modified_ns: Option<u64>,
    ) -> Outcome {
        let inode = self.resolve(change, path, Links::Follow)?.existing(change)?;
        if let Some(mode) = mode {
            inode.set_mode(change, mode);
        }
        if let Some(modified_ns) = modified_ns {
            inode.set(change, Field::Modified, modified_ns);
        }
        Ok(Reply::Done)
    }

    /// Removes an empty directory.
    pub(super) fn remove_directory(&self, change: &mut Change<'_>, path: &[u8], now_ns: u64) -> Outcome {
        let place = self.resolve(change, path, Links::Keep)?;
        match place.last {
            Last::Name(_) => {}
            Last::Root => return Err(Errno::BUSY),
            Last::Dot => return Err(Errno::INVAL),
            Last::DotDot => return Err(Errno::NOTEMPTY),
        }
        let inode = place.found.ok_or(Errno::NOENT)?;
        if !inode.is_directory(change)? {
            return Err(Errno::NOTDIR);
        }
        self.remove(change, place.directory, inode, now_ns)
    }

    /// Removes the name of a file or of a link.
    pub(super) fn unlink(&self, change: &mut Change<'_>, path: &[u8], now_ns: u64) -> Outcome {
        let place = self.resolve(change, path, Links::Keep)?;
        let inode = place.existing(change)?;
        if inode.is_directory(change)? {
            return Err(Errno::ISDIR);
        }
        self.remove(change, place.directory, inode, now_ns)
    }

    /// Removes the name of a file or link, or of an empty directory.
    fn remove(&self, change: &mut Change<'_>, directory: Inode, inode: Inode, now_ns: u64) -> Outcome {
        if inode.is_directory(change)? && inode.get(change, Field::Size) != 0 {
            return Err(Errno::NOTEMPTY);
        }
        self.remove_name(change, directory, inode)?;
        self.lost_its_name(change, inode);
        directory.set(change, Field::Modified, now_ns);
        Ok(Reply::Done)
    }

    /// An open directory, and what it has under a name.
    fn named_in(&self, change: &Change<'_>, directory: Handle, name: &[u8]) -> Result<(Inode, Inode), Errno> {
        let (directory, FileKind::Directory) = self.of_handle(change, directory)? else {
            return Err(Errno::NOTDIR);
        };
        check_name(name)?;
        let named = self.lookup(change, directory, name)?;
        Ok((directory, named.ok_or(Errno::NOENT)?))
    }

    /// Opens a directory by its name in an open one.
    pub(super) fn open_in(
        &self,
        change: &mut Change<'_>,
        client: Incarnation,
        directory: Handle,
        name: &[u8],
    ) -> Outcome {
        let (_, inode) = self.named_in(change, directory, name)?;
        if !inode.is_directory(change)? {
            return Err(Errno::NOTDIR);
        }
        self.add_opening(change, inode, client)?;
        Ok(Reply::Opened { handle: inode.handle(change), status: inode.status(change)? })
    }

    /// Removes a name in an open directory.
    pub(super) fn remove_in(
        &self,
        change: &mut Change<'_>,
        directory: Handle,
        name: &[u8],
        now_ns: u64,
    ) -> Outcome {
        let (directory, inode) = self.named_in(change, directory, name)?;
        self.remove(change, directory, inode, now_ns)
    }

    /// Nothing names this inode any more; it goes unless it is open.
    fn lost_its_name(&self, change: &mut Change<'_>, inode: Inode) {
        inode.set(change, Field::Links, 0);
        self.drain_if_unused(change, inode);
    }

    /// Moves a file or directory, over what is there if that may be replaced.
    pub(super) fn rename(&self, change: &mut Change<'_>, from: &[u8], to: &[u8], now_ns: u64) -> Outcome {
        let [from, to] = [from, to].map(|path| self.resolve(change, path, Links::Keep));
        let (from, to) = (from?, to?);
        let (Last::Name(_), Last::Name(name)) = (&from.last, &to.last) else {
            return Err(Errno::BUSY);
        };
        let inode = from.existing(change)?;
        let is_directory = inode.is_directory(change)?;
        if to.slash && !is_directory {
            return Err(Errno::NOTDIR);
        }
        if to.found == Some(inode) {
            return Ok(Reply::Done);
        }
        if is_directory && self.is_within(change, to.directory, inode)? {
            return Err(Errno::INVAL);
        }
        if let Some(victim) = to.found {
            self.may_replace(change, is_directory, victim)?;
        }
        self.remove_name(change, from.directory, inode)?;
        match to.found {
            Some(victim) => {
                self.replace_name(change, to.directory, inode, victim, name)?;
                self.lost_its_name(change, victim);
            }
            None => self.add_name(change, to.directory, inode, name)?,
        }
        from.directory.set(change, Field::Modified, now_ns);
        to.directory.set(change, Field::Modified, now_ns);
        Ok(Reply::Done)
    }

    /// Files replace files, directories replace empty directories.
    fn may_replace(&self, change: &Change<'_>, by_directory: bool, victim: Inode) -> Result<(), Errno> {
        match (by_directory, victim.is_directory(change)?) {
            (true, false) => Err(Errno::NOTDIR),
            (false, true) => Err(Errno::ISDIR),
            (true, true) if victim.get(change, Field::Size) != 0 => Err(Errno::NOTEMPTY),
            _ => Ok(()),
        }
    }
}
