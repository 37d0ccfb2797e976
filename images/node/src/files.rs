//! `std::fs` as requests to the `files` utility.
//!
//! A node keeps of an open file its handle, how it was opened and the position
//! of its descriptor; everything else is asked for each time, so that what one
//! node wrote is what all others read next.

use crate::activity::held;
use crate::descriptors::{Descriptors, Object};
use futures_util::{StreamExt, stream};
use kernel::errno::Errno;
use kernel::executor::block_on;
use kernel::membership::Utility;
use kernel::messenger::{CallError, Messenger};
use kernel::protocol::files::{
    DATA_HEAD, Entry, Handle, MAX_DATA, OpenFlags, Reply, Request, Response, Status, data_in,
};
use kernel::protocol::{decode, encode};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use transport::Body;

/// Most requests that a call reads with at a time: `files` has the next one
/// while this node copies what the last one brought.
const READS_UNDER_WAY: usize = 3;

/// The open files of this node.
pub struct Files {
    messenger: Arc<Messenger>,
    descriptors: Arc<Descriptors>,
    /// Counts open files, from 1: each is a holder of locks.
    next_holder: AtomicU64,
}

/// One open file; dropping it gives the handle back.
pub struct OpenFile {
    messenger: Arc<Messenger>,
    handle: Handle,
    flags: OpenFlags,
    append: bool,
    position: Mutex<u64>,
    /// Who it is among those that lock files.
    holder: u64,
    /// Whether it may have its file locked.
    locked: AtomicBool,
}

/// A directory whose content is being removed, and what of it is left: names,
/// and whether what they name has been emptied.
struct Level {
    directory: OpenFile,
    left: Vec<(Vec<u8>, bool)>,
}

/// How a descriptor is wanted.
pub struct Mode {
    /// As the utility has it.
    pub flags: OpenFlags,
    /// Whether every write goes to the end.
    pub append: bool,
    /// Permission bits if the file is made.
    pub permissions: u16,
}

/// From where a seek counts.
pub enum From {
    /// The file's start.
    Start,
    /// The descriptor's position.
    Position,
    /// The file's end.
    End,
}

impl Files {
    /// No open files.
    pub fn new(messenger: Arc<Messenger>, descriptors: Arc<Descriptors>) -> Self {
        Self { messenger, descriptors, next_holder: AtomicU64::new(1) }
    }

    /// Opens a file for activity `tag`; its descriptor.
    pub fn open(&self, tag: u64, path: &[u8], mode: Mode) -> Result<i32, Errno> {
        let path = absolute(path);
        let request = Request::Open { path: &path, flags: mode.flags, mode: mode.permissions };
        let mut file = self.opened(&request)?;
        (file.flags, file.append) = (mode.flags, mode.append);
        self.descriptors.install(tag, Object::File(Arc::new(file)))
    }

    /// What a request opens, to be read.
    fn opened(&self, request: &Request<'_>) -> Result<OpenFile, Errno> {
        let handle = self.ask(request, |reply| match reply {
            Reply::Opened { handle, .. } => Some(handle),
            _ => None,
        })?;
        Ok(OpenFile {
            messenger: self.messenger.clone(),
            handle,
            flags: OpenFlags::READ,
            append: false,
            position: Mutex::new(0),
            holder: self.next_holder.fetch_add(1, Ordering::Relaxed),
            locked: AtomicBool::new(false),
        })
    }

    /// The open file behind a descriptor of activity `tag`.
    fn file(&self, tag: u64, descriptor: i32) -> Result<Arc<OpenFile>, Errno> {
        match self.descriptors.get(tag, descriptor)? {
            Object::File(file) => Ok(file),
            Object::Socket(_) | Object::Counter(_) => Err(Errno::INVAL),
        }
    }

    /// Closes a descriptor, whatever it stands for.
    pub fn close(&self, tag: u64, descriptor: i32) -> Result<(), Errno> {
        let Object::File(file) = self.descriptors.close(tag, descriptor)? else { return Ok(()) };
        if file.locked.load(Ordering::Relaxed) && Arc::strong_count(&file) == 1 {
            // Who waits for the lock may have it when this returns.
            let _ = self.release(&file);
        }
        // Whoever still reads it on another thread gives it back then.
        drop(file);
        Ok(())
    }

    /// Reads at the descriptor's position; 0 at the end.
    pub fn read(&self, file: &OpenFile, buffer: &mut [u8]) -> Result<usize, Errno> {
        if !file.flags.contains(OpenFlags::READ) {
            return Err(Errno::BADF);
        }
        let mut position = held(&file.position);
        let (done, error) = block_on(self.read_at(file.handle, *position, buffer));
        *position += done as u64;
        error.filter(|_| done == 0).map_or(Ok(done), Err)
    }

    /// Reads from `offset` on: how many bytes, and what went wrong after these.
    /// Several requests are under way at a time, and what they bring is copied
    /// once.
    async fn read_at(&self, handle: Handle, offset: u64, buffer: &mut [u8]) -> (usize, Option<Errno>) {
        let wanted = buffer.len();
        let ask = |start: usize| {
            let length = MAX_DATA.min(wanted - start) as u32;
            let request = encode(&Request::Read { handle, offset: offset + start as u64, length });
            async move { self.messenger.ask_utility(Utility::Files, &request).await }
        };
        let starts = (0..wanted).step_by(MAX_DATA);
        let mut replies = pin!(stream::iter(starts.map(ask)).buffered(READS_UNDER_WAY));
        let mut done = 0;
        for chunk in buffer.chunks_mut(MAX_DATA) {
            let Some(reply) = replies.next().await else { break };
            match reply.map_err(failed).and_then(|reply| take_data(reply, chunk)) {
                Ok(read) if read == chunk.len() => done += read,
                Ok(read) => return (done + read, None),
                Err(error) => return (done, Some(error)),
            }
        }
        (done, None)
    }

    /// Writes at the descriptor's position, or at the end.
    pub fn write(&self, file: &OpenFile, bytes: &[u8]) -> Result<usize, Errno> {
        if !file.flags.contains(OpenFlags::WRITE) {
            return Err(Errno::BADF);
        }
        let mut position = held(&file.position);
        let mut done = 0;
        for data in bytes.chunks(MAX_DATA) {
            let offset = (!file.append).then_some(*position);
            let written =
                self.ask(&Request::Write { handle: file.handle, offset, data }, |reply| match reply {
                    Reply::Written { end } => Some(end),
                    _ => None,
                });
            match written {
                Ok(end) => *position = end,
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
            done += data.len();
        }
        Ok(done)
    }

    /// Moves the descriptor's position; where it then is.
    pub fn seek(&self, tag: u64, descriptor: i32, from: From, distance: i64) -> Result<u64, Errno> {
        let file = self.file(tag, descriptor)?;
        let mut position = held(&file.position);
        let base = match from {
            From::Start => 0,
            From::Position => *position,
            From::End => self.status_of(file.handle)?.size,
        };
        *position =
            base.checked_add_signed(distance).filter(|&p| p <= i64::MAX as u64).ok_or(Errno::INVAL)?;
        Ok(*position)
    }

    /// Cuts or extends an open file.
    pub fn truncate(&self, tag: u64, descriptor: i32, size: u64) -> Result<(), Errno> {
        let file = self.file(tag, descriptor)?;
        if !file.flags.contains(OpenFlags::WRITE) {
            return Err(Errno::INVAL);
        }
        self.done(&Request::Truncate { handle: file.handle, size })
    }

    /// Locks an open file, if nobody's lock forbids it; else `AGAIN`.
    pub fn lock(&self, tag: u64, descriptor: i32, exclusive: bool) -> Result<(), Errno> {
        let file = self.file(tag, descriptor)?;
        file.locked.store(true, Ordering::Relaxed);
        self.done(&Request::Lock { handle: file.handle, holder: file.holder, exclusive })
    }

    /// Ends an open file's lock, if it has one.
    pub fn unlock(&self, tag: u64, descriptor: i32) -> Result<(), Errno> {
        self.release(&*self.file(tag, descriptor)?)
    }

    fn release(&self, file: &OpenFile) -> Result<(), Errno> {
        // It stays marked: another thread may have locked it meanwhile.
        self.done(&Request::Unlock { handle: file.handle, holder: file.holder })
    }

    /// What an open file is.
    pub fn descriptor_status(&self, tag: u64, descriptor: i32) -> Result<Status, Errno> {
        self.status_of(self.file(tag, descriptor)?.handle)
    }

    fn status_of(&self, handle: Handle) -> Result<Status, Errno> {
        self.ask(&Request::StatHandle { handle }, as_status)
    }

    /// What is at `path`.
    pub fn status(&self, path: &[u8]) -> Result<Status, Errno> {
        self.ask(&Request::Stat { path: &absolute(path) }, as_status)
    }

    /// What `path` names, be it a link.
    pub fn link_status(&self, path: &[u8]) -> Result<Status, Errno> {
        self.ask(&Request::StatLink { path: &absolute(path) }, as_status)
    }

    /// Makes a symbolic link.
    pub fn make_link(&self, target: &[u8], path: &[u8]) -> Result<(), Errno> {
        self.done(&Request::MakeLink { target, path: &absolute(path) })
    }

    /// What a link stands for.
    pub fn read_link(&self, path: &[u8]) -> Result<Vec<u8>, Errno> {
        self.ask(&Request::ReadLink { path: &absolute(path) }, as_bytes)
    }

    /// The path of what is at `path`, without links, `.` and `..`.
    pub fn canonical(&self, path: &[u8]) -> Result<Vec<u8>, Errno> {
        self.ask(&Request::Canonical { path: &absolute(path) }, as_bytes)
    }

    /// Changes what is recorded of a file.
    pub fn set_status(&self, path: &[u8], mode: Option<u16>, modified_ns: Option<u64>) -> Result<(), Errno> {
        self.done(&Request::SetStatus { path: &absolute(path), mode, modified_ns })
    }

    /// Removes a directory with all that is below it. It goes from one open
    /// directory to the next and not along paths, so it follows no link that
    /// somebody else puts in a directory's place meanwhile.
    pub fn remove_tree(&self, path: &[u8]) -> Result<(), Errno> {
        let path = absolute(path);
        let (above, name) = parent_and_name(&path)?;
        let flags = OpenFlags::READ | OpenFlags::DIRECTORY;
        let above = self.opened(&Request::Open { path: above, flags, mode: 0 })?;
        let tree = self.level(&above, name)?;
        let mut levels = vec![Level { directory: above, left: vec![(name.to_vec(), true)] }, tree];
        while let Some(Level { directory, left }) = levels.last_mut() {
            let Some((name, emptied)) = left.pop() else {
                levels.pop();
                continue;
            };
            match self.done(&Request::RemoveIn { directory: directory.handle, name: &name }) {
                Err(Errno::NOTEMPTY) if !emptied => match self.level(directory, &name) {
                    Ok(inner) => {
                        left.push((name, true));
                        levels.push(inner);
                    }
                    // It is something else by now.
                    Err(Errno::NOTDIR) => left.push((name, false)),
                    Err(Errno::NOENT) => {}
                    Err(error) => return Err(error),
                },
                // Somebody else removes it, too.
                Err(Errno::NOENT) => {}
                removed => removed?,
            }
        }
        Ok(())
    }

    /// A directory in an open one, and what is in it.
    fn level(&self, directory: &OpenFile, name: &[u8]) -> Result<Level, Errno> {
        let directory = self.opened(&Request::OpenIn { directory: directory.handle, name })?;
        let entries = self.entries(directory.handle)?;
        let left = entries.into_iter().map(|Entry { name, .. }| (name, false)).collect();
        Ok(Level { directory, left })
    }

    /// All names in the directory at `path`.
    pub fn names_at(&self, tag: u64, path: &[u8]) -> Result<Vec<Entry>, Errno> {
        let mode = Mode { flags: OpenFlags::READ | OpenFlags::DIRECTORY, append: false, permissions: 0 };
        let descriptor = self.open(tag, path, mode)?;
        let names = self.names(tag, descriptor);
        self.close(tag, descriptor)?;
        names
    }

    /// All names in an open directory.
    pub fn names(&self, tag: u64, descriptor: i32) -> Result<Vec<Entry>, Errno> {
        self.entries(self.file(tag, descriptor)?.handle)
    }

    fn entries(&self, handle: Handle) -> Result<Vec<Entry>, Errno> {
        let mut all = Vec::new();
        let mut cookie = Some(0);
        while let Some(at) = cookie {
            cookie = self.ask(&Request::List { handle, cookie: at }, |reply| match reply {
                Reply::Entries { entries, next } => {
                    all.extend(entries);
                    Some(next)
                }
                _ => None,
            })?;
        }
        Ok(all)
    }

    /// Makes a directory.
    pub fn make_directory(&self, path: &[u8], mode: u16) -> Result<(), Errno> {
        self.done(&Request::MakeDirectory { path: &absolute(path), mode })
    }

    /// Removes an empty directory.
    pub fn remove_directory(&self, path: &[u8]) -> Result<(), Errno> {
        self.done(&Request::RemoveDirectory { path: &absolute(path) })
    }

    /// Removes a file's name.
    pub fn unlink(&self, path: &[u8]) -> Result<(), Errno> {
        self.done(&Request::Unlink { path: &absolute(path) })
    }

    /// Moves what is at `from` to `to`.
    pub fn rename(&self, from: &[u8], to: &[u8]) -> Result<(), Errno> {
        self.done(&Request::Rename { from: &absolute(from), to: &absolute(to) })
    }

    fn done(&self, request: &Request<'_>) -> Result<(), Errno> {
        self.ask(request, |reply| matches!(reply, Reply::Done).then_some(()))
    }

    /// Asks the utility and takes from the reply what was asked for. A reply
    /// of another kind, or none, is an input/output error.
    fn ask<T>(&self, request: &Request<'_>, take: impl FnOnce(Reply<'_>) -> Option<T>) -> Result<T, Errno> {
        let reply = block_on(self.messenger.call_utility(Utility::Files, &encode(request)));
        let mut reply = reply.map_err(failed)?;
        take(decode::<Response>(reply.bytes()).map_err(|_| Errno::IO)??).ok_or(Errno::IO)
    }
}

impl Drop for OpenFile {
    /// Tells the utility that the handle is done with; nobody waits for that.
    fn drop(&mut self) {
        let (messenger, handle, holder) = (self.messenger.clone(), self.handle, self.holder);
        let locked = *self.locked.get_mut();
        self.messenger.spawn(async move {
            if locked {
                let request = encode(&Request::Unlock { handle, holder });
                let _ = messenger.call_utility(Utility::Files, &request).await;
            }
            let request = encode(&Request::Close { handle });
            // A utility that is gone has no handles.
            let _ = messenger.call_utility(Utility::Files, &request).await;
        });
    }
}

/// What a program hears of a call without a reply.
fn failed(error: CallError) -> Errno {
    match error {
        // Only a path can be so long.
        CallError::TooLong => Errno::NAMETOOLONG,
        _ => Errno::IO,
    }
}

/// Copies the data of a reply to `target`; how many bytes there are.
fn take_data(mut reply: Body, target: &mut [u8]) -> Result<usize, Errno> {
    let mut head = [0; DATA_HEAD];
    let seen = reply.copy(0, &mut head);
    match data_in(&head[..seen], reply.len()) {
        Some(data) => {
            let target = target.get_mut(..data.len()).ok_or(Errno::IO)?;
            Ok(reply.copy(data.start, target))
        }
        None => Err(decode::<Response>(reply.bytes()).map_err(|_| Errno::IO)?.err().unwrap_or(Errno::IO)),
    }
}

fn as_status(reply: Reply<'_>) -> Option<Status> {
    match reply {
        Reply::Status(status) => Some(status),
        _ => None,
    }
}

fn as_bytes(reply: Reply<'_>) -> Option<Vec<u8>> {
    match reply {
        Reply::Data(bytes) => Some(bytes.to_vec()),
        _ => None,
    }
}

/// The path of the directory in which a path's last name stands, and that name.
fn parent_and_name(path: &[u8]) -> Result<(&[u8], &[u8]), Errno> {
    let slash = |byte: &u8| *byte == b'/';
    let end = path.iter().rposition(|byte| !slash(byte)).ok_or(Errno::BUSY)? + 1;
    let start = path[..end].iter().rposition(slash).map_or(0, |at| at + 1);
    Ok((&path[..start], &path[start..end]))
}

/// The path from the root: every activity's working directory is `/`.
fn absolute(path: &[u8]) -> Vec<u8> {
    match path {
        [] | [b'/', ..] => path.to_vec(),
        _ => [b"/", path].concat(),
    }
}
