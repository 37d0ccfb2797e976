//! Several activities at once, on threads.

use super::*;
use crate::shared::testing::{Fuse, unless_killed};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

const ROUNDS: usize = 400;
const APPENDS: u64 = 60;

/// One client's life with one activity: files of its own, and quarrels over
/// shared names.
fn live(fs: &FileSystem, client: u16) {
    let (mut id, mut buffer) = (0, Vec::new());
    let mut ask = |request: Request<'_>| {
        id += 1;
        Answer::from(fs.handle(first(client), id, request, id, &mut buffer))
    };
    let flags = OpenFlags::READ | OpenFlags::WRITE | OpenFlags::CREATE;
    for round in 0..ROUNDS {
        let own = format!("/own-{client}-{}", round % 10);
        let shared = format!("/shared-{}", round % 7);
        let Ok(Reply::Opened { handle, .. }) =
            ask(Request::Open { path: own.as_bytes(), flags, mode: 0 }).reply
        else {
            panic!()
        };
        let data = vec![client as u8; 1 + round * 97 % 20_000];
        assert!(ask(Request::Write { handle, offset: None, data: &data }).reply.is_ok());
        let read = ask(Request::Read { handle, offset: 0, length: u32::MAX });
        // Zeros: where it was made longer.
        assert!(read.reply.is_ok() && read.data.iter().all(|&byte| byte == client as u8 || byte == 0));
        ask(Request::Rename { from: own.as_bytes(), to: shared.as_bytes() });
        ask(Request::MakeDirectory { path: shared.as_bytes(), mode: 0 });
        if round % 3 == 0 {
            ask(Request::Unlink { path: shared.as_bytes() });
            ask(Request::RemoveDirectory { path: shared.as_bytes() });
        }
        ask(Request::Truncate { handle, size: (round * 37 % 5000) as u64 });
        assert!(ask(Request::Stat { path: b"/" }).reply.is_ok());
        assert!(ask(Request::Close { handle }).reply.is_ok());
    }
}

#[test]
fn activities_at_once_leave_a_clean_file_system() {
    let bench = Bench::with_activities(16 << 20, 2);
    std::thread::scope(|scope| {
        for client in 1..=4 {
            let fs = &bench.fs[usize::from(client) % 2];
            scope.spawn(move || live(fs, client));
        }
    });
    assert_eq!(bench.check().openings, 0);
}

#[test]
fn a_reader_never_sees_half_of_an_append_or_a_rename() {
    let mut bench = Bench::with_activities(SMALL, 2);
    let log = bench.create("/log");
    bench.create("/a");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (writer, reader, over) = (&bench.fs[0], &bench.fs[1], &over);
        scope.spawn(move || {
            for id in 1000..4000 {
                let ask = |id, request: Request<'_>| {
                    writer.handle(first(1), id, request, 0, &mut Vec::new()).is_ok()
                };
                let data = [id as u8; 100];
                assert!(ask(3 * id, Request::Write { handle: log, offset: None, data: &data }));
                let (from, to): (&[u8], &[u8]) = if id % 2 == 0 { (b"/a", b"/b") } else { (b"/b", b"/a") };
                assert!(ask(3 * id + 1, Request::Rename { from, to }));
                if id % 50 == 0 {
                    assert!(ask(3 * id + 2, Request::Truncate { handle: log, size: 0 }));
                }
            }
            over.store(true, SeqCst);
        });
        let mut buffer = Vec::new();
        while !over.load(SeqCst) {
            let request = Request::Read { handle: log, offset: 0, length: u32::MAX };
            let Ok(Reply::Data(data)) = reader.handle(first(2), 0, request, 0, &mut buffer) else { panic!() };
            assert_eq!(data.len() % 100, 0);
            for line in data.chunks(100) {
                assert_eq!(line, [line[0]; 100]);
            }
            let request = Request::List { handle: Handle { inode: 1, generation: 1 }, cookie: 0 };
            let Ok(Reply::Entries { entries, .. }) = reader.handle(first(2), 0, request, 0, &mut Vec::new())
            else {
                panic!()
            };
            assert_eq!(entries.len(), 2, "log, and a or b");
        }
    });
    bench.check();
}

/// Appends its numbers to a log, through activities that are killed one after
/// another while other clients work.
fn append_through_the_dying(memory: &SharedMemory, world: &World, log: Handle, client: u16, seed: i64) {
    let (mut activity, mut fs) = (20 + client * 40, None);
    for number in 0..APPENDS {
        let data = (u64::from(client) << 32 | number).to_le_bytes();
        let answered = |fs: &mut Option<FileSystem>, activity: u16| {
            let stores = 40 + (seed * 7919 + i64::from(activity) * 104_729) % 1500;
            let fs = fs.get_or_insert_with(|| {
                let cells = Cells::new(memory.clone()).with_fuse(Fuse::after(stores));
                FileSystem::attach(cells, world.activity(activity), 1).unwrap()
            });
            let request = Request::Write { handle: log, offset: None, data: &data };
            assert!(fs.handle(first(client), number, request, 1, &mut Vec::new()).is_ok());
        };
        while unless_killed(|| answered(&mut fs, activity)).is_none() {
            world.bury(first(activity));
            (activity, fs) = (activity + 1, None);
        }
    }
}

#[test]
fn activities_killed_among_others_lose_and_repeat_nothing() {
    for seed in 0..40 {
        let mut bench = Bench::new(SMALL);
        let log = bench.create("/log");
        std::thread::scope(|scope| {
            for client in 1..=3 {
                let bench = &bench;
                scope.spawn(move || append_through_the_dying(&bench.memory, &bench.world, log, client, seed));
            }
        });
        let data = bench.read(log, 0, u32::MAX).unwrap();
        let (words, rest) = data.as_chunks::<8>();
        assert!(rest.is_empty());
        for client in 1..=3 {
            let numbers = words.iter().map(|word| u64::from_le_bytes(*word));
            let own = numbers.filter(|number| number >> 32 == client).map(|number| number as u32 as u64);
            assert!(own.eq(0..APPENDS), "seed {seed}");
        }
        bench.check();
    }
}
