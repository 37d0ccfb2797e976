//! The ABI's files: descriptors 0 to 2 are the console, the rest is the OS above's.
//!
//! `std`'s `read_dir` has three habits to know: it wants all entries in one
//! `getdents64` (and doubles its buffer up to 1 MiB on `EINVAL`), it does not
//! skip `.` and `..`, and it takes a result of 0 for an error. So an empty
//! directory shows as an error with number 0; nothing on this side helps.

use super::{events, number, small_number, status};
use crate::console;
use crate::system::{self, Errno, FileKind, FileStatus, System};
use crate::thread::{self, within_call};
use core::ffi::{CStr, c_char};
use core::mem::offset_of;
use hermit_abi::{dirent64, iovec, stat, timespec};

/// The first descriptor that is not the console.
const FIRST_FILE: i32 = 3;

/// The OS above, for something it alone has.
pub(super) fn above(missing: Errno) -> Result<(u64, &'static dyn System), Errno> {
    system::installed().map(|system| (thread::activity(), system)).ok_or(missing)
}

/// The OS above, for a descriptor that must be a file's.
pub(super) fn above_for(fd: i32) -> Result<(u64, &'static dyn System), Errno> {
    if fd < FIRST_FILE { Err(Errno::BAD_DESCRIPTOR) } else { above(Errno::BAD_DESCRIPTOR) }
}

/// The OS above, and the bytes of the path that it is to look at.
///
/// # Safety
/// `path` is null or a zero-terminated string that outlives the result.
unsafe fn on_path<'a>(path: *const c_char) -> Result<(u64, &'static dyn System, &'a [u8]), Errno> {
    let (tag, system) = above(Errno::NOT_SUPPORTED)?;
    if path.is_null() {
        return Err(Errno::INVALID);
    }
    // SAFETY: the caller's promise.
    Ok((tag, system, unsafe { CStr::from_ptr(path) }.to_bytes()))
}

fn write(fd: i32, source: &[u8]) -> Result<usize, Errno> {
    if fd >= FIRST_FILE {
        let (tag, system) = above_for(fd)?;
        return system.write(tag, fd, source);
    }
    if fd != 1 && fd != 2 {
        return Err(Errno::BAD_DESCRIPTOR);
    }
    match above(Errno::NOT_SUPPORTED) {
        Ok((tag @ 1.., system)) => system.write_console(tag, fd, source),
        _ => {
            console::write(fd == 2, source);
            Ok(source.len())
        }
    }
}

fn read(fd: i32, target: &mut [u8]) -> Result<usize, Errno> {
    if fd == 0 {
        return match above(Errno::NOT_SUPPORTED) {
            Ok((tag, system)) => system.read_console(tag, target),
            // Nobody types at a VM: its standard input is at its end.
            Err(_) => Ok(0),
        };
    }
    let (tag, system) = above_for(fd)?;
    system.read(tag, fd, target)
}

/// The bytes at `start`; none where `start` is null.
///
/// # Safety
/// They are the caller's, and initialised.
pub(super) unsafe fn bytes<'a>(start: *const u8, length: usize) -> &'a [u8] {
    // SAFETY: the caller's promise.
    if start.is_null() { &[] } else { unsafe { core::slice::from_raw_parts(start, length) } }
}

/// The same, to write into.
///
/// # Safety
/// They are the caller's alone. They need not be initialised: nothing reads them here.
pub(super) unsafe fn bytes_mut<'a>(start: *mut u8, length: usize) -> &'a mut [u8] {
    // SAFETY: the caller's promise.
    if start.is_null() { &mut [] } else { unsafe { core::slice::from_raw_parts_mut(start, length) } }
}

/// Writes to the console (1, 2) or where a file's descriptor stands: how many bytes. EBADF for another
/// descriptor, or one that was not opened for writing.
///
/// Tested: std::fs, std::io
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_write(fd: i32, source: *const u8, length: usize) -> isize {
    // SAFETY: the caller's buffer.
    number(write(fd, unsafe { bytes(source, length) })) as isize
}

/// Reads from the console (0, always at its end) or where a file's descriptor stands: how many bytes, 0
/// at the end. EBADF for another descriptor, or one that was not opened for reading; EISDIR for a
/// directory.
///
/// Tested: std::fs, std::io
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_read(fd: i32, target: *mut u8, length: usize) -> isize {
    // SAFETY: the caller's buffer.
    number(read(fd, unsafe { bytes_mut(target, length) })) as isize
}

/// Moves one buffer after another until one is not moved whole.
///
/// # Safety
/// `vectors` are `count` buffers of the caller.
unsafe fn each(
    vectors: *const iovec,
    count: usize,
    mut one: impl FnMut(&iovec) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    if vectors.is_null() {
        return if count == 0 { Ok(0) } else { Err(Errno::INVALID) };
    }
    let mut total = 0;
    // SAFETY: the caller's promise.
    for vector in unsafe { core::slice::from_raw_parts(vectors, count) } {
        match one(vector) {
            Ok(moved) => {
                total += moved;
                if moved < vector.iov_len {
                    break;
                }
            }
            Err(error) if total == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(total)
}

/// Writes several buffers, one after the other, until one is not written whole.
///
/// Tested: std::io
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_writev(fd: i32, vectors: *const iovec, count: usize) -> isize {
    // SAFETY: the caller's buffers.
    number(unsafe { each(vectors, count, |one| write(fd, bytes(one.iov_base.cast(), one.iov_len))) }) as isize
}

/// Reads into several buffers, one after the other, until one is not filled or a socket or counter has no
/// more to give now.
///
/// Tested: std::io
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_readv(fd: i32, vectors: *const iovec, count: usize) -> isize {
    let mut first = true;
    let one = |one: &iovec| match core::mem::take(&mut first) || !events::would_wait(fd) {
        // SAFETY: the caller's buffer.
        true => read(fd, unsafe { bytes_mut(one.iov_base.cast(), one.iov_len) }),
        // What is there is there; no more need ever come.
        false => Ok(0),
    };
    // SAFETY: the caller's buffers.
    number(unsafe { each(vectors, count, one) }) as isize
}

/// Opens a file or, with O_DIRECTORY, a directory: a descriptor. EINVAL for a null path, ENOSYS where
/// no system stands above the runtime.
///
/// Tested: std::fs
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_open(name: *const c_char, flags: i32, mode: i32) -> i32 {
    // SAFETY: the caller's string.
    small_number(
        unsafe { on_path(name) }.and_then(|(tag, system, path)| system.open(tag, path, flags, mode as u32)),
    )
}

/// Closes a descriptor. The console's stay open.
///
/// Tested: std::fs
#[unsafe(no_mangle)]
extern "C" fn sys_close(fd: i32) -> i32 {
    status(match fd {
        // The console stays.
        0..FIRST_FILE => Ok(()),
        _ => above_for(fd).and_then(|(tag, system)| system.close(tag, fd)),
    })
}

/// Moves where a file's descriptor stands: the new position. ESPIPE for the console's.
///
/// Tested: std::fs
#[unsafe(no_mangle)]
extern "C" fn sys_lseek(fd: i32, offset: isize, whence: i32) -> isize {
    let position = match fd {
        0..FIRST_FILE => Err(Errno::ILLEGAL_SEEK),
        _ => above_for(fd).and_then(|(tag, system)| system.seek(tag, fd, offset as i64, whence)),
    };
    number(position) as isize
}

/// A second descriptor of the same open file, with the same position. EBADF for the console's.
///
/// Tested: selftest::system_above
#[unsafe(no_mangle)]
extern "C" fn sys_dup(fd: i32) -> i32 {
    small_number(above_for(fd).and_then(|(tag, system)| system.dup(tag, fd)))
}

/// Writes a status as the ABI has it.
///
/// # Safety
/// `target` is null or the caller's structure.
unsafe fn put_status(found: Result<FileStatus, Errno>, target: *mut stat) -> i32 {
    let put = || {
        let found = found?;
        if target.is_null() {
            return Err(Errno::INVALID);
        }
        // SAFETY: the caller's promise.
        unsafe { target.write(abi_status(&found)) };
        Ok(())
    };
    status(put())
}

fn abi_status(found: &FileStatus) -> stat {
    let time = |ns: i64| timespec {
        tv_sec: ns.div_euclid(1_000_000_000),
        tv_nsec: ns.rem_euclid(1_000_000_000) as i32,
    };
    let kind = match found.kind {
        FileKind::Regular => hermit_abi::S_IFREG,
        FileKind::Directory => hermit_abi::S_IFDIR,
        FileKind::Link => hermit_abi::S_IFLNK,
        FileKind::Character => hermit_abi::S_IFCHR,
    };
    stat {
        st_ino: found.number,
        st_nlink: found.names,
        st_mode: kind | found.mode & 0o7777,
        st_size: i64::try_from(found.size).unwrap_or(i64::MAX),
        st_blksize: 4096,
        st_blocks: i64::try_from(found.size.div_ceil(512)).unwrap_or(i64::MAX),
        st_atim: time(found.accessed),
        st_mtim: time(found.modified),
        st_ctim: time(found.changed),
        ..stat::default()
    }
}

/// What the console's descriptors are.
const CONSOLE: FileStatus = FileStatus {
    kind: FileKind::Character,
    size: 0,
    mode: 0o600,
    number: 0,
    names: 1,
    accessed: 0,
    modified: 0,
    changed: 0,
};

/// The status of an open file, or of the console.
///
/// Tested: std::fs
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_fstat(fd: i32, target: *mut stat) -> i32 {
    let found = match fd {
        0..FIRST_FILE => Ok(CONSOLE),
        _ => above_for(fd).and_then(|(tag, system)| system.fstat(tag, fd)),
    };
    // SAFETY: the caller's structure.
    unsafe { put_status(found, target) }
}

/// The status of what a path leads to.
///
/// Tested: std::fs
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_stat(name: *const c_char, target: *mut stat) -> i32 {
    // SAFETY: the caller's string.
    let found = unsafe { on_path(name) }.and_then(|(tag, system, path)| system.stat(tag, path));
    // SAFETY: the caller's structure.
    unsafe { put_status(found, target) }
}

/// The status of what a path names; a symbolic link is not followed.
///
/// Tested: std::fs
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_lstat(name: *const c_char, target: *mut stat) -> i32 {
    // SAFETY: the caller's string.
    let found = unsafe { on_path(name) }.and_then(|(tag, system, path)| system.lstat(tag, path));
    // SAFETY: the caller's structure.
    unsafe { put_status(found, target) }
}

/// Makes a directory.
///
/// Tested: std::fs
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_mkdir(name: *const c_char, mode: u32) -> i32 {
    // SAFETY: the caller's string.
    status(unsafe { on_path(name) }.and_then(|(tag, system, path)| system.mkdir(tag, path, mode)))
}

/// Removes an empty directory.
///
/// Tested: std::fs
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_rmdir(name: *const c_char) -> i32 {
    // SAFETY: the caller's string.
    status(unsafe { on_path(name) }.and_then(|(tag, system, path)| system.rmdir(tag, path)))
}

/// Removes the name of a file or of a symbolic link.
///
/// Tested: std::fs
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_unlink(name: *const c_char) -> i32 {
    // SAFETY: the caller's string.
    status(unsafe { on_path(name) }.and_then(|(tag, system, path)| system.unlink(tag, path)))
}

/// All entries of an open directory, on every call; neither `.` nor `..`. EINVAL if they do not fit.
///
/// Tested: std::fs
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_getdents64(fd: i32, target: *mut dirent64, bytes: usize) -> i64 {
    // SAFETY: the caller's buffer.
    let target = unsafe { bytes_mut(target.cast(), bytes) };
    // Within one call, so that the names do not stay if the thread is ended.
    number(
        above_for(fd)
            .and_then(|(tag, system)| within_call(|| put_entries(&system.read_directory(tag, fd)?, target))),
    )
}

/// Writes the entries as the ABI has them: the bytes they take, or `EINVAL` if
/// they do not fit.
fn put_entries(entries: &[system::DirectoryEntry], target: &mut [u8]) -> Result<usize, Errno> {
    const NAME: usize = offset_of!(dirent64, d_name);
    let mut start = 0;
    for entry in entries {
        let length = (NAME + entry.name.len() + 1).next_multiple_of(align_of::<dirent64>());
        let record = target.get_mut(start..start + length).ok_or(Errno::INVALID)?;
        start += length;
        record.fill(0);
        let kind = match entry.kind {
            FileKind::Regular => hermit_abi::DT_REG,
            FileKind::Directory => hermit_abi::DT_DIR,
            FileKind::Link => hermit_abi::DT_LNK,
            FileKind::Character => hermit_abi::DT_CHR,
        };
        let length = u16::try_from(length).map_err(|_| Errno::NAME_TOO_LONG)?;
        record[offset_of!(dirent64, d_ino)..][..8].copy_from_slice(&entry.number.to_ne_bytes());
        record[offset_of!(dirent64, d_off)..][..8].copy_from_slice(&(start as i64).to_ne_bytes());
        record[offset_of!(dirent64, d_reclen)..][..2].copy_from_slice(&length.to_ne_bytes());
        record[offset_of!(dirent64, d_type)] = kind;
        record[NAME..NAME + entry.name.len()].copy_from_slice(&entry.name);
    }
    Ok(start)
}

/// Opens a directory to list it: `sys_open` with O_DIRECTORY.
///
/// Tested: selftest::system_above
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_opendir(name: *const c_char) -> i32 {
    // SAFETY: the caller's string.
    unsafe { sys_open(name, hermit_abi::O_RDONLY | hermit_abi::O_DIRECTORY, 0) }
}

/// Returns when what was written is safe. It is when a write returns, so only the descriptor is looked
/// at: EBADF if it is none.
///
/// Tested: selftest::system_above
#[unsafe(no_mangle)]
extern "C" fn sys_fsync(fd: i32) -> i32 {
    status(match fd {
        0..FIRST_FILE => Ok(()),
        _ => above_for(fd).and_then(|(tag, system)| system.fstat(tag, fd)).map(|_| ()),
    })
}
