//! The system under a program that runs on the host: a task force of one.

mod files;
mod pipes;

use crate::place::Place;
use crate::system::{Activity, Error, PoolMemory, System};

/// The host.
pub struct Host;

impl System for Host {
    fn activity(&self) -> Activity {
        Activity { index: 0, count: 1 }
    }

    fn place(&self, of: usize) -> Result<Place, Error> {
        if of == 0 { Ok(Place { node: 0, cluster: 0 }) } else { Err(Error::NoSuchActivity) }
    }

    fn args(&self) -> Vec<String> {
        std::env::args().skip(1).collect()
    }

    fn send(&self, to: usize, body: &[u8]) -> Result<(), Error> {
        if to != 0 {
            return Err(Error::NoSuchActivity);
        }
        pipes::send_to_mailbox(body);
        Ok(())
    }

    fn pool(&self) -> Option<PoolMemory> {
        None
    }
}
