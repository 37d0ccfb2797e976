//! The system under a program that runs on the host: a task force of one.

use crate::system::{Activity, Error, Message, PoolMemory, System};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// The host.
pub struct Host;

/// What the only activity sent to itself.
static MAILBOX: Mutex<VecDeque<Vec<u8>>> = Mutex::new(VecDeque::new());

impl System for Host {
    fn activity(&self) -> Activity {
        Activity { index: 0, count: 1 }
    }

    fn args(&self) -> Vec<String> {
        std::env::args().skip(1).collect()
    }

    fn send(&self, to: usize, body: &[u8]) -> Result<(), Error> {
        if to != 0 {
            return Err(Error::NoSuchActivity);
        }
        MAILBOX.lock().unwrap_or_else(PoisonError::into_inner).push_back(body.to_vec());
        Ok(())
    }

    fn receive(&self) -> Result<Message, Error> {
        let body = MAILBOX.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        body.map(|body| Message { from: 0, body }).ok_or(Error::Ended)
    }

    fn pool(&self) -> Option<PoolMemory> {
        None
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn set_len(&self, path: &Path, size: u64) -> io::Result<()> {
        std::fs::OpenOptions::new().write(true).open(path)?.set_len(size)
    }

    fn names(&self, path: &Path) -> io::Result<Vec<OsString>> {
        std::fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect()
    }
}
