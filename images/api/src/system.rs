//! The seam between programs and the operating system under them.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;

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

/// What stands under a program. The methods are the calls of this crate.
#[allow(missing_docs, reason = "documented where users call them")]
pub trait System: Sync {
    fn activity(&self) -> Activity;
    fn args(&self) -> Vec<String>;
    fn send(&self, to: usize, body: &[u8]) -> Result<(), Error>;
    fn receive(&self) -> Result<Message, Error>;
    fn pool(&self) -> Option<PoolMemory>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn set_len(&self, path: &Path, size: u64) -> io::Result<()>;
    fn names(&self, path: &Path) -> io::Result<Vec<std::ffi::OsString>>;
}

static SYSTEM: OnceLock<&'static dyn System> = OnceLock::new();

/// Puts `system` under the programs of this VM; the first call counts. For the node.
pub fn install(system: &'static dyn System) {
    let _ = SYSTEM.set(system);
}

pub(crate) fn get() -> &'static dyn System {
    *SYSTEM.get_or_init(|| &crate::host::Host)
}
