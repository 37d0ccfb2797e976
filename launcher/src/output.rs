//! What the command says. Standard output may be a pipe that nobody reads any
//! more, or lie on a full disk: that is an error like others, never a panic.
//! Nothing else in this crate prints.

use anyhow::{Result, anyhow};
use std::fmt;
use std::io::{self, ErrorKind, Write};

/// Nobody reads standard output any more: the command is over, and well.
#[derive(Debug)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads standard output any more")
    }
}

impl std::error::Error for Closed {}

/// Writes to standard output.
///
/// # Errors
/// [`Closed`], or why it cannot be written.
pub fn put(bytes: &[u8]) -> Result<()> {
    write(&mut io::stdout().lock(), bytes)
}

/// Writes a line to standard output.
///
/// # Errors
/// As [`put`].
pub fn say(text: impl fmt::Display) -> Result<()> {
    put(format!("{text}\n").as_bytes())
}

/// Writes a line to standard error. If that cannot be, there is nobody to tell.
pub fn complain(text: impl fmt::Display) {
    let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}

fn write(out: &mut impl Write, bytes: &[u8]) -> Result<()> {
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Closed.into()),
        Err(error) => Err(anyhow!("standard output cannot be written: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;

    #[test]
    fn a_reader_that_is_gone_is_told_from_a_full_disk() {
        let (reader, mut pipe) = io::pipe().unwrap();
        write(&mut pipe, b"somebody reads").unwrap();
        drop(reader);
        assert!(write(&mut pipe, b"nobody does").unwrap_err().is::<Closed>());
        let mut full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let sentence = write(&mut full, b"no room").unwrap_err().to_string();
        assert!(sentence.starts_with("standard output cannot be written: No space left"), "{sentence}");
    }
}
