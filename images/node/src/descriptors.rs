//! The descriptors of the activities on this node: one table, whatever they
//! stand for. Another activity's descriptor is as bad as none.

use crate::activity::held;
use crate::counter::Counter;
use crate::files::OpenFile;
use crate::sockets::OpenSocket;
use kernel::errno::Errno;
use std::sync::{Arc, Mutex};

/// Descriptors below this one are the console's.
pub const FIRST_DESCRIPTOR: i32 = 3;
/// Most descriptors open on a node.
const MAX_DESCRIPTORS: usize = 4096;

/// What a descriptor stands for.
#[derive(Clone)]
pub enum Object {
    /// A file or directory.
    File(Arc<OpenFile>),
    /// A socket.
    Socket(Arc<OpenSocket>),
    /// A counter.
    Counter(Arc<Counter>),
}

/// A descriptor.
struct Entry {
    /// Its activity.
    owner: u64,
    /// What it stands for.
    object: Object,
    /// Whether it is marked to be closed by `exec`, of which there is none.
    closes_on_exec: bool,
}

/// The descriptors of the activities on this node.
#[derive(Default)]
pub struct Descriptors {
    open: Mutex<Vec<Option<Entry>>>,
}

impl Descriptors {
    /// Gives activity `tag` a descriptor: the lowest that is free.
    pub fn install(&self, tag: u64, object: Object) -> Result<i32, Errno> {
        let mut open = held(&self.open);
        let slot = match open.iter().position(Option::is_none) {
            Some(slot) => slot,
            None if open.len() < MAX_DESCRIPTORS => {
                open.push(None);
                open.len() - 1
            }
            None => return Err(Errno::MFILE),
        };
        open[slot] = Some(Entry { owner: tag, object, closes_on_exec: false });
        Ok(FIRST_DESCRIPTOR + slot as i32)
    }

    /// What a descriptor of activity `tag` stands for.
    pub fn get(&self, tag: u64, descriptor: i32) -> Result<Object, Errno> {
        self.look(tag, descriptor, |entry| entry.object.clone())
    }

    /// What `look` makes of a descriptor of activity `tag`.
    fn look<T>(&self, tag: u64, descriptor: i32, look: impl FnOnce(&mut Entry) -> T) -> Result<T, Errno> {
        match held(&self.open).get_mut(slot(descriptor)?) {
            Some(Some(entry)) if entry.owner == tag => Ok(look(entry)),
            _ => Err(Errno::BADF),
        }
    }

    /// Whether `exec` would close a descriptor.
    pub fn closes_on_exec(&self, tag: u64, descriptor: i32) -> Result<bool, Errno> {
        self.look(tag, descriptor, |entry| entry.closes_on_exec)
    }

    /// Changes that.
    pub fn close_on_exec(&self, tag: u64, descriptor: i32, closes: bool) -> Result<(), Errno> {
        self.look(tag, descriptor, |entry| entry.closes_on_exec = closes)
    }

    /// A second descriptor for the same.
    pub fn duplicate(&self, tag: u64, descriptor: i32) -> Result<i32, Errno> {
        self.install(tag, self.get(tag, descriptor)?)
    }

    /// Closes a descriptor: what it stood for. Whoever is in a call on that on
    /// another thread ends that first.
    pub fn close(&self, tag: u64, descriptor: i32) -> Result<Object, Errno> {
        let mut open = held(&self.open);
        let place = open.get_mut(slot(descriptor)?).ok_or(Errno::BADF)?;
        Ok(place.take_if(|entry| entry.owner == tag).ok_or(Errno::BADF)?.object)
    }

    /// Closes what an activity left open, also what its threads are about to use.
    pub fn close_all(&self, tag: u64) {
        let left: Vec<_> = held(&self.open)
            .iter_mut()
            .filter_map(|place| place.take_if(|entry| entry.owner == tag))
            .collect();
        for entry in left {
            if let Object::Socket(open) = entry.object {
                open.socket.close();
            }
        }
    }
}

/// The place of a descriptor in the table.
fn slot(descriptor: i32) -> Result<usize, Errno> {
    let slot = descriptor.checked_sub(FIRST_DESCRIPTOR).and_then(|slot| usize::try_from(slot).ok());
    slot.ok_or(Errno::BADF)
}
