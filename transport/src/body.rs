//! The body of a message that was received: short ones in themselves, longer
//! ones on the heap, bulk still in the sender's pages.

use crate::pages::Lease;
use crate::ring::{PAYLOAD_WORDS, Payload};
use crate::wire::HEADER_WORDS;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

/// Most bytes of a body that need no memory of their own: those of a message
/// of one slot.
pub const INLINE_BYTES: usize = (PAYLOAD_WORDS - HEADER_WORDS) * 8;

/// A body. Whoever drops one that is lent gives the pages back.
pub struct Body(Kind);

enum Kind {
    Inline([u8; INLINE_BYTES], u8),
    Owned(Vec<u8>),
    Lent(Box<Lease>),
}

impl Body {
    /// The body of a slot that holds a whole message of `used` bytes, header included.
    #[inline]
    pub(crate) fn of_slot(payload: &Payload, used: usize) -> Self {
        let mut bytes = [0; INLINE_BYTES];
        for (chunk, word) in bytes.as_chunks_mut().0.iter_mut().zip(&payload[HEADER_WORDS..]) {
            *chunk = word.to_le_bytes();
        }
        Self(Kind::Inline(bytes, used.saturating_sub(HEADER_WORDS * 8).min(INLINE_BYTES) as u8))
    }

    /// A body in the sender's pages: it stays there, unless these are scarce.
    pub(crate) fn lent(lease: Lease) -> Self {
        match lease.is_scarce() {
            true => Self(Kind::Owned(copied(&lease))),
            false => Self(Kind::Lent(Box::new(lease))),
        }
    }

    /// Bytes of the body.
    pub fn len(&self) -> usize {
        match &self.0 {
            Kind::Inline(_, length) => usize::from(*length),
            Kind::Owned(bytes) => bytes.len(),
            Kind::Lent(lease) => lease.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies bytes from byte `from` on, as many as there are and `target` has
    /// room for, and returns how many.
    pub fn copy(&self, from: usize, target: &mut [u8]) -> usize {
        let Some(bytes) = self.here() else {
            let Kind::Lent(lease) = &self.0 else { return 0 };
            return lease.copy(from, target);
        };
        let rest = bytes.get(from..).unwrap_or_default();
        let count = rest.len().min(target.len());
        target[..count].copy_from_slice(&rest[..count]);
        count
    }

    /// The bytes, if they are this VM's own: those that are lent may change.
    fn here(&self) -> Option<&[u8]> {
        match &self.0 {
            Kind::Inline(bytes, length) => bytes.get(..usize::from(*length)),
            Kind::Owned(bytes) => Some(bytes),
            Kind::Lent(_) => None,
        }
    }

    /// The bytes. If they are lent, they are copied here first and the pages
    /// given back.
    pub fn bytes(&mut self) -> &[u8] {
        if let Kind::Lent(lease) = &self.0 {
            self.0 = Kind::Owned(copied(lease));
        }
        self.here().unwrap_or_default()
    }

    /// The bytes, on the heap.
    pub fn into_vec(self) -> Vec<u8> {
        match self.0 {
            Kind::Inline(bytes, length) => bytes[..usize::from(length)].to_vec(),
            Kind::Owned(bytes) => bytes,
            Kind::Lent(lease) => copied(&lease),
        }
    }
}

fn copied(lease: &Lease) -> Vec<u8> {
    let mut bytes = alloc::vec![0; lease.len()];
    lease.copy(0, &mut bytes);
    bytes
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Kind::Owned(bytes))
    }
}

impl From<&[u8]> for Body {
    /// In itself if it is short.
    fn from(bytes: &[u8]) -> Self {
        if bytes.len() > INLINE_BYTES {
            return Self(Kind::Owned(bytes.to_vec()));
        }
        let mut inline = [0; INLINE_BYTES];
        inline[..bytes.len()].copy_from_slice(bytes);
        Self(Kind::Inline(inline, bytes.len() as u8))
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        let [here, there] = [self, other].map(|body| {
            let mut bytes = alloc::vec![0; body.len()];
            body.copy(0, &mut bytes);
            bytes
        });
        here == there
    }
}

impl Eq for Body {}

impl Default for Body {
    fn default() -> Self {
        Self(Kind::Inline([0; INLINE_BYTES], 0))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.len())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn bodies_of_all_lengths_keep_their_bytes() {
        for length in 0..100_usize {
            let bytes: Vec<u8> = (0..length as u8).collect();
            let mut both = [Body::from(&bytes[..]), Body::from(bytes.clone())];
            for body in &mut both {
                let mut target = [0xff; 10];
                let count = body.copy(3, &mut target);
                assert_eq!(count, length.saturating_sub(3).min(10));
                assert_eq!(target[..count], bytes[3.min(length)..][..count]);
                assert_eq!((body.len(), body.bytes()), (length, &bytes[..]));
            }
            assert_eq!(both.map(Body::into_vec), [bytes.clone(), bytes]);
        }
    }
}
