//! What a VM writes to its console: kept in a log, remembered for reports,
//! handed to whoever follows.
//!
//! A log is fresh at each start of the machine and written line by line as
//! lines come, so it survives the launcher's death. It lies where memory may
//! be what backs files, so it is kept small: after [`LOG_BYTES`] what was
//! written so far moves to `NAME.old.log`, and what moved before is gone.

use crate::symbols::Image;
use ivshmem::fault::Backtrace;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Sender;

/// Bytes after which a log starts anew.
pub const LOG_BYTES: usize = 1 << 20;
/// Lines remembered for reports.
pub const LAST_LINES: usize = 40;
/// Backtraces of one life whose addresses are looked up: a VM that writes more
/// of them is not to keep the launcher busy.
const MOST_BACKTRACES: usize = 100;
/// Bytes after which a line is taken for ended.
const LINE_BYTES: usize = 4096;

/// The console of one VM, through all its lives.
#[derive(Debug)]
pub struct Console {
    path: PathBuf,
    log: File,
    written: usize,
    last: VecDeque<String>,
    /// Unfinished lines: of the VM's console, and of QEMU's own complaints.
    unfinished: [Vec<u8>; 2],
    followers: Vec<Sender<String>>,
    /// What the VM booted.
    image: Option<Arc<Image>>,
    /// How many of its backtraces were looked up in this life.
    backtraces: usize,
}

impl Console {
    /// A fresh log at `path`.
    pub fn new(path: &Path) -> io::Result<Self> {
        let _ = std::fs::remove_file(old(path));
        Ok(Self {
            path: path.to_owned(),
            log: File::create(path)?,
            written: 0,
            last: VecDeque::new(),
            unfinished: Default::default(),
            followers: Vec::new(),
            image: None,
            backtraces: 0,
        })
    }

    /// Takes bytes of one of the two outputs.
    pub fn take(&mut self, output: usize, bytes: &[u8]) {
        for &byte in bytes {
            if byte != b'\n' {
                self.unfinished[output].push(byte);
            }
            if byte == b'\n' || self.unfinished[output].len() >= LINE_BYTES {
                self.end_line(output);
            }
        }
    }

    /// Takes what was left unfinished for lines: nothing more will come.
    pub fn finish(&mut self) {
        for output in 0..self.unfinished.len() {
            if !self.unfinished[output].is_empty() {
                self.end_line(output);
            }
        }
    }

    /// A line of the launcher's own.
    pub fn note(&mut self, text: &str) {
        self.line(format!("-- {text}"));
    }

    /// Forgets the last lines: the next life, of this image, has its own.
    pub fn start_life(&mut self, image: Option<Arc<Image>>) {
        self.last.clear();
        (self.image, self.backtraces) = (image, 0);
    }

    /// The last lines of this life.
    pub fn last_lines(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }

    /// Sends everything that the log has, and from now on every line.
    pub fn follow(&mut self, follower: Sender<String>) {
        let text = read(&self.path);
        if text.lines().all(|line| follower.send(line.into()).is_ok()) {
            self.followers.push(follower);
        }
    }

    fn end_line(&mut self, output: usize) {
        let bytes = std::mem::take(&mut self.unfinished[output]);
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end_matches('\r');
        let backtrace = Backtrace::parse(text).filter(|_| output == 0);
        self.line(if output == 0 { text.to_owned() } else { format!("qemu: {text}") });
        if let Some(backtrace) = backtrace {
            self.explain(&backtrace);
        }
    }

    /// Writes below a backtrace what its addresses stand for.
    fn explain(&mut self, backtrace: &Backtrace) {
        self.backtraces += 1;
        let image = self.image.clone().filter(|_| self.backtraces <= MOST_BACKTRACES);
        let lines = image.map_or_else(Vec::new, |image| image.lines(backtrace.addresses()));
        lines.into_iter().for_each(|line| self.line(format!("  {line}")));
    }

    fn line(&mut self, line: String) {
        self.write(&line);
        self.followers.retain(|follower| follower.send(line.clone()).is_ok());
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// Writes to the log. A log that cannot be written (no space) must not
    /// stop the machine.
    fn write(&mut self, line: &str) {
        if self.written >= LOG_BYTES
            && std::fs::rename(&self.path, old(&self.path)).is_ok()
            && let Ok(log) = File::create(&self.path)
        {
            (self.log, self.written) = (log, 0);
        }
        if self.log.write_all(format!("{line}\n").as_bytes()).is_ok() {
            self.written += line.len() + 1;
        }
    }
}

/// What a log at `path` holds, with what moved out of it.
pub fn read(path: &Path) -> String {
    let bytes: Vec<u8> = [old(path), path.to_owned()]
        .iter()
        .flat_map(|path| std::fs::read(path).unwrap_or_default())
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Where the older half of a log lies.
fn old(path: &Path) -> PathBuf {
    path.with_extension("old.log")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn lines_are_logged_remembered_and_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node-a0.log");
        let mut console = Console::new(&path).unwrap();
        console.take(0, b"hello\r\nwor");
        let (sender, lines) = channel();
        console.follow(sender);
        console.take(1, b"complaint\n");
        console.take(0, b"ld\nrest");
        assert_eq!(read(&path), "hello\nqemu: complaint\nworld\n");
        console.finish();
        assert_eq!(console.last_lines(), ["hello", "qemu: complaint", "world", "rest"]);
        assert_eq!(lines.try_iter().collect::<Vec<_>>(), console.last_lines());
    }

    #[test]
    fn logs_and_memories_stay_small() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node-a0.log");
        let mut console = Console::new(&path).unwrap();
        for number in 0..3 * LOG_BYTES / 1024 {
            console.take(0, format!("{number:1023}\n").as_bytes());
        }
        console.take(0, &[b'x'; 3 * LINE_BYTES]);
        assert_eq!(console.last_lines().len(), LAST_LINES);
        assert!(read(&path).len() <= 2 * LOG_BYTES + 4 * LINE_BYTES);
        assert_eq!(Console::new(&path).map(|_| read(&path)).unwrap(), "");
    }
}
