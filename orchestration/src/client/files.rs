//! Copies trees between the host and the machine, and lists its directories.
//!
//! Many files are under way at a time: the requests are split-phase, so the
//! utility's activities are kept busy by one thread here.

use super::Client;
use futures_util::StreamExt;
use futures_util::stream;
use kernel::errno::Errno;
use kernel::executor::block_on;
use kernel::membership::Utility;
use kernel::messenger::CallError;
use kernel::protocol::files::{
    Entry, FileKind, Handle, MAX_DATA, OpenFlags, Reply, Request, Response, Status,
};
use kernel::protocol::{decode, encode};
use std::cell::Cell;
use std::fs;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Files that are copied at a time.
const AT_A_TIME: usize = 24;

/// Why a copy or a listing failed.
#[derive(Debug, Error)]
pub enum FilesError {
    /// On the machine.
    #[error("{path}: {error}")]
    Machine {
        /// Where on the machine.
        path: String,
        /// What `files` said.
        error: Errno,
    },
    /// On the host.
    #[error("host:{path}: {error}")]
    Host {
        /// Where on the host.
        path: String,
        /// What the host said.
        error: io::Error,
    },
    /// The utility cannot be reached.
    #[error("files cannot be reached: {0}")]
    Call(#[from] CallError),
    /// Nobody wants the rest of it.
    #[error("the copy was given up")]
    GivenUp,
}

/// What a copy moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Bytes of file data.
    pub bytes: u64,
    /// Bytes there are to copy, as far as known.
    pub total: u64,
    /// What was passed over: links to directories or to nothing, devices, sockets.
    pub skipped: u64,
}

/// Called with what has been moved so far, after each file; says whether to go on.
pub type Progress<'a> = &'a (dyn Fn(Copied) -> ControlFlow<()> + Sync);

/// A name in a directory of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name.
    pub entry: Entry,
    /// What it is.
    pub status: Status,
    /// What it stands for, if it is a link.
    pub link: Option<Vec<u8>>,
}

impl Client {
    /// Copies a file or a tree from the host to `target` on the machine, or
    /// into `target` if that is a directory.
    ///
    /// # Errors
    /// The first that comes up; what has been copied stays.
    pub fn copy_in(
        &self,
        source: &Path,
        target: &[u8],
        progress: Progress<'_>,
    ) -> Result<Copied, FilesError> {
        let target = self.target_in(source, target)?;
        let mut copied = Copied::default();
        let mut files = Vec::new();
        match fs::metadata(source).map_err(|error| on_host(source, error))? {
            status if status.is_dir() => self.make_tree(source, target, &mut files, &mut copied)?,
            status if status.is_file() => {
                copied.total = status.len();
                files.push((source.to_path_buf(), target));
            }
            _ => return Err(on_host(source, io::Error::other("neither a file nor a directory"))),
        }
        // After an error no copy is begun, but those under way are finished:
        // each has a file open on the machine.
        let failed = Cell::new(false);
        let copies = files.iter().take_while(|_| !failed.get());
        let copies = copies.map(|(source, target)| self.copy_file_in(source, target));
        let mut copies = stream::iter(copies).buffer_unordered(AT_A_TIME);
        let mut first_error = None;
        block_on(async {
            while let Some(result) = copies.next().await {
                match result {
                    Ok(bytes) => {
                        copied.files += 1;
                        copied.bytes += bytes;
                        if progress(copied).is_break() && !failed.replace(true) {
                            first_error = Some(FilesError::GivenUp);
                        }
                    }
                    Err(error) => {
                        failed.set(true);
                        first_error.get_or_insert(error);
                    }
                }
            }
        });
        first_error.map_or(Ok(copied), Err)
    }

    /// Where a copy of `source` to `target` really goes.
    fn target_in(&self, source: &Path, target: &[u8]) -> Result<Vec<u8>, FilesError> {
        let existing = block_on(self.stat(target));
        match (existing, source.file_name()) {
            (Ok(status), Some(name)) if status.kind == FileKind::Directory => {
                Ok(join(target, name.as_bytes()))
            }
            (Ok(_), _) | (Err(FilesError::Machine { error: Errno::NOENT, .. }), _) => Ok(target.to_vec()),
            (Err(error), _) => Err(error),
        }
    }

    /// Makes the directories of a tree and collects its files. A link to a file
    /// counts as that file, a link to a directory is passed over.
    fn make_tree(
        &self,
        source: &Path,
        target: Vec<u8>,
        files: &mut Vec<(PathBuf, Vec<u8>)>,
        copied: &mut Copied,
    ) -> Result<(), FilesError> {
        match block_on(self.done(&Request::MakeDirectory { path: &target, mode: 0o755 }, &target)) {
            Err(FilesError::Machine { error: Errno::EXIST, path }) => {
                if block_on(self.stat(&target))?.kind != FileKind::Directory {
                    return Err(FilesError::Machine { path, error: Errno::NOTDIR });
                }
            }
            made => made?,
        }
        copied.directories += 1;
        for entry in fs::read_dir(source).map_err(|error| on_host(source, error))? {
            let entry = entry.map_err(|error| on_host(source, error))?;
            let (source, target) = (entry.path(), join(&target, entry.file_name().as_bytes()));
            let kind = entry.file_type().map_err(|error| on_host(&source, error))?;
            if kind.is_dir() {
                self.make_tree(&source, target, files, copied)?;
            } else if let Some(size) = file_size(&source) {
                copied.total += size;
                files.push((source, target));
            } else {
                copied.skipped += 1;
            }
        }
        Ok(())
    }

    async fn copy_file_in(&self, source: &Path, target: &[u8]) -> Result<u64, FilesError> {
        let mut file = fs::File::open(source).map_err(|error| on_host(source, error))?;
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
        let handle = self.open(target, flags).await?;
        let copied = async {
            let mut buffer = vec![0; MAX_DATA];
            let mut offset = 0;
            loop {
                let length = file.read(&mut buffer).map_err(|error| on_host(source, error))?;
                if length == 0 {
                    return Ok(offset);
                }
                let data = &buffer[..length];
                let request = Request::Write { handle, offset: Some(offset), data };
                offset = self
                    .ask(&request, target, |reply| match reply {
                        Reply::Written { end } => Some(end),
                        _ => None,
                    })
                    .await?;
            }
        }
        .await;
        let closed = self.done(&Request::Close { handle }, target).await;
        copied.and_then(|bytes| closed.map(|()| bytes))
    }

    /// Copies a file or a tree from the machine to `target` on the host, into
    /// `target` if that is a directory. Links are treated as on the way in.
    ///
    /// # Errors
    /// The first that comes up; what has been copied stays.
    pub fn copy_out(
        &self,
        source: &[u8],
        target: &Path,
        progress: Progress<'_>,
    ) -> Result<Copied, FilesError> {
        let mut copied = Copied::default();
        let name = source.split(|&byte| byte == b'/').rfind(|name| !matches!(*name, b"" | b"." | b".."));
        let name = name.unwrap_or(b"root");
        let target = match target.is_dir() {
            true => target.join(std::ffi::OsStr::from_bytes(name)),
            false => target.to_path_buf(),
        };
        let status = block_on(self.stat(source))?;
        let mut waiting = vec![(source.to_vec(), status.kind, target)];
        while let Some((source, kind, target)) = waiting.pop() {
            if kind == FileKind::Link && !self.leads_to_a_file(&source)? {
                copied.skipped += 1;
                continue;
            }
            if kind != FileKind::Directory {
                copied.bytes += block_on(self.copy_file_out(&source, &target))?;
                copied.files += 1;
                if progress(copied).is_break() {
                    return Err(FilesError::GivenUp);
                }
                continue;
            }
            match fs::create_dir(&target) {
                Err(error) if !target.is_dir() => return Err(on_host(&target, error)),
                _ => copied.directories += 1,
            }
            for entry in block_on(self.entries(&source))? {
                // The machine is not trusted with where on the host things go.
                if !is_plain(&entry.name) {
                    let path = String::from_utf8_lossy(&join(&source, &entry.name)).into_owned();
                    return Err(FilesError::Machine { path, error: Errno::INVAL });
                }
                let target = target.join(std::ffi::OsStr::from_bytes(&entry.name));
                waiting.push((join(&source, &entry.name), entry.kind, target));
            }
        }
        Ok(copied)
    }

    /// Whether a link of the machine leads to a file.
    fn leads_to_a_file(&self, link: &[u8]) -> Result<bool, FilesError> {
        match block_on(self.stat(link)) {
            Ok(status) => Ok(status.kind == FileKind::Regular),
            Err(FilesError::Machine { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn copy_file_out(&self, source: &[u8], target: &Path) -> Result<u64, FilesError> {
        let handle = self.open(source, OpenFlags::READ).await?;
        let copied = async {
            let mut file = fs::File::create(target).map_err(|error| on_host(target, error))?;
            let mut offset = 0;
            loop {
                let request = Request::Read { handle, offset, length: MAX_DATA as u32 };
                let data = self
                    .ask(&request, source, |reply| match reply {
                        Reply::Data(data) => Some(data.to_vec()),
                        _ => None,
                    })
                    .await?;
                if data.is_empty() {
                    return Ok(offset);
                }
                io::Write::write_all(&mut file, &data).map_err(|error| on_host(target, error))?;
                offset += data.len() as u64;
            }
        }
        .await;
        let closed = self.done(&Request::Close { handle }, source).await;
        copied.and_then(|bytes| closed.map(|()| bytes))
    }

    /// What stands in a directory (sorted by name), or the file itself.
    ///
    /// # Errors
    /// See [`FilesError`].
    pub fn list(&self, path: &[u8]) -> Result<Vec<Listed>, FilesError> {
        block_on(async {
            let status = self.stat(path).await?;
            if status.kind != FileKind::Directory {
                let entry = Entry { name: path.to_vec(), inode: status.inode, kind: status.kind };
                return Ok(vec![Listed { entry, status, link: None }]);
            }
            let mut listed = Vec::new();
            for entry in self.entries(path).await? {
                match self.look(&join(path, &entry.name)).await {
                    Ok((status, link)) => listed.push(Listed { entry, status, link }),
                    // Removed since it was listed.
                    Err(FilesError::Machine { error: Errno::NOENT, .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            listed.sort_by(|a, b| a.entry.name.cmp(&b.entry.name));
            Ok(listed)
        })
    }

    /// What a path names, be it a link; then also what that stands for.
    async fn look(&self, path: &[u8]) -> Result<(Status, Option<Vec<u8>>), FilesError> {
        let status = self.ask(&Request::StatLink { path }, path, as_status).await?;
        if status.kind != FileKind::Link {
            return Ok((status, None));
        }
        let request = Request::ReadLink { path };
        let target = self.ask(&request, path, |reply| match reply {
            Reply::Data(target) => Some(target.to_vec()),
            _ => None,
        });
        Ok((status, Some(target.await?)))
    }

    async fn entries(&self, path: &[u8]) -> Result<Vec<Entry>, FilesError> {
        let handle = self.open(path, OpenFlags::READ | OpenFlags::DIRECTORY).await?;
        let listed = self.names(handle, path).await;
        let closed = self.done(&Request::Close { handle }, path).await;
        listed.and_then(|entries| closed.map(|()| entries))
    }

    async fn names(&self, handle: Handle, path: &[u8]) -> Result<Vec<Entry>, FilesError> {
        let mut all = Vec::new();
        let mut cookie = Some(0);
        while let Some(at) = cookie {
            let request = Request::List { handle, cookie: at };
            let (entries, next) = self
                .ask(&request, path, |reply| match reply {
                    Reply::Entries { entries, next } => Some((entries, next)),
                    _ => None,
                })
                .await?;
            all.extend(entries);
            // Cookies only grow; one that does not would never end this.
            cookie = next.filter(|&next| next > at);
        }
        Ok(all)
    }

    async fn open(&self, path: &[u8], flags: OpenFlags) -> Result<Handle, FilesError> {
        self.ask(&Request::Open { path, flags, mode: 0o644 }, path, |reply| match reply {
            Reply::Opened { handle, .. } => Some(handle),
            _ => None,
        })
        .await
    }

    async fn stat(&self, path: &[u8]) -> Result<Status, FilesError> {
        self.ask(&Request::Stat { path }, path, as_status).await
    }

    async fn done(&self, request: &Request<'_>, path: &[u8]) -> Result<(), FilesError> {
        self.ask(request, path, |reply| matches!(reply, Reply::Done).then_some(())).await
    }

    /// Asks `files`; `path` is what an error names.
    async fn ask<T>(
        &self,
        request: &Request<'_>,
        path: &[u8],
        take: impl FnOnce(Reply<'_>) -> Option<T>,
    ) -> Result<T, FilesError> {
        let mut reply = self.messenger.call_utility(Utility::Files, &encode(request)).await?;
        let failed = |error| FilesError::Machine { path: String::from_utf8_lossy(path).into_owned(), error };
        let reply = decode::<Response>(reply.bytes()).map_err(|_| failed(Errno::IO))?.map_err(failed)?;
        take(reply).ok_or_else(|| failed(Errno::IO))
    }
}

fn as_status(reply: Reply<'_>) -> Option<Status> {
    match reply {
        Reply::Status(status) => Some(status),
        _ => None,
    }
}

/// Whether this is the name of something in a directory, and no way out of it.
fn is_plain(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.contains(&b'/') && !name.contains(&0)
}

/// Bytes of a regular file, or of the one that a link leads to.
fn file_size(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|status| status.len())
}

fn on_host(path: &Path, error: io::Error) -> FilesError {
    FilesError::Host { path: path.display().to_string(), error }
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let directory = directory.strip_suffix(b"/").unwrap_or(directory);
    [directory, b"/", name].concat()
}
