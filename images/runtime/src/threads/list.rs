//! A queue of threads, linked through the threads themselves: no memory is
//! needed to put a thread into it.
//!
//! Links are indices into the table of threads, so a spoilt link is a panic,
//! not a wild pointer. A thread is in at most one list per kind of link.

use super::thread::Table;

/// An index into the table of threads.
pub type Index = u32;

/// Which of a thread's two links a list uses.
#[derive(Clone, Copy)]
pub enum LinkKind {
    /// The ready queue or the futex it waits for.
    Queue = 0,
    /// The sleepers.
    Sleep = 1,
}

/// A thread's neighbours in a list.
#[derive(Clone, Copy, Default)]
pub struct Link {
    previous: Option<Index>,
    next: Option<Index>,
}

/// First in, first out, with removal from the middle.
#[derive(Clone, Copy)]
pub struct List {
    kind: LinkKind,
    first: Option<Index>,
    last: Option<Index>,
}

impl List {
    /// An empty list.
    pub const fn new(kind: LinkKind) -> Self {
        Self { kind, first: None, last: None }
    }

    /// The thread at the front.
    pub fn first(&self) -> Option<Index> {
        self.first
    }

    /// Whether nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// How many are in it, but no more than two.
    pub fn few(&self, table: &Table) -> usize {
        self.first.map_or(0, |first| 1 + usize::from(self.after(table, first).is_some()))
    }

    /// The thread behind `index`.
    pub fn after(&self, table: &Table, index: Index) -> Option<Index> {
        self.link(table, index).next
    }

    /// Puts a thread behind `before`, or at the front.
    pub fn insert_after(&mut self, table: &mut Table, before: Option<Index>, index: Index) {
        let next = match before {
            Some(before) => self.link(table, before).next,
            None => self.first,
        };
        *self.link_mut(table, index) = Link { previous: before, next };
        match before {
            Some(before) => self.link_mut(table, before).next = Some(index),
            None => self.first = Some(index),
        }
        match next {
            Some(next) => self.link_mut(table, next).previous = Some(index),
            None => self.last = Some(index),
        }
    }

    /// Puts a thread at the end.
    pub fn push(&mut self, table: &mut Table, index: Index) {
        self.insert_after(table, self.last, index);
    }

    /// Takes a thread out; it must be in this list.
    pub fn remove(&mut self, table: &mut Table, index: Index) {
        let Link { previous, next } = core::mem::take(self.link_mut(table, index));
        match previous {
            Some(previous) => self.link_mut(table, previous).next = next,
            None => self.first = next,
        }
        match next {
            Some(next) => self.link_mut(table, next).previous = previous,
            None => self.last = previous,
        }
    }

    /// Takes the thread at the front.
    pub fn pop(&mut self, table: &mut Table) -> Option<Index> {
        let index = self.first?;
        self.remove(table, index);
        Some(index)
    }

    fn link<'a>(&self, table: &'a Table, index: Index) -> &'a Link {
        &table.get(index).links[self.kind as usize]
    }

    fn link_mut<'a>(&self, table: &'a mut Table, index: Index) -> &'a mut Link {
        &mut table.get_mut(index).links[self.kind as usize]
    }
}
