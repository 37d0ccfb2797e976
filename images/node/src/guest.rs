//! The calls of programs: `std`'s, which the runtime hands on, and those of the
//! `cyanea` crate.
//!
//! Which activity a call is from, its thread's tag says.

mod files;
mod pipes;
mod sockets;

use crate::activities::Activities;
use crate::activity::Activity;
use crate::descriptors::{Descriptors, FIRST_DESCRIPTOR, Object};
use crate::faults;
use crate::files::{Files, From, Mode};
use crate::sockets::Network;
use cyanea::{Error, Place, PoolMemory};
use hermit_abi as abi;
use ivshmem::layout::{Part, Region, RegionKind};
use kernel::errno::Errno;
use kernel::executor::block_on;
use kernel::protocol::fault::Report;
use kernel::protocol::files::{FileKind, OpenFlags, Status};
use kernel::protocol::tasks::End;
use runtime::fault::Fault;
use runtime::system::{DirectoryEntry, FileStatus, Sockets, System};
use runtime::thread::{handed_over, within_call};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use transport::memory::SharedMemory;

type Result<T> = std::result::Result<T, runtime::system::Errno>;

/// What stands under the programs of this node.
pub struct Node {
    activities: Arc<Activities>,
    files: Arc<Files>,
    descriptors: Arc<Descriptors>,
    network: Network,
    pool: OnceLock<Option<PoolMemory>>,
}

/// A call that `std` makes.
fn call<T>(call: impl FnOnce() -> std::result::Result<T, Errno>) -> Result<T> {
    within_call(call).map_err(|error| runtime::system::Errno(error.0))
}

impl Node {
    /// The calls of the programs of these activities.
    pub fn new(activities: Arc<Activities>, files: Arc<Files>, descriptors: Arc<Descriptors>) -> Self {
        let network = Network::new(activities.messenger.clone());
        Self { activities, files, descriptors, network, pool: OnceLock::new() }
    }

    /// Gives activity `tag` a descriptor.
    fn install(&self, tag: u64, object: Object) -> std::result::Result<i32, Errno> {
        let fd = self.descriptors.install(tag, object)?;
        self.keep(tag, fd)
    }

    /// A descriptor that was just made, unless the activity was ended meanwhile
    /// and what it left open is closed.
    fn keep(&self, tag: u64, fd: i32) -> std::result::Result<i32, Errno> {
        if tag != 0 && self.activities.tagged(tag).is_none() {
            self.files.close(tag, fd)?;
        }
        Ok(fd)
    }

    /// A call that only programs make, for the activity of the calling thread.
    fn for_program<T>(&self, call: impl FnOnce(&Arc<Activity>) -> T) -> T {
        within_call(|| match self.activities.tagged(runtime::thread::activity()) {
            Some(activity) => call(&activity),
            // Its end has been reported: nothing is left to do for this thread.
            None => runtime::thread::end(),
        })
    }

    fn end(&self, tag: u64, end: End, fault: Option<Report>) -> ! {
        if let Some(activity) = self.activities.tagged(tag) {
            self.activities.ended(&activity, end, fault);
        }
        runtime::thread::end()
    }
}

impl System for Node {
    fn write_console(&self, tag: u64, fd: i32, bytes: &[u8]) -> Result<usize> {
        call(|| {
            if let Some(activity) = self.activities.tagged(tag) {
                block_on(activity.write(fd as u8, bytes));
            }
            Ok(bytes.len())
        })
    }

    fn open(&self, tag: u64, path: &[u8], flags: i32, mode: u32) -> Result<i32> {
        let mode =
            Mode { flags: open_flags(flags), append: flags & abi::O_APPEND != 0, permissions: mode as u16 };
        call(|| {
            let fd = self.files.open(tag, path, mode)?;
            self.keep(tag, fd)
        })
    }

    fn close(&self, tag: u64, fd: i32) -> Result<()> {
        call(|| self.files.close(tag, fd))
    }

    fn read(&self, tag: u64, fd: i32, target: &mut [u8]) -> Result<usize> {
        call(|| match self.descriptors.get(tag, fd)? {
            Object::File(file) => self.files.read(&file, target),
            Object::Socket(socket) => {
                self.receive_from(tag, &socket, target, false).map(|(length, _)| length)
            }
            Object::Counter(counter) => self.read_counter(tag, &counter, target),
        })
    }

    fn write(&self, tag: u64, fd: i32, source: &[u8]) -> Result<usize> {
        call(|| match self.descriptors.get(tag, fd)? {
            Object::File(file) => self.files.write(&file, source),
            Object::Socket(socket) => self.send_to(tag, &socket, source, None),
            Object::Counter(counter) => self.write_counter(tag, &counter, source),
        })
    }

    fn seek(&self, tag: u64, fd: i32, offset: i64, whence: i32) -> Result<u64> {
        call(|| {
            let from = match whence {
                abi::SEEK_SET => From::Start,
                abi::SEEK_CUR => From::Position,
                abi::SEEK_END => From::End,
                _ => return Err(Errno::INVAL),
            };
            self.files.seek(tag, fd, from, offset)
        })
    }

    fn fstat(&self, tag: u64, fd: i32) -> Result<FileStatus> {
        call(|| self.files.descriptor_status(tag, fd).map(file_status))
    }

    fn stat(&self, _tag: u64, path: &[u8]) -> Result<FileStatus> {
        call(|| self.files.status(path).map(file_status))
    }

    fn lstat(&self, _tag: u64, path: &[u8]) -> Result<FileStatus> {
        call(|| self.files.link_status(path).map(file_status))
    }

    fn read_directory(&self, tag: u64, fd: i32) -> Result<Vec<DirectoryEntry>> {
        call(|| {
            let entries = self.files.names(tag, fd)?.into_iter().map(|entry| DirectoryEntry {
                name: entry.name,
                kind: file_kind(entry.kind),
                number: entry.inode.into(),
            });
            Ok(entries.collect())
        })
    }

    fn mkdir(&self, _tag: u64, path: &[u8], mode: u32) -> Result<()> {
        call(|| self.files.make_directory(path, mode as u16))
    }

    fn rmdir(&self, _tag: u64, path: &[u8]) -> Result<()> {
        call(|| self.files.remove_directory(path))
    }

    fn unlink(&self, _tag: u64, path: &[u8]) -> Result<()> {
        call(|| self.files.unlink(path))
    }

    fn dup(&self, tag: u64, fd: i32) -> Result<i32> {
        call(|| self.descriptors.duplicate(tag, fd))
    }

    fn closes_on_exec(&self, tag: u64, fd: i32) -> Result<bool> {
        call(|| match fd {
            0..FIRST_DESCRIPTOR => Ok(false),
            _ => self.descriptors.closes_on_exec(tag, fd),
        })
    }

    fn close_on_exec(&self, tag: u64, fd: i32, closes: bool) -> Result<()> {
        call(|| match fd {
            // The console's are the same for all activities.
            0..FIRST_DESCRIPTOR if closes => Err(Errno::NOSYS),
            0..FIRST_DESCRIPTOR => Ok(()),
            _ => self.descriptors.close_on_exec(tag, fd, closes),
        })
    }

    fn sockets(&self) -> &dyn Sockets {
        self
    }

    fn exit(&self, tag: u64, code: i32) -> ! {
        self.end(tag, End::Exited(code), None)
    }

    fn fault(&self, tag: u64, fault: Fault) -> ! {
        let report = faults::report(fault);
        self.end(tag, End::Faulted(report.kind), Some(report))
    }
}

/// How a file is opened, from the Hermit ABI's flags.
fn open_flags(flags: i32) -> OpenFlags {
    let mut wanted = match flags & (abi::O_WRONLY | abi::O_RDWR) {
        abi::O_WRONLY => OpenFlags::WRITE,
        abi::O_RDWR => OpenFlags::READ | OpenFlags::WRITE,
        _ => OpenFlags::READ,
    };
    for (bit, flag) in [
        (abi::O_CREAT, OpenFlags::CREATE),
        (abi::O_EXCL, OpenFlags::EXCLUSIVE),
        (abi::O_TRUNC, OpenFlags::TRUNCATE),
        (abi::O_DIRECTORY, OpenFlags::DIRECTORY),
    ] {
        wanted.set(flag, flags & bit != 0);
    }
    wanted
}

fn file_kind(kind: FileKind) -> runtime::system::FileKind {
    match kind {
        FileKind::Regular => runtime::system::FileKind::Regular,
        FileKind::Directory => runtime::system::FileKind::Directory,
        FileKind::Link => runtime::system::FileKind::Link,
    }
}

fn file_status(status: Status) -> FileStatus {
    // Later ones no program can set, but another VM can write.
    let modified = i64::try_from(status.modified_ns).unwrap_or(i64::MAX);
    FileStatus {
        kind: file_kind(status.kind),
        size: status.size,
        mode: status.mode.into(),
        number: status.inode.into(),
        names: status.links.into(),
        accessed: modified,
        modified,
        changed: modified,
    }
}

impl cyanea::System for Node {
    fn activity(&self) -> cyanea::Activity {
        self.for_program(|activity| {
            let placement = &activity.placement;
            cyanea::Activity { index: placement.key.1.into(), count: placement.members.len() }
        })
    }

    fn place(&self, of: usize) -> std::result::Result<Place, Error> {
        self.for_program(|activity| {
            let node = activity.placement.members.get(of).ok_or(Error::NoSuchActivity)?.peer;
            let peers = &self.activities.messenger.membership().description().peers;
            let cluster = peers.get(usize::from(node.0)).and_then(|peer| peer.cluster);
            Ok(Place { node: node.0.into(), cluster: cluster.map_or(usize::MAX, usize::from) })
        })
    }

    fn args(&self) -> Vec<String> {
        self.for_program(|activity| handed_over(&activity.placement.program.arguments))
    }

    fn send(&self, to: usize, body: &[u8]) -> std::result::Result<(), Error> {
        self.send_to_member(to, body)
    }

    fn pool(&self) -> Option<PoolMemory> {
        let window = || {
            let region = Region::laid_out(runtime::regions::pool()?, RegionKind::Pool).ok()?;
            // One window for the life of the VM.
            let pages: &'static SharedMemory = Box::leak(Box::new(region.part(Part::Pages).ok()?));
            Some(pages.words())
        };
        within_call(|| *self.pool.get_or_init(window))
    }

    fn now_ns(&self) -> u64 {
        runtime::clock::now_ns()
    }

    fn uncertainty(&self) -> Option<Duration> {
        within_call(vm::clock::uncertainty_ns).map(Duration::from_nanos)
    }
}
