//! One ring: slots of one cache line from one writer to one reader.
//!
//! ```text
//! line 0   the reader's: word 0 position, word 1 asleep
//! line 1   the writer's: word 0 waits for space
//! line 2…  slots, a power of two of them:
//!          word 0 header, words 1 to 7 payload
//!
//! header    tag:32 | sequence:24 | use:8
//! use       used bytes:6 | last:1 | first:1
//! position  tag:32 | 0:8 | sequence:24
//! flags     tag:32 | 0:8 | sequence that is waited for:24, 0 = not waiting
//! ```
//!
//! A message is one slot that is both first and last, or a first, full middles
//! and a last one (protocol.md R8). Everything is little-endian, as the words are.
//!
//! What holds, and what of `docs/protocol.md` says how and why:
//! - Every slot is read whole, once, in order: R1, R2, R4, R5, R6, R7.
//! - A restart of either end mixes nothing up: R3, E2, E3, E4. An epoch is a
//!   pair of incarnations; its *tag* is in whatever belongs to it ([`Epoch::tag`]).
//! - No wake-up is lost: D2 and D3 for the reader, D4 for the writer, D5 for both.

use crate::memory::{AtomicU64, LINE, LINE_WORDS, SharedMemory, WORD, fence};
use core::fmt;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

/// Most payload bytes in a slot.
pub const PAYLOAD_BYTES: usize = LINE - WORD;
/// Words of a slot's payload.
pub const PAYLOAD_WORDS: usize = LINE_WORDS - 1;
/// Most slots that a ring uses, however large its window is.
pub const MAX_SLOTS: usize = 1 << 16;

const POSITION: usize = 0;
const ASLEEP: usize = WORD;
const WAITS: usize = LINE;
const SLOTS: usize = 2 * LINE;
/// Generation of a VM's first life on a machine.
const FIRST_GENERATION: u32 = 1;
/// Sequence numbers are counted modulo 2^24.
const SEQUENCE: u32 = (1 << 24) - 1;

/// The window is too small for a ring of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSmall;

impl fmt::Display for TooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the window is too small for a ring")
    }
}

impl core::error::Error for TooSmall {}

/// The ring has no free slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The two incarnations between which a ring carries messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Generation of the writing end.
    pub writer: u32,
    /// Generation of the reading end.
    pub reader: u32,
}

impl Epoch {
    /// What slots and positions of this epoch carry (protocol.md R3). Never 0.
    pub fn tag(self) -> u32 {
        (self.writer % 0xffff + 1) << 16 | (self.reader % 0xffff + 1)
    }

    /// Whether nothing can have been written at an end of this generation before
    /// its first epoch: the region is as old as the machine and full of zeros
    /// (protocol.md E4).
    pub(crate) fn is_untouched(generation: u32) -> bool {
        generation == FIRST_GENERATION
    }
}

/// Which part of a message a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The message starts here.
    pub first: bool,
    /// The message ends here.
    pub last: bool,
}

impl Place {
    /// A message that fits a slot.
    pub const WHOLE: Self = Self { first: true, last: true };
}

/// A slot's payload: words in memory's order, bytes little-endian in them. In
/// registers, if all goes well: a short message touches no memory but its line.
pub type Payload = [u64; PAYLOAD_WORDS];

/// The payload that starts with these bytes, [`PAYLOAD_BYTES`] of them at most
/// (what is longer is cut off), and is zero behind them.
#[inline]
pub fn payload(bytes: &[u8]) -> Payload {
    let mut payload = [0; PAYLOAD_WORDS];
    let mut rest = &bytes[..bytes.len().min(PAYLOAD_BYTES)];
    for word in &mut payload {
        if let Some((first, behind)) = rest.split_first_chunk() {
            *word = u64::from_le_bytes(*first);
            rest = behind;
        } else if !rest.is_empty() {
            let mut last = [0; WORD];
            last[..rest.len()].copy_from_slice(rest);
            *word = u64::from_le_bytes(last);
            rest = &[];
        }
    }
    payload
}

/// A payload as bytes.
#[inline]
pub fn payload_bytes(payload: &Payload) -> [u8; PAYLOAD_BYTES] {
    let mut bytes = [0; PAYLOAD_BYTES];
    for (chunk, word) in bytes.as_chunks_mut().0.iter_mut().zip(payload) {
        *chunk = word.to_le_bytes();
    }
    bytes
}

/// What a slot's header says that it holds. Of a slot that was taken from the
/// ring it is what the peer wrote, so only a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Which part of a message it holds.
    pub place: Place,
    /// How many bytes of the payload are used; of a slot that was taken it may
    /// exceed [`PAYLOAD_BYTES`]: [`BY_REFERENCE`], or nonsense.
    pub used: usize,
}

/// In the place of the number of used bytes: the payload says where the message
/// is instead of holding it (see [`crate::pages`]).
pub const BY_REFERENCE: usize = 63;

impl Slot {
    #[inline]
    fn to_bits(self) -> u64 {
        (self.used as u64 & 0x3f) << 2 | u64::from(self.place.last) << 1 | u64::from(self.place.first)
    }

    #[inline]
    fn from_bits(header: u64) -> Self {
        let place = Place { first: header & 1 != 0, last: header & 2 != 0 };
        Self { place, used: (header as u8 >> 2) as usize }
    }

    /// How many words of the payload are copied: all, which costs less than to
    /// look how many are used.
    #[cfg(not(loom))]
    #[inline]
    fn words(self) -> usize {
        PAYLOAD_WORDS
    }

    /// For the model checker, to which each word is a step: those that are used.
    #[cfg(loom)]
    fn words(self) -> usize {
        if self.used == BY_REFERENCE { 5 } else { self.used.div_ceil(WORD).min(PAYLOAD_WORDS) }
    }

    #[cfg(not(loom))]
    #[inline]
    fn load(self, words: &[AtomicU64; PAYLOAD_WORDS]) -> Payload {
        words.each_ref().map(|word| word.load(Relaxed))
    }

    #[cfg(loom)]
    fn load(self, words: &[AtomicU64; PAYLOAD_WORDS]) -> Payload {
        let mut payload = [0; PAYLOAD_WORDS];
        let copied = payload.iter_mut().zip(words).take(self.words());
        copied.for_each(|(value, word)| *value = word.load(Relaxed));
        payload
    }
}

/// Slots of a ring in a window of `bytes` bytes.
fn slots_in(bytes: usize) -> Result<u32, TooSmall> {
    let fit = bytes.saturating_sub(SLOTS) / LINE;
    match fit.min(MAX_SLOTS).checked_ilog2() {
        Some(power) => Ok(1 << power),
        None => Err(TooSmall),
    }
}

/// Byte offset of the slot for `sequence` in a ring of `mask + 1` slots.
#[inline]
fn slot_offset(sequence: u32, mask: u32) -> usize {
    SLOTS + (sequence & mask) as usize * LINE
}

/// A header without its last byte, which says how the slot is used.
#[inline]
fn expected(tag: u32, sequence: u32) -> u64 {
    u64::from(tag) << 32 | u64::from(sequence) << 8
}

/// The fence between setting flags and looking at rings again, once for as many
/// rings as go to sleep together.
pub fn sleep_fence() {
    // SYNC: asleep, waits (the sleeper's side)
    fence(SeqCst);
}

/// protocol.md D5: whether the peer waits, as its flag says, for one of the sequences from
/// `from` up to but not including `to`, which were published before this call.
#[inline]
fn is_awaited(flag: &AtomicU64, tag: u32, from: u32, to: u32) -> bool {
    // SYNC: asleep, waits (the waker's side)
    fence(SeqCst);
    let flag = flag.load(Relaxed);
    let awaited = flag as u32;
    (flag >> 32) as u32 == tag && awaited.wrapping_sub(from) & SEQUENCE < to.wrapping_sub(from) & SEQUENCE
}

/// A position or a flag of that epoch.
#[inline]
fn tagged(tag: u32, sequence: u32) -> u64 {
    u64::from(tag) << 32 | u64::from(sequence)
}

/// The writing end of a ring.
#[derive(Debug)]
pub struct Writer {
    memory: SharedMemory,
    mask: u32,
    tag: u32,
    /// Sequence of the next slot.
    next: u32,
    /// Free slots as far as known.
    free: u32,
    /// Sequence of the first slot that [`Writer::bell_due`] has not looked for.
    looked: u32,
    /// The flag is set.
    waits: bool,
    refused: u64,
}

impl Writer {
    /// The writing end of the ring in `memory`, of which nothing is assumed.
    ///
    /// It can write nothing before [`Writer::synchronise`].
    pub fn new(memory: SharedMemory) -> Result<Self, TooSmall> {
        let mask = slots_in(memory.len())? - 1;
        memory.word(WAITS).store(0, Relaxed);
        Ok(Self { memory, mask, tag: 0, next: 0, free: 0, looked: 0, waits: false, refused: 0 })
    }

    /// Starts an epoch, with an empty ring.
    pub fn synchronise(&mut self, epoch: Epoch) {
        // To leave the pages of a ring alone that is never used saves each VM
        // these pages for each peer.
        if self.tag != 0 || !Epoch::is_untouched(epoch.writer) {
            (0..=self.mask).for_each(|sequence| self.header(sequence).store(0, Relaxed));
        }
        // SYNC: slot-overwrite, lease (the writer's side): all payloads of the
        // new epoch, and all looks at who holds a page, come after the cleared
        // headers.
        fence(SeqCst);
        self.tag = epoch.tag();
        self.next = 0;
        self.free = self.slots();
        self.looked = 0;
        self.wait_no_more();
    }

    /// How many slots the ring has.
    pub fn slots(&self) -> u32 {
        self.mask + 1
    }

    /// How many slots may be written. Looks at the reader's position only when
    /// it knows of none.
    #[inline]
    pub fn free(&mut self) -> u32 {
        if self.free == 0 {
            self.look();
        }
        self.free
    }

    /// Looks where the reader is.
    #[cold]
    fn look(&mut self) {
        // SYNC: position (the writer's side): what the reader copied before it
        // stored this position, it copied before it is overwritten.
        let position = self.memory.word(POSITION).load(Acquire);
        if (position >> 32) as u32 != self.tag || self.tag == 0 {
            return;
        }
        let used = self.next.wrapping_sub(position as u32) & SEQUENCE;
        match self.slots().checked_sub(used) {
            Some(free) if position as u32 <= SEQUENCE => self.free = free,
            _ => self.refused += 1,
        }
    }

    /// Writes one slot.
    #[inline]
    pub fn push(&mut self, slot: Slot, payload: &Payload) -> Result<(), Full> {
        if self.free() == 0 {
            return Err(Full);
        }
        let [header, words @ ..] = self.memory.line(slot_offset(self.next, self.mask));
        for (word, value) in words.iter().zip(payload).take(slot.words()) {
            word.store(*value, Relaxed);
        }
        // SYNC: slot-publish (the writer's side)
        header.store(expected(self.tag, self.next) | slot.to_bits(), Release);
        self.next = (self.next + 1) & SEQUENCE;
        self.free -= 1;
        Ok(())
    }

    /// Whether [`Writer::bell_due`] has something to look for.
    #[inline]
    pub fn is_unflushed(&self) -> bool {
        self.looked != self.next
    }

    /// Whether the reader must be rung because of what was published since the
    /// last call. Costs a fence if anything was: call it once per batch, and
    /// off the path of whoever waits for an answer.
    #[inline]
    pub fn bell_due(&mut self) -> bool {
        if self.looked == self.next {
            return false;
        }
        let from = core::mem::replace(&mut self.looked, self.next);
        is_awaited(self.memory.word(ASLEEP), self.tag, from, self.next)
    }

    /// Asks to be rung when there is space in the ring, which is full.
    /// [`sleep_fence`] and a look at [`Writer::free`] follow before the sleep.
    pub fn wait_for_space(&mut self) {
        // The reader of a full ring is a ring behind, as far as is known.
        let position = self.next.wrapping_sub(self.slots()) & SEQUENCE;
        self.memory.word(WAITS).store(tagged(self.tag, position), Relaxed);
        self.waits = true;
    }

    /// No longer asks to be rung.
    pub fn wait_no_more(&mut self) {
        if self.waits {
            self.memory.word(WAITS).store(0, Relaxed);
            self.waits = false;
        }
    }

    /// How often the reader's position was impossible.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    fn header(&self, sequence: u32) -> &AtomicU64 {
        self.memory.word(slot_offset(sequence, self.mask))
    }
}

/// The reading end of a ring.
#[derive(Debug)]
pub struct Reader {
    memory: SharedMemory,
    mask: u32,
    tag: u32,
    /// Sequence of the next slot.
    next: u32,
    /// The position that was published last.
    published: u32,
    /// The one before which [`Reader::bell_due`] has looked.
    looked: u32,
    /// The flag is set.
    asleep: bool,
    torn: u64,
    /// The header of another epoch that was seen last.
    foreign: u64,
    stale: u64,
}

impl Reader {
    /// The reading end of the ring in `memory`, of which nothing is assumed.
    ///
    /// It finds nothing before [`Reader::synchronise`].
    pub fn new(memory: SharedMemory) -> Result<Self, TooSmall> {
        let mask = slots_in(memory.len())? - 1;
        memory.word(ASLEEP).store(0, Relaxed);
        Ok(Self {
            memory,
            mask,
            tag: 0,
            next: 0,
            published: 0,
            looked: 0,
            asleep: false,
            torn: 0,
            foreign: 0,
            stale: 0,
        })
    }

    /// Starts an epoch. What of the epoch before was not taken is lost.
    pub fn synchronise(&mut self, epoch: Epoch) {
        self.tag = epoch.tag();
        self.next = 0;
        self.looked = 0;
        self.disarm();
        self.publish_position();
    }

    /// How many slots the ring has.
    pub fn slots(&self) -> u32 {
        self.mask + 1
    }

    /// Takes the next slot, if the writer published it.
    #[inline]
    pub fn pop(&mut self) -> Option<(Slot, Payload)> {
        self.pop_if(|_, _| {})
    }

    /// As [`Reader::pop`], calling `claim` between the copy and the second look
    /// at the header: if the slot is taken, the writer's incarnation had not
    /// entered another epoch (protocol.md E4) when `claim` began.
    #[inline]
    pub fn pop_if(&mut self, claim: impl FnOnce(Slot, &Payload)) -> Option<(Slot, Payload)> {
        let [header, words @ ..] = self.memory.line(slot_offset(self.next, self.mask));
        // SYNC: slot-publish (the reader's side)
        let found = header.load(Acquire);
        if found & !0xff != expected(self.tag, self.next) || self.tag == 0 {
            self.note_foreign(found);
            return None;
        }
        let slot = Slot::from_bits(found);
        let payload = slot.load(words);
        claim(slot, &payload);
        // SYNC: slot-overwrite (the reader's side): if a word of a later epoch
        // was copied, the header is seen cleared.
        fence(Acquire);
        if header.load(Relaxed) != found {
            self.torn += 1;
            return None;
        }
        self.next = (self.next + 1) & SEQUENCE;
        if self.next.wrapping_sub(self.published) & SEQUENCE >= self.slots().div_ceil(4) {
            self.publish_position();
        }
        if self.asleep {
            self.disarm();
        }
        Some((slot, payload))
    }

    /// Counts a header of another epoch, once for as long as it stands.
    #[inline]
    fn note_foreign(&mut self, found: u64) {
        let tag = (found >> 32) as u32;
        if tag != 0 && tag != self.tag && found != self.foreign && self.tag != 0 {
            self.foreign = found;
            self.stale += 1;
        }
    }

    /// Tells the writer how far everything was taken.
    fn publish_position(&mut self) {
        // SYNC: position (the reader's side)
        self.memory.word(POSITION).store(tagged(self.tag, self.next), Release);
        self.published = self.next;
    }

    /// Whether the next slot is there.
    pub fn is_ready(&self) -> bool {
        let found = self.memory.word(slot_offset(self.next, self.mask)).load(Relaxed);
        found & !0xff == expected(self.tag, self.next) && self.tag != 0
    }

    /// Whether [`Reader::bell_due`] has something to look for.
    #[inline]
    pub fn is_unflushed(&self) -> bool {
        self.looked != self.published
    }

    /// Whether the writer must be rung because slots were freed since the last
    /// call. Costs a fence if many were.
    #[inline]
    pub fn bell_due(&mut self) -> bool {
        if self.looked == self.published {
            return false;
        }
        let from = core::mem::replace(&mut self.looked, self.published);
        is_awaited(self.memory.word(WAITS), self.tag, from, self.published)
    }

    /// Asks to be rung for the next slot. [`sleep_fence`] and a look at
    /// [`Reader::is_ready`] follow before the sleep. It holds until a slot is
    /// taken.
    pub fn arm(&mut self) {
        self.memory.word(ASLEEP).store(tagged(self.tag, self.next), Relaxed);
        self.asleep = true;
    }

    /// No longer asks to be rung.
    pub fn disarm(&mut self) {
        self.memory.word(ASLEEP).store(0, Relaxed);
        self.asleep = false;
    }

    /// Whether the reader asks to be rung.
    pub fn is_armed(&self) -> bool {
        self.asleep
    }

    /// How many slots of another epoch were found where the next one was due.
    pub fn stale(&self) -> u64 {
        self.stale
    }

    /// How many slots were thrown away because they changed while being copied.
    pub fn torn(&self) -> u64 {
        self.torn
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
