//! What a message says, as it arrived.

/// The bytes of a message.
#[derive(Default)]
pub struct Body(Vec<u8>);

impl Body {
    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Copies bytes from byte `from` on, as many as there are and `target` has
    /// room for, and returns how many.
    pub fn copy(&self, from: usize, target: &mut [u8]) -> usize {
        let rest = self.0.get(from..).unwrap_or_default();
        let count = rest.len().min(target.len());
        target[..count].copy_from_slice(&rest[..count]);
        count
    }

    /// The bytes.
    pub fn bytes(&mut self) -> &[u8] {
        &self.0
    }

    /// The bytes, on the heap.
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for Body {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}
