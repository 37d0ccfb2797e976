//! From a path to what it names.

use super::FileSystem;
use super::inode::{Field, Inode};
use super::names::name_of;
use crate::shared::cells::View;
use kernel::errno::Errno;
use kernel::protocol::files::{FileKind, MAX_LINKS, MAX_NAME, MAX_PATH};
use std::borrow::Cow;
use std::ops::Range;
use transport::memory::WORD;

/// Number of the root directory's inode.
pub(super) const ROOT: u64 = 1;

/// What becomes of a symbolic link that a path's last part names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Links {
    /// It is followed.
    Follow,
    /// It is meant itself, unless a slash follows.
    FollowBeforeSlash,
    /// It is meant itself.
    Keep,
}

/// The last part of a path, the links on the way followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Last<'p> {
    /// A name.
    Name(Cow<'p, [u8]>),
    /// The root itself.
    Root,
    /// `.`
    Dot,
    /// `..`
    DotDot,
}

/// Where a path leads.
#[derive(Clone, Debug)]
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

/// How far a walk along a path came.
enum Walk {
    /// To its last part, which stands there in the path.
    Arrived { directory: Inode, last: Range<usize>, found: Option<Inode> },
    /// To a link that is to be followed; the path goes on from there.
    Link { directory: Inode, link: Inode, rest: usize },
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
    pub(super) fn resolve<'p>(
        &self,
        view: &impl View,
        path: &'p [u8],
        links: Links,
    ) -> Result<Place<'p>, Errno> {
        check_path(path)?;
        let (mut start, mut path) = (self.layout.inode(ROOT)?, Cow::Borrowed(path));
        for _ in 0..=MAX_LINKS {
            match self.walk(view, start, &path, links)? {
                Walk::Arrived { directory, last, found } => {
                    let slash = path.ends_with(b"/");
                    return Ok(Place { directory, last: last_part(path, last), slash, found });
                }
                Walk::Link { directory, link, rest } => {
                    let mut further = self.link_target(view, link)?;
                    start = if further.starts_with(b"/") { self.layout.inode(ROOT)? } else { directory };
                    further.extend_from_slice(&path[rest..]);
                    if further.len() > MAX_PATH {
                        return Err(Errno::NAMETOOLONG);
                    }
                    path = Cow::Owned(further);
                }
            }
        }
        Err(Errno::LOOP)
    }

    /// Follows a path from a directory on, up to its last part or to a link.
    fn walk(&self, view: &impl View, mut directory: Inode, path: &[u8], links: Links) -> Result<Walk, Errno> {
        let mut parts = parts(path).peekable();
        while let Some(part) = parts.next() {
            let found = match &path[part.clone()] {
                b"." => Some(directory),
                b".." => Some(self.parent(view, directory)?),
                name if name.len() > MAX_NAME => return Err(Errno::NAMETOOLONG),
                name => self.lookup(view, directory, name)?,
            };
            let last = parts.peek().is_none();
            let follows = match links {
                Links::Follow => true,
                Links::FollowBeforeSlash => !last || path.ends_with(b"/"),
                Links::Keep => !last,
            };
            if let Some(link) = found.filter(|_| follows)
                && link.kind(view)? == Some(FileKind::Link)
            {
                return Ok(Walk::Link { directory, link, rest: part.end });
            }
            if last {
                return Ok(Walk::Arrived { directory, last: part, found });
            }
            directory = found.ok_or(Errno::NOENT)?;
            if !directory.is_directory(view)? {
                return Err(Errno::NOTDIR);
            }
        }
        Ok(Walk::Arrived { directory, last: 0..0, found: Some(directory) })
    }

    /// What a link stands for.
    pub(super) fn link_target(&self, view: &impl View, link: Inode) -> Result<Vec<u8>, Errno> {
        let length = link.get(view, Field::Size);
        if !(1..=MAX_PATH as u64).contains(&length) {
            return Err(Errno::IO);
        }
        let length = length as usize;
        let at = self.layout.block(self.find_block(view, link, 0)?)?;
        let words = (0..length.div_ceil(WORD)).map(|word| view.word(at + word * WORD).to_le_bytes());
        let mut target: Vec<u8> = words.flatten().collect();
        target.truncate(length);
        if target.contains(&0) { Err(Errno::IO) } else { Ok(target) }
    }

    /// The path of what is at `path`, without links, `.` and `..`.
    pub(super) fn canonical(&self, view: &impl View, path: &[u8]) -> Result<Vec<u8>, Errno> {
        let mut inode = self.resolve(view, path, Links::Follow)?.existing(view)?;
        let mut names = Vec::new();
        while u64::from(inode.number) != ROOT {
            names.push(name_of(view, inode)?);
            if names.iter().map(|name| name.len() + 1).sum::<usize>() > MAX_PATH {
                return Err(Errno::NAMETOOLONG);
            }
            inode = self.parent(view, inode)?;
        }
        if names.is_empty() {
            return Ok(b"/".to_vec());
        }
        Ok(names.iter().rev().flat_map(|name| [b"/", &name[..]].concat()).collect())
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

/// Where the parts of a path are, between its slashes.
fn parts(path: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut next = 0;
    let all = path.split(|&byte| byte == b'/').map(move |part| {
        let start = next;
        next += part.len() + 1;
        start..start + part.len()
    });
    all.filter(|part| !part.is_empty())
}

/// The last part, out of the path.
fn last_part(path: Cow<'_, [u8]>, last: Range<usize>) -> Last<'_> {
    match &path[last.clone()] {
        b"" => Last::Root,
        b"." => Last::Dot,
        b".." => Last::DotDot,
        name => match path {
            Cow::Borrowed(path) => Last::Name(Cow::Borrowed(&path[last])),
            Cow::Owned(_) => Last::Name(Cow::Owned(name.to_vec())),
        },
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

/// Whether this is one name, and no path.
pub(super) fn check_name(name: &[u8]) -> Result<(), Errno> {
    match name {
        b"" | b"." | b".." => Err(Errno::INVAL),
        name if name.len() > MAX_NAME => Err(Errno::NAMETOOLONG),
        name if name.contains(&b'/') || name.contains(&0) => Err(Errno::INVAL),
        _ => Ok(()),
    }
}
