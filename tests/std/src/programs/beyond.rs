//! `cyanea::fs`: what `std::fs` cannot do on a node, on the host as `std` does it.

use crate::{Outcome, path, say, tell};
use std::fs::{self, File, TryLockError};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, SystemTime};

pub fn main() -> Outcome {
    renaming()?;
    lengths()?;
    copies()?;
    links()?;
    paths()?;
    trees()?;
    modes_and_times()?;
    locks()?;
    waiting_for_locks()?;
    Ok(())
}

fn renaming() -> Outcome {
    let (a, b) = (path("a"), path("b"));
    fs::write(&a, "first")?;
    tell("renamed", cyanea::fs::rename(&a, &b));
    tell("old name", fs::exists(&a));
    fs::write(&a, "second")?;
    tell("over another", cyanea::fs::rename(&a, &b).and_then(|()| fs::read_to_string(&b)));
    tell("from nothing", cyanea::fs::rename(&a, &b));
    fs::create_dir_all(path("d/inner"))?;
    tell("file over directory", cyanea::fs::rename(&b, path("d")));
    tell("directory over file", cyanea::fs::rename(path("d"), &b));
    tell("directory into itself", cyanea::fs::rename(path("d"), path("d/inner/d")));
    tell("directory", cyanea::fs::rename(path("d"), path("e")));
    fs::create_dir(path("full"))?;
    fs::write(path("full/file"), "x")?;
    tell("over a full directory", cyanea::fs::rename(path("e"), path("full")));
    let mut names = cyanea::fs::names(path("e"))?;
    names.sort();
    say("names", names);
    tell("names of an empty one", cyanea::fs::names(path("e/inner")));
    tell("names of a file", cyanea::fs::names(&b));
    Ok(())
}

fn lengths() -> Outcome {
    let name = path("length");
    fs::write(&name, "0123456789")?;
    tell("shorter", cyanea::fs::set_len(&name, 3).and_then(|()| fs::read_to_string(&name)));
    tell("longer", cyanea::fs::set_len(&name, 6).and_then(|()| fs::read(&name)));
    tell("of nothing", cyanea::fs::set_len(path("nothing"), 1));
    tell("of a directory", cyanea::fs::set_len(path("e"), 1));
    Ok(())
}

fn copies() -> Outcome {
    let (a, b) = (path("copied"), path("copy"));
    fs::write(&a, "content")?;
    tell("copied", cyanea::fs::copy(&a, &b));
    tell("the copy", fs::read_to_string(&b));
    fs::write(&a, "more content")?;
    tell("over it", cyanea::fs::copy(&a, &b).and_then(|_| fs::read_to_string(&b)));
    tell("from nothing", cyanea::fs::copy(path("nothing"), &b));
    tell("from a directory", cyanea::fs::copy(path("e"), &b));
    tell("to a directory", cyanea::fs::copy(&a, path("e")));
    Ok(())
}

fn links() -> Outcome {
    fs::create_dir_all(path("links/d"))?;
    let (file, link) = (path("links/file"), path("links/link"));
    fs::write(&file, "linked")?;
    tell("made", cyanea::fs::symlink("file", &link));
    tell("made again", cyanea::fs::symlink("file", &link));
    tell("says", cyanea::fs::read_link(&link));
    tell("a file says", cyanea::fs::read_link(&file));
    tell("nothing says", cyanea::fs::read_link(path("links/nothing")));
    tell("read through it", fs::read_to_string(&link));
    tell("written through it", fs::write(&link, "anew").and_then(|()| fs::read_to_string(&file)));
    let kinds = |name: &str| -> std::io::Result<_> {
        let (itself, behind) = (fs::symlink_metadata(path(name))?.file_type(), fs::metadata(path(name))?);
        Ok((itself.is_symlink(), itself.is_file(), behind.is_file(), behind.is_dir()))
    };
    tell("a link to a file", kinds("links/link"));
    cyanea::fs::symlink("../links/d", path("links/to d"))?;
    tell("a link to a directory", kinds("links/to d"));
    tell(
        "below it",
        fs::write(path("links/to d/inner"), "x").and_then(|()| fs::read_to_string(path("links/d/inner"))),
    );
    cyanea::fs::symlink(path("links/not yet"), path("links/dangling"))?;
    tell("to nothing", fs::read_to_string(path("links/dangling")));
    tell("whether it is there", fs::exists(path("links/dangling")));
    tell(
        "made behind it",
        fs::write(path("links/dangling"), "x").and_then(|()| fs::read_to_string(path("links/not yet"))),
    );
    tell("a new one in its place", File::create_new(path("links/dangling")).map(|_| ()));
    cyanea::fs::symlink("b", path("links/a"))?;
    cyanea::fs::symlink("a", path("links/b"))?;
    tell("in circles", fs::metadata(path("links/a")).map(|_| ()));
    let listed = fs::read_dir(path("links"))?
        .map(|entry| entry.map(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink())));
    say("links listed", listed.filter(|is_link| matches!(is_link, Ok(true))).count());
    tell("renamed", cyanea::fs::rename(&link, path("links/d/link")));
    tell("where it then leads", fs::read_to_string(path("links/d/link")));
    tell("removed", fs::remove_file(path("links/dangling")));
    tell("the directory behind it removed", fs::remove_dir(path("links/to d")));
    tell("an empty target", cyanea::fs::symlink("", path("links/empty")));
    Ok(())
}

fn paths() -> Outcome {
    let canonical = |name: &str| {
        let found = cyanea::fs::canonicalize(path(name))?;
        Ok(found.strip_prefix(path("")).map(|rest| rest.to_path_buf()).ok())
    };
    tell("of a file", canonical("links/../links/./file"));
    tell("of what a link leads to", canonical("links/to d/inner"));
    tell("of a directory", canonical("links/to d"));
    tell("of nothing", canonical("links/nothing"));
    tell("of a circle", canonical("links/a"));
    tell("of the root", cyanea::fs::canonicalize("/.."));
    Ok(())
}

fn trees() -> Outcome {
    fs::create_dir_all(path("tree/a/b/c"))?;
    fs::create_dir_all(path("kept"))?;
    fs::write(path("kept/file"), "kept")?;
    for i in 0..100 {
        fs::write(path(&format!("tree/a/file {i}")), "x")?;
    }
    cyanea::fs::symlink("../kept", path("tree/to kept"))?;
    cyanea::fs::symlink("kept", path("also to kept"))?;
    tell("all of it", cyanea::fs::remove_dir_all(path("tree")));
    tell("is it there", fs::exists(path("tree")));
    tell("what a link led to", fs::read_to_string(path("kept/file")));
    tell("twice", cyanea::fs::remove_dir_all(path("tree")));
    tell("a file", cyanea::fs::remove_dir_all(path("kept/file")));
    tell("a link", cyanea::fs::remove_dir_all(path("also to kept")));
    tell("what that led to", fs::read_to_string(path("kept/file")));
    Ok(())
}

fn modes_and_times() -> Outcome {
    let name = path("mode");
    fs::write(&name, "x")?;
    tell("not to be written", cyanea::fs::set_mode(&name, 0o444));
    say("read only", fs::metadata(&name)?.permissions().readonly());
    tell("copied with it", cyanea::fs::copy(&name, path("mode copied")));
    say("read only as well", fs::metadata(path("mode copied"))?.permissions().readonly());
    tell("to be written", cyanea::fs::set_mode(&name, 0o644));
    say("not read only", fs::metadata(&name)?.permissions().readonly());
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    tell("a time", cyanea::fs::set_modified(&name, time));
    say("that time", fs::metadata(&name)?.modified()? == time);
    tell("mode of nothing", cyanea::fs::set_mode(path("nothing"), 0o600));
    tell("time of nothing", cyanea::fs::set_modified(path("nothing"), time));
    Ok(())
}

/// What a try for a lock gave.
fn tried(topic: &str, result: Result<(), TryLockError>) {
    match result {
        Ok(()) => say(topic, "locked"),
        Err(TryLockError::WouldBlock) => say(topic, "held by others"),
        Err(TryLockError::Error(error)) => tell(topic, Err::<(), _>(error)),
    }
}

fn locks() -> Outcome {
    use cyanea::fs::{lock, lock_shared, try_lock, try_lock_shared, unlock};
    let name = path("locked");
    let open = || File::options().read(true).write(true).create(true).truncate(false).open(&name);
    let (a, b, c) = (open()?, open()?, open()?);
    tell("alone", lock(&a));
    tried("a second", try_lock(&b));
    tried("a reader", try_lock_shared(&b));
    tell("it keeps nobody from writing", fs::write(&name, "x"));
    tell("free", unlock(&a));
    tried("the second", try_lock(&b));
    drop(b);
    tell("shared", lock_shared(&a));
    tried("with another", try_lock_shared(&c));
    tried("alone beside others", try_lock(&c));
    tell("one less", unlock(&a));
    tried("alone now", try_lock(&c));
    tried("as a reader again", try_lock_shared(&c));
    tried("with the first", try_lock_shared(&a));
    tell("unlocked", unlock(&a));
    tell("unlocked twice", unlock(&a));
    Ok(())
}

/// One at a time has the lock, whoever waits gets it.
fn waiting_for_locks() -> Outcome {
    let name = path("counter");
    fs::write(&name, "0")?;
    let (within, crowds) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5 {
                    let file = File::open(&name).unwrap();
                    cyanea::fs::lock(&file).unwrap();
                    crowds.fetch_add(within.fetch_add(1, SeqCst), SeqCst);
                    let count: u32 = fs::read_to_string(&name).unwrap().parse().unwrap();
                    fs::write(&name, (count + 1).to_string()).unwrap();
                    within.fetch_sub(1, SeqCst);
                }
            });
        }
    });
    say("counted", fs::read_to_string(&name)?);
    say("two at once", crowds.into_inner());
    Ok(())
}
