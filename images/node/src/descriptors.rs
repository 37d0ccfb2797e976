//! The descriptors of the activities on this node: one table, whatever they
//! stand for. Another activity's descriptor is as bad as none, and none takes
//! more than its share.

use crate::activity::held;
use crate::counter::Counter;
use crate::files::OpenFile;
use crate::sockets::OpenSocket;
use kernel::errno::Errno;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex};

/// Descriptors below this one are the console's.
pub const FIRST_DESCRIPTOR: i32 = 3;
/// Most descriptors open on a node.
const MAX_DESCRIPTORS: usize = 4096;
/// Most of them that are one activity's.
const MAX_SHARE: usize = 1024;

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
struct Owned {
    /// Its activity.
    owner: u64,
    /// What it stands for.
    object: Object,
    /// Whether it is marked to be closed by `exec`, of which there is none.
    closes_on_exec: bool,
}

#[derive(Default)]
struct Table {
    places: Vec<Option<Owned>>,
    /// How many each activity has.
    counts: HashMap<u64, usize>,
}

impl Table {
    /// The lowest place that activity `tag` may take.
    fn place(&self, tag: u64) -> Result<usize, Errno> {
        if self.counts.get(&tag).is_some_and(|&count| count >= MAX_SHARE) {
            return Err(Errno::MFILE);
        }
        let free = self.places.iter().position(Option::is_none).unwrap_or(self.places.len());
        if free < MAX_DESCRIPTORS { Ok(free) } else { Err(Errno::NFILE) }
    }

    fn put(&mut self, tag: u64, object: Object) -> Result<usize, Errno> {
        let place = self.place(tag)?;
        if place == self.places.len() {
            self.places.push(None);
        }
        self.places[place] = Some(Owned { owner: tag, object, closes_on_exec: false });
        *self.counts.entry(tag).or_default() += 1;
        Ok(place)
    }

    fn take(&mut self, tag: u64, place: usize) -> Option<Object> {
        let Owned { object, .. } = self.places.get_mut(place)?.take_if(|one| one.owner == tag)?;
        if let Entry::Occupied(mut count) = self.counts.entry(tag) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        Some(object)
    }

    fn take_all(&mut self, tag: u64) -> Vec<Object> {
        (0..self.places.len()).filter_map(|place| self.take(tag, place)).collect()
    }
}

/// The descriptors of the activities on this node.
#[derive(Default)]
pub struct Descriptors {
    open: Mutex<Table>,
}

impl Descriptors {
    /// Whether activity `tag` may have one more.
    ///
    /// # Errors
    /// `MFILE`: it has its share. `NFILE`: the node has no more.
    pub fn has_room(&self, tag: u64) -> Result<(), Errno> {
        held(&self.open).place(tag).map(drop)
    }

    /// Gives activity `tag` a descriptor: the lowest that is free.
    ///
    /// # Errors
    /// As [`Descriptors::has_room`].
    pub fn install(&self, tag: u64, object: Object) -> Result<i32, Errno> {
        let place = held(&self.open).put(tag, object)?;
        Ok(FIRST_DESCRIPTOR + place as i32)
    }

    /// What a descriptor of activity `tag` stands for.
    pub fn get(&self, tag: u64, descriptor: i32) -> Result<Object, Errno> {
        self.look(tag, descriptor, |one| one.object.clone())
    }

    /// What `look` makes of a descriptor of activity `tag`.
    fn look<T>(&self, tag: u64, descriptor: i32, look: impl FnOnce(&mut Owned) -> T) -> Result<T, Errno> {
        match held(&self.open).places.get_mut(slot(descriptor)?) {
            Some(Some(one)) if one.owner == tag => Ok(look(one)),
            _ => Err(Errno::BADF),
        }
    }

    /// Whether `exec` would close a descriptor.
    pub fn closes_on_exec(&self, tag: u64, descriptor: i32) -> Result<bool, Errno> {
        self.look(tag, descriptor, |one| one.closes_on_exec)
    }

    /// Changes that.
    pub fn close_on_exec(&self, tag: u64, descriptor: i32, closes: bool) -> Result<(), Errno> {
        self.look(tag, descriptor, |one| one.closes_on_exec = closes)
    }

    /// A second descriptor for the same.
    pub fn duplicate(&self, tag: u64, descriptor: i32) -> Result<i32, Errno> {
        self.install(tag, self.get(tag, descriptor)?)
    }

    /// Closes a descriptor: what it stood for. Whoever is in a call on that on
    /// another thread ends that first.
    pub fn close(&self, tag: u64, descriptor: i32) -> Result<Object, Errno> {
        held(&self.open).take(tag, slot(descriptor)?).ok_or(Errno::BADF)
    }

    /// Closes what an activity left open, also what its threads are about to use.
    pub fn close_all(&self, tag: u64) {
        let left = held(&self.open).take_all(tag);
        for object in left {
            if let Object::Socket(open) = object {
                open.close();
            }
        }
    }
}

/// The place of a descriptor in the table.
fn slot(descriptor: i32) -> Result<usize, Errno> {
    let slot = descriptor.checked_sub(FIRST_DESCRIPTOR).and_then(|slot| usize::try_from(slot).ok());
    slot.ok_or(Errno::BADF)
}
