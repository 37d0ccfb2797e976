//! Locks of files, across nodes.

use cyanea::fs;
use std::fs::File;
use std::io;

/// Counts in a file under a lock: every activity as often as the first argument says.
pub fn count_under_lock() -> io::Result<()> {
    let times: u32 = cyanea::args().first().and_then(|text| text.parse().ok()).unwrap_or(1);
    let lock = open("/lock")?;
    for _ in 0..times {
        fs::lock(&lock)?;
        let count: u32 = std::fs::read_to_string("/counter").map_or(0, |text| text.parse().unwrap_or(0));
        std::fs::write("/counter", (count + 1).to_string())?;
        fs::unlock(&lock)?;
    }
    println!("activity {} is done", cyanea::activity().index);
    Ok(())
}

/// Takes the lock and keeps it until its end.
pub fn hold_lock() -> io::Result<()> {
    let file = open("/held")?;
    fs::lock(&file)?;
    println!("locked");
    loop {
        // Who parks for good is taken for deadlocked.
        std::thread::sleep(std::time::Duration::from_secs(3600));
    }
}

/// Takes the lock, waiting for it, in a way that a second one may share.
pub fn want_lock() -> io::Result<()> {
    let file = open("/held")?;
    let free = fs::try_lock_shared(&file).is_ok();
    println!("at once: {free}");
    fs::lock_shared(&file)?;
    println!("in the end: true");
    Ok(())
}

fn open(path: &str) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).open(path)
}
