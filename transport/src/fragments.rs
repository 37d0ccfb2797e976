//! Messages as sequences of slots, and back.
//!
//! The assembler believes nothing: its memory is bounded by [`MAX_MESSAGE`] and
//! grows only with bytes that were really received. After a slot that makes no
//! sense it skips what remains of that message, so that one broken message is
//! one complaint.

use crate::link::{MAX_MESSAGE, Malformed, Received};
use crate::ring::{PAYLOAD_BYTES, Slot};
use crate::wire::HEADER_BYTES;
use alloc::vec::Vec;

/// A message in pieces: a head and the parts of a body.
#[derive(Clone, Copy, Debug)]
pub struct Gather<'a> {
    head: &'a [u8],
    body: &'a [&'a [u8]],
    len: usize,
}

impl<'a> Gather<'a> {
    /// The message of these pieces, or `None` if their lengths overflow.
    pub fn new(head: &'a [u8], body: &'a [&'a [u8]]) -> Option<Self> {
        let len = body.iter().try_fold(head.len(), |sum, part| sum.checked_add(part.len()))?;
        Some(Self { head, body, len })
    }

    /// A message in one piece.
    pub fn whole(bytes: &'a [u8]) -> Self {
        Self { head: bytes, body: &[], len: bytes.len() }
    }

    /// Bytes of the message.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the message has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies bytes from byte `from` on into `target`, as many as there are and
    /// fit, and returns how many.
    pub fn copy(&self, from: usize, target: &mut [u8]) -> usize {
        let (mut skip, mut done) = (from, 0);
        for part in core::iter::once(&self.head).chain(self.body) {
            let Some(rest) = part.get(skip..) else {
                skip -= part.len();
                continue;
            };
            skip = 0;
            let count = rest.len().min(target.len() - done);
            target[done..done + count].copy_from_slice(&rest[..count]);
            done += count;
            if done == target.len() {
                break;
            }
        }
        done
    }

    /// All bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len);
        bytes.extend_from_slice(self.head);
        self.body.iter().for_each(|part| bytes.extend_from_slice(part));
        bytes
    }
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
    header: [u8; HEADER_BYTES],
    body: Vec<u8>,
}

impl Assembler {
    /// Adds a slot and says what came of it.
    pub(crate) fn add(&mut self, slot: Slot, payload: &[u8; PAYLOAD_BYTES]) -> Received {
        let place = slot.place;
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
        let Some(bytes) = payload.get(..slot.used).filter(|bytes| place.last || bytes.len() == PAYLOAD_BYTES)
        else {
            return self.refuse(Malformed::Slot, place.last);
        };
        let bytes = if place.first {
            let Some((header, rest)) = bytes.split_first_chunk() else {
                return self.refuse(Malformed::TooShort, place.last);
            };
            self.header = *header;
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
            Received::Message(self.header, core::mem::take(&mut self.body))
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
