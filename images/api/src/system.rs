//! The seam between programs and the operating system under them.

use crate::pipe::{self, Access, NAME_BYTES, OpenError, Origin, ReceiveError, SendError};
use crate::place::Place;
use std::ffi::OsString;
use std::fmt;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

/// Which activity of its task force somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activity {
    /// 0 to `count - 1`.
    pub index: usize,
    /// How many activities the task force has.
    pub count: usize,
}

/// A message from one activity to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Index of the activity that sent it; the system vouches for it.
    pub from: usize,
    /// What it sent.
    pub body: Vec<u8>,
}

/// Why a message was not sent or received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The task force has no activity of this index.
    NoSuchActivity,
    /// The message has more than [`crate::MAX_MESSAGE`] bytes.
    TooLong,
    /// The other activity, or every other activity, has ended.
    Ended,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchActivity => "the task force has no such activity",
            Self::TooLong => "the message is longer than a message may be",
            Self::Ended => "the other activity has ended",
        })
    }
}

impl std::error::Error for Error {}

/// The words of a cluster's pool.
pub type PoolMemory = &'static [AtomicU64];

/// The number of the calling activity's mailbox among its receivers.
pub const MAILBOX: u64 = 0;

/// What stands under a program. The methods are the calls of this crate.
#[allow(missing_docs, reason = "documented where users call them")]
pub trait System: Pipes + FileCalls {
    fn activity(&self) -> Activity;
    fn place(&self, of: usize) -> Result<Place, Error>;
    fn args(&self) -> Vec<String>;
    fn send(&self, to: usize, body: &[u8]) -> Result<(), Error>;
    fn pool(&self) -> Option<PoolMemory>;
}

/// The files under a program, as far as `std::fs` does not reach them on a node.
#[allow(missing_docs, reason = "documented where users call them")]
pub trait FileCalls: Sync {
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn copy(&self, from: &Path, to: &Path) -> io::Result<u64>;
    fn set_len(&self, path: &Path, size: u64) -> io::Result<()>;
    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()>;
    fn set_modified(&self, path: &Path, time: SystemTime) -> io::Result<()>;
    fn names(&self, path: &Path) -> io::Result<Vec<OsString>>;
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf>;
    fn symlink(&self, original: &Path, link: &Path) -> io::Result<()>;
    fn read_link(&self, link: &Path) -> io::Result<PathBuf>;
    fn lock(&self, file: &File, exclusive: bool) -> io::Result<()>;
    fn try_lock(&self, file: &File, exclusive: bool) -> Result<(), TryLockError>;
    fn unlock(&self, file: &File) -> io::Result<()>;
}

/// The pipes under a program. An activity's ends have numbers, given when they
/// are made; a number that is none is that of a closed end. A timeout of `None`
/// never comes.
#[allow(missing_docs, reason = "documented where users call them")]
pub trait Pipes: Sync {
    fn create(&self, access: Access) -> u64;
    fn name(&self, receiver: u64) -> [u8; NAME_BYTES];
    fn receive(&self, receiver: u64, timeout: Option<Duration>) -> Result<pipe::Message, ReceiveError>;
    fn receive_into(
        &self,
        receiver: u64,
        buffer: &mut [u8],
        timeout: Option<Duration>,
    ) -> Result<(Origin, usize), ReceiveError>;
    fn close_receiver(&self, receiver: u64);
    fn wait(&self, receivers: &[u64], timeout: Option<Duration>) -> Vec<usize>;
    fn open(&self, name: [u8; NAME_BYTES]) -> Result<u64, OpenError>;
    fn send_through(&self, sender: u64, body: &[u8], wait: bool) -> Result<(), SendError>;
    fn close_sender(&self, sender: u64);
}

static SYSTEM: OnceLock<&'static dyn System> = OnceLock::new();

/// Puts `system` under the programs of this VM; the first call counts. For the node.
pub fn install(system: &'static dyn System) {
    let _ = SYSTEM.set(system);
}

pub(crate) fn get() -> &'static dyn System {
    *SYSTEM.get_or_init(|| &crate::host::Host)
}
