//! Lengths of time as people write them: `"1 ms"`.

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use std::fmt;

/// A length of time in nanoseconds, written as a number and a unit: `"1 ms"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delay(pub u64);

/// Units with their nanoseconds.
const UNITS: [(&str, u64); 4] = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1000), ("ns", 1)];

impl Delay {
    /// From its written form; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let (_, nanoseconds) = UNITS.iter().find(|(name, _)| *name == unit.trim())?;
        number.parse::<u64>().ok()?.checked_mul(*nanoseconds).map(Self)
    }
}

impl<'de> Deserialize<'de> for Delay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(DelayVisitor)
    }
}

struct DelayVisitor;

impl Visitor<'_> for DelayVisitor {
    type Value = Delay;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time in quotes such as \"1 ms\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Delay, E> {
        Delay::parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for (text, ns) in [("1 ms", 1_000_000), ("20us", 20_000), ("3 s", 3_000_000_000), ("0 ns", 0)] {
            assert_eq!(Delay::parse(text), Some(Delay(ns)));
        }
        for text in ["1", "ms", "1.5 ms", "-1 ms", "1 h", "99999999999999 s", ""] {
            assert_eq!(Delay::parse(text), None, "{text}");
        }
    }
}
