//! Files beyond what `std::fs` can do on a node.
//!
//! `std`'s port to this platform refuses `fs::rename` and `File::set_len`, and
//! takes an empty directory for an error in `fs::read_dir`, whatever the system
//! below offers. These functions do it, on a node as on the host.

use crate::system;
use std::ffi::OsString;
use std::io;
use std::path::Path;

/// Moves a file or directory; what `to` names is replaced, as by POSIX `rename`.
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    system::get().rename(from.as_ref(), to.as_ref())
}

/// Cuts or extends (with zeros) the file at `path` to `size` bytes.
pub fn set_len(path: impl AsRef<Path>, size: u64) -> io::Result<()> {
    system::get().set_len(path.as_ref(), size)
}

/// The names in a directory, in no particular order.
pub fn names(path: impl AsRef<Path>) -> io::Result<Vec<OsString>> {
    system::get().names(path.as_ref())
}
