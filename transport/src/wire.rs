//! The header of a message as bytes.
//!
//! ```text
//! byte 0       kind: 1 request, 2 reply, 3 notice
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
}

/// What every message says before its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// Request, reply or notice.
    pub kind: Kind,
    /// The pipe of the receiving VM that it is for.
    pub pipe: u32,
    /// The id that its sender gave the request, or that of the request answered.
    pub request: u64,
    /// Ties together what happens on many VMs for one cause.
    pub trace: u64,
}

impl Header {
    /// As bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = self.kind as u8;
        bytes[4..8].copy_from_slice(&self.pipe.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.request.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.trace.to_le_bytes());
        bytes
    }

    /// From bytes, which may be anything.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, Malformed> {
        let [first, request, trace] = [0, 8, 16].map(|at| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word)
        });
        let kind = match first as u32 {
            1 => Kind::Request,
            2 => Kind::Reply,
            3 => Kind::Notice,
            _ => return Err(Malformed::Header),
        };
        Ok(Self { kind, pipe: (first >> 32) as u32, request, trace })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_its_bytes() {
        for kind in [Kind::Request, Kind::Reply, Kind::Notice] {
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
        for (at, value) in [(0, 0), (0, 4), (0, 255), (1, 1), (2, 1), (3, 128)] {
            let mut bytes = good;
            bytes[at] = value;
            assert_eq!(Header::decode(&bytes), Err(Malformed::Header));
        }
    }
}
