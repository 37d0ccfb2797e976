//! Messages as sequences of slots, and back (protocol.md R8, H1).
//!
//! The assembler believes nothing: its memory is bounded by [`MAX_MESSAGE`] and
//! grows only with bytes that were really received. After a slot that makes no
//! sense it skips what remains of that message, so that one broken message is
//! one complaint.

use crate::body::Body;
use crate::link::{MAX_MESSAGE, Malformed, Received};
use crate::memory::{SharedMemory, WORD};
use crate::ring::{PAYLOAD_BYTES, PAYLOAD_WORDS, Payload, Slot, payload_bytes};
use crate::wire::{HEADER_BYTES, HEADER_WORDS, words_to_bytes};
use alloc::vec::Vec;

/// A message in pieces: its header and the parts of its body.
#[derive(Clone, Copy, Debug)]
pub struct Gather<'a> {
    header: [u64; HEADER_WORDS],
    body: &'a [&'a [u8]],
    len: usize,
}

impl<'a> Gather<'a> {
    /// The message of these pieces, or `None` if their lengths overflow.
    #[inline]
    pub fn new(header: [u64; HEADER_WORDS], body: &'a [&'a [u8]]) -> Option<Self> {
        let len = body.iter().try_fold(HEADER_BYTES, |sum, part| sum.checked_add(part.len()))?;
        Some(Self { header, body, len })
    }

    /// Bytes of the message, header included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes of the body.
    pub fn body_len(&self) -> usize {
        self.len - HEADER_BYTES
    }

    /// Whether the message has no bytes; it always has a header.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The header.
    pub fn header(&self) -> [u64; HEADER_WORDS] {
        self.header
    }

    /// The header as the first words of a payload that is zero behind it.
    pub(crate) fn head_words(&self) -> Payload {
        let mut payload = [0; PAYLOAD_WORDS];
        payload[..HEADER_WORDS].copy_from_slice(&self.header);
        payload
    }

    /// The payload of the slot that holds all of it, if one can.
    #[inline]
    pub(crate) fn as_slot(&self) -> Option<Payload> {
        if self.len > PAYLOAD_BYTES {
            return None;
        }
        let [first, second, third] = self.header;
        let [a, b, c, d] = match self.body {
            [] => [0; INLINE_WORDS],
            [whole] => inline_words(whole),
            parts => joined_words(parts),
        };
        Some([first, second, third, a, b, c, d])
    }

    /// Copies bytes from byte `from` on into `target`, as many as there are and
    /// fit, and returns how many.
    pub fn copy(&self, from: usize, target: &mut [u8]) -> usize {
        let header = words_to_bytes(&self.header);
        let head = header.get(from..).unwrap_or_default();
        let count = head.len().min(target.len());
        target[..count].copy_from_slice(&head[..count]);
        let mut done = count;
        for part in self.body_parts(from.saturating_sub(HEADER_BYTES), target.len() - count) {
            target[done..done + part.len()].copy_from_slice(part);
            done += part.len();
        }
        done
    }

    /// What the body's parts have of its bytes from byte `from` on, `most` at most.
    fn body_parts(&self, from: usize, most: usize) -> impl Iterator<Item = &'a [u8]> {
        let (mut skip, mut left) = (from, most);
        self.body.iter().filter_map(move |part| {
            let Some(rest) = part.get(skip..) else {
                skip -= part.len();
                return None;
            };
            skip = 0;
            let here = &rest[..rest.len().min(left)];
            left -= here.len();
            (!here.is_empty()).then_some(here)
        })
    }

    /// Copies `bytes` bytes of the body from byte `from` on into shared memory
    /// at `target`, a multiple of 8.
    pub(crate) fn store_body(&self, from: usize, memory: &SharedMemory, target: usize, bytes: usize) {
        let mut at = target;
        // The bytes of a word that is not complete yet.
        let (mut word, mut filled) = ([0; WORD], 0);
        for mut part in self.body_parts(from, bytes) {
            if filled > 0 {
                let (first, rest) = part.split_at(part.len().min(WORD - filled));
                word[filled..filled + first.len()].copy_from_slice(first);
                (filled, part) = (filled + first.len(), rest);
                if filled < WORD {
                    continue;
                }
                memory.copy_in(at, &word);
                at += WORD;
            }
            let (whole, rest) = part.split_at(part.len() / WORD * WORD);
            memory.copy_in(at, whole);
            at += whole.len();
            word[..rest.len()].copy_from_slice(rest);
            filled = rest.len();
        }
        memory.copy_in(at, &word[..filled]);
    }

    /// The body in one piece.
    pub fn body_to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.body_len());
        self.body.iter().for_each(|part| bytes.extend_from_slice(part));
        bytes
    }
}

/// Words of a body that fits a slot.
const INLINE_WORDS: usize = PAYLOAD_WORDS - HEADER_WORDS;

/// A body that fits a slot, as words: no call for some bytes.
#[inline]
fn inline_words(mut bytes: &[u8]) -> [u64; INLINE_WORDS] {
    let mut words = [0; INLINE_WORDS];
    for word in &mut words {
        if let Some((first, behind)) = bytes.split_first_chunk() {
            *word = u64::from_le_bytes(*first);
            bytes = behind;
        } else {
            *word = bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
            break;
        }
    }
    words
}

/// The same of a body in parts.
#[cold]
fn joined_words(parts: &[&[u8]]) -> [u64; INLINE_WORDS] {
    let mut bytes = [0; INLINE_WORDS * WORD];
    let mut rest = &mut bytes[..];
    for part in parts {
        let (here, behind) = rest.split_at_mut(part.len());
        here.copy_from_slice(part);
        rest = behind;
    }
    inline_words(&bytes)
}

/// Where the assembler is.
///
/// ```text
///          first           last: a message
///   Idle ────────▶ Within ────────────────▶ Idle
///     │ not first    │ nonsense
///     └──────────────┴──▶ Skipping ── last ▶ Idle
///                             └── first ───▶ Within
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Between messages.
    #[default]
    Idle,
    /// Within a message.
    Within,
    /// Within a message that was complained about.
    Skipping,
}

/// Makes messages of slots.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    state: State,
    header: [u64; HEADER_WORDS],
    body: Vec<u8>,
}

impl Assembler {
    /// Whether no message is under way.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Adds a slot and says what came of it.
    pub(crate) fn add(&mut self, slot: Slot, payload: &Payload) -> Received {
        let place = slot.place;
        let all = payload_bytes(payload);
        match (self.state, place.first) {
            (State::Skipping, false) => {
                if place.last {
                    self.state = State::Idle;
                }
                return Received::Part;
            }
            (State::Idle, false) => return self.refuse(Malformed::Order, place.last),
            (State::Within, true) => {
                // The message that was under way is lost; the one that begins
                // here is skipped with it.
                return self.refuse(Malformed::Order, place.last);
            }
            _ => {}
        }
        let Some(bytes) = all.get(..slot.used).filter(|bytes| place.last || bytes.len() == PAYLOAD_BYTES)
        else {
            return self.refuse(Malformed::Slot, place.last);
        };
        let bytes = if place.first {
            let Some(rest) = bytes.get(HEADER_BYTES..) else {
                return self.refuse(Malformed::TooShort, place.last);
            };
            self.header.copy_from_slice(&payload[..HEADER_WORDS]);
            self.body.clear();
            rest
        } else {
            bytes
        };
        if self.body.len() + bytes.len() > MAX_MESSAGE - HEADER_BYTES {
            return self.refuse(Malformed::TooLong, place.last);
        }
        self.body.extend_from_slice(bytes);
        if place.last {
            self.state = State::Idle;
            Received::Message(self.header, Body::from(core::mem::take(&mut self.body)))
        } else {
            self.state = State::Within;
            Received::Part
        }
    }

    /// Gives up the message under way and skips what remains of it.
    fn refuse(&mut self, why: Malformed, last: bool) -> Received {
        self.body = Vec::new();
        self.state = if last { State::Idle } else { State::Skipping };
        Received::Malformed(why)
    }
}
