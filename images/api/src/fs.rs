//! Files beyond what `std::fs` can do on a node.
//!
//! `std`'s port to this platform refuses some of `std::fs`, whatever the system
//! below offers (`docs/std.md` lists what). These functions do it, on a node as
//! on the host, with the errors that `std` documents.
//!
//! ```
//! let folder = std::env::temp_dir().join(format!("cyanea-doc-{}", std::process::id()));
//! std::fs::create_dir_all(&folder)?;
//! std::fs::write(folder.join("file"), "text")?;
//! cyanea::fs::symlink("file", folder.join("link"))?;
//! assert_eq!(cyanea::fs::read_link(folder.join("link"))?, std::path::Path::new("file"));
//! assert_eq!(std::fs::read_to_string(folder.join("link"))?, "text");
//! cyanea::fs::remove_dir_all(folder)?;
//! # Ok::<(), std::io::Error>(())
//! ```

use crate::system;
use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Moves a file or directory; what `to` names is replaced, as by POSIX `rename`.
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    system::get().rename(from.as_ref(), to.as_ref())
}

/// Copies a file with its permissions, over what is at `to`; how many bytes.
pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<u64> {
    system::get().copy(from.as_ref(), to.as_ref())
}

/// Cuts or extends (with zeros) the file at `path` to `size` bytes.
pub fn set_len(path: impl AsRef<Path>, size: u64) -> io::Result<()> {
    system::get().set_len(path.as_ref(), size)
}

/// Sets the permission bits of what is at `path`. The machine's file system
/// records them and refuses nothing over them.
pub fn set_mode(path: impl AsRef<Path>, mode: u32) -> io::Result<()> {
    system::get().set_mode(path.as_ref(), mode)
}

/// Says when what is at `path` was changed last; not before 1970.
pub fn set_modified(path: impl AsRef<Path>, time: SystemTime) -> io::Result<()> {
    system::get().set_modified(path.as_ref(), time)
}

/// The names in a directory, in no particular order.
pub fn names(path: impl AsRef<Path>) -> io::Result<Vec<OsString>> {
    system::get().names(path.as_ref())
}

/// Removes a directory with all that is below it. Links are removed, and what they stand for is not.
pub fn remove_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    system::get().remove_dir_all(path.as_ref())
}

/// The path of what is at `path`, from the root, without links, `.` and `..`.
pub fn canonicalize(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    system::get().canonicalize(path.as_ref())
}

/// Makes `link` stand for `original`, which need not be there; if it is
/// relative, it counts from the link's directory.
pub fn symlink(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    system::get().symlink(original.as_ref(), link.as_ref())
}

/// What a link stands for, as it was made.
pub fn read_link(link: impl AsRef<Path>) -> io::Result<PathBuf> {
    system::get().read_link(link.as_ref())
}

/// Locks a file for this open file alone, waiting while others have it locked.
///
/// A lock keeps nobody from reading or writing: it is for those who lock as
/// well, on whatever node. It ends by [`unlock`], when the file is closed, and
/// with its activity or node. A file that is locked already and is locked anew
/// keeps the later kind of lock.
pub fn lock(file: &File) -> io::Result<()> {
    system::get().lock(file, true)
}

/// Locks a file together with others that share it, waiting while one has it alone.
pub fn lock_shared(file: &File) -> io::Result<()> {
    system::get().lock(file, false)
}

/// As [`lock`], but [`TryLockError::WouldBlock`] instead of waiting.
pub fn try_lock(file: &File) -> Result<(), TryLockError> {
    system::get().try_lock(file, true)
}

/// As [`lock_shared`], but [`TryLockError::WouldBlock`] instead of waiting.
pub fn try_lock_shared(file: &File) -> Result<(), TryLockError> {
    system::get().try_lock(file, false)
}

/// Ends a lock of this open file, if it has one.
pub fn unlock(file: &File) -> io::Result<()> {
    system::get().unlock(file)
}
