//! The table of task forces, in the region that the activities of `tasks` share.
//!
//! ```text
//!   0                lock and journal
//!   NEXT             the next task force's number, less 1
//!   SLOTS            SLOT_COUNT slots: length in bytes (0: empty), then a record in postcard
//! ```
//! A record is replaced as a whole, in one transaction. A slot whose task force
//! has ended is kept until its place is needed, so that whoever asks late still
//! learns how it ended. A slot that does not decode counts as empty.

use super::record::Record;
use crate::shared::cells::{Cells, View};
use crate::shared::environment::Environment;
use crate::shared::tables::{Change, Tables};
use kernel::protocol::tasks::TaskForceId;
use kernel::protocol::{Incarnation, decode, encode};
use std::sync::Arc;
use transport::memory::{SharedMemory, WORD};

/// Task forces that can be known at a time.
pub const SLOT_COUNT: usize = 64;
/// Bytes of a slot: arguments at their longest, activities at their most, and some.
const SLOT_BYTES: usize = 16 * 1024;
/// Words that one transaction may change: a slot, and the next number.
const CAPACITY: usize = SLOT_BYTES / WORD + 1;
const NEXT: usize = Tables::bytes(CAPACITY);
const SLOTS: usize = NEXT + 64;
/// Bytes of region that the table needs.
pub const TABLE_BYTES: usize = SLOTS + SLOT_COUNT * SLOT_BYTES;

/// The table of task forces.
pub struct Table {
    tables: Tables,
}

impl Table {
    /// The table in this memory, zeroed or used before. `None` if the memory
    /// has fewer than [`TABLE_BYTES`].
    pub fn attach(memory: SharedMemory, env: Arc<dyn Environment>) -> Option<Self> {
        Self::over(Cells::new(memory), env)
    }

    fn over(cells: Cells, env: Arc<dyn Environment>) -> Option<Self> {
        (cells.len() >= TABLE_BYTES).then(|| Self { tables: Tables::new(cells, 0, CAPACITY, env) })
    }

    /// All records, in no particular order.
    pub fn all(&self) -> Vec<Record> {
        self.tables.read(|cells| (0..SLOT_COUNT).filter_map(|slot| get(cells, slot)).collect())
    }

    /// The record of a task force.
    pub fn get(&self, id: TaskForceId) -> Option<Record> {
        self.all().into_iter().find(|record| record.task_force.id == id)
    }

    /// The record that this very request made.
    pub fn created_by(&self, creator: Incarnation, request: u64) -> Option<Record> {
        self.all().into_iter().find(|record| (record.creator, record.request) == (creator, request))
    }

    /// Puts the record that `make` makes of a fresh number into the table,
    /// unless its request has made one before (then that one is the answer).
    /// `None` if every slot holds a task force that runs.
    pub fn insert(&self, make: impl FnOnce(TaskForceId) -> Record) -> Option<Record> {
        let mut change = self.tables.exclusive();
        let number = change.word(NEXT) + 1;
        let record = make(TaskForceId(number));
        let slots: Vec<_> = (0..SLOT_COUNT).map(|slot| (slot, get(&change, slot))).collect();
        let same = |other: &Record| (other.creator, other.request) == (record.creator, record.request);
        if let Some(made) = slots.iter().find_map(|(_, other)| other.as_ref().filter(|other| same(other))) {
            return Some(made.clone());
        }
        let free = slots.iter().filter(|(_, other)| other.as_ref().is_none_or(Record::has_ended));
        let (slot, _) = free.min_by_key(|(_, other)| other.as_ref().map(|other| other.task_force.id))?;
        change.set(NEXT, number);
        put(&mut change, *slot, &record)?;
        change.commit().ok()?;
        Some(record)
    }

    /// Changes a record. `alter` says whether it did; the record as it then is,
    /// if it was changed.
    pub fn update(&self, id: TaskForceId, alter: impl FnOnce(&mut Record) -> bool) -> Option<Record> {
        let mut change = self.tables.exclusive();
        let (slot, mut record) = find(&change, id)?;
        if !alter(&mut record) {
            return None;
        }
        put(&mut change, slot, &record)?;
        change.commit().ok()?;
        Some(record)
    }

    /// Forgets a task force.
    pub fn remove(&self, id: TaskForceId) {
        let mut change = self.tables.exclusive();
        if let Some((slot, _)) = find(&change, id) {
            change.set(at(slot), 0);
            // One word always fits.
            let _ = change.commit();
        }
    }
}

fn at(slot: usize) -> usize {
    SLOTS + slot * SLOT_BYTES
}

fn find(view: &impl View, id: TaskForceId) -> Option<(usize, Record)> {
    (0..SLOT_COUNT)
        .filter_map(|slot| Some((slot, get(view, slot)?)))
        .find(|(_, record)| record.task_force.id == id)
}

fn get(view: &impl View, slot: usize) -> Option<Record> {
    let length = usize::try_from(view.word(at(slot))).ok().filter(|&length| length <= SLOT_BYTES - WORD)?;
    if length == 0 {
        return None;
    }
    let words = 1..=length.div_ceil(WORD);
    let bytes: Vec<u8> = words.flat_map(|word| view.word(at(slot) + word * WORD).to_le_bytes()).collect();
    decode(&bytes[..length]).ok()
}

/// `None` if the record is longer than a slot.
fn put(change: &mut Change<'_>, slot: usize, record: &Record) -> Option<()> {
    let bytes = encode(record);
    if bytes.len() > SLOT_BYTES - WORD {
        return None;
    }
    change.set(at(slot), bytes.len() as u64);
    for (index, chunk) in bytes.chunks(WORD).enumerate() {
        let mut word = [0; WORD];
        word[..chunk.len()].copy_from_slice(chunk);
        change.set(at(slot) + (1 + index) * WORD, u64::from_le_bytes(word));
    }
    Some(())
}

#[cfg(test)]
mod tests;
