//! What the OS above supplies: files, sockets, and what becomes of activities.
//!
//! The node installs one [`System`] at boot. Until then, and for what the OS
//! itself does, standard output and error are the console, and there are no
//! files. Calls come on the calling program's own thread, with its activity as
//! `tag` (0: the OS itself).

mod sockets;

pub use sockets::{Carries, Family, NoSockets, OptionValue, SocketOption, Sockets};

use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU8, Ordering};
use hermit_abi::errno;

/// An error number, as the Hermit ABI (and Linux) counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

#[allow(missing_docs, reason = "POSIX says what they mean")]
impl Errno {
    pub const PERMISSION: Self = Self(errno::EPERM);
    pub const NOT_FOUND: Self = Self(errno::ENOENT);
    pub const INPUT_OUTPUT: Self = Self(errno::EIO);
    pub const BAD_DESCRIPTOR: Self = Self(errno::EBADF);
    pub const AGAIN: Self = Self(errno::EAGAIN);
    pub const OUT_OF_MEMORY: Self = Self(errno::ENOMEM);
    pub const ACCESS: Self = Self(errno::EACCES);
    pub const BUSY: Self = Self(errno::EBUSY);
    pub const EXISTS: Self = Self(errno::EEXIST);
    pub const NOT_A_DIRECTORY: Self = Self(errno::ENOTDIR);
    pub const IS_A_DIRECTORY: Self = Self(errno::EISDIR);
    pub const INVALID: Self = Self(errno::EINVAL);
    pub const TOO_MANY_FILES: Self = Self(errno::EMFILE);
    pub const NO_SPACE: Self = Self(errno::ENOSPC);
    pub const ILLEGAL_SEEK: Self = Self(errno::ESPIPE);
    pub const READ_ONLY: Self = Self(errno::EROFS);
    pub const NAME_TOO_LONG: Self = Self(errno::ENAMETOOLONG);
    pub const NOT_SUPPORTED: Self = Self(errno::ENOSYS);
    pub const NOT_EMPTY: Self = Self(errno::ENOTEMPTY);
    pub const OVERFLOW: Self = Self(errno::EOVERFLOW);
    pub const TIMED_OUT: Self = Self(errno::ETIMEDOUT);
}

/// What a name in a directory stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A file of bytes.
    Regular,
    /// A directory.
    Directory,
    /// A name that stands for another one.
    Link,
    /// A terminal or another stream of characters.
    Character,
}

/// What is known of a file. Times are nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStatus {
    /// What it is.
    pub kind: FileKind,
    /// Bytes in it.
    pub size: u64,
    /// Its permission bits.
    pub mode: u32,
    /// Its number in its file system.
    pub number: u64,
    /// Names that stand for it.
    pub names: u64,
    /// When it was last read, in nanoseconds since 1970; so are the others.
    pub accessed: i64,
    /// When it was last written.
    pub modified: i64,
    /// When its status last changed.
    pub changed: i64,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// The name, without a path; neither `.` nor `..`.
    pub name: Vec<u8>,
    /// What it stands for.
    pub kind: FileKind,
    /// The number of what it stands for.
    pub number: u64,
}

/// The OS above. Whatever is not supplied answers `ENOSYS`.
///
/// Flags, modes and `whence` are the Hermit ABI's (as Linux has them). What a
/// method writes to the console itself goes through [`crate::console::write`]:
/// `println!` in an activity's thread would come back here.
#[allow(unused_variables, reason = "the defaults refuse whatever they are given")]
pub trait System: Sync {
    /// A thread of activity `tag` wrote to descriptor 1 or 2. (What the OS
    /// itself writes goes to the console.)
    fn write_console(&self, tag: u64, fd: i32, bytes: &[u8]) -> Result<usize, Errno>;

    /// A thread of activity `tag` reads descriptor 0; 0 bytes are its end.
    fn read_console(&self, tag: u64, target: &mut [u8]) -> Result<usize, Errno> {
        Ok(0)
    }

    /// Opens a file or, with `O_DIRECTORY`, a directory: a descriptor of 3 or more.
    fn open(&self, tag: u64, path: &[u8], flags: i32, mode: u32) -> Result<i32, Errno> {
        Err(Errno::NOT_SUPPORTED)
    }

    /// Closes a descriptor.
    fn close(&self, tag: u64, fd: i32) -> Result<(), Errno> {
        Err(Errno::BAD_DESCRIPTOR)
    }

    /// Reads from where the descriptor stands.
    fn read(&self, tag: u64, fd: i32, target: &mut [u8]) -> Result<usize, Errno> {
        Err(Errno::BAD_DESCRIPTOR)
    }

    /// Writes where the descriptor stands.
    fn write(&self, tag: u64, fd: i32, source: &[u8]) -> Result<usize, Errno> {
        Err(Errno::BAD_DESCRIPTOR)
    }

    /// Moves where the descriptor stands: the new position.
    fn seek(&self, tag: u64, fd: i32, offset: i64, whence: i32) -> Result<u64, Errno> {
        Err(Errno::BAD_DESCRIPTOR)
    }

    /// The status of an open file.
    fn fstat(&self, tag: u64, fd: i32) -> Result<FileStatus, Errno> {
        Err(Errno::BAD_DESCRIPTOR)
    }

    /// The status of what a path stands for.
    fn stat(&self, tag: u64, path: &[u8]) -> Result<FileStatus, Errno> {
        Err(Errno::NOT_SUPPORTED)
    }

    /// The same, but of a link itself.
    fn lstat(&self, tag: u64, path: &[u8]) -> Result<FileStatus, Errno> {
        self.stat(tag, path)
    }

    /// All entries of an open directory, on every call.
    fn read_directory(&self, tag: u64, fd: i32) -> Result<Vec<DirectoryEntry>, Errno> {
        Err(Errno::BAD_DESCRIPTOR)
    }

    /// Makes a directory.
    fn mkdir(&self, tag: u64, path: &[u8], mode: u32) -> Result<(), Errno> {
        Err(Errno::NOT_SUPPORTED)
    }

    /// Removes an empty directory.
    fn rmdir(&self, tag: u64, path: &[u8]) -> Result<(), Errno> {
        Err(Errno::NOT_SUPPORTED)
    }

    /// Removes a name of a file.
    fn unlink(&self, tag: u64, path: &[u8]) -> Result<(), Errno> {
        Err(Errno::NOT_SUPPORTED)
    }

    /// A second descriptor of the same open file.
    fn dup(&self, tag: u64, fd: i32) -> Result<i32, Errno> {
        Err(Errno::BAD_DESCRIPTOR)
    }

    /// Whether a descriptor is marked to be closed by `exec`, of which there is none.
    fn closes_on_exec(&self, tag: u64, fd: i32) -> Result<bool, Errno> {
        Err(Errno::BAD_DESCRIPTOR)
    }

    /// Changes that.
    fn close_on_exec(&self, tag: u64, fd: i32, closes: bool) -> Result<(), Errno> {
        Err(Errno::BAD_DESCRIPTOR)
    }

    /// The sockets.
    fn sockets(&self) -> &dyn Sockets {
        &NoSockets
    }

    /// A thread of activity `tag` (not 0) called exit. Tells whom it concerns
    /// and ends the thread with [`crate::thread::end`].
    fn exit(&self, tag: u64, code: i32) -> !;

    /// A thread of activity `tag` (not 0) did in its own code what ends the
    /// activity: a fault, an abort (it panicked, perhaps, or ran out of memory).
    /// Comes on that thread, on a stack that can be used. Tells whom it concerns
    /// and ends the thread with [`crate::thread::end`].
    fn fault(&self, tag: u64, fault: crate::fault::Fault) -> !;
}

const NONE: u8 = 0;
const INSTALLING: u8 = 1;
const INSTALLED: u8 = 2;

struct Slot {
    state: AtomicU8,
    system: UnsafeCell<Option<&'static dyn System>>,
}

// SAFETY: the cell is written once, by the one who moved the state from NONE,
// and read after it became INSTALLED.
unsafe impl Sync for Slot {}

static SLOT: Slot = Slot { state: AtomicU8::new(NONE), system: UnsafeCell::new(None) };

/// Installs the OS above, once and for good.
///
/// # Panics
/// If there is one already.
pub fn install(system: &'static dyn System) {
    let first = SLOT.state.compare_exchange(NONE, INSTALLING, Ordering::Acquire, Ordering::Relaxed);
    assert!(first.is_ok(), "a system is installed already");
    // SAFETY: only one caller ever moved the state from NONE, and nobody reads before INSTALLED.
    unsafe { *SLOT.system.get() = Some(system) };
    // SYNC: system-install, with `installed`.
    SLOT.state.store(INSTALLED, Ordering::Release);
}

/// The OS above, if it is installed.
pub(crate) fn installed() -> Option<&'static dyn System> {
    // SYNC: system-install, with `install`.
    if SLOT.state.load(Ordering::Acquire) != INSTALLED {
        return None;
    }
    // SAFETY: nobody writes after INSTALLED.
    unsafe { *SLOT.system.get() }
}
