//! `std::fs`: files, directories, and what is refused.

use crate::{Outcome, checksum, path, say, tell};
use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

pub fn main() -> Outcome {
    reading_and_writing()?;
    ways_to_open()?;
    seeking()?;
    directories()?;
    a_large_directory()?;
    a_deep_walk()?;
    metadata()?;
    unlinked_but_open()?;
    a_large_file()?;
    many_threads()?;
    what_is_refused()?;
    what_the_port_refuses()?;
    Ok(())
}

fn reading_and_writing() -> Outcome {
    let name = path("file");
    tell("not there", fs::read(&name));
    tell("is it there", fs::exists(&name));
    tell("written", fs::write(&name, "one two three"));
    tell("read", fs::read_to_string(&name));
    tell("shorter", fs::write(&name, "four"));
    tell("read again", fs::read_to_string(&name));
    tell("copied", fs::copy(&name, path("copy")));
    tell("the copy", fs::read(path("copy")));
    fs::write(&name, b"\xff\xfe")?;
    tell("not text", fs::read_to_string(&name));
    tell("empty", fs::write(&name, "").and_then(|()| fs::read(&name)));
    tell("removed", fs::remove_file(&name));
    tell("removed twice", fs::remove_file(&name));
    Ok(())
}

fn ways_to_open() -> Outcome {
    let name = path("opened");
    let open = |configure: fn(&mut OpenOptions) -> &mut OpenOptions| {
        configure(&mut OpenOptions::new()).open(&name).map(|_| ())
    };
    tell("to write what is not there", open(|o| o.write(true)));
    tell("no way at all", open(|o| o));
    tell("made to read", open(|o| o.read(true).create(true)));
    tell("cut to read", open(|o| o.read(true).truncate(true)));
    tell("appended and cut", open(|o| o.append(true).truncate(true)));
    tell("made", open(|o| o.write(true).create_new(true)));
    tell("made anew", open(|o| o.write(true).create_new(true)));
    tell("appended", open(|o| o.append(true)));
    tell("written at the start", OpenOptions::new().write(true).open(&name)?.write_all(b"0123456789"));
    tell("over it", OpenOptions::new().write(true).open(&name)?.write_all(b"ab"));
    for part in ["cd", "ef"] {
        let mut file = OpenOptions::new().append(true).open(&name)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(part.as_bytes())?;
    }
    tell("all of it", fs::read_to_string(&name));
    tell("write to what is read", File::open(&name)?.write(b"x"));
    tell("read what is written", OpenOptions::new().write(true).open(&name)?.read(&mut [0; 4]));
    tell("cut", open(|o| o.write(true).truncate(true)));
    say("nothing left", fs::metadata(&name)?.len());
    Ok(())
}

fn seeking() -> Outcome {
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path("seek"))?;
    file.write_all(b"0123456789")?;
    tell("from the end", file.seek(SeekFrom::End(-3)));
    let mut rest = String::new();
    tell("the rest", file.read_to_string(&mut rest).map(|_| rest));
    tell("at the end", file.read(&mut [0; 8]));
    tell("back", file.seek(SeekFrom::Current(-10)));
    tell("before the start", file.seek(SeekFrom::Current(-1)));
    tell("where it was", file.stream_position());
    tell("beyond the end", file.seek(SeekFrom::Start(20)));
    tell("read there", file.read(&mut [0; 8]));
    file.write_all(b"x")?;
    file.rewind()?;
    let mut all = Vec::new();
    file.read_to_end(&mut all)?;
    say("with a hole", all);
    file.rewind()?;
    tell("exactly", file.read_exact(&mut [0; 21]));
    tell("more than there is", file.read_exact(&mut [0; 1]));
    let other = File::open(path("seek"))?;
    let mut first = [0; 3];
    (&other).read_exact(&mut first)?;
    say("two positions", (first, (&other).stream_position()?, file.stream_position()?));
    Ok(())
}

/// The names in a directory and what they are, in order.
fn listed(directory: &Path) -> io::Result<BTreeMap<String, (bool, bool)>> {
    fs::read_dir(directory)?
        .map(|entry| {
            let entry = entry?;
            let kind = entry.file_type()?;
            assert_eq!(kind.is_dir(), entry.metadata()?.is_dir());
            assert_eq!(entry.path(), directory.join(entry.file_name()));
            Ok((entry.file_name().into_string().unwrap(), (kind.is_file(), kind.is_dir())))
        })
        .collect()
}

fn directories() -> Outcome {
    let root = path("directories");
    tell("made", fs::create_dir(&root));
    tell("made twice", fs::create_dir(&root));
    tell("made below nothing", fs::create_dir(path("nothing/below")));
    tell("list of an empty one", listed(&root));
    tell("made with those above", fs::create_dir_all(root.join("a/b/c")));
    tell("all of them again", fs::create_dir_all(root.join("a/b/c")));
    fs::write(root.join("a/file"), "x")?;
    tell("list", listed(&root.join("a")));
    tell("removed though not empty", fs::remove_dir(&root));
    tell("removed as a file", fs::remove_file(&root));
    tell("file removed as a directory", fs::remove_dir(root.join("a/file")));
    tell("file listed", listed(&root.join("a/file")));
    tell("nothing listed", listed(&root.join("nothing")));
    tell("below a file", fs::metadata(root.join("a/file/x")));
    tell("written as a file", fs::write(&root, "x"));
    tell("read as a file", fs::read(&root));
    fs::remove_file(root.join("a/file"))?;
    for name in ["a/b/c", "a/b", "a"] {
        fs::remove_dir(root.join(name))?;
    }
    tell("removed", fs::remove_dir(&root));
    tell("odd paths", fs::write(path(".//x/../odd"), "odd"));
    tell("above what is not there", fs::metadata(path("nothing/..")).map(|_| ()));
    fs::create_dir(path("x"))?;
    tell(
        "odd paths again",
        fs::write(path(".//x/../odd"), "odd").and_then(|()| fs::read_to_string(path("odd"))),
    );
    Ok(())
}

fn a_large_directory() -> Outcome {
    let root = path("large");
    fs::create_dir(&root)?;
    for i in 0..500 {
        fs::write(root.join(format!("file number {i}")), i.to_string())?;
    }
    let names = listed(&root)?;
    say("names", (names.len(), names.keys().next(), names.values().all(|kind| *kind == (true, false))));
    for i in (0..500).filter(|i| i % 7 != 0) {
        fs::remove_file(root.join(format!("file number {i}")))?;
    }
    say("left", listed(&root)?.len());
    let long = "n".repeat(255);
    tell("the longest name", fs::write(root.join(&long), "x"));
    tell("a longer one", fs::write(root.join(format!("{long}n")), "x"));
    Ok(())
}

/// Makes `width` directories and files in each, `depth` deep.
fn grow(directory: &Path, width: usize, depth: usize) -> io::Result<()> {
    fs::create_dir(directory)?;
    for i in 0..width {
        fs::write(directory.join(format!("file-{i}")), format!("{depth} {i}"))?;
        if depth > 0 {
            grow(&directory.join(format!("directory-{i}")), width, depth - 1)?;
        }
    }
    Ok(())
}

/// Files, directories, bytes, and a sum of all names and contents.
fn walk(directory: &Path, seen: &mut (u32, u32, u64, u64)) -> io::Result<()> {
    for (name, (_, is_directory)) in listed(directory)? {
        let path = directory.join(&name);
        seen.3 = seen.3.wrapping_add(checksum(name.bytes()));
        if is_directory {
            seen.1 += 1;
            walk(&path, seen)?;
        } else {
            let content = fs::read(&path)?;
            seen.0 += 1;
            seen.2 += content.len() as u64;
            seen.3 = seen.3.wrapping_add(checksum(content));
        }
    }
    Ok(())
}

fn a_deep_walk() -> Outcome {
    grow(&path("tree"), 3, 4)?;
    let mut seen = (0, 0, 0, 0);
    walk(&path("tree"), &mut seen)?;
    say("a walk", seen);
    let mut deep = path("deep");
    for i in 0..40 {
        deep.push(format!("level {i}"));
    }
    fs::create_dir_all(&deep)?;
    fs::write(deep.join("bottom"), "far down")?;
    tell("far down", fs::read_to_string(deep.join("bottom")));
    tell("too long a path", fs::metadata(path(&"a/../".repeat(1000))).map(|_| ()));
    Ok(())
}

fn metadata() -> Outcome {
    let name = path("file");
    let before = SystemTime::now() - Duration::from_secs(1);
    fs::write(&name, vec![1; 10_000])?;
    let found = fs::metadata(&name)?;
    say("a file", (found.is_file(), found.is_dir(), found.is_symlink(), found.len()));
    say("may be written", !found.permissions().readonly());
    say(
        "written a moment ago",
        found.modified()? >= before && found.modified()? <= SystemTime::now() + Duration::from_secs(1),
    );
    let file = File::open(&name)?;
    say("the same when open", (file.metadata()?.len(), file.metadata()?.modified()? == found.modified()?));
    let directory = fs::symlink_metadata(path("x"))?;
    say("a directory", (directory.is_file(), directory.is_dir()));
    thread::sleep(Duration::from_millis(20));
    fs::write(&name, "later")?;
    say("later", fs::metadata(&name)?.modified()? > found.modified()?);
    tell("of nothing", fs::metadata(path("nothing")).map(|_| ()));
    Ok(())
}

fn unlinked_but_open() -> Outcome {
    let name = path("unlinked");
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&name)?;
    fs::remove_file(&name)?;
    file.write_all(b"still here")?;
    file.rewind()?;
    let mut content = String::new();
    file.read_to_string(&mut content)?;
    say("unlinked", content);
    fs::write(&name, "another")?;
    say("two of that name", (file.metadata()?.len(), fs::metadata(&name)?.len()));
    Ok(())
}

fn a_large_file() -> Outcome {
    let name = path("a large file");
    let block: Vec<u8> = (0..1_000_003u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
    let mut file = File::create(&name)?;
    for _ in 0..3 {
        file.write_all(&block)?;
    }
    drop(file);
    say("its length", fs::metadata(&name)?.len());
    let content = fs::read(&name)?;
    say("its content", (content.len(), checksum(content.iter().copied())));
    let mut file = File::open(&name)?;
    file.seek(SeekFrom::Start(1_000_003 + 77_777))?;
    let mut part = vec![0; 100_000];
    file.read_exact(&mut part)?;
    say("a part", part == block[77_777..177_777]);
    fs::remove_file(&name)?;
    Ok(())
}

/// What threads append stays whole; what they write elsewhere does not disturb.
fn many_threads() -> Outcome {
    let name = path("log");
    File::create(&name)?;
    thread::scope(|scope| {
        for thread in 0..8 {
            let name = &name;
            scope.spawn(move || {
                let mut log = OpenOptions::new().append(true).open(name).unwrap();
                for i in 0..50 {
                    log.write_all(format!("thread {thread} line {i}\n").as_bytes()).unwrap();
                    let own = path(&format!("of thread {thread}"));
                    fs::write(&own, i.to_string()).unwrap();
                    assert_eq!(fs::read_to_string(&own).unwrap(), i.to_string());
                }
            });
        }
    });
    let text = fs::read_to_string(&name)?;
    let mut lines: Vec<_> = text.lines().collect();
    say("whole lines", lines.iter().filter(|line| line.starts_with("thread ")).count());
    lines.sort_unstable();
    lines.dedup();
    say("different lines", lines.len());
    Ok(())
}

fn what_is_refused() -> Outcome {
    tell("no path", fs::read(""));
    tell("a path with a zero", fs::read(path("a\0b")));
    tell("a directory made with no path", fs::create_dir(""));
    tell("the root removed", fs::remove_dir("/"));
    tell("copied from nothing", fs::copy(path("nothing"), path("x")));
    tell("copied from a directory", fs::copy(path("x"), path("y")));
    Ok(())
}

/// What works on the host, and whose place on a node [`super::beyond`] shows.
fn what_the_port_refuses() -> Outcome {
    let (file, other) = (path("file"), path("other"));
    fs::write(&file, "content")?;
    tell("renamed", fs::rename(&file, &other));
    let _ = fs::remove_file(&other);
    fs::write(&file, "content")?;
    tell("hard link", fs::hard_link(&file, path("hard")));
    tell("canonical", fs::canonicalize(path("x/../file")).map(|found| found == path("file")));
    tell("what a link says", fs::read_link(path("no link")).map(|_| ()));
    fs::create_dir_all(path("to be removed/inner"))?;
    tell("removed with all below", fs::remove_dir_all(path("to be removed")));
    let open = OpenOptions::new().read(true).write(true).open(&file)?;
    tell("cut", open.set_len(3));
    tell("made safe", open.sync_all());
    tell("its data", open.sync_data());
    tell("a second descriptor", open.try_clone().map(|_| ()));
    tell("locked", open.lock());
    tell("unlocked", open.unlock());
    tell("permissions", fs::set_permissions(&file, fs::metadata(&file)?.permissions()));
    tell("times", open.set_times(FileTimes::new().set_modified(SystemTime::UNIX_EPOCH)));
    tell("the time that was set", open.metadata()?.modified().map(|time| time == SystemTime::UNIX_EPOCH));
    Ok(())
}
