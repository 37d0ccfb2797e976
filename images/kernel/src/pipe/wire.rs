//! What travels for pipes: notices, whose header names a slot in a table of the
//! VM they go to (protocol.md N1, N2, N3).
//!
//! ```text
//! header.pipe      index of the slot
//! header.request   bits 0-31 generation of the slot, 32-55 argument, 56-63 what it is
//!
//!               to the pipe's home     to the sender's VM      argument      body
//! 1 open        0                                                            Open
//! 2 opened                             sending end             window        inlet: Slot
//! 3 refused                            sending end             why
//! 4 data        inlet                                                        the message
//! 5 credit                             sending end             bytes
//! 6 close       inlet
//! 7 closed                             sending end             why
//! ```
//! An *inlet* is what the pipe's home keeps of a sending end. A message of at
//! most 32 bytes travels in one cache line: nothing is added to it.
//!
//! ```text
//!            open ▶               data ▶ ◀ credit
//!   Opening ────────▶ ◀ opened: Open ─────────────▶ close ▶ or ◀ closed: gone
//!      └ ◀ refused: gone
//! ```
//! An end that nobody waits for any more when `opened` arrives answers `close`.
//! What arrives for a slot that is gone was under way when it went: it is
//! dropped, and counted.

use super::names::{Activity, Target};
pub use super::slots::Slot;
use serde::{Deserialize, Serialize};

/// What a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Asks for a sending end.
    Open = 1,
    /// It is there.
    Opened = 2,
    /// It will not be.
    Refused = 3,
    /// A message.
    Data = 4,
    /// So many more bytes may be sent.
    Credit = 5,
    /// Nothing more will be sent.
    Close = 6,
    /// Nothing more will be read.
    Closed = 7,
}

/// Most that an argument can be.
pub const MAX_ARGUMENT: u32 = (1 << 24) - 1;

/// The word in a notice's header.
pub fn word(kind: Kind, argument: u32, generation: u32) -> u64 {
    debug_assert!(argument <= MAX_ARGUMENT);
    u64::from(kind as u8) << 56 | u64::from(argument & MAX_ARGUMENT) << 32 | u64::from(generation)
}

/// What a word says, and of which generation; `None` if that is nothing known.
pub fn parse(word: u64) -> Option<(Kind, u32, u32)> {
    let kind = match word >> 56 {
        1 => Kind::Open,
        2 => Kind::Opened,
        3 => Kind::Refused,
        4 => Kind::Data,
        5 => Kind::Credit,
        6 => Kind::Close,
        7 => Kind::Closed,
        _ => return None,
    };
    Some((kind, (word >> 32) as u32 & MAX_ARGUMENT, word as u32))
}

/// Asks for a sending end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// To what.
    pub target: Target,
    /// The end, at the sender's VM.
    pub end: Slot,
    /// Whose it is.
    pub activity: Option<Activity>,
}

/// Why a sending end is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Refusal {
    /// There is no such pipe, or no longer.
    NoSuchPipe = 1,
    /// The pipe is not for this sender.
    NotAllowed = 2,
    /// The pipe has too many sending ends, or too many of this sender's.
    TooMany = 3,
}

impl Refusal {
    /// From an argument, which may be anything.
    pub fn from_argument(argument: u32) -> Self {
        match argument {
            2 => Self::NotAllowed,
            3 => Self::TooMany,
            _ => Self::NoSuchPipe,
        }
    }
}

/// Argument of `closed`: the reading end was closed.
pub const CLOSED: u32 = 0;
/// Argument of `closed`: the sender sent more than it had credit for.
pub const OVERRUN: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_survives() {
        for kind in
            [Kind::Open, Kind::Opened, Kind::Refused, Kind::Data, Kind::Credit, Kind::Close, Kind::Closed]
        {
            for (argument, generation) in [(0, 0), (MAX_ARGUMENT, u32::MAX), (5, 6)] {
                assert_eq!(parse(word(kind, argument, generation)), Some((kind, argument, generation)));
            }
        }
        assert_eq!(parse(0), None);
        assert_eq!(parse(8 << 56), None);
    }
}
