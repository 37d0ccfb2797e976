//! Who holds which file open, and who has it locked.
//!
//! An *opening* says that one incarnation of a client holds an inode open, so
//! many times. An inode's openings are chained; an inode without a name lives
//! for as long as it has one. Openings of a client that died are released by
//! [`FileSystem::forget`].
//!
//! A *lock* stands in the same chain. It belongs to one of the client's own
//! holders, and ends with the client's opening at the latest, so whoever
//! releases what a dead client had open releases its locks as well.
//!
//! ```text
//!   word 0  the client's incarnation; 0: free     3  next of the inode (or next free)
//!        1  inode                                 4  a lock's holder; 0: an opening
//!        2  how many times; of a lock: 1 shared, 2 exclusive
//! ```

use super::FileSystem;
use super::inode::{Field, Inode};
use super::layout::Counter;
use crate::shared::cells::View;
use crate::shared::environment::{from_word, to_word};
use crate::shared::tables::Change;
use kernel::errno::Errno;
use kernel::protocol::Incarnation;
use kernel::protocol::files::{Handle, Reply};
use std::cell::Cell;
use transport::memory::WORD;

pub(super) const OWNER: usize = 0;
pub(super) const INODE: usize = WORD;
pub(super) const COUNT: usize = 2 * WORD;
pub(super) const NEXT: usize = 3 * WORD;
pub(super) const HOLDER: usize = 4 * WORD;

/// A lock that others may share.
pub(super) const SHARED: u64 = 1;
/// One that nobody may.
const EXCLUSIVE: u64 = 2;
/// Most locks of one client on one file: they end in one transaction, with its opening.
const MOST_LOCKS: usize = 256;
/// The holder that an opening has.
const NOBODY: u64 = 0;

impl FileSystem {
    /// Records that a client holds an inode open once more.
    pub(super) fn add_opening(
        &self,
        change: &mut Change<'_>,
        inode: Inode,
        client: Incarnation,
    ) -> Result<(), Errno> {
        if let Some((_, at)) = self.opening_of(change, inode, client, NOBODY)? {
            let count = change.word(at + COUNT);
            change.set(at + COUNT, count.checked_add(1).ok_or(Errno::MFILE)?);
            return Ok(());
        }
        self.chain(change, inode, client, NOBODY, 1)
    }

    /// Puts a fresh opening or lock into an inode's chain.
    fn chain(
        &self,
        change: &mut Change<'_>,
        inode: Inode,
        client: Incarnation,
        holder: u64,
        count: u64,
    ) -> Result<(), Errno> {
        let (number, at) = self.take_opening(change)?;
        let first = inode.get(change, Field::Openings);
        change.set(at + OWNER, to_word(client));
        change.set(at + INODE, u64::from(inode.number));
        change.set(at + COUNT, count);
        change.set(at + NEXT, first);
        change.set(at + HOLDER, holder);
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
        let (_, at) = self.opening_of(change, inode, client, NOBODY)?.ok_or(Errno::BADF)?;
        match change.word(at + COUNT) {
            0 | 1 => self.release_all(change, inode, client)?,
            count => change.set(at + COUNT, count - 1),
        }
        Ok(())
    }

    /// Locks a file that the client has open, for one of its holders.
    pub(super) fn lock(
        &self,
        change: &mut Change<'_>,
        client: Incarnation,
        handle: Handle,
        (holder, exclusive): (u64, bool),
    ) -> Result<Reply<'static>, Errno> {
        let inode = self.of_handle(change, handle)?.0;
        if holder == NOBODY {
            return Err(Errno::INVAL);
        }
        self.opening_of(change, inode, client, NOBODY)?.ok_or(Errno::BADF)?;
        if self.locks_forbid(change, inode, (client, holder), exclusive)? {
            return Err(Errno::AGAIN);
        }
        let kind = if exclusive { EXCLUSIVE } else { SHARED };
        match self.opening_of(change, inode, client, holder)? {
            Some((_, at)) => change.set(at + COUNT, kind),
            None if self.locks_of(change, inode, client)? >= MOST_LOCKS => return Err(Errno::MFILE),
            None => self.chain(change, inode, client, holder, kind)?,
        }
        Ok(Reply::Done)
    }

    /// How many locks a client's holders have on a file.
    fn locks_of(&self, view: &impl View, inode: Inode, client: Incarnation) -> Result<usize, Errno> {
        let count = Cell::new(0);
        self.find_in_chain(view, inode, |at| {
            let own = view.word(at + OWNER) == to_word(client) && view.word(at + HOLDER) != NOBODY;
            count.set(count.get() + usize::from(own));
            false
        })?;
        Ok(count.get())
    }

    /// Whether somebody else's lock forbids one more.
    fn locks_forbid(
        &self,
        view: &impl View,
        inode: Inode,
        (client, holder): (Incarnation, u64),
        exclusive: bool,
    ) -> Result<bool, Errno> {
        self.find_in_chain(view, inode, |at| {
            let (owner, its_holder) = (view.word(at + OWNER), view.word(at + HOLDER));
            let others = its_holder != NOBODY && (owner, its_holder) != (to_word(client), holder);
            others && (exclusive || view.word(at + COUNT) != SHARED)
        })
        .map(|found| found.is_some())
    }

    /// Ends a holder's lock, if it has one.
    pub(super) fn unlock(
        &self,
        change: &mut Change<'_>,
        client: Incarnation,
        handle: Handle,
        holder: u64,
    ) -> Result<Reply<'static>, Errno> {
        let inode = self.of_handle(change, handle)?.0;
        if holder == NOBODY {
            return Err(Errno::INVAL);
        }
        if let Some((link, at)) = self.opening_of(change, inode, client, holder)? {
            self.release_opening(change, inode, link, at);
        }
        Ok(Reply::Done)
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

    /// Releases the locks and then the openings whose owner is `gone`, a transaction for each: to
    /// be killed in between is to be taken up by the next who forgets.
    fn release_openings(&self, change: &mut Change<'_>, gone: impl Fn(u64) -> bool) {
        let touched = self.counter(change, Counter::OpeningsTouched).min(self.layout.opening_count as u64);
        for locks in [true, false] {
            for number in 1..=touched {
                let Ok(at) = self.layout.opening(number) else { return };
                let owner = change.word(at + OWNER);
                if owner == 0 || (change.word(at + HOLDER) != NOBODY) != locks || !gone(owner) {
                    continue;
                }
                match self.release_one(change, at) {
                    Ok(()) if change.commit().is_ok() => self.drain(change),
                    // Spoilt: nobody will miss it.
                    _ => change.discard(),
                }
            }
        }
    }

    fn release_one(&self, change: &mut Change<'_>, at: usize) -> Result<(), Errno> {
        let inode = self.layout.inode(change.word(at + INODE))?;
        let (link, at) = self.find_in_chain(change, inode, |other| other == at)?.ok_or(Errno::IO)?;
        self.release_opening(change, inode, link, at);
        Ok(())
    }

    /// Releases what a client has of an inode: its opening and its locks.
    fn release_all(&self, change: &mut Change<'_>, inode: Inode, client: Incarnation) -> Result<(), Errno> {
        loop {
            let of_client = |at| change.word(at + OWNER) == to_word(client);
            let Some((link, at)) = self.find_in_chain(change, inode, of_client)? else { return Ok(()) };
            self.release_opening(change, inode, link, at);
        }
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

    /// A client's opening of an inode, or the lock of one of its holders: the
    /// word that points to it, and itself.
    fn opening_of(
        &self,
        view: &impl View,
        inode: Inode,
        client: Incarnation,
        holder: u64,
    ) -> Result<Option<(usize, usize)>, Errno> {
        self.find_in_chain(view, inode, |at| {
            view.word(at + OWNER) == to_word(client) && view.word(at + HOLDER) == holder
        })
    }

    /// The first in an inode's chain that is wanted: the word that points to it, and itself.
    fn find_in_chain(
        &self,
        view: &impl View,
        inode: Inode,
        wanted: impl Fn(usize) -> bool,
    ) -> Result<Option<(usize, usize)>, Errno> {
        let mut link = inode.at + Field::Openings as usize * WORD;
        for _ in 0..=self.layout.opening_count {
            let number = view.word(link);
            if number == 0 {
                return Ok(None);
            }
            let at = self.layout.opening(number)?;
            if view.word(at + INODE) == u64::from(inode.number) && wanted(at) {
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
