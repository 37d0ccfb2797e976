//! Full file systems, and what they cost.

use super::*;
use kernel::protocol::files::MAX_DATA;

#[test]
fn a_full_file_system_keeps_what_it_has_and_gets_its_space_back() {
    let mut bench = Bench::with_activities(SMALL, 2);
    let empty = bench.free();
    let mut files = Vec::new();
    'full: for number in 0.. {
        let file = bench.create(&format!("/{number}"));
        files.push((number, file, 0));
        for chunk in 0..7 {
            match bench.write(file, chunk * 10_000, &[number as u8; 10_000]) {
                Ok(end) => files[number].2 = end,
                Err(error) => {
                    assert_eq!(error, Errno::NOSPC);
                    break 'full;
                }
            }
            bench.check();
        }
    }
    assert_eq!(bench.write(files[0].1, 0, &[0; MAX_DATA]), Ok(MAX_DATA as u64), "in place there is room");
    assert!(bench.free().0 < 3 * BLOCK as u64);
    for &(number, file, size) in &files {
        assert_eq!(bench.stat(&format!("/{number}")).unwrap().size, size);
        let data = [bench.read(file, 0, 50_000).unwrap(), bench.read(file, 50_000, 50_000).unwrap()].concat();
        assert_eq!(data, vec![number as u8; size as usize]);
    }
    bench.check();
    for &(number, file, _) in &files {
        bench.unlink(&format!("/{number}")).unwrap();
        bench.close(file);
    }
    assert_eq!(bench.free(), empty);
    assert_eq!(bench.check(), Report { directories: 1, ..Report::default() });
}

#[test]
fn a_refused_write_changes_nothing_and_leaks_nothing() {
    let mut bench = Bench::new(SMALL);
    let file = bench.create("/file");
    let mut end = 0;
    while let Ok(next) = bench.write(file, end, &[5; BLOCK]) {
        end = next;
    }
    bench.done(Request::Truncate { handle: file, size: end - 2 * BLOCK as u64 }).unwrap();
    let before = (bench.free(), bench.check(), bench.stat("/file").unwrap());
    // The first part would go over what is there, the rest has no room.
    assert_eq!(bench.write(file, end - 4 * BLOCK as u64, &[6; 5 * BLOCK]), Err(Errno::NOSPC));
    assert_eq!(bench.write(file, 2_000_000_000, &[6; 1]), Err(Errno::NOSPC), "tables have no room");
    assert_eq!((bench.free(), bench.check(), bench.stat("/file").unwrap()), before);
    assert_eq!(bench.read(file, end - 4 * BLOCK as u64, 9), Ok(vec![5; 9]));
}

#[test]
fn inodes_and_openings_run_out_and_come_back() {
    let mut bench = Bench::new(SMALL);
    let (_, inodes) = bench.free();
    let flags = OpenFlags::READ | OpenFlags::CREATE;
    for number in 0..inodes {
        bench.open(&format!("/{number}"), flags);
    }
    assert_eq!(bench.try_open("/more", flags).unwrap_err(), Errno::NOSPC);
    assert_eq!(bench.mkdir("/more"), Err(Errno::NOSPC));
    let other = Request::Open { path: b"/", flags: OpenFlags::READ, mode: 0 };
    assert!(bench.ask_as(3, other.clone()).reply.is_ok(), "as many openings as inodes, the root's is left");
    assert_eq!(bench.ask_as(4, other.clone()).reply, Err(Errno::MFILE));
    bench.fs[0].forget(first(CLIENT));
    assert!(bench.ask_as(4, other).reply.is_ok());
    for number in 0..inodes {
        bench.unlink(&format!("/{number}")).unwrap();
    }
    assert_eq!(bench.free().1, inodes);
    assert_eq!(bench.check().openings, 2);
}

#[test]
fn formatting_a_large_region_touches_little_of_it() {
    // Zeroed memory costs nothing until it is touched.
    let mut bench = Bench::new(256 << 20);
    let file = bench.create("/file");
    bench.write(file, 0, b"first").unwrap();
    let touched = (0..256 << 20).step_by(BLOCK).filter(|&page| {
        (page..page + BLOCK)
            .step_by(8)
            .any(|at| bench.memory.word(at).load(std::sync::atomic::Ordering::Relaxed) != 0)
    });
    assert!(touched.count() < 16);
}
