//! The pipe of `files`: a hierarchical, Unix-like file system.
//!
//! Paths are absolute byte strings, `/`-separated; `.` and `..` are resolved by
//! the utility, repeated slashes count as one. Symbolic links on the way are
//! followed, at most [`MAX_LINKS`] of them. Any activity of `files` answers
//! any request. Every request may be sent again with the same request id (after
//! the activity that had it died): it is then carried out at most once.

use super::encode;
use crate::errno::Errno;
use alloc::vec::Vec;
use bitflags::bitflags;
use serde::{Deserialize, Serialize};
extern crate alloc;

/// Most bytes of data in one read, write or append.
pub const MAX_DATA: usize = 56 * 1024;
/// Most bytes in a path.
pub const MAX_PATH: usize = 4096;
/// Most symbolic links on the way of one path.
pub const MAX_LINKS: usize = 40;
/// Most bytes in one name of a path.
pub const MAX_NAME: usize = 255;
/// Clients of a small region: those whose peer id is below this.
pub const SMALL_PEERS: u16 = 16;
/// Regions below this size are small.
pub const SMALL_REGION: usize = 16 << 20;

/// Least bytes of the utility's region in a machine of so many peers: its tables
/// of what it did for whom have to fit, and something beside them.
pub const fn least_region(peers: usize) -> usize {
    if peers <= SMALL_PEERS as usize { 1 << 20 } else { SMALL_REGION }
}

bitflags! {
    /// How a file is opened.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct OpenFlags: u8 {
        /// For reading.
        const READ = 1;
        /// For writing.
        const WRITE = 2;
        /// Made if it is not there.
        const CREATE = 4;
        /// With `CREATE`: refused with EXIST if it is there.
        const EXCLUSIVE = 8;
        /// Cut to length 0.
        const TRUNCATE = 16;
        /// Must be a directory (to list it).
        const DIRECTORY = 32;
    }
}

/// An open file: names the inode even when its name is gone. An unlinked file
/// lives until the last handle on it is closed or its holders are dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Handle {
    /// Number of the inode.
    pub inode: u32,
    /// Generation of the inode: a reused number is a STALE handle.
    pub generation: u32,
}

/// What kind of thing an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileKind {
    /// Bytes.
    Regular,
    /// Names.
    Directory,
    /// A path that stands for it: a symbolic link.
    Link,
}

/// What `stat` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Number of the inode.
    pub inode: u32,
    /// What it is.
    pub kind: FileKind,
    /// Permission bits (recorded, not enforced).
    pub mode: u16,
    /// Names that it has.
    pub links: u32,
    /// Bytes (of a directory: of its table).
    pub size: u64,
    /// Blocks of 512 bytes that it occupies.
    pub blocks: u64,
    /// When its contents changed, nanoseconds since 1970 by the machine's clock.
    pub modified_ns: u64,
    /// When it was made, likewise.
    pub created_ns: u64,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The name, without its directory.
    #[serde(with = "serde_bytes")]
    pub name: Vec<u8>,
    /// The inode it names.
    pub inode: u32,
    /// What that is.
    pub kind: FileKind,
}

/// What can be asked of `files`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request<'a> {
    /// Opens a file; answered by `Opened`.
    Open {
        /// Where.
        #[serde(borrow, with = "serde_bytes")]
        path: &'a [u8],
        /// How.
        flags: OpenFlags,
        /// Permission bits if it is made.
        mode: u16,
    },
    /// Gives a handle back; answered by `Done`.
    Close {
        /// Which.
        handle: Handle,
    },
    /// Reads at most `length` (and at most [`MAX_DATA`]) bytes; answered by
    /// `Data`, short at the end of the file.
    Read {
        /// Which file.
        handle: Handle,
        /// From which byte on.
        offset: u64,
        /// How many bytes.
        length: u32,
    },
    /// Writes all of `data` (at most [`MAX_DATA`]) at `offset` (`None`: at the
    /// end); answered by `Written`. Either all is written or nothing.
    Write {
        /// Which file.
        handle: Handle,
        /// From which byte on, or the end of the file as it then is.
        offset: Option<u64>,
        /// What.
        #[serde(borrow, with = "serde_bytes")]
        data: &'a [u8],
    },
    /// Cuts or extends (with zeros) a file; answered by `Done`.
    Truncate {
        /// Which file.
        handle: Handle,
        /// Its new size.
        size: u64,
    },
    /// Answered by `Status`.
    Stat {
        /// Where.
        #[serde(borrow, with = "serde_bytes")]
        path: &'a [u8],
    },
    /// Answered by `Status`.
    StatHandle {
        /// Which file.
        handle: Handle,
    },
    /// Lists some names of an open directory (never `.` and `..`); answered by
    /// `Entries`. A name that is there throughout is listed exactly once.
    List {
        /// Which directory.
        handle: Handle,
        /// 0 at first, then what the last answer said.
        cookie: u64,
    },
    /// Makes a directory; answered by `Done`.
    MakeDirectory {
        /// Where.
        #[serde(borrow, with = "serde_bytes")]
        path: &'a [u8],
        /// Permission bits.
        mode: u16,
    },
    /// Removes an empty directory; answered by `Done`.
    RemoveDirectory {
        /// Where.
        #[serde(borrow, with = "serde_bytes")]
        path: &'a [u8],
    },
    /// Removes a name of a file; answered by `Done`.
    Unlink {
        /// Where.
        #[serde(borrow, with = "serde_bytes")]
        path: &'a [u8],
    },
    /// Moves `from` to `to`, which is replaced if it is there (POSIX
    /// `rename`); answered by `Done`.
    Rename {
        /// Where it is.
        #[serde(borrow, with = "serde_bytes")]
        from: &'a [u8],
        /// Where it shall be.
        #[serde(borrow, with = "serde_bytes")]
        to: &'a [u8],
    },
    /// Answered by `Space`.
    Space,
    /// The status of what a path names, be it a link; answered by `Status`.
    StatLink {
        /// Where.
        #[serde(borrow, with = "serde_bytes")]
        path: &'a [u8],
    },
    /// Makes a symbolic link; answered by `Done`.
    MakeLink {
        /// What it stands for; from the link's directory on, if it does not begin with `/`.
        #[serde(borrow, with = "serde_bytes")]
        target: &'a [u8],
        /// Where.
        #[serde(borrow, with = "serde_bytes")]
        path: &'a [u8],
    },
    /// What a link stands for, as it was made; answered by `Data`.
    ReadLink {
        /// Where.
        #[serde(borrow, with = "serde_bytes")]
        path: &'a [u8],
    },
    /// The path of what a path leads to, without links, `.` and `..`; answered by `Data`.
    Canonical {
        /// Where.
        #[serde(borrow, with = "serde_bytes")]
        path: &'a [u8],
    },
    /// Changes what is recorded of a file; answered by `Done`.
    SetStatus {
        /// Where.
        #[serde(borrow, with = "serde_bytes")]
        path: &'a [u8],
        /// New permission bits.
        mode: Option<u16>,
        /// When its contents changed.
        modified_ns: Option<u64>,
    },
    /// Locks an open file, for whoever cares: nothing else is refused to others.
    /// `AGAIN` while others' locks forbid it; answered by `Done`. A lock that this
    /// holder has already becomes this one. It ends by `Unlock`, with the client's
    /// last handle on the file, or with the client.
    Lock {
        /// Which file.
        handle: Handle,
        /// Who holds it, among the client's own; not 0.
        holder: u64,
        /// Whether nobody else may hold one, shared or not.
        exclusive: bool,
    },
    /// Ends a lock, if there is one; answered by `Done`.
    Unlock {
        /// Which file.
        handle: Handle,
        /// Who held it.
        holder: u64,
    },
    /// Opens a directory by its name in an open one, to list it: no path is
    /// walked and no link followed (NOTDIR). Answered by `Opened`.
    OpenIn {
        /// In which directory.
        directory: Handle,
        /// Under which name.
        #[serde(borrow, with = "serde_bytes")]
        name: &'a [u8],
    },
    /// Removes a name in an open directory, be it a file's, a link's or an empty
    /// directory's; answered by `Done`.
    RemoveIn {
        /// In which directory.
        directory: Handle,
        /// Which name.
        #[serde(borrow, with = "serde_bytes")]
        name: &'a [u8],
    },
}

/// What `files` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply<'a> {
    /// It is done.
    Done,
    /// To `Open` and `OpenIn`.
    Opened {
        /// The file, open.
        handle: Handle,
        /// Its status.
        status: Status,
    },
    /// To `Read`, `ReadLink` and `Canonical`.
    Data(#[serde(borrow, with = "serde_bytes")] &'a [u8]),
    /// To `Write`.
    Written {
        /// The byte after the last one written.
        end: u64,
    },
    /// To `Stat`, `StatLink` and `StatHandle`.
    Status(Status),
    /// To `List`.
    Entries {
        /// Some of the names.
        entries: Vec<Entry>,
        /// What to ask with for more; `None` at the end.
        next: Option<u64>,
    },
    /// To `Space`.
    Space {
        /// Bytes in all.
        total: u64,
        /// Bytes free.
        free: u64,
        /// Inodes in all.
        inodes: u64,
        /// Inodes free.
        inodes_free: u64,
    },
}

/// The answer to a request.
pub type Response<'a> = Result<Reply<'a>, Errno>;

/// Where in a response's body the bytes of [`Reply::Data`] are, by the first
/// [`DATA_HEAD`] bytes of the body, so that the others are copied only to where
/// they are wanted. `None`: it is another response.
pub fn data_in(head: &[u8], body_len: usize) -> Option<core::ops::Range<usize>> {
    // Its encoding begins as that of no data does, but for their number.
    let empty = encode(&Response::Ok(Reply::Data(&[])));
    let number = head.strip_prefix(empty.split_last()?.1)?;
    let (length, behind) = postcard::take_from_bytes::<u32>(number).ok()?;
    let start = head.len() - behind.len();
    (start + length as usize == body_len).then_some(start..body_len)
}

/// So many bytes say where the data are.
pub const DATA_HEAD: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_are_found_in_their_response_and_in_no_other() {
        for length in [0, 1, 100, 127, 128, 5000, MAX_DATA] {
            let data = alloc::vec![7; length];
            let body = encode(&Response::Ok(Reply::Data(&data)));
            let head = &body[..body.len().min(DATA_HEAD)];
            let found = data_in(head, body.len()).expect("they are there");
            assert!(found.len() == length && body[found].iter().all(|&byte| byte == 7));
            assert_eq!(data_in(head, body.len() + 1), None, "one that was cut off or goes on");
        }
        for other in [Ok(Reply::Done), Ok(Reply::Written { end: 2 }), Err(Errno::IO)] {
            let body = encode::<Response>(&other);
            assert_eq!(data_in(&body, body.len()), None);
        }
        assert_eq!(data_in(&[], 0), None);
    }
}
