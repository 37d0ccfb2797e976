//! Activities killed at every store.
//!
//! A run with kills must be indistinguishable from one without: the client
//! sends what was not answered to the next activity, with the same request id,
//! and all answers, and all that can be read at the end, are the same.

use super::script::{Op, SLOTS, note, op, with_request};
use super::*;
use crate::shared::testing::{Fuse, unless_killed};
use proptest::prelude::*;

/// Never blows.
const FOREVER: i64 = i64::MAX;

/// What a client sees of a run.
#[derive(Debug, PartialEq)]
struct Seen {
    answers: Vec<Answer>,
    tree: Vec<(String, Status, Vec<u8>)>,
    report: Report,
}

/// A client that goes from each killed activity to the next. The n-th activity
/// is killed after `fuses[n]` stores, the last one never.
struct Client {
    memory: SharedMemory,
    world: World,
    fuses: Vec<i64>,
    activity: u16,
    fs: Option<FileSystem>,
    id: u64,
}

impl Client {
    fn new(fuses: &[i64]) -> Self {
        let (memory, world) = (SharedMemory::heap(SMALL), World::default());
        Self { memory, world, fuses: fuses.to_vec(), activity: 0, fs: None, id: 0 }
    }

    /// Does `work` with an activity until one survives it.
    fn with_survivor<T>(&mut self, work: impl Fn(&FileSystem) -> T) -> T {
        loop {
            let fuse = self.fuses.get(usize::from(self.activity)).copied().unwrap_or(FOREVER);
            let (memory, world, current) = (&self.memory, &self.world, &mut self.fs);
            let result = unless_killed(|| {
                let fs = current.get_or_insert_with(|| {
                    let cells = Cells::new(memory.clone()).with_fuse(Fuse::after(fuse));
                    FileSystem::attach(cells, world.activity(100 + self.activity), 1).unwrap()
                });
                work(fs)
            });
            if let Some(result) = result {
                return result;
            }
            self.world.bury(first(100 + self.activity));
            self.activity += 1;
            self.fs = None;
        }
    }

    fn ask(&mut self, request: &Request<'_>) -> Answer {
        self.id += 1;
        let id = self.id;
        self.with_survivor(|fs| fs.handle(first(1), id, request.clone(), id, &mut Vec::new()).into())
    }

    fn run(mut self, ops: &[Op]) -> Seen {
        let (mut answers, mut handles) = (Vec::new(), [None; SLOTS]);
        for op in ops {
            if let Some(answer) = with_request(op, &handles, |request| self.ask(&request)) {
                note(op, &answer, &mut handles);
                answers.push(answer);
            }
        }
        let mut tree = Vec::new();
        self.walk("/", &mut tree);
        self.with_survivor(|fs| fs.forget(first(1)));
        let report = self.with_survivor(|fs| fs.check()).expect("a clean file system");
        assert_eq!(report.openings, 0);
        Seen { answers, tree, report }
    }

    /// Reads everything below a path.
    fn walk(&mut self, path: &str, tree: &mut Vec<(String, Status, Vec<u8>)>) {
        let answer = self.ask(&Request::StatLink { path: path.as_bytes() });
        if let Ok(Reply::Status(status)) = answer.reply
            && status.kind == FileKind::Link
        {
            let target = self.ask(&Request::ReadLink { path: path.as_bytes() }).data;
            return tree.push((path.to_string(), status, target));
        }
        let request = Request::Open { path: path.as_bytes(), flags: OpenFlags::READ, mode: 0 };
        let Ok(Reply::Opened { handle, status }) = self.ask(&request).reply else { panic!() };
        let answer = match status.kind {
            FileKind::Regular => self.ask(&Request::Read { handle, offset: 0, length: u32::MAX }),
            FileKind::Directory => self.ask(&Request::List { handle, cookie: 0 }),
            FileKind::Link => panic!("a link was opened"),
        };
        tree.push((path.to_string(), status, answer.data));
        if let Ok(Reply::Entries { entries, .. }) = answer.reply {
            for entry in entries {
                let name = String::from_utf8(entry.name).unwrap();
                self.walk(&format!("{path}{}{name}", if path == "/" { "" } else { "/" }), tree);
            }
        }
    }
}

/// Kills an activity before every store in turn; says at how many.
fn kill_everywhere(ops: &[Op]) -> i64 {
    let expected = Client::new(&[]).run(ops);
    for stores in 0.. {
        let client = Client::new(&[stores]);
        let world = client.world.clone();
        assert_eq!(client.run(ops), expected, "killed after {stores} stores");
        if !world.is_dead(first(100)) {
            return stores;
        }
    }
    unreachable!()
}

fn open(path: &str, flags: OpenFlags, slot: usize) -> Op {
    Op::Open { path: path.to_string(), flags: flags | OpenFlags::READ, slot }
}

fn create(path: &str, slot: usize) -> Op {
    open(path, OpenFlags::WRITE | OpenFlags::CREATE, slot)
}

fn write(slot: usize, offset: Option<u64>, length: usize) -> Op {
    Op::Write { slot, offset, length, seed: 3 }
}

fn rename(from: &str, to: &str) -> Op {
    Op::Rename { from: from.to_string(), to: to.to_string() }
}

#[test]
fn names_survive_every_kill() {
    let directory = |path: &str| Op::MakeDirectory { path: path.to_string() };
    let kills = kill_everywhere(&[
        directory("/d"),
        create("/d/a", 0),
        create("/b", 1),
        rename("/b", "/d/c"),
        rename("/d/a", "/d/c"),
        rename("/d", "/e"),
        Op::Unlink { path: "/e/c".to_string() },
        Op::RemoveDirectory { path: "/e".to_string() },
        Op::RemoveDirectory { path: "/e".to_string() },
        Op::Close { slot: 1 },
        create("/f", 2),
        Op::Unlink { path: "/f".to_string() },
        directory("/g"),
    ]);
    println!("names: killed at each of {kills} stores");
    assert!(kills > 500);
}

#[test]
fn data_survives_every_kill() {
    let kills = kill_everywhere(&[
        create("/a", 0),
        write(0, None, 90),
        write(0, None, 33),
        write(0, Some(4090), 100),
        Op::Truncate { slot: 0, size: 4000 },
        write(0, Some(4010), 5),
        Op::Truncate { slot: 0, size: 9000 },
        write(0, Some(34 * 4096 + 50), 60),
        open("/a", OpenFlags::WRITE | OpenFlags::TRUNCATE, 1),
        write(1, None, 70),
    ]);
    println!("data: killed at each of {kills} stores");
    assert!(kills > 1500);
}

#[test]
fn links_and_locks_survive_every_kill() {
    let link = |target: &str, path: &str| Op::MakeLink { target: target.to_string(), path: path.to_string() };
    let lock = |slot, holder, exclusive| Op::Lock { slot, holder, exclusive };
    let kills = kill_everywhere(&[
        link("b", "/a"),
        create("/a", 0),
        write(0, None, 40),
        link("/a", "/b2"),
        open("/b2", OpenFlags::WRITE, 1),
        lock(0, 1, false),
        lock(1, 2, false),
        lock(1, 2, true),
        Op::Unlock { slot: 0, holder: 1 },
        lock(1, 2, true),
        lock(0, 1, false),
        rename("/b2", "/c"),
        Op::Unlink { path: "/a".to_string() },
        Op::Unlink { path: "/b".to_string() },
        Op::Close { slot: 0 },
        Op::Close { slot: 1 },
        link("loop", "/loop"),
        create("/loop", 2),
    ]);
    println!("links and locks: killed at each of {kills} stores");
    assert!(kills > 500);
}

#[test]
fn a_long_cut_is_continued_after_every_kill() {
    // Tables of pointers are cleared when they are made, which is many stores
    // that all look the same: only the cut is killed everywhere.
    let mut build = vec![create("/a", 0), create("/b", 1)];
    for step in 0..6 {
        build.push(write(step % 2, Some(step as u64 * 1030 * 4096), 10));
    }
    let cut = |size| Op::Truncate { slot: 0, size };
    let ops = [&build[..], &[cut(2060 * 4096 + 9), cut(40 * 4096), cut(0), write(0, None, 9)]].concat();
    let expected = Client::new(&[]).run(&ops);
    let before = {
        let mut client = Client::new(&[FOREVER / 2]);
        client.count(&build)
    };
    let all = Client::new(&[FOREVER / 2]).count(&ops);
    assert!(all > before + 150);
    for stores in before..all {
        assert_eq!(Client::new(&[stores]).run(&ops), expected, "killed after {stores} stores");
    }
    println!("long cut: killed at each of {} stores", all - before);
}

impl Client {
    /// How many stores these operations take.
    fn count(&mut self, ops: &[Op]) -> i64 {
        let fuse = Fuse::after(FOREVER);
        let cells = Cells::new(self.memory.clone()).with_fuse(fuse.clone());
        self.fs = Some(FileSystem::attach(cells, self.world.activity(100), 1).unwrap());
        let mut handles = [None; SLOTS];
        for op in ops {
            if let Some(answer) = with_request(op, &handles, |request| self.ask(&request)) {
                note(op, &answer, &mut handles);
            }
        }
        FOREVER - fuse.left()
    }
}

#[test]
fn formatting_survives_every_kill() {
    let ops = [create("/a", 0)];
    let stores = Client::new(&[]).count(&ops);
    let expected = Client::new(&[]).run(&ops);
    for first in 0..stores {
        for second in 0..stores {
            assert_eq!(Client::new(&[first, second]).run(&ops), expected, "killed after {first}, {second}");
        }
    }
}

#[test]
fn the_dead_are_forgotten_after_every_kill() {
    for stores in 0.. {
        let mut bench = Bench::new(SMALL);
        for path in ["/a", "/b", "/c"] {
            let file = bench.create(path);
            bench.write(file, 0, b"content").unwrap();
            for holder in [1, 2] {
                bench.done(Request::Lock { handle: file, holder, exclusive: false }).unwrap();
            }
            bench.unlink(path).unwrap();
        }
        let cells = Cells::new(bench.memory.clone()).with_fuse(Fuse::after(stores));
        let env = bench.world.activity(150);
        let work = || FileSystem::attach(cells, env, 1).map(|fs| fs.forget(first(CLIENT)));
        let done = unless_killed(work).is_some();
        bench.world.bury(first(150));
        bench.fs[0].forget(first(CLIENT));
        assert_eq!(bench.check(), Report { directories: 1, ..Report::default() });
        if done {
            assert!(stores > 60);
            break;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn long_runs_survive_random_kills(
        ops in prop::collection::vec(op(), 1..60),
        fuses in prop::collection::vec(prop_oneof![1 => 1..40_i64, 2 => 1..20_000_i64], 1..6),
    ) {
        prop_assert_eq!(Client::new(&fuses).run(&ops), Client::new(&[]).run(&ops));
    }
}
