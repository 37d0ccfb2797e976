//! From a path to what it names.

use super::FileSystem;
use super::inode::{Field, Inode};
use crate::shared::cells::View;
use kernel::errno::Errno;
use kernel::protocol::files::{MAX_NAME, MAX_PATH};

/// Number of the root directory's inode.
pub(super) const ROOT: u64 = 1;

/// The last part of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last<'p> {
    /// A name.
    Name(&'p [u8]),
    /// The root itself.
    Root,
    /// `.`
    Dot,
    /// `..`
    DotDot,
}

/// Where a path leads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'p> {
    /// The directory that the last part is in.
    pub directory: Inode,
    /// The last part.
    pub last: Last<'p>,
    /// Whether the path ends in a slash: it means a directory.
    pub slash: bool,
    /// What is there.
    pub found: Option<Inode>,
}

impl Place<'_> {
    /// What is there; a trailing slash insists on a directory.
    pub fn existing(&self, view: &impl View) -> Result<Inode, Errno> {
        let inode = self.found.ok_or(Errno::NOENT)?;
        if self.slash && !inode.is_directory(view)? {
            return Err(Errno::NOTDIR);
        }
        Ok(inode)
    }
}

impl FileSystem {
    /// Follows an absolute path; all but its last part must be there.
    pub(super) fn resolve<'p>(&self, view: &impl View, path: &'p [u8]) -> Result<Place<'p>, Errno> {
        check_path(path)?;
        let slash = path.ends_with(b"/");
        let mut directory = self.layout.inode(ROOT)?;
        let mut parts = path.split(|&byte| byte == b'/').filter(|part| !part.is_empty()).peekable();
        while let Some(part) = parts.next() {
            let (last, found) = match part {
                b"." => (Last::Dot, Some(directory)),
                b".." => (Last::DotDot, Some(self.parent(view, directory)?)),
                name if name.len() > MAX_NAME => return Err(Errno::NAMETOOLONG),
                name => (Last::Name(name), self.lookup(view, directory, name)?),
            };
            if parts.peek().is_none() {
                return Ok(Place { directory, last, slash, found });
            }
            directory = found.ok_or(Errno::NOENT)?;
            if !directory.is_directory(view)? {
                return Err(Errno::NOTDIR);
            }
        }
        Ok(Place { directory, last: Last::Root, slash, found: Some(directory) })
    }

    /// The directory that a directory is in; the root is in itself.
    pub(super) fn parent(&self, view: &impl View, directory: Inode) -> Result<Inode, Errno> {
        let parent = self.layout.inode(directory.get(view, Field::Parent))?;
        if parent.is_directory(view)? { Ok(parent) } else { Err(Errno::IO) }
    }

    /// Whether `directory` is `ancestor` or somewhere below it.
    pub(super) fn is_within(
        &self,
        view: &impl View,
        mut directory: Inode,
        ancestor: Inode,
    ) -> Result<bool, Errno> {
        for _ in 0..=self.layout.inode_count {
            if directory == ancestor {
                return Ok(true);
            }
            if u64::from(directory.number) == ROOT {
                return Ok(false);
            }
            directory = self.parent(view, directory)?;
        }
        Err(Errno::IO)
    }
}

fn check_path(path: &[u8]) -> Result<(), Errno> {
    match path {
        [] => Err(Errno::NOENT),
        path if path.len() > MAX_PATH => Err(Errno::NAMETOOLONG),
        [b'/', rest @ ..] if !rest.contains(&0) => Ok(()),
        _ => Err(Errno::INVAL),
    }
}
