//! The file system as a program sees it.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::time::{Duration, SystemTime};

/// A directory that is not empty, for which `std` has no kind on a node.
const ENOTEMPTY: i32 = 39;
/// A full file system, likewise.
const ENOSPC: i32 = 28;

/// Exercises `std::fs` and `cyanea::fs` below a directory of its own.
pub fn conformance() -> std::io::Result<()> {
    let root = unused_name();
    fs::create_dir(&root)?;
    assert_eq!(fs::create_dir(&root).unwrap_err().kind(), ErrorKind::AlreadyExists);
    let path = format!("{root}/a file");
    reading_and_writing(&path)?;
    appending(&path)?;
    names(&root, &path)?;
    unlinked_but_open(&path)?;
    fs::remove_dir(&root)?;
    assert_eq!(fs::metadata(&root).unwrap_err().kind(), ErrorKind::NotFound);
    println!("files: fine");
    Ok(())
}

/// A name that no other activity uses, of this program or another.
fn unused_name() -> String {
    let now = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos());
    format!("/conformance-{}-{now}", cyanea::activity().index)
}

fn reading_and_writing(path: &str) -> std::io::Result<()> {
    assert_eq!(fs::read(path).unwrap_err().kind(), ErrorKind::NotFound);
    let data: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
    fs::write(path, &data)?;
    assert_eq!(fs::metadata(path)?.len(), data.len() as u64);
    assert_eq!(fs::read(path)?, data);
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    file.seek(SeekFrom::Start(100_001))?;
    file.write_all(b"cyanea")?;
    assert_eq!(file.seek(SeekFrom::Current(-6))?, 100_001);
    let mut six = [0; 6];
    file.read_exact(&mut six)?;
    assert_eq!(&six, b"cyanea");
    assert_eq!(file.seek(SeekFrom::End(-4))?, data.len() as u64 - 4);
    let mut rest = Vec::new();
    assert_eq!(file.read_to_end(&mut rest)?, 4);
    assert!(file.seek(SeekFrom::Current(-10_000_000)).is_err());
    assert!(OpenOptions::new().write(true).create_new(true).open(path).is_err());
    assert_eq!(File::open(path)?.write(b"x").unwrap_err().raw_os_error(), Some(9));
    cyanea::fs::set_len(path, 5)?;
    assert_eq!(fs::read(path)?, &data[..5]);
    cyanea::fs::set_len(path, 8)?;
    assert_eq!(&fs::read(path)?[5..], [0; 3]);
    Ok(())
}

fn appending(path: &str) -> std::io::Result<()> {
    fs::write(path, "one ")?;
    for word in ["two ", "three"] {
        OpenOptions::new().append(true).open(path)?.write_all(word.as_bytes())?;
    }
    assert_eq!(fs::read_to_string(path)?, "one two three");
    Ok(())
}

fn names(root: &str, path: &str) -> std::io::Result<()> {
    let directory = format!("{root}/directory");
    fs::create_dir_all(format!("{directory}/deeper/still"))?;
    let moved = format!("{directory}/deeper/moved");
    cyanea::fs::rename(path, &moved)?;
    assert!(!fs::exists(path)?);
    assert_eq!(fs::remove_dir(&directory).unwrap_err().raw_os_error(), Some(ENOTEMPTY));
    assert!(cyanea::fs::rename(&directory, format!("{directory}/deeper/x")).is_err());
    let mut found: Vec<_> = fs::read_dir(format!("{directory}/deeper"))?
        .map(|entry| entry.map(|entry| entry.file_name().into_string().expect("ASCII")))
        .collect::<Result<_, _>>()?;
    found.sort();
    assert_eq!(found, ["moved", "still"]);
    assert!(cyanea::fs::names(format!("{directory}/deeper/still"))?.is_empty());
    cyanea::fs::rename(&moved, path)?;
    for empty in ["deeper/still", "deeper", ""] {
        fs::remove_dir(format!("{directory}/{empty}"))?;
    }
    Ok(())
}

fn unlinked_but_open(path: &str) -> std::io::Result<()> {
    fs::write(path, "still here")?;
    let mut file = File::open(path)?;
    fs::remove_file(path)?;
    assert!(!fs::exists(path)?);
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    assert_eq!(text, "still here");
    Ok(())
}

/// Makes a directory (the argument) with links of every kind.
pub fn links() -> std::io::Result<()> {
    let root = cyanea::args().pop().unwrap_or_default();
    fs::create_dir_all(format!("{root}/inner"))?;
    fs::write(format!("{root}/file"), "content")?;
    for (target, name) in [("file", "near"), (&format!("{root}/inner"), "to inner"), ("circle", "circle")] {
        cyanea::fs::symlink(target, format!("{root}/{name}"))?;
    }
    Ok(())
}

/// Fills the file system until it is full, and says what it saw.
pub fn filler() -> std::io::Result<()> {
    fs::write("/before", "written before")?;
    let chunk = vec![0x5a; 1 << 20];
    let mut file = File::create("/filler")?;
    let error = loop {
        if let Err(error) = file.write_all(&chunk) {
            break error;
        }
    };
    assert_eq!(error.raw_os_error(), Some(ENOSPC), "{error}");
    println!("full: {error}");
    drop(file);
    let written = fs::metadata("/filler")?.len();
    assert!(written > 0);
    let mut read = 0;
    let mut file = File::open("/filler")?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        assert!(buffer[..length].iter().all(|&byte| byte == 0x5a), "spoilt after byte {read}");
        read += length as u64;
    }
    assert_eq!(read, written);
    assert_eq!(fs::read_to_string("/before")?, "written before");
    drop(file);
    fs::remove_file("/filler")?;
    fs::write("/after", vec![1; 1 << 20])?;
    assert_eq!(fs::metadata("/after")?.len(), 1 << 20);
    println!("filler: {written} bytes, and the space came back");
    Ok(())
}

/// Changes files for ever, and says so every round. Each change would fail, or
/// show, if it were lost or done twice.
pub fn for_ever() -> std::io::Result<()> {
    let me = cyanea::activity().index;
    let (directory, path) = (format!("/for-ever-{me}"), format!("/for-ever-{me}/file"));
    let moved = format!("/moved-{me}");
    for round in 0u64.. {
        fs::create_dir(&directory)?;
        let mut file = OpenOptions::new().append(true).create_new(true).open(&path)?;
        let data: Vec<u8> = (0..20_000u64).map(|byte| (byte * (round + 1) % 251) as u8).collect();
        data.chunks(3_000).try_for_each(|chunk| file.write_all(chunk))?;
        cyanea::fs::rename(&path, &moved)?;
        assert!(fs::read(&moved)? == data, "round {round}: not what was written");
        fs::remove_dir(&directory)?;
        fs::remove_file(&moved)?;
        println!("activity {me}: round {round}");
    }
    Ok(())
}

/// Activity 0 removes a tree over and over; the other one puts a link to
/// `/kept` in place of a directory in it, and back. What is kept stays.
pub fn tree_and_link() -> std::io::Result<()> {
    const ROUNDS: usize = 200;
    let inner = "/tree/inner";
    if cyanea::activity().index > 0 {
        while !fs::exists("/enough")? {
            // Whatever of it fails, for the tree is being removed.
            let _ = cyanea::fs::rename(inner, "/aside");
            let _ = cyanea::fs::symlink("/kept", inner);
            let _ = fs::remove_file(inner);
            let _ = cyanea::fs::rename("/aside", inner);
        }
        return Ok(());
    }
    fs::create_dir_all("/kept/below")?;
    fs::write("/kept/file", "kept")?;
    for round in 0..ROUNDS {
        let made = fs::create_dir_all(format!("{inner}/deeper")).and_then(|()| fs::write("/tree/file", "x"));
        let removed = cyanea::fs::remove_dir_all("/tree");
        let kept = fs::exists("/kept/below")? && fs::exists("/kept/file")?;
        assert!(kept, "round {round}: what the link leads to was removed; {made:?}, {removed:?}");
    }
    fs::write("/enough", "")?;
    latest()
}

/// The latest time that a file can have been written.
fn latest() -> std::io::Result<()> {
    let latest = SystemTime::UNIX_EPOCH + Duration::from_nanos(i64::MAX as u64);
    cyanea::fs::set_modified("/enough", latest)?;
    assert_eq!(fs::metadata("/enough")?.modified()?, latest);
    let refused = cyanea::fs::set_modified("/enough", latest + Duration::from_nanos(1));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
    println!("kept");
    Ok(())
}
