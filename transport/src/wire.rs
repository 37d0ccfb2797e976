//! The header of a message as bytes (protocol.md M1, H2).
//!
//! ```text
//! byte 0       kind: 1 request, 2 reply, 3 notice, 4 cancel, 5 refuse
//! bytes 1-3    0
//! bytes 4-7    pipe
//! bytes 8-15   request
//! bytes 16-23  trace
//! ```
//! All little-endian. With the body it makes the message; a message of at most
//! 56 bytes travels in one cache line.

use crate::link::Malformed;

/// Bytes of an encoded header.
pub const HEADER_BYTES: usize = 24;
/// Words of an encoded header.
pub const HEADER_WORDS: usize = HEADER_BYTES / 8;

/// What a message is in its conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Wants a reply that carries its request id.
    Request = 1,
    /// Answers the request of the same id.
    Reply = 2,
    /// Wants no reply.
    Notice = 3,
    /// Takes back the request of the same id: nobody waits for its reply any more.
    Cancel = 4,
    /// Answers the request of the same id: it is not served.
    Refuse = 5,
}

/// What every message says before its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// What it is in its conversation.
    pub kind: Kind,
    /// The pipe of the receiving VM that it is for.
    pub pipe: u32,
    /// The id that its sender gave the request, or that of the request answered.
    pub request: u64,
    /// Ties together what happens on many VMs for one cause.
    pub trace: u64,
}

impl Header {
    /// As the words that travel: the bytes, little-endian.
    #[inline]
    pub fn to_words(self) -> [u64; HEADER_WORDS] {
        [u64::from(self.pipe) << 32 | self.kind as u64, self.request, self.trace]
    }

    /// From words, which may be anything.
    #[inline]
    pub fn from_words(&[first, request, trace]: &[u64; HEADER_WORDS]) -> Result<Self, Malformed> {
        let kind = match first as u32 {
            1 => Kind::Request,
            2 => Kind::Reply,
            3 => Kind::Notice,
            4 => Kind::Cancel,
            5 => Kind::Refuse,
            _ => return Err(Malformed::Header),
        };
        Ok(Self { kind, pipe: (first >> 32) as u32, request, trace })
    }

    /// As bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        words_to_bytes(&self.to_words())
    }

    /// From bytes, which may be anything.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, Malformed> {
        Self::from_words(&bytes_to_words(bytes))
    }
}

/// A header's words as bytes.
pub fn words_to_bytes(words: &[u64; HEADER_WORDS]) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    for (chunk, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
        *chunk = word.to_le_bytes();
    }
    bytes
}

/// A header's bytes as words.
pub fn bytes_to_words(bytes: &[u8; HEADER_BYTES]) -> [u64; HEADER_WORDS] {
    let mut words = [0; HEADER_WORDS];
    for (word, chunk) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_le_bytes(*chunk);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_its_bytes() {
        for kind in [Kind::Request, Kind::Reply, Kind::Notice, Kind::Cancel, Kind::Refuse] {
            let header = Header { kind, pipe: 0xdead_beef, request: u64::MAX - 1, trace: 1 << 63 };
            assert_eq!(Header::decode(&header.encode()), Ok(header));
        }
    }

    #[test]
    fn the_bytes_are_what_the_page_says() {
        let header = Header { kind: Kind::Reply, pipe: 0x0403_0201, request: 5, trace: 6 };
        assert_eq!(header.encode(), [2, 0, 0, 0, 1, 2, 3, 4, 5, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn an_unknown_kind_and_used_reserved_bytes_are_refused() {
        let good = Header { kind: Kind::Notice, pipe: 1, request: 2, trace: 3 }.encode();
        for (at, value) in [(0, 0), (0, 6), (0, 255), (1, 1), (2, 1), (3, 128)] {
            let mut bytes = good;
            bytes[at] = value;
            assert_eq!(Header::decode(&bytes), Err(Malformed::Header));
        }
    }
}
