//! Sizes as people write them: `"64 MiB"`.

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use std::fmt;

/// A number of bytes, written as a number and a unit: `"64 MiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// Units with their bytes, largest first.
const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl Size {
    /// So many MiB.
    pub const fn mebibytes(count: u64) -> Self {
        Self(count << 20)
    }

    /// From its written form; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit.trim())?;
        number.parse::<u64>().ok()?.checked_mul(*bytes).map(Self)
    }
}

impl fmt::Display for Size {
    /// In the largest unit that divides it, or else rounded down to whole MiB
    /// when it is large.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 > 64 << 20 && !self.0.is_multiple_of(1 << 20) {
            return write!(f, "{} MiB", self.0 >> 20);
        }
        let unit = UNITS.iter().find(|(_, bytes)| self.0 >= *bytes && self.0.is_multiple_of(*bytes));
        let (name, bytes) = unit.unwrap_or(&UNITS[3]);
        write!(f, "{} {name}", self.0 / bytes)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(SizeVisitor)
    }
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size in quotes such as \"64 MiB\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
        Size::parse(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes) in [("64 MiB", 64 << 20), ("1GiB", 1 << 30), ("7 KiB", 7168), ("12 B", 12)] {
            assert_eq!(Size::parse(text), Some(Size(bytes)));
        }
        for text in ["64", "MiB", "-1 MiB", "1.5 GiB", "64 MB", "99999999999 GiB", ""] {
            assert_eq!(Size::parse(text), None, "{text}");
        }
        assert_eq!(Size(1536 << 20).to_string(), "1536 MiB");
        assert_eq!(Size(24_000_000_000).to_string(), "22888 MiB");
        assert_eq!(Size(0).to_string(), "0 B");
    }
}
