//! What the file system costs on the host, next to copying the same bytes.
//!
//! `cargo run --release -p utility --example files_speed`

use kernel::protocol::files::{Handle, MAX_DATA, OpenFlags, Reply, Request};
use kernel::protocol::{Incarnation, Peer};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;
use transport::memory::SharedMemory;
use utility::files::FileSystem;
use utility::shared::environment::Environment;

const CLIENT: Incarnation = Incarnation { peer: Peer(2), generation: 1 };
const FILE: usize = 1024 * MAX_DATA;
const SMALL_FILES: usize = 10_000;

struct Alone;

impl Environment for Alone {
    fn own(&self) -> Incarnation {
        Incarnation { peer: Peer(1), generation: 1 }
    }

    fn lives(&self, _: Incarnation) -> bool {
        true
    }

    fn relax(&self, _: u32) {
        std::thread::yield_now();
    }
}

struct Client {
    fs: FileSystem,
    id: u64,
    buffer: Vec<u8>,
}

impl Client {
    fn ask(&mut self, request: Request<'_>) -> Reply<'_> {
        self.id += 1;
        self.fs.handle(CLIENT, self.id, request, self.id, &mut self.buffer).expect("it works")
    }

    fn open(&mut self, path: &str, flags: OpenFlags) -> Handle {
        match self.ask(Request::Open { path: path.as_bytes(), flags, mode: 0o644 }) {
            Reply::Opened { handle, .. } => handle,
            other => panic!("{other:?}"),
        }
    }
}

fn per_second(what: &str, bytes: usize, work: impl FnOnce()) {
    let start = Instant::now();
    work();
    println!("{what:40} {:8.0} MB/s", bytes as f64 / start.elapsed().as_secs_f64() / 1e6);
}

fn each(what: &str, times: usize, work: impl FnOnce()) {
    let start = Instant::now();
    work();
    println!("{what:40} {:8.2} us each", start.elapsed().as_secs_f64() * 1e6 / times as f64);
}

fn main() {
    let memory = SharedMemory::heap(256 << 20);
    let fs = FileSystem::attach_or_format(&memory, Arc::new(Alone), 1).expect("it fits");
    let mut client = Client { fs, id: 0, buffer: Vec::new() };
    bulk(&mut client, &SharedMemory::heap(FILE));
    small_files(&mut client);
    client.fs.check().expect("clean");
}

fn bulk(client: &mut Client, raw: &SharedMemory) {
    let data = vec![7; MAX_DATA];
    let file = client.open("/bulk", OpenFlags::READ | OpenFlags::WRITE | OpenFlags::CREATE);
    let offsets = || (0..FILE).step_by(MAX_DATA);
    let write = |client: &mut Client, offset: usize| {
        client.ask(Request::Write { handle: file, offset: Some(offset as u64), data: &data });
    };
    per_second("write 56 KiB, new", FILE, || offsets().for_each(|at| write(client, at)));
    for _ in 0..3 {
        per_second("  raw copy into shared memory", FILE, || offsets().for_each(|at| raw.copy_in(at, &data)));
        per_second("write 56 KiB, over", FILE, || offsets().for_each(|at| write(client, at)));
        let mut target = vec![0; MAX_DATA];
        per_second("  raw copy out of shared memory", FILE, || {
            offsets().for_each(|at| raw.copy_out(at, black_box(&mut target)));
        });
        per_second("read 56 KiB", FILE, || {
            for offset in offsets().map(|at| at as u64) {
                black_box(client.ask(Request::Read { handle: file, offset, length: MAX_DATA as u32 }));
            }
        });
    }
    each("cut a 56 MiB file to nothing", 1, || {
        client.ask(Request::Truncate { handle: file, size: 0 });
    });
}

fn small_files(client: &mut Client) {
    let paths: Vec<String> = (0..SMALL_FILES).map(|number| format!("/file-{number}")).collect();
    client.ask(Request::MakeDirectory { path: b"/warm", mode: 0o755 });
    each("create, write 100 bytes, close", SMALL_FILES, || {
        for path in &paths {
            let handle = client.open(path, OpenFlags::WRITE | OpenFlags::CREATE);
            client.ask(Request::Write { handle, offset: None, data: &[1; 100] });
            client.ask(Request::Close { handle });
        }
    });
    each("stat among 10,000", SMALL_FILES, || {
        for path in &paths {
            black_box(client.ask(Request::Stat { path: path.as_bytes() }));
        }
    });
    each("list 10,000, each name", SMALL_FILES, || {
        let handle = client.open("/", OpenFlags::READ | OpenFlags::DIRECTORY);
        let mut cookie = Some(0);
        while let Some(at) = cookie {
            match client.ask(Request::List { handle, cookie: at }) {
                Reply::Entries { next, .. } => cookie = next,
                other => panic!("{other:?}"),
            }
        }
    });
    each("unlink", SMALL_FILES, || {
        for path in &paths {
            client.ask(Request::Unlink { path: path.as_bytes() });
        }
    });
}
