//! The calls of `cyanea::fs`: what `std::fs` cannot do on a node.

use super::Node;
use crate::files::{Files, Mode};
use kernel::errno::Errno;
use kernel::protocol::files::{FileKind, OpenFlags};
use runtime::thread::{handed_over, within_call};
use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::hermit::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Longest that a waiter for a lock does not look whether it is free.
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// A call of the calling thread's activity.
fn call<T>(call: impl FnOnce(u64) -> Result<T, Errno>) -> io::Result<T> {
    within_call(|| call(runtime::thread::activity())).map_err(|error| io::Error::from_raw_os_error(error.0))
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

fn path(bytes: Vec<u8>) -> PathBuf {
    OsString::from_vec(bytes).into()
}

fn set_len(files: &Files, tag: u64, path: &Path, size: u64) -> Result<(), Errno> {
    let mode = Mode { flags: OpenFlags::WRITE, append: false, permissions: 0 };
    let fd = files.open(tag, bytes(path), mode)?;
    let cut = files.truncate(tag, fd, size);
    files.close(tag, fd).and(cut)
}

/// What `std` does with a link, it removes; with a file, it refuses.
fn remove_dir_all(files: &Files, path: &Path) -> Result<(), Errno> {
    match files.link_status(bytes(path))?.kind {
        FileKind::Link => files.unlink(bytes(path)),
        FileKind::Directory => files.remove_tree(bytes(path)),
        FileKind::Regular => Err(Errno::NOTDIR),
    }
}

impl cyanea::FileCalls for Node {
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        call(|_| self.files.rename(bytes(from), bytes(to)))
    }

    fn copy(&self, from: &Path, to: &Path) -> io::Result<u64> {
        let status = call(|_| self.files.status(bytes(from)))?;
        if status.kind != FileKind::Regular {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let copied = io::copy(&mut File::open(from)?, &mut File::create(to)?)?;
        call(|_| self.files.set_status(bytes(to), Some(status.mode), None))?;
        Ok(copied)
    }

    fn set_len(&self, path: &Path, size: u64) -> io::Result<()> {
        call(|tag| set_len(&self.files, tag, path, size))
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        call(|_| self.files.set_status(bytes(path), Some(mode as u16 & 0o7777), None))
    }

    fn set_modified(&self, path: &Path, time: SystemTime) -> io::Result<()> {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| io::ErrorKind::InvalidInput)?;
        // What can be told again: until the year 2262.
        let nanoseconds = i64::try_from(since.as_nanos()).map_err(|_| io::ErrorKind::InvalidInput)?;
        call(|_| self.files.set_status(bytes(path), None, Some(nanoseconds.cast_unsigned())))
    }

    fn names(&self, path: &Path) -> io::Result<Vec<OsString>> {
        call(|tag| {
            let names = self.files.names_at(tag, bytes(path))?;
            Ok(handed_over(&names.into_iter().map(|entry| OsString::from_vec(entry.name)).collect()))
        })
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        call(|_| remove_dir_all(&self.files, path))
    }

    fn canonicalize(&self, of: &Path) -> io::Result<PathBuf> {
        call(|_| self.files.canonical(bytes(of)).map(|path| handed_over(&path))).map(path)
    }

    fn symlink(&self, original: &Path, link: &Path) -> io::Result<()> {
        call(|_| self.files.make_link(bytes(original), bytes(link)))
    }

    fn read_link(&self, link: &Path) -> io::Result<PathBuf> {
        call(|_| self.files.read_link(bytes(link)).map(|path| handed_over(&path))).map(path)
    }

    /// Looks again and again, ever more rarely: whose lock ends where is known
    /// to no one place. Between the looks the thread may be ended.
    fn lock(&self, file: &File, exclusive: bool) -> io::Result<()> {
        let mut wait = Duration::from_millis(1);
        loop {
            match self.try_lock(file, exclusive) {
                Err(TryLockError::WouldBlock) => std::thread::sleep(wait),
                Err(TryLockError::Error(error)) => return Err(error),
                Ok(()) => return Ok(()),
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    fn try_lock(&self, file: &File, exclusive: bool) -> Result<(), TryLockError> {
        call(|tag| self.files.lock(tag, file.as_raw_fd(), exclusive)).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => TryLockError::WouldBlock,
            _ => TryLockError::Error(error),
        })
    }

    fn unlock(&self, file: &File) -> io::Result<()> {
        call(|tag| self.files.unlock(tag, file.as_raw_fd()))
    }
}
