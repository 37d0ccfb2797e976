//! A fuzzer's bytes as choices: numbers and strings, taken from the front.
//!
//! When the bytes run out, every number is 0 and [`Input::is_over`] is true, so
//! whatever loops over choices asks that first.

/// What is left of the bytes.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// All of these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether nothing is left.
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.0.len()
    }

    /// The next `N` bytes; zeros where there are none.
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut taken = [0; N];
        let bytes = self.bytes(N);
        taken[..bytes.len()].copy_from_slice(bytes);
        taken
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        self.take::<1>()[0]
    }

    /// A number of two bytes.
    pub fn short(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    /// A number of eight bytes.
    pub fn word(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    /// A number of any number of bits.
    pub fn of_any_size(&mut self) -> u64 {
        let bits = self.byte() % 64;
        self.word() >> bits
    }

    /// A number below `bound`, which is at least 1, out of two bytes.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(self.short()) % bound
    }

    /// A length up to `most`: mostly a short one.
    pub fn length(&mut self, most: usize) -> usize {
        let (scale, value) = (self.byte(), usize::from(self.byte()));
        most.min(match scale % 8 {
            0..5 => value % 64,
            5..7 => value * 8,
            _ => value * 300,
        })
    }

    /// At most `count` bytes, as many as are left.
    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, left) = self.0.split_at(count.min(self.0.len()));
        self.0 = left;
        taken
    }

    /// Some bytes, with their number in front of them.
    pub fn string(&mut self) -> &'a [u8] {
        let count = usize::from(self.short()) % 2048;
        self.bytes(count)
    }
}
