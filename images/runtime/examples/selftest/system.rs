//! The system above the runtime, played: what programs do reaches it.

use runtime::fault::{Fault, Kind};
use runtime::system::{DirectoryEntry, Errno, FileKind, FileStatus, System};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, SystemTime};

/// The least system: one file, in memory, in one directory; and what activities did.
pub struct Least {
    content: Mutex<(Vec<u8>, usize)>,
    said: Mutex<Vec<(u64, Vec<u8>)>>,
    pub ended: Mutex<Vec<(u64, Result<i32, Fault>)>>,
}

pub static LEAST: Least = Least {
    content: Mutex::new((Vec::new(), 0)),
    said: Mutex::new(Vec::new()),
    ended: Mutex::new(Vec::new()),
};

impl System for Least {
    fn write_console(&self, tag: u64, _fd: i32, bytes: &[u8]) -> Result<usize, Errno> {
        self.said.lock().unwrap().push((tag, bytes.to_vec()));
        Ok(bytes.len())
    }

    fn open(&self, _tag: u64, path: &[u8], _flags: i32, _mode: u32) -> Result<i32, Errno> {
        self.content.lock().unwrap().1 = 0;
        if path == b"/file" || path == b"/" { Ok(3) } else { Err(Errno::NOT_FOUND) }
    }

    fn close(&self, _tag: u64, _fd: i32) -> Result<(), Errno> {
        Ok(())
    }

    fn read(&self, _tag: u64, _fd: i32, target: &mut [u8]) -> Result<usize, Errno> {
        let (bytes, position) = &mut *self.content.lock().unwrap();
        let count = target.len().min(bytes.len() - *position);
        target[..count].copy_from_slice(&bytes[*position..][..count]);
        *position += count;
        Ok(count)
    }

    fn write(&self, _tag: u64, _fd: i32, source: &[u8]) -> Result<usize, Errno> {
        self.content.lock().unwrap().0.extend_from_slice(source);
        Ok(source.len())
    }

    fn fstat(&self, tag: u64, _fd: i32) -> Result<FileStatus, Errno> {
        self.stat(tag, b"/file")
    }

    fn stat(&self, _tag: u64, _path: &[u8]) -> Result<FileStatus, Errno> {
        let size = self.content.lock().unwrap().0.len() as u64;
        let (modified, accessed, changed) = (1_500_000_000, 0, -1);
        let kind = FileKind::Regular;
        Ok(FileStatus { kind, size, mode: 0o644, number: 5, names: 1, accessed, modified, changed })
    }

    fn read_directory(&self, _tag: u64, _fd: i32) -> Result<Vec<DirectoryEntry>, Errno> {
        let entry = |i: u64| DirectoryEntry {
            name: format!("name-{i}").into_bytes(),
            kind: if i % 2 == 0 { FileKind::Directory } else { FileKind::Regular },
            number: i,
        };
        Ok((0..200).map(entry).collect())
    }

    fn dup(&self, _tag: u64, fd: i32) -> Result<i32, Errno> {
        if fd == 3 { Ok(4) } else { Err(Errno::BAD_DESCRIPTOR) }
    }

    fn exit(&self, tag: u64, code: i32) -> ! {
        self.ended.lock().unwrap().push((tag, Ok(code)));
        runtime::thread::end()
    }

    fn fault(&self, tag: u64, fault: Fault) -> ! {
        self.ended.lock().unwrap().push((tag, Err(fault)));
        runtime::thread::cancel(tag);
        runtime::thread::end()
    }
}

/// Files, console and the end of activities go to the system that is installed.
pub fn system_above() {
    runtime::system::install(&LEAST);
    std::fs::write("/file", "some words").unwrap();
    assert_eq!(std::fs::read_to_string("/file").unwrap(), "some words");
    assert_eq!(std::fs::read("/other").unwrap_err().kind(), std::io::ErrorKind::NotFound);
    let status = std::fs::metadata("/file").unwrap();
    assert!(status.is_file() && status.len() == 10 && !status.permissions().readonly());
    assert_eq!(status.modified().unwrap(), SystemTime::UNIX_EPOCH + Duration::from_millis(1500));
    let names: Vec<_> = std::fs::read_dir("/").unwrap().map(Result::unwrap).collect();
    assert_eq!(names.len(), 200);
    for (i, entry) in names.iter().enumerate() {
        assert_eq!(entry.file_name().to_str(), Some(format!("name-{i}").as_str()));
        assert_eq!(entry.file_type().unwrap().is_dir(), i % 2 == 0);
    }
    // SAFETY: the path is a string with its end; the descriptor is one of the system's.
    #[expect(deprecated)]
    let calls = unsafe { (hermit_abi::opendir(c"/".as_ptr()), hermit_abi::fsync(3), hermit_abi::fsync(1)) };
    assert_eq!(calls, (3, 0, 0));
    // SAFETY: a descriptor is a number.
    let copies = [1, 3, 5].map(|fd| unsafe { hermit_abi::dup(fd) });
    assert_eq!(copies, [-hermit_abi::errno::EBADF, 4, -hermit_abi::errno::EBADF]);
    let activity = |tag, end: fn()| {
        thread::spawn(move || {
            runtime::thread::set_activity(tag);
            end();
        })
    };
    let ends = [activity(5, || std::process::exit(3)), activity(6, || panic!("of activity 6"))];
    while runtime::thread::count() > 1 {
        thread::sleep(Duration::from_millis(1));
    }
    ends.into_iter().for_each(std::mem::forget);
    let mut ended = std::mem::take(&mut *LEAST.ended.lock().unwrap());
    ended.sort_by_key(|(tag, _)| *tag);
    assert!(matches!(&ended[..], [(5, Ok(3)), (6, Err(Fault { kind: Kind::Abort, .. }))]), "{ended:?}");
    let said: Vec<u8> = LEAST.said.lock().unwrap().iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    assert!(String::from_utf8_lossy(&said).contains("of activity 6"));
    assert!(LEAST.said.lock().unwrap().iter().all(|(tag, _)| *tag == 6));
}
