//! The rooms of heaps (`images/runtime/src/memory/rooms.rs`, the very file): random
//! heaps take and give units, and after each step everything is as a map of all
//! units, kept here, says.
#![allow(dead_code, reason = "what only the heaps use")]

#[path = "../../images/runtime/src/memory/rooms.rs"]
mod rooms;

use rooms::{NOBODY, Rooms, Stretch, UNIT, Wanted, first_of, owner};
use std::ops::Range;
use std::sync::atomic::AtomicU32;
use tests::input::Random;

const STEPS: usize = 20_000;
const OWNERS: u32 = 5;
const UNITS: usize = 300;

struct Memory {
    owners: Vec<AtomicU32>,
    stretches: [Stretch; 3],
    rooms: Rooms,
    /// Whose each unit is, by what was taken and given.
    expected: Vec<u32>,
    /// Where the frames below the end of each stretch begin.
    frames: [usize; 3],
}

impl Memory {
    fn new() -> Self {
        let stretch = |units: Range<usize>| Stretch {
            start: units.start * UNIT,
            untouched: units.start * UNIT..units.end * UNIT + 5000,
        };
        let stretches = [stretch(3..60), stretch(70..70), stretch(100..250)];
        Self {
            owners: (0..UNITS).map(|_| AtomicU32::new(NOBODY)).collect(),
            frames: stretches.clone().map(|stretch| stretch.untouched.end),
            stretches,
            rooms: Rooms { free: 0 },
            expected: vec![NOBODY; UNITS],
        }
    }

    /// Whether a room could begin at this unit, by the map alone.
    fn has_at(&self, unit: usize, wanted: Wanted) -> bool {
        let end = (unit * UNIT).saturating_add(wanted.bytes);
        self.stretches.iter().zip(self.frames).any(|(stretch, frames)| {
            let is_free = || self.expected[unit..end / UNIT].iter().all(|&owner| owner == NOBODY);
            (stretch.start..=stretch.untouched.start).contains(&(unit * UNIT)) && end <= frames && is_free()
        })
    }

    fn took(&mut self, room: Range<usize>, owner: u32) {
        self.expected[room.start / UNIT..room.end / UNIT].fill(owner);
    }

    fn check(&self) {
        for unit in 0..UNITS {
            assert_eq!(owner(&self.owners, unit * UNIT + 17), self.expected[unit], "unit {unit}");
        }
        let mut free = 0;
        for (stretch, frames) in self.stretches.iter().zip(self.frames) {
            let units = stretch.start / UNIT..stretch.untouched.start / UNIT;
            free += self.expected[units.clone()].iter().filter(|&&owner| owner == NOBODY).count();
            let is_room = |unit: usize| self.expected[unit] != NOBODY;
            assert!(units.is_empty() || is_room(units.end - 1), "what is free below is untouched again");
            assert_eq!(stretch.untouched.end, frames, "frames are not for rooms");
        }
        assert_eq!(self.rooms.free, free);
    }
}

#[test]
fn rooms_are_one_heaps_alone_and_found_wherever_they_are() {
    let mut random = Random::seeded();
    let mut memory = Memory::new();
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..STEPS {
        let size = if random.below(20) == 0 { random.below(120) } else { random.below(9) } as usize + 1;
        let wanted = Wanted { bytes: size * UNIT, owner: 7 + random.below(OWNERS.into()) as u32 };
        match random.below(7) {
            0..3 => {
                let could = (0..UNITS).filter(|&unit| memory.has_at(unit, wanted)).collect::<Vec<_>>();
                let found = memory.rooms.take(&memory.owners, &mut memory.stretches, wanted);
                let Some(room) = found else {
                    assert!(could.is_empty(), "there is a room for {wanted:?}: {could:?}");
                    refused += 1;
                    continue;
                };
                assert!(could.contains(&(room.start / UNIT)) && room.len() == wanted.bytes, "{room:x?}");
                memory.took(room, wanted.owner);
                taken += 1;
            }
            3 => {
                let unit = random.below(UNITS as u64 - 1) as usize;
                let could = memory.has_at(unit, wanted);
                let at = unit * UNIT;
                let found = memory.rooms.take_at(&memory.owners, &mut memory.stretches, at, wanted);
                assert_eq!(found, could.then_some(at..at + wanted.bytes), "{wanted:?} at {unit}");
                if let Some(room) = found {
                    memory.took(room, wanted.owner);
                }
            }
            4 => {
                // A part of some room.
                let Some(room) = first_of(&memory.owners, wanted.owner, 0..UNITS * UNIT) else { continue };
                let units = random.below((room.len() / UNIT) as u64) as usize + 1;
                let part = room.end - units * UNIT..room.end;
                memory.rooms.give(&memory.owners, &mut memory.stretches, part.clone());
                memory.took(part, NOBODY);
            }
            5 if random.below(4) == 0 => {
                while let Some(room) = first_of(&memory.owners, wanted.owner, 0..UNITS * UNIT) {
                    memory.rooms.give(&memory.owners, &mut memory.stretches, room.clone());
                    memory.took(room, NOBODY);
                }
            }
            5 => {}
            _ => {
                // A frame, or none is left.
                let index = random.below(3) as usize;
                let untouched = &mut memory.stretches[index].untouched;
                if untouched.len() > 4096 && random.below(30) == 0 {
                    untouched.end -= 4096;
                    memory.frames[index] = untouched.end;
                }
            }
        }
        memory.check();
    }
    assert!(taken > STEPS / 20 && refused > STEPS / 200, "{taken} taken, {refused} refused");
}
