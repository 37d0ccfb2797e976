//! Pages of one direction of a channel: long bodies go by reference.
//!
//! The *lender* copies a body into free pages and sends a slot that names them;
//! the *borrower* reads it there, for as long as it likes, and gives the pages
//! back. Ownership of a page is handed over with the slot and comes back with a
//! word, so nobody writes what somebody reads, also when either end dies.
//!
//! ```text
//! line 0      the lender's: word 0 waits: tag:32 | number of the wait:32, 0 = does not
//! line 1…     the borrower's: a word per page: tag:32 | held:1 | times taken:31
//! 4096·k…     the pages
//!
//! payload of a slot that goes by reference:
//! words 0-2   the message's header
//! word 3      0:32 | bytes of the body:32
//! words 4-5   up to eight page numbers of 16 bits, as many as the body needs
//! ```
//!
//! What holds, and what of `docs/protocol.md` says how and why:
//! - No page is written while it is read: P1, P2, P3, P4 and P5 within an epoch,
//!   E5 across the death of either end.
//! - No wake-up of a lender that waits for pages is lost: P6.
//! - A body that is read is an allegation all the same (H4): a lender that does
//!   not keep to this may change it, and gets whatever comes of it.

use crate::endpoint::Doorbell;
use crate::fragments::Gather;
use crate::memory::{AtomicU64, LINE, SharedMemory, WORD, fence};
use crate::ring::{Epoch, Payload, TooSmall};
use crate::wire::HEADER_WORDS;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

/// Bytes of a page. To the model checker each word is a step.
pub const PAGE_BYTES: usize = if cfg!(loom) { WORD } else { 8192 };
/// Most pages of one body.
pub const MAX_PAGES: usize = if cfg!(loom) { 1 } else { 8 };
/// Where pages start is a multiple of this.
const START: usize = if cfg!(loom) { LINE } else { 4096 };
/// Most pages of one direction.
const MOST: usize = 256;

const WAITS: usize = 0;
const TAKEN: usize = LINE;
const HELD: u32 = 1 << 31;
const COUNT: u32 = HELD - 1;
/// Page numbers of 16 bits in a word.
const PER_WORD: usize = 4;

/// Where the pages start in a window with so many of them.
fn pages_start(pages: usize) -> usize {
    (TAKEN + pages * WORD).next_multiple_of(START)
}

/// Bytes of a window with so many pages.
pub const fn window_bytes(pages: usize) -> usize {
    (TAKEN + pages * WORD).next_multiple_of(START) + pages * PAGE_BYTES
}

/// How many pages a window has.
fn pages_in(memory: &SharedMemory) -> Result<u16, TooSmall> {
    let mut pages = (memory.len() / PAGE_BYTES).min(MOST);
    while pages > 0 && pages_start(pages) + pages * PAGE_BYTES > memory.len() {
        pages -= 1;
    }
    if pages < MAX_PAGES { Err(TooSmall) } else { Ok(pages as u16) }
}

#[inline]
fn tagged(tag: u32, low: u32) -> u64 {
    u64::from(tag) << 32 | u64::from(low)
}

/// The word in which the borrower says what has become of a page.
#[inline]
fn taken_word(memory: &SharedMemory, page: u16) -> &AtomicU64 {
    memory.word(TAKEN + usize::from(page) * WORD)
}

/// The lending end.
#[derive(Debug)]
pub struct Lender {
    memory: SharedMemory,
    start: usize,
    tag: u32,
    /// How often each page was lent in this epoch.
    counts: Vec<u32>,
    /// Free pages; the one used last is lent first, for its lines are near.
    free: Vec<u16>,
    /// Pages that are lent, or still held from an epoch before.
    lent: Vec<u16>,
    /// Number of the last wait.
    waits: u32,
    is_waiting: bool,
}

impl Lender {
    /// The lending end of the pages in `memory`, of which nothing is assumed. It
    /// lends nothing before [`Lender::synchronise`].
    pub fn new(memory: SharedMemory) -> Result<Self, TooSmall> {
        let pages = pages_in(&memory)?;
        memory.word(WAITS).store(0, Relaxed);
        let start = pages_start(usize::from(pages));
        let counts = alloc::vec![0; usize::from(pages)];
        let (free, lent) = (Vec::with_capacity(counts.len()), Vec::with_capacity(counts.len()));
        Ok(Self { memory, start, tag: 0, counts, free, lent, waits: 0, is_waiting: false })
    }

    /// Starts an epoch; comes after the ring's writer did. What this
    /// incarnation of the borrower still holds from before stays lent.
    pub fn synchronise(&mut self, epoch: Epoch) {
        let was_used = self.tag != 0 || !Epoch::is_untouched(epoch.writer);
        self.tag = epoch.tag();
        self.wait_no_more();
        self.counts.fill(0);
        self.free.clear();
        self.lent.clear();
        let reader = self.tag & 0xffff;
        let pages = (0..self.counts.len() as u16).rev();
        if !was_used {
            return self.free.extend(pages);
        }
        for page in pages {
            // SYNC: lease (the lender's side; the fence is the ring's)
            let word = taken_word(&self.memory, page).load(Acquire);
            let is_held = word as u32 & HELD != 0 && (word >> 32) as u32 & 0xffff == reader;
            if is_held {
                self.lent.push(page);
                continue;
            }
            // A lender before this one may have written there what the borrower
            // will say in this epoch: the page would be back before it was taken.
            taken_word(&self.memory, page).store(0, Relaxed);
            self.free.push(page);
        }
    }

    /// Whether a body of `bytes` bytes finds free pages.
    pub fn has_room(&mut self, bytes: usize) -> bool {
        let needed = bytes.div_ceil(PAGE_BYTES);
        if self.free.len() < needed {
            self.collect();
        }
        self.free.len() >= needed
    }

    /// Looks which pages were given back.
    fn collect(&mut self) {
        let Self { memory, tag, counts, free, lent, .. } = self;
        lent.retain(|&page| {
            // SYNC: give-back (the lender's side)
            let word = taken_word(memory, page).load(Acquire);
            let count = counts.get(usize::from(page)).copied().unwrap_or(0);
            let is_back = match count {
                // Held over from an epoch before.
                0 => word as u32 & HELD == 0,
                _ => word == tagged(*tag, count),
            };
            if is_back {
                free.push(page);
            }
            !is_back
        });
    }

    /// Copies a message's body into free pages, of which there must be enough
    /// ([`Lender::has_room`]; `None` if there are not), and returns the payload
    /// of the slot that hands them over.
    pub fn lend(&mut self, message: &Gather<'_>) -> Option<Payload> {
        let mut payload = message.head_words();
        let bytes = message.body_len();
        let pages = bytes.div_ceil(PAGE_BYTES);
        if pages > MAX_PAGES || self.free.len() < pages {
            return None;
        }
        payload[HEADER_WORDS] = bytes as u64;
        for (index, from) in (0..bytes).step_by(PAGE_BYTES).enumerate() {
            let page = self.free.pop()?;
            self.lent.push(page);
            let count = self.counts.get_mut(usize::from(page))?;
            *count = (*count % COUNT) + 1;
            let window = self.start + usize::from(page) * PAGE_BYTES;
            message.store_body(from, &self.memory, window, PAGE_BYTES.min(bytes - from));
            payload[HEADER_WORDS + 1 + index / PER_WORD] |= u64::from(page) << (16 * (index % PER_WORD));
        }
        Some(payload)
    }

    /// Asks to be rung when pages are given back. The ring's
    /// [`sleep_fence`](crate::ring::sleep_fence) and a look at
    /// [`Lender::has_room`] follow before the sleep.
    pub fn wait_for_pages(&mut self) {
        self.waits = self.waits.wrapping_add(1).max(1);
        self.memory.word(WAITS).store(tagged(self.tag, self.waits), Relaxed);
        self.is_waiting = true;
    }

    /// No longer asks to be rung.
    pub fn wait_no_more(&mut self) {
        if self.is_waiting {
            self.memory.word(WAITS).store(0, Relaxed);
            self.is_waiting = false;
        }
    }
}

/// What the borrowing end and its leases share.
struct Borrowed {
    memory: SharedMemory,
    start: usize,
    /// Whom to ring, and with what.
    peer: u16,
    doorbell: Arc<dyn Doorbell + Send + Sync>,
    /// The lender's wait that was rung for last.
    rung: AtomicU64,
    /// Pages that leases have.
    held: AtomicU64,
}

/// The borrowing end.
pub struct Borrower {
    shared: Arc<Borrowed>,
    tag: u32,
    /// How often each page was taken in this epoch.
    counts: Vec<u32>,
}

impl Borrower {
    /// The borrowing end of the pages in `memory`, of which nothing is assumed,
    /// that rings `peer` with `doorbell`.
    pub fn new(
        memory: SharedMemory,
        peer: u16,
        doorbell: Arc<dyn Doorbell + Send + Sync>,
    ) -> Result<Self, TooSmall> {
        let pages = pages_in(&memory)?;
        let start = pages_start(usize::from(pages));
        let shared =
            Borrowed { memory, start, peer, doorbell, rung: AtomicU64::new(0), held: AtomicU64::new(0) };
        Ok(Self { shared: Arc::new(shared), tag: 0, counts: alloc::vec![0; usize::from(pages)] })
    }

    /// Starts an epoch. Leases of the epoch before stay good.
    pub fn synchronise(&mut self, epoch: Epoch) {
        if self.tag == 0 && !Epoch::is_untouched(epoch.reader) {
            // An incarnation that begins holds nothing.
            (0..self.counts.len() as u16)
                .for_each(|page| taken_word(&self.shared.memory, page).store(0, Relaxed));
        }
        self.tag = epoch.tag();
        self.counts.fill(0);
    }

    /// Takes the pages that a slot's payload names; to be called between the two
    /// looks at its header. `None` if the payload makes no sense.
    pub fn claim(&mut self, payload: &Payload) -> Option<Lease> {
        let length = u32::try_from(payload[HEADER_WORDS]).ok()?;
        let needed = (length as usize).div_ceil(PAGE_BYTES);
        if needed == 0 || needed > MAX_PAGES {
            return None;
        }
        let mut pages = [(0, 0); MAX_PAGES];
        for (index, page) in pages.iter_mut().take(needed).enumerate() {
            page.0 = (payload[HEADER_WORDS + 1 + index / PER_WORD] >> (16 * (index % PER_WORD))) as u16;
            if usize::from(page.0) >= self.counts.len() {
                return None;
            }
        }
        for (page, number) in pages.iter_mut().take(needed) {
            let count = self.counts.get_mut(usize::from(*page))?;
            *count = (*count % COUNT) + 1;
            *number = *count;
            taken_word(&self.shared.memory, *page).store(tagged(self.tag, HELD | *count), Relaxed);
        }
        self.shared.held.fetch_add(needed as u64, Relaxed);
        // SYNC: lease (the borrower's side)
        fence(SeqCst);
        Some(Lease { shared: self.shared.clone(), tag: self.tag, length, pages })
    }
}

impl fmt::Debug for Borrower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Borrower({} pages of peer {})", self.counts.len(), self.shared.peer)
    }
}

/// A body in the lender's pages, which are given back when it is dropped. What
/// is in them is an allegation: copy it out, then check it.
pub struct Lease {
    shared: Arc<Borrowed>,
    tag: u32,
    /// Bytes of the body: never more than its pages have.
    length: u32,
    /// Page numbers, each within the window, and which time it was taken.
    pages: [(u16, u32); MAX_PAGES],
}

impl Lease {
    /// Bytes of the body.
    pub fn len(&self) -> usize {
        self.length as usize
    }

    /// Whether the body has no bytes; it always has some.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Whether leases have more than half of the lender's pages: then a body is
    /// better copied at once, for whoever keeps it may keep it long, and others
    /// would lack the pages.
    pub fn is_scarce(&self) -> bool {
        let pages = (self.shared.memory.len() - self.shared.start) / PAGE_BYTES;
        self.shared.held.load(Relaxed) as usize > pages / 2
    }

    fn pages(&self) -> &[(u16, u32)] {
        &self.pages[..self.len().div_ceil(PAGE_BYTES)]
    }

    /// Copies bytes of the body from byte `from` on, as many as there are and
    /// `target` has room for, and returns how many.
    pub fn copy(&self, from: usize, target: &mut [u8]) -> usize {
        let end = self.len().min(from.saturating_add(target.len()));
        let mut at = from;
        while at < end {
            let (page, within) = (at / PAGE_BYTES, at % PAGE_BYTES);
            let count = (PAGE_BYTES - within).min(end - at);
            let start = self.shared.start + usize::from(self.pages()[page].0) * PAGE_BYTES + within;
            self.shared.memory.copy_out(start, &mut target[at - from..at - from + count]);
            at += count;
        }
        at.saturating_sub(from)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let shared = &self.shared;
        shared.held.fetch_sub(self.pages().len() as u64, Relaxed);
        for &(page, count) in self.pages() {
            // SYNC: give-back (the borrower's side)
            taken_word(&shared.memory, page).store(tagged(self.tag, count), Release);
        }
        // SYNC: pages-wait (the borrower's side; the lender's is the sleep's fence)
        fence(SeqCst);
        let waits = shared.memory.word(WAITS).load(Relaxed);
        if waits as u32 != 0 && shared.rung.swap(waits, Relaxed) != waits {
            shared.doorbell.ring(shared.peer);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({} bytes)", self.length)
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
