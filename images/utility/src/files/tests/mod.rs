//! Tests of the file system, and what they share.

mod crash;
mod hostile;
mod links;
mod locks;
mod model;
mod operations;
mod script;
mod space;
mod threads;

use super::*;
use crate::shared::testing::{World, first};
use kernel::protocol::files::{Handle, OpenFlags, Status};

/// Bytes of a small region.
const SMALL: usize = 1 << 20;
/// The client of most tests.
const CLIENT: u16 = 7;

/// A reply that borrows from nothing; data stands beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    reply: Result<Reply<'static>, Errno>,
    data: Vec<u8>,
}

impl From<Response<'_>> for Answer {
    fn from(response: Response<'_>) -> Self {
        let (reply, data) = match response {
            Ok(Reply::Data(data)) => (Ok(Reply::Data(&[])), data.to_vec()),
            Ok(Reply::Entries { entries, next }) => (Ok(Reply::Entries { entries, next }), Vec::new()),
            Ok(Reply::Status(status)) => (Ok(Reply::Status(status)), Vec::new()),
            Ok(Reply::Space { total, free, inodes, inodes_free }) => {
                (Ok(Reply::Space { total, free, inodes, inodes_free }), Vec::new())
            }
            Ok(Reply::Done) => (Ok(Reply::Done), Vec::new()),
            Ok(Reply::Opened { handle, status }) => (Ok(Reply::Opened { handle, status }), Vec::new()),
            Ok(Reply::Written { end }) => (Ok(Reply::Written { end }), Vec::new()),
            Err(error) => (Err(error), Vec::new()),
        };
        Self { reply, data }
    }
}

/// A client with some file system objects on one memory, in a world.
struct Bench {
    memory: SharedMemory,
    world: World,
    fs: Vec<FileSystem>,
    id: u64,
    now: u64,
}

impl Bench {
    /// One activity on fresh memory.
    fn new(bytes: usize) -> Self {
        Self::with_activities(bytes, 1)
    }

    fn with_activities(bytes: usize, activities: u16) -> Self {
        let (memory, world) = (SharedMemory::heap(bytes), World::default());
        let attach =
            |peer| FileSystem::attach_or_format(&memory, world.activity(100 + peer), 1).expect("it fits");
        let fs = (0..activities).map(attach).collect();
        Self { memory, world, fs, id: 0, now: 1 }
    }

    /// The next request, to the activities in turn.
    fn ask(&mut self, request: Request<'_>) -> Answer {
        self.ask_as(CLIENT, request)
    }

    fn ask_as(&mut self, client: u16, request: Request<'_>) -> Answer {
        self.id += 1;
        self.now += 1;
        let fs = &self.fs[self.id as usize % self.fs.len()];
        fs.handle(first(client), self.id, request, self.now, &mut Vec::new()).into()
    }

    fn try_open(&mut self, path: &str, flags: OpenFlags) -> Result<(Handle, Status), Errno> {
        let request = Request::Open { path: path.as_bytes(), flags, mode: 0o644 };
        match self.ask(request).reply? {
            Reply::Opened { handle, status } => Ok((handle, status)),
            other => panic!("{other:?}"),
        }
    }

    fn open(&mut self, path: &str, flags: OpenFlags) -> Handle {
        self.try_open(path, flags).expect(path).0
    }

    fn create(&mut self, path: &str) -> Handle {
        self.open(path, OpenFlags::CREATE | OpenFlags::READ | OpenFlags::WRITE)
    }

    fn close(&mut self, handle: Handle) {
        assert_eq!(self.ask(Request::Close { handle }).reply, Ok(Reply::Done));
    }

    fn write(&mut self, handle: Handle, offset: u64, data: &[u8]) -> Result<u64, Errno> {
        match self.ask(Request::Write { handle, offset: Some(offset), data }).reply? {
            Reply::Written { end } => Ok(end),
            other => panic!("{other:?}"),
        }
    }

    fn read(&mut self, handle: Handle, offset: u64, length: u32) -> Result<Vec<u8>, Errno> {
        let answer = self.ask(Request::Read { handle, offset, length });
        answer.reply.map(|_| answer.data)
    }

    fn stat(&mut self, path: &str) -> Result<Status, Errno> {
        match self.ask(Request::Stat { path: path.as_bytes() }).reply? {
            Reply::Status(status) => Ok(status),
            other => panic!("{other:?}"),
        }
    }

    fn done(&mut self, request: Request<'_>) -> Result<(), Errno> {
        self.ask(request).reply.map(|reply| assert_eq!(reply, Reply::Done))
    }

    fn mkdir(&mut self, path: &str) -> Result<(), Errno> {
        self.done(Request::MakeDirectory { path: path.as_bytes(), mode: 0o755 })
    }

    fn rmdir(&mut self, path: &str) -> Result<(), Errno> {
        self.done(Request::RemoveDirectory { path: path.as_bytes() })
    }

    fn unlink(&mut self, path: &str) -> Result<(), Errno> {
        self.done(Request::Unlink { path: path.as_bytes() })
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), Errno> {
        self.done(Request::Rename { from: from.as_bytes(), to: to.as_bytes() })
    }

    fn link(&mut self, target: &str, path: &str) -> Result<(), Errno> {
        self.done(Request::MakeLink { target: target.as_bytes(), path: path.as_bytes() })
    }

    fn read_link(&mut self, path: &str) -> Result<String, Errno> {
        let answer = self.ask(Request::ReadLink { path: path.as_bytes() });
        answer.reply.map(|_| String::from_utf8(answer.data).unwrap())
    }

    fn canonical(&mut self, path: &str) -> Result<String, Errno> {
        let answer = self.ask(Request::Canonical { path: path.as_bytes() });
        answer.reply.map(|_| String::from_utf8(answer.data).unwrap())
    }

    fn kind(&mut self, path: &str) -> Result<FileKind, Errno> {
        match self.ask(Request::StatLink { path: path.as_bytes() }).reply? {
            Reply::Status(status) => Ok(status.kind),
            other => panic!("{other:?}"),
        }
    }

    /// All names of a directory, in the order in which they are listed.
    fn list(&mut self, path: &str) -> Vec<String> {
        let handle = self.open(path, OpenFlags::READ | OpenFlags::DIRECTORY);
        let (mut names, mut cookie) = (Vec::new(), Some(0));
        while let Some(at) = cookie {
            let (some, next) = self.list_some(handle, at);
            names.extend(some);
            cookie = next;
        }
        self.close(handle);
        names
    }

    fn list_some(&mut self, handle: Handle, cookie: u64) -> (Vec<String>, Option<u64>) {
        match self.ask(Request::List { handle, cookie }).reply {
            Ok(Reply::Entries { entries, next }) => {
                (entries.into_iter().map(|entry| String::from_utf8(entry.name).unwrap()).collect(), next)
            }
            other => panic!("{other:?}"),
        }
    }

    /// Free bytes and free inodes.
    fn free(&mut self) -> (u64, u64) {
        match self.ask(Request::Space).reply {
            Ok(Reply::Space { free, inodes_free, .. }) => (free, inodes_free),
            other => panic!("{other:?}"),
        }
    }

    fn check(&self) -> Report {
        self.fs[0].check().expect("a clean file system")
    }
}
