//! Every operation, and every error it may give.

use super::*;

const RW: OpenFlags = OpenFlags::READ.union(OpenFlags::WRITE);

#[test]
fn what_is_written_is_read_also_across_blocks_and_holes() {
    let mut bench = Bench::new(16 << 20);
    let file = bench.create("/file");
    let data: Vec<u8> = (0..MAX).map(|index| (index * 7 + index / 251) as u8).collect();
    const MAX: usize = kernel::protocol::files::MAX_DATA;
    for offset in [0, 1, 4095, 34 * 4096 - 5, 1058 * 4096 - 777, 3_000_000_001] {
        assert_eq!(bench.write(file, offset, &data), Ok(offset + MAX as u64));
        assert_eq!(bench.read(file, offset, MAX as u32).as_deref(), Ok(&data[..]));
        assert_eq!(bench.read(file, offset + 5, u32::MAX).unwrap()[..100], data[5..105]);
        bench.check();
    }
    assert_eq!(bench.read(file, 2_000_000_000, 99), Ok(vec![0; 99]), "a hole");
    assert_eq!(bench.read(file, 3_000_000_001 + MAX as u64, 9), Ok(vec![]), "the end");
    assert_eq!(bench.read(file, u64::MAX, 9), Ok(vec![]));
    assert_eq!(bench.write(file, u64::MAX - 3, b"12345"), Err(Errno::FBIG));
    assert_eq!(bench.write(file, MAX_SIZE - 3, b"12345"), Err(Errno::FBIG));
    assert_eq!(bench.write(file, MAX_SIZE - 5, b"12345"), Ok(MAX_SIZE));
    const { assert!(MAX_SIZE > 4 << 30) };
    assert_eq!(bench.write(file, 0, &vec![0; MAX + 1]), Err(Errno::INVAL));
    assert_eq!(bench.write(file, 5, &[]), Ok(5));
    bench.check();
    bench.unlink("/file").unwrap();
    assert!(bench.check().blocks > 0, "it is still open");
    bench.close(file);
    assert_eq!(bench.check().blocks, 0);
}

#[test]
fn growing_a_file_never_shows_what_was_cut_off() {
    let mut bench = Bench::new(SMALL);
    let file = bench.create("/file");
    bench.write(file, 0, &[9; 5000]).unwrap();
    for (cut, grown) in [(4500, 4900), (4200, 9000), (100, 200)] {
        bench.done(Request::Truncate { handle: file, size: cut }).unwrap();
        bench.done(Request::Truncate { handle: file, size: grown }).unwrap();
        let all = bench.read(file, 0, 10_000).unwrap();
        assert_eq!(all.len(), grown as usize);
        assert!(all[..cut as usize].iter().all(|&byte| byte == 9));
        assert!(all[cut as usize..].iter().all(|&byte| byte == 0));
    }
    bench.done(Request::Truncate { handle: file, size: 50 }).unwrap();
    bench.write(file, 60, &[8; 3]).unwrap();
    assert_eq!(bench.read(file, 45, 99).unwrap(), [&[9; 5][..], &[0; 10], &[8; 3]].concat());
    assert_eq!(bench.done(Request::Truncate { handle: file, size: MAX_SIZE + 1 }), Err(Errno::FBIG));
    bench.done(Request::Truncate { handle: file, size: 0 }).unwrap();
    assert_eq!(bench.check().blocks, 0);
}

#[test]
fn appends_go_to_the_end() {
    let mut bench = Bench::with_activities(SMALL, 2);
    let file = bench.create("/log");
    for line in 0..100 {
        let data = format!("line {line}\n");
        bench.ask(Request::Write { handle: file, offset: None, data: data.as_bytes() }).reply.unwrap();
    }
    let text = String::from_utf8(bench.read(file, 0, 10_000).unwrap()).unwrap();
    assert!(text.lines().enumerate().all(|(index, line)| line == format!("line {index}")));
    assert_eq!(text.lines().count(), 100);
}

#[test]
fn open_says_what_is_wrong() {
    let mut bench = Bench::new(SMALL);
    bench.mkdir("/d").unwrap();
    let file = bench.create("/f");
    bench.write(file, 0, b"content").unwrap();
    let cases = [
        ("/nothing", OpenFlags::READ, Errno::NOENT),
        ("/nothing/f", RW | OpenFlags::CREATE, Errno::NOENT),
        ("/f/g", RW | OpenFlags::CREATE, Errno::NOTDIR),
        ("/f/", OpenFlags::READ, Errno::NOTDIR),
        ("/f/.", OpenFlags::READ, Errno::NOTDIR),
        ("/new/", RW | OpenFlags::CREATE, Errno::ISDIR),
        ("/f", RW | OpenFlags::CREATE | OpenFlags::EXCLUSIVE, Errno::EXIST),
        ("/d", RW | OpenFlags::CREATE | OpenFlags::EXCLUSIVE, Errno::EXIST),
        ("/d", RW, Errno::ISDIR),
        ("/", OpenFlags::READ | OpenFlags::TRUNCATE, Errno::ISDIR),
        ("/d", OpenFlags::READ | OpenFlags::CREATE, Errno::ISDIR),
        ("/f", OpenFlags::READ | OpenFlags::DIRECTORY, Errno::NOTDIR),
        ("/x", OpenFlags::READ | OpenFlags::DIRECTORY | OpenFlags::CREATE, Errno::INVAL),
        ("", OpenFlags::READ, Errno::NOENT),
        ("f", OpenFlags::READ, Errno::INVAL),
        ("/a\0b", RW | OpenFlags::CREATE, Errno::INVAL),
    ];
    for (path, flags, error) in cases {
        assert_eq!(bench.try_open(path, flags).unwrap_err(), error, "{path} {flags:?}");
    }
    let long = format!("/{}", "n".repeat(255));
    let longer = format!("{long}n");
    bench.create(&long);
    assert_eq!(bench.list("/"), ["d", "f", &long[1..]]);
    assert_eq!(bench.try_open(&longer, RW | OpenFlags::CREATE).unwrap_err(), Errno::NAMETOOLONG);
    assert_eq!(bench.stat(&"/d/..".repeat(820)).unwrap_err(), Errno::NAMETOOLONG);
    assert_eq!(bench.stat(&"/d/..".repeat(819)).unwrap().inode, 1);
    let (again, status) = bench.try_open("//d/.././f", RW | OpenFlags::TRUNCATE).unwrap();
    assert_eq!((again, status.size), (file, 0));
    bench.check();
}

#[test]
fn an_unlinked_file_lives_until_it_is_closed_by_all() {
    let mut bench = Bench::with_activities(SMALL, 2);
    let file = bench.create("/f");
    let other = bench.ask_as(8, Request::Open { path: b"/f", flags: RW, mode: 0 });
    assert!(other.reply.is_ok());
    assert_eq!(bench.open("/f", RW), file, "opened twice by the first");
    bench.write(file, 0, b"kept").unwrap();
    bench.unlink("/f").unwrap();
    assert_eq!(bench.stat("/f").unwrap_err(), Errno::NOENT);
    assert_eq!(bench.create("/f").inode, file.inode + 1);
    bench.close(file);
    bench.close(file);
    assert_eq!(bench.ask(Request::Close { handle: file }).reply, Err(Errno::BADF));
    assert_eq!(bench.read(file, 0, 10).unwrap(), b"kept", "the second client has it open");
    assert_eq!(bench.check().openings, 2);
    for _ in 0..2 {
        bench.fs[1].forget(first(8));
    }
    assert_eq!(bench.read(file, 0, 10).unwrap_err(), Errno::STALE);
    assert_eq!(bench.ask(Request::Close { handle: file }).reply, Err(Errno::STALE));
    assert_eq!(bench.create("/g").inode, file.inode, "the inode is used again");
    assert_eq!(bench.read(file, 0, 10).unwrap_err(), Errno::STALE);
    assert_eq!(bench.check().blocks, 0);
}

#[test]
fn the_dead_hold_nothing() {
    let mut bench = Bench::new(SMALL);
    for client in 1..10 {
        let path = format!("/{client}");
        let flags = RW | OpenFlags::CREATE;
        bench.ask_as(client, Request::Open { path: path.as_bytes(), flags, mode: 0 }).reply.unwrap();
        bench.unlink(&path).unwrap();
    }
    assert_eq!(bench.check().openings, 9);
    bench.world.bury(first(3));
    bench.world.bury(first(4));
    bench.fs[0].forget_all_dead();
    assert_eq!((bench.check().openings, bench.check().files), (7, 7));
    let late = bench.ask_as(3, Request::Open { path: b"/", flags: OpenFlags::READ, mode: 0 });
    assert_eq!(late.reply, Err(Errno::CANCELED));
}

#[test]
fn directories_are_made_and_removed() {
    let mut bench = Bench::new(SMALL);
    bench.mkdir("/a").unwrap();
    bench.mkdir("/a/b/").unwrap();
    bench.create("/f");
    for (path, error) in [
        ("/a", Errno::EXIST),
        ("/f", Errno::EXIST),
        ("/", Errno::EXIST),
        ("/a/.", Errno::EXIST),
        ("/x/y", Errno::NOENT),
        ("/f/y", Errno::NOTDIR),
    ] {
        assert_eq!(bench.mkdir(path), Err(error), "{path}");
    }
    let root = bench.stat("/").unwrap();
    assert_eq!((root.links, root.kind, root.mode), (3, FileKind::Directory, 0o755));
    assert_eq!(bench.stat("/a/b/..").unwrap().links, 3);
    for (path, error) in [
        ("/a", Errno::NOTEMPTY),
        ("/f", Errno::NOTDIR),
        ("/", Errno::BUSY),
        ("/a/b/.", Errno::INVAL),
        ("/a/b/..", Errno::NOTEMPTY),
        ("/x", Errno::NOENT),
    ] {
        assert_eq!(bench.rmdir(path), Err(error), "{path}");
    }
    for (path, error) in [("/a", Errno::ISDIR), ("/f/", Errno::NOTDIR), ("/x", Errno::NOENT)] {
        assert_eq!(bench.unlink(path), Err(error), "{path}");
    }
    let open = bench.open("/a/b", OpenFlags::DIRECTORY);
    bench.rmdir("/a/b/").unwrap();
    assert_eq!(bench.list_some(open, 0), (vec![], None));
    assert_eq!(bench.check().directories, 3);
    bench.close(open);
    bench.rmdir("/a").unwrap();
    assert_eq!(bench.check().directories, 1);
    assert_eq!(bench.stat("/").unwrap().links, 2);
}

#[test]
fn rename_is_posix() {
    let mut bench = Bench::new(SMALL);
    for path in ["/a", "/a/b", "/full", "/full/x", "/empty"] {
        bench.mkdir(path).unwrap();
    }
    for path in ["/f", "/g", "/a/b/h"] {
        let file = bench.create(path);
        bench.write(file, 0, path.as_bytes()).unwrap();
        bench.close(file);
    }
    for (from, to, error) in [
        ("/x", "/y", Errno::NOENT),
        ("/x", "/f", Errno::NOENT),
        ("/f", "/x/y", Errno::NOENT),
        ("/f", "/g/y", Errno::NOTDIR),
        ("/f", "/a", Errno::ISDIR),
        ("/a", "/f", Errno::NOTDIR),
        ("/a", "/full", Errno::NOTEMPTY),
        ("/a/b", "/a", Errno::NOTEMPTY),
        ("/a", "/a/b/c", Errno::INVAL),
        ("/a", "/a/x", Errno::INVAL),
        ("/", "/a/x", Errno::BUSY),
        ("/a/.", "/x", Errno::BUSY),
        ("/a", "/a/b/..", Errno::BUSY),
        ("/f/", "/x", Errno::NOTDIR),
        ("/f", "/x/", Errno::NOTDIR),
    ] {
        assert_eq!(bench.rename(from, to), Err(error), "{from} {to}");
    }
    bench.rename("/f", "/f").unwrap();
    bench.rename("/a", "/a/").unwrap();
    bench.rename("/f", "/g").unwrap();
    let g = bench.open("/g", OpenFlags::READ);
    assert_eq!(bench.read(g, 0, 9).unwrap(), b"/f");
    bench.rename("/a/b/h", "/a/i").unwrap();
    bench.rename("/a/b", "/empty/").unwrap();
    assert_eq!(bench.stat("/empty/..").unwrap().inode, 1);
    bench.rename("/a", "/full/x/y").unwrap();
    assert_eq!(bench.list("/full/x/y"), ["i"]);
    assert_eq!(bench.stat("/full/x/y/..").unwrap().inode, bench.stat("/full/x").unwrap().inode);
    assert_eq!(bench.list("/"), ["full", "empty", "g"]);
    let report = bench.check();
    assert_eq!((report.files, report.directories, report.openings), (2, 5, 1));
}

#[test]
fn a_name_that_stays_is_listed_once_whatever_else_happens() {
    let mut bench = Bench::with_activities(16 << 20, 2);
    for number in 0..3000 {
        let file = bench.create(&format!("/name-{number}"));
        bench.close(file);
    }
    let root = bench.open("/", OpenFlags::READ | OpenFlags::DIRECTORY);
    let (mut seen, mut cookie, mut round) = (Vec::new(), Some(0), 0);
    while let Some(at) = cookie {
        let (names, next) = bench.list_some(root, at);
        // Remove the last name listed, replace one listed and one to come, add one.
        if let Some(name) = names.last() {
            bench.unlink(&format!("/{name}")).unwrap();
        }
        for (number, target) in [(round, 100), (round + 1, 2900)] {
            bench.create(&format!("/new-{number}-{target}"));
            bench.rename(&format!("/new-{number}-{target}"), &format!("/name-{target}")).unwrap();
        }
        bench.create(&format!("/added-{round}"));
        seen.extend(names);
        (cookie, round) = (next, round + 2);
    }
    assert!(round > 8);
    let stayed = (0..3000).map(|number| format!("name-{number}"));
    for name in stayed {
        assert_eq!(seen.iter().filter(|&other| *other == name).count(), 1, "{name}");
    }
    bench.check();
}

#[test]
fn a_request_sent_again_is_answered_and_not_done_again() {
    let bench = Bench::with_activities(SMALL, 2);
    let ask = |activity: usize, id, request: Request<'_>| {
        Answer::from(bench.fs[activity].handle(first(1), id, request, 5, &mut Vec::new()))
    };
    let open = Request::Open { path: b"/f", flags: RW | OpenFlags::CREATE | OpenFlags::EXCLUSIVE, mode: 1 };
    let opened = ask(0, 1, open.clone());
    assert_eq!(ask(1, 1, open), opened);
    let Ok(Reply::Opened { handle, .. }) = opened.reply else { panic!() };
    let append = Request::Write { handle, offset: None, data: b"once" };
    assert_eq!(ask(0, 2, append.clone()).reply, Ok(Reply::Written { end: 4 }));
    assert_eq!(ask(1, 2, append.clone()).reply, Ok(Reply::Written { end: 4 }));
    assert_eq!(ask(1, 2 + 64, append.clone()).reply, Ok(Reply::Written { end: 8 }));
    assert_eq!(ask(1, 2, append).reply, Err(Errno::CANCELED));
    assert_eq!(ask(0, 3, Request::Unlink { path: b"/f" }).reply, Ok(Reply::Done));
    assert_eq!(ask(0, 4, Request::Close { handle }).reply, Ok(Reply::Done));
    assert_eq!(ask(1, 3, Request::Unlink { path: b"/f" }).reply, Ok(Reply::Done));
    assert_eq!(ask(1, 4, Request::Close { handle }).reply, Ok(Reply::Done));
    assert_eq!(bench.check(), Report { directories: 1, ..Report::default() });
}

#[test]
fn a_region_is_formatted_once() {
    let memory = SharedMemory::heap(SMALL);
    assert_eq!(FileSystem::format(&memory, 1), Ok(()));
    assert_eq!(FileSystem::format(&memory, 1), Err(FormatError::Formatted));
    assert_eq!(FileSystem::format(&SharedMemory::heap(4096), 1), Err(FormatError::TooSmall));
    let other = memory.window(0, SMALL - 4096).unwrap();
    let env = World::default().activity(1);
    assert_eq!(FileSystem::attach_or_format(&other, env, 1).err(), Some(FormatError::Foreign));
}
