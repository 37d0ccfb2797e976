//! Symbolic links: what follows them, what does not, and where it ends.

use super::*;
use kernel::protocol::files::{MAX_LINKS, MAX_PATH};

const RW: OpenFlags = OpenFlags::READ.union(OpenFlags::WRITE);

/// `/d/file` and links to it and to its directory.
fn some_links() -> Bench {
    let mut bench = Bench::with_activities(SMALL, 2);
    bench.mkdir("/d").unwrap();
    let file = bench.create("/d/file");
    bench.write(file, 0, b"content").unwrap();
    for (target, path) in
        [("/d", "/to-d"), ("file", "/d/near"), ("to-d/../d/near", "/far"), ("/x", "/dangling")]
    {
        bench.link(target, path).unwrap();
    }
    bench
}

#[test]
fn links_are_followed_on_the_way_and_at_the_end() {
    let mut bench = some_links();
    for path in ["/to-d/file", "/to-d/near", "/d/near", "/far", "/to-d/../far", "//to-d/./near"] {
        assert_eq!(bench.stat(path).unwrap().size, 7, "{path}");
        assert_eq!(bench.canonical(path).unwrap(), "/d/file", "{path}");
        let file = bench.open(path, OpenFlags::READ);
        assert_eq!(bench.read(file, 0, 9).unwrap(), b"content");
    }
    assert_eq!(bench.kind("/far"), Ok(FileKind::Link));
    assert_eq!(bench.kind("/to-d"), Ok(FileKind::Link));
    assert_eq!(bench.kind("/to-d/"), Ok(FileKind::Directory));
    assert_eq!(bench.read_link("/far").unwrap(), "to-d/../d/near");
    assert_eq!(bench.read_link("/d/file"), Err(Errno::INVAL));
    assert_eq!(bench.read_link("/to-d/"), Err(Errno::INVAL));
    assert_eq!(bench.list("/to-d"), ["file", "near"]);
    assert_eq!(bench.canonical("/to-d/.."), Ok("/".into()));
    assert_eq!(bench.stat("/dangling").unwrap_err(), Errno::NOENT);
    assert_eq!(bench.canonical("/dangling"), Err(Errno::NOENT));
    assert_eq!(bench.stat("/far/x").unwrap_err(), Errno::NOTDIR);
    let report = bench.check();
    assert_eq!((report.files, report.links), (1, 4));
}

#[test]
fn what_changes_names_means_the_link_itself() {
    let mut bench = some_links();
    assert_eq!(bench.link("anything", "/far"), Err(Errno::EXIST));
    assert_eq!(bench.mkdir("/dangling"), Err(Errno::EXIST));
    assert_eq!(bench.rmdir("/to-d"), Err(Errno::NOTDIR));
    assert_eq!(bench.unlink("/to-d/"), Err(Errno::NOTDIR));
    let exclusive = RW | OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
    assert_eq!(bench.try_open("/dangling", exclusive).unwrap_err(), Errno::EXIST);
    // A file is made where the link leads.
    bench.create("/dangling");
    assert_eq!(bench.kind("/x"), Ok(FileKind::Regular));
    bench.rename("/dangling", "/d/moved").unwrap();
    assert_eq!(bench.read_link("/d/moved").unwrap(), "/x");
    bench.rename("/x", "/far").unwrap();
    assert_eq!(bench.kind("/far"), Ok(FileKind::Regular));
    bench.unlink("/to-d").unwrap();
    assert_eq!(bench.stat("/d/file").unwrap().size, 7);
    bench.unlink("/d/moved").unwrap();
    bench.unlink("/d/near").unwrap();
    assert_eq!(bench.check().links, 0);
    bench.fs[0].forget(first(CLIENT));
    assert_eq!(bench.check().blocks, 1, "the one of the file");
}

#[test]
fn chains_end_and_circles_are_an_error() {
    let mut bench = Bench::new(SMALL);
    bench.link("circle", "/circle").unwrap();
    bench.link("b", "/a").unwrap();
    bench.link("/a/", "/b").unwrap();
    for path in ["/circle", "/a", "/b/x", "/circle/.."] {
        assert_eq!(bench.stat(path).unwrap_err(), Errno::LOOP, "{path}");
        assert_eq!(bench.try_open(path, RW | OpenFlags::CREATE).unwrap_err(), Errno::LOOP, "{path}");
    }
    bench.create("/0");
    for number in 1..=MAX_LINKS + 1 {
        bench.link(&format!("{}", number - 1), &format!("/{number}")).unwrap();
    }
    assert!(bench.stat(&format!("/{MAX_LINKS}")).is_ok());
    assert_eq!(bench.stat(&format!("/{}", MAX_LINKS + 1)).unwrap_err(), Errno::LOOP);
    let long = "./".repeat(MAX_PATH / 2 - 1);
    bench.link(&long, "/long").unwrap();
    assert_eq!(bench.stat("/long").unwrap().inode, 1);
    assert_eq!(bench.stat("/long/./0").unwrap_err(), Errno::NAMETOOLONG);
    assert_eq!(bench.link(&"x".repeat(MAX_PATH + 1), "/longer"), Err(Errno::NAMETOOLONG));
    assert_eq!(bench.link("", "/empty"), Err(Errno::NOENT));
    assert_eq!(bench.link("a\0b", "/zero"), Err(Errno::INVAL));
    assert_eq!(bench.link("x", "/slash/"), Err(Errno::NOENT));
    bench.check();
}

#[test]
fn mode_and_time_are_what_they_are_set_to() {
    let mut bench = some_links();
    let set = Request::SetStatus { path: b"/far", mode: Some(0o444), modified_ns: Some(77) };
    bench.done(set).unwrap();
    let status = bench.stat("/d/file").unwrap();
    assert_eq!((status.mode, status.modified_ns, status.kind), (0o444, 77, FileKind::Regular));
    bench.done(Request::SetStatus { path: b"/far", mode: None, modified_ns: None }).unwrap();
    assert_eq!(bench.stat("/d/file").unwrap(), status);
    let missing = Request::SetStatus { path: b"/dangling", mode: Some(0), modified_ns: None };
    assert_eq!(bench.done(missing), Err(Errno::NOENT));
}
