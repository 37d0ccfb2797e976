//! The host's files: `std` does it all.

use super::Host;
use crate::system::FileCalls;
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

impl FileCalls for Host {
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn copy(&self, from: &Path, to: &Path) -> io::Result<u64> {
        fs::copy(from, to)
    }

    fn set_len(&self, path: &Path, size: u64) -> io::Result<()> {
        fs::OpenOptions::new().write(true).open(path)?.set_len(size)
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        system::set_mode(path, mode)
    }

    fn set_modified(&self, path: &Path, time: SystemTime) -> io::Result<()> {
        File::open(path)?.set_modified(time)
    }

    fn names(&self, path: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        fs::canonicalize(path)
    }

    fn symlink(&self, original: &Path, link: &Path) -> io::Result<()> {
        system::symlink(original, link)
    }

    fn read_link(&self, link: &Path) -> io::Result<PathBuf> {
        fs::read_link(link)
    }

    fn lock(&self, file: &File, exclusive: bool) -> io::Result<()> {
        if exclusive { file.lock() } else { file.lock_shared() }
    }

    fn try_lock(&self, file: &File, exclusive: bool) -> Result<(), TryLockError> {
        if exclusive { file.try_lock() } else { file.try_lock_shared() }
    }

    fn unlock(&self, file: &File) -> io::Result<()> {
        file.unlock()
    }
}

/// What `std` has for Unix alone.
#[cfg(unix)]
mod system {
    use std::os::unix::fs::PermissionsExt;
    use std::{fs, io, path::Path};

    pub use std::os::unix::fs::symlink;

    pub fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    }
}

/// A VM without a node, or a host of another kind.
#[cfg(not(unix))]
mod system {
    use std::{io, path::Path};

    pub fn symlink(_original: &Path, _link: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn set_mode(_path: &Path, _mode: u32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
