//! Locks of files: who excludes whom, and what ends them.

use super::*;

/// Asks for a lock of a client's holder.
fn lock(
    bench: &mut Bench,
    (client, holder): (u16, u64),
    handle: Handle,
    exclusive: bool,
) -> Result<(), Errno> {
    bench.ask_as(client, Request::Lock { handle, holder, exclusive }).reply.map(|_| ())
}

fn open_as(bench: &mut Bench, client: u16) -> Handle {
    let flags = OpenFlags::READ | OpenFlags::CREATE;
    match bench.ask_as(client, Request::Open { path: b"/f", flags, mode: 0o600 }).reply {
        Ok(Reply::Opened { handle, .. }) => handle,
        other => panic!("{other:?}"),
    }
}

#[test]
fn readers_share_and_a_writer_is_alone() {
    let mut bench = Bench::with_activities(SMALL, 2);
    let file = open_as(&mut bench, 1);
    open_as(&mut bench, 2);
    assert_eq!(lock(&mut bench, (1, 5), file, false), Ok(()));
    assert_eq!(lock(&mut bench, (1, 6), file, false), Ok(()));
    assert_eq!(lock(&mut bench, (2, 5), file, false), Ok(()));
    assert_eq!(lock(&mut bench, (2, 5), file, true), Err(Errno::AGAIN));
    assert_eq!(bench.check().locks, 3);
    for (client, holder) in [(1, 5), (1, 6), (1, 6)] {
        bench.ask_as(client, Request::Unlock { handle: file, holder }).reply.unwrap();
    }
    assert_eq!(lock(&mut bench, (2, 5), file, true), Ok(()), "its own does not forbid it");
    assert_eq!(lock(&mut bench, (1, 5), file, false), Err(Errno::AGAIN));
    assert_eq!(lock(&mut bench, (2, 6), file, false), Err(Errno::AGAIN), "another holder");
    assert_eq!(lock(&mut bench, (2, 5), file, false), Ok(()));
    assert_eq!(lock(&mut bench, (1, 5), file, false), Ok(()));
    assert_eq!(bench.check().locks, 2);
}

#[test]
fn locks_end_with_the_last_handle_and_with_their_client() {
    let mut bench = Bench::with_activities(SMALL, 2);
    let file = open_as(&mut bench, 1);
    open_as(&mut bench, 1);
    open_as(&mut bench, 2);
    let close = |bench: &mut Bench| bench.ask_as(1, Request::Close { handle: file }).reply.unwrap();
    assert_eq!(lock(&mut bench, (1, 5), file, true), Ok(()));
    close(&mut bench);
    assert_eq!(lock(&mut bench, (2, 5), file, true), Err(Errno::AGAIN), "one handle is left");
    close(&mut bench);
    assert_eq!(lock(&mut bench, (2, 5), file, true), Ok(()));
    assert_eq!(lock(&mut bench, (1, 5), file, false), Err(Errno::BADF), "it is not open");
    open_as(&mut bench, 1);
    assert_eq!(lock(&mut bench, (1, 5), file, false), Err(Errno::AGAIN));
    bench.world.bury(first(2));
    bench.fs[1].forget_all_dead();
    assert_eq!(lock(&mut bench, (1, 5), file, false), Ok(()));
    bench.fs[0].forget(first(1));
    let report = bench.check();
    assert_eq!((report.openings, report.locks, report.files), (0, 0, 1));
}

#[test]
fn odd_locks_are_refused() {
    let mut bench = Bench::new(4 << 20);
    let file = open_as(&mut bench, 1);
    assert_eq!(lock(&mut bench, (1, 0), file, true), Err(Errno::INVAL));
    assert_eq!(lock(&mut bench, (3, 1), file, true), Err(Errno::BADF));
    assert_eq!(bench.ask_as(1, Request::Unlock { handle: file, holder: 0 }).reply, Err(Errno::INVAL));
    let stale = Handle { generation: file.generation + 1, ..file };
    assert_eq!(lock(&mut bench, (1, 1), stale, true), Err(Errno::STALE));
    for holder in 1..=256 {
        assert_eq!(lock(&mut bench, (1, holder), file, false), Ok(()));
    }
    assert_eq!(lock(&mut bench, (1, 257), file, false), Err(Errno::MFILE));
    bench.ask_as(1, Request::Close { handle: file }).reply.unwrap();
    assert_eq!(bench.check().locks, 0);
    let directory = Request::Open { path: b"/", flags: OpenFlags::READ, mode: 0 };
    let Ok(Reply::Opened { handle, .. }) = bench.ask_as(1, directory).reply else { panic!() };
    assert_eq!(lock(&mut bench, (1, 1), handle, true), Ok(()));
}
