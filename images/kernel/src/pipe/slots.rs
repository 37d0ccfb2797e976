//! A table whose places are used again, each time under another generation: a
//! key that is out of date finds nothing.

use serde::{Deserialize, Serialize};

/// Names a value in a [`Slots`], also across VMs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Slot {
    /// Its place.
    pub index: u32,
    /// Which of the values that had this place.
    pub generation: u32,
}

/// Values by [`Slot`].
pub(super) struct Slots<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

struct Place<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// Adds a value.
    pub(super) fn insert(&mut self, value: T) -> Slot {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, value: None });
            (self.places.len() - 1) as u32
        });
        let place = &mut self.places[index as usize];
        place.generation = place.generation.wrapping_add(1);
        place.value = Some(value);
        Slot { index, generation: place.generation }
    }

    /// The value of this name.
    pub(super) fn get(&self, slot: Slot) -> Option<&T> {
        let place = self.places.get(slot.index as usize)?;
        place.value.as_ref().filter(|_| place.generation == slot.generation)
    }

    /// Takes the value of this name out.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<T> {
        let place = self.places.get_mut(slot.index as usize)?;
        let value = place.value.take_if(|_| place.generation == slot.generation)?;
        self.free.push(slot.index);
        Some(value)
    }

    /// All values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &T)> {
        (0..).zip(&self.places).filter_map(|(index, place)| {
            Some((Slot { index, generation: place.generation }, place.value.as_ref()?))
        })
    }

    /// Takes out all values that `wanted` names.
    pub(super) fn remove_where(&mut self, wanted: impl Fn(&T) -> bool) -> Vec<T> {
        let found: Vec<Slot> = self.iter().filter(|(_, value)| wanted(value)).map(|(slot, _)| slot).collect();
        found.into_iter().filter_map(|slot| self.remove(slot)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_used_again_has_another_name() {
        let mut slots = Slots::default();
        let first = slots.insert('a');
        assert_eq!(slots.get(first), Some(&'a'));
        assert_eq!(slots.remove(first), Some('a'));
        let second = slots.insert('b');
        assert_eq!(second.index, first.index);
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&'b'));
        assert_eq!(slots.get(Slot { index: 9, generation: 1 }), None);
    }
}
