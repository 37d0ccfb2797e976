//! Who holds which file open.
//!
//! An *opening* says that one incarnation of a client holds an inode open, so
//! many times. An inode's openings are chained; an inode without a name lives
//! for as long as it has one. Openings of a client that died are released by
//! [`FileSystem::forget`].
//!
//! ```text
//!   word 0  the client's incarnation; 0: free     2  how many times
//!        1  inode                                 3  next of the inode (or next free)
//! ```

use super::FileSystem;
use super::inode::{Field, Inode};
use super::layout::Counter;
use crate::shared::cells::View;
use crate::shared::environment::{from_word, to_word};
use crate::shared::tables::Change;
use kernel::errno::Errno;
use kernel::protocol::Incarnation;
use transport::memory::WORD;

pub(super) const OWNER: usize = 0;
pub(super) const INODE: usize = WORD;
pub(super) const COUNT: usize = 2 * WORD;
pub(super) const NEXT: usize = 3 * WORD;

impl FileSystem {
    /// Records that a client holds an inode open once more.
    pub(super) fn add_opening(
        &self,
        change: &mut Change<'_>,
        inode: Inode,
        client: Incarnation,
    ) -> Result<(), Errno> {
        if let Some((_, at)) = self.opening_of(change, inode, client)? {
            let count = change.word(at + COUNT);
            change.set(at + COUNT, count.checked_add(1).ok_or(Errno::MFILE)?);
            return Ok(());
        }
        let (number, at) = self.take_opening(change)?;
        let first = inode.get(change, Field::Openings);
        change.set(at + OWNER, to_word(client));
        change.set(at + INODE, u64::from(inode.number));
        change.set(at + COUNT, 1);
        change.set(at + NEXT, first);
        inode.set(change, Field::Openings, number);
        Ok(())
    }

    /// Records that a client holds an inode open once less.
    pub(super) fn remove_opening(
        &self,
        change: &mut Change<'_>,
        inode: Inode,
        client: Incarnation,
    ) -> Result<(), Errno> {
        let (link, at) = self.opening_of(change, inode, client)?.ok_or(Errno::BADF)?;
        match change.word(at + COUNT) {
            0 | 1 => self.release_opening(change, inode, link, at),
            count => change.set(at + COUNT, count - 1),
        }
        Ok(())
    }

    /// Releases all openings of a client's incarnation.
    pub(super) fn release_openings_of(&self, change: &mut Change<'_>, client: Incarnation) {
        self.release_openings(change, |owner| owner == to_word(client));
    }

    /// Releases all openings of clients that do not live.
    pub(super) fn release_openings_of_dead(&self, change: &mut Change<'_>) {
        let environment = self.tables.environment();
        self.release_openings(change, |owner| owner != 0 && !environment.lives(from_word(owner)));
    }

    /// Releases the openings whose owner is `gone`, a transaction for each: to
    /// be killed in between is to be taken up by the next who forgets.
    fn release_openings(&self, change: &mut Change<'_>, gone: impl Fn(u64) -> bool) {
        let touched = self.counter(change, Counter::OpeningsTouched).min(self.layout.opening_count as u64);
        for number in 1..=touched {
            let Ok(at) = self.layout.opening(number) else { return };
            let owner = change.word(at + OWNER);
            if owner == 0 || !gone(owner) {
                continue;
            }
            let released = self
                .layout
                .inode(change.word(at + INODE))
                .and_then(|inode| self.release_all(change, inode, from_word(owner)));
            match released {
                Ok(()) if change.commit().is_ok() => self.drain(change),
                // Spoilt: nobody will miss it.
                _ => change.discard(),
            }
        }
    }

    fn release_all(&self, change: &mut Change<'_>, inode: Inode, client: Incarnation) -> Result<(), Errno> {
        let (link, at) = self.opening_of(change, inode, client)?.ok_or(Errno::IO)?;
        self.release_opening(change, inode, link, at);
        Ok(())
    }

    /// Takes an opening out of its inode's chain, where `link` points to it.
    fn release_opening(&self, change: &mut Change<'_>, inode: Inode, link: usize, at: usize) {
        let (number, next) = (change.word(link), change.word(at + NEXT));
        change.set(link, next);
        let free = self.counter(change, Counter::FreeOpening);
        change.set(at + OWNER, 0);
        change.set(at + NEXT, free);
        self.set_counter(change, Counter::FreeOpening, number);
        self.drain_if_unused(change, inode);
    }

    /// A client's opening of an inode: the word that points to it, and itself.
    fn opening_of(
        &self,
        view: &impl View,
        inode: Inode,
        client: Incarnation,
    ) -> Result<Option<(usize, usize)>, Errno> {
        let mut link = inode.at + Field::Openings as usize * WORD;
        for _ in 0..=self.layout.opening_count {
            let number = view.word(link);
            if number == 0 {
                return Ok(None);
            }
            let at = self.layout.opening(number)?;
            if view.word(at + OWNER) == to_word(client) && view.word(at + INODE) == u64::from(inode.number) {
                return Ok(Some((link, at)));
            }
            link = at + NEXT;
        }
        Err(Errno::IO)
    }

    /// A free opening: its number and where it is.
    fn take_opening(&self, change: &mut Change<'_>) -> Result<(u64, usize), Errno> {
        let free = self.counter(change, Counter::FreeOpening);
        if free != 0 {
            let at = self.layout.opening(free)?;
            let next = change.word(at + NEXT);
            self.set_counter(change, Counter::FreeOpening, next);
            return Ok((free, at));
        }
        let number = self.counter(change, Counter::OpeningsTouched).saturating_add(1);
        let at = self.layout.opening(number).map_err(|_| Errno::MFILE)?;
        self.set_counter(change, Counter::OpeningsTouched, number);
        Ok((number, at))
    }
}
