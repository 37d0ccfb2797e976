//! Rooms: the RAM that heaps have, in whole units, and whose each unit is.
//!
//! ```text
//! a stretch of RAM:   | room | free | room | room | free | room | untouched -> ... <- frames |
//! owner of each unit:   A A    0      B      A A A   0      B
//! ```
//! A heap finds a block's owner by its address, so a block may be freed by
//! anybody; and what a heap has goes back all at once, whatever lies in it.
//!
//! A room is taken beside the heap's last one, or else where units are free, the
//! first that are enough, or else where nothing was touched yet. Free units
//! beside what was not touched are untouched again: frames may take them.

use core::ops::Range;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::Relaxed;

/// Bytes of a unit.
pub const UNIT: usize = 64 * 1024;
/// Nobody has it.
pub const NOBODY: u32 = 0;

/// The owner of each unit, from address 0 on: a number other than [`NOBODY`].
pub type Owners = [AtomicU32];

/// Whose the unit at an address is.
#[inline]
pub fn owner(owners: &Owners, address: usize) -> u32 {
    owners.get(address / UNIT).map_or(NOBODY, |owner| owner.load(Relaxed))
}

/// The first stretch of units with this owner that begins in a range of addresses.
pub fn first_of(owners: &Owners, owner: u32, within: Range<usize>) -> Option<Range<usize>> {
    let is_its = |unit: &usize| owners[*unit].load(Relaxed) == owner;
    let units = within.start / UNIT..(within.end / UNIT).min(owners.len());
    let first = units.clone().find(is_its)?;
    let count = (first..units.end).take_while(is_its).count();
    Some(first * UNIT..(first + count) * UNIT)
}

/// A stretch of RAM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Where its rooms begin, at a unit.
    pub start: usize,
    /// What nobody has touched: after the rooms, at a unit, and before the frames.
    pub untouched: Range<usize>,
}

/// A room that is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Its bytes, whole units.
    pub bytes: usize,
    /// Who wants it.
    pub owner: u32,
}

impl Stretch {
    /// Whether a room may be there, as far as this stretch goes.
    fn has(&self, owners: &Owners, room: &Range<usize>) -> bool {
        let is_free = |unit: usize| owners[unit].load(Relaxed) == NOBODY;
        let mut below = room.start / UNIT..room.end.min(self.untouched.start) / UNIT;
        self.start <= room.start
            && room.start <= self.untouched.start
            && room.end <= self.untouched.end
            && below.all(is_free)
    }

    /// The first free units of it that are enough, below what was not touched.
    fn first_free(&self, owners: &Owners, bytes: usize) -> Option<Range<usize>> {
        let mut from = self.start;
        while let Some(free) = first_of(owners, NOBODY, from..self.untouched.start) {
            if free.len() >= bytes {
                return Some(free.start..free.start + bytes);
            }
            from = free.end;
        }
        None
    }
}

/// The rooms in some stretches.
#[derive(Debug)]
pub struct Rooms {
    /// How many units between rooms are free.
    pub free: usize,
}

impl Rooms {
    /// Takes a room that begins at `at`.
    pub fn take_at(
        &mut self,
        owners: &Owners,
        stretches: &mut [Stretch],
        at: usize,
        wanted: Wanted,
    ) -> Option<Range<usize>> {
        let room = at..at.checked_add(wanted.bytes)?;
        let is_there = |stretch: &&mut Stretch| stretch.has(owners, &room);
        let stretch = stretches.iter_mut().find(is_there)?;
        Some(self.mark(owners, stretch, room, wanted.owner))
    }

    /// Takes a room, wherever there is one.
    pub fn take(
        &mut self,
        owners: &Owners,
        stretches: &mut [Stretch],
        wanted: Wanted,
    ) -> Option<Range<usize>> {
        if self.free * UNIT >= wanted.bytes {
            let free = |stretch: &mut Stretch| stretch.first_free(owners, wanted.bytes);
            let found = stretches.iter_mut().find_map(|stretch| Some((free(stretch)?, stretch)));
            if let Some((room, stretch)) = found {
                return Some(self.mark(owners, stretch, room, wanted.owner));
            }
        }
        let has = |stretch: &&mut Stretch| stretch.untouched.len() >= wanted.bytes;
        let stretch = stretches.iter_mut().find(has)?;
        let start = stretch.untouched.start;
        Some(self.mark(owners, stretch, start..start + wanted.bytes, wanted.owner))
    }

    fn mark(
        &mut self,
        owners: &Owners,
        stretch: &mut Stretch,
        room: Range<usize>,
        owner: u32,
    ) -> Range<usize> {
        self.free -= room.end.min(stretch.untouched.start).saturating_sub(room.start) / UNIT;
        stretch.untouched.start = stretch.untouched.start.max(room.end);
        owners[room.start / UNIT..room.end / UNIT].iter().for_each(|unit| unit.store(owner, Relaxed));
        room
    }

    /// Takes units back from their owner, which lie in one stretch.
    pub fn give(&mut self, owners: &Owners, stretches: &mut [Stretch], units: Range<usize>) {
        owners[units.start / UNIT..units.end / UNIT].iter().for_each(|unit| unit.store(NOBODY, Relaxed));
        self.free += units.len() / UNIT;
        let has = |stretch: &&mut Stretch| (stretch.start..stretch.untouched.start).contains(&units.start);
        let Some(stretch) = stretches.iter_mut().find(has) else { return };
        while stretch.untouched.start > stretch.start
            && owner(owners, stretch.untouched.start - UNIT) == NOBODY
        {
            stretch.untouched.start -= UNIT;
            self.free -= 1;
        }
    }
}
