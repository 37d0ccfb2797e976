//! The addresses that led to where a thread is.
//!
//! Guest code keeps frame pointers: a frame's first word is the address of the
//! caller's frame, its second where the caller goes on. Nothing of that is
//! trusted, for whatever overwrote the stack is what a backtrace is taken for:
//! frames lie above one another, and are read through a function that refuses
//! what is not there. Where there are more than [`MOST_FRAMES`], as in a stack
//! that overflows, the innermost and the outermost are kept, and [`GAP`] stands
//! between them.

use core::fmt;

/// Most addresses of a backtrace.
pub const MOST_FRAMES: usize = 64;
/// Stands for calls that were left out.
pub const GAP: u64 = 0;
/// How many of the outermost calls are kept where there are too many.
const OUTERMOST: usize = 16;
/// Where the gap is then.
const INNERMOST: usize = MOST_FRAMES - OUTERMOST - 1;
/// Most frames that are gone up: as many as there may be time for.
const MOST_STEPS: usize = 1 << 15;

/// How a backtrace begins on the console.
const PREFIX: &str = "backtrace:";

/// Addresses of code, the innermost first. All but the first are those at
/// which a caller goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backtrace {
    addresses: [u64; MOST_FRAMES],
    count: usize,
}

impl Default for Backtrace {
    fn default() -> Self {
        Self { addresses: [0; MOST_FRAMES], count: 0 }
    }
}

impl Backtrace {
    /// An address more, if there is room.
    pub fn push(&mut self, address: u64) {
        if let Some(place) = self.addresses.get_mut(self.count) {
            *place = address;
            self.count += 1;
        }
    }

    /// An address more, of a call further out.
    fn push_outer(&mut self, address: u64) {
        if self.count < MOST_FRAMES {
            return self.push(address);
        }
        self.addresses[INNERMOST] = GAP;
        self.addresses.copy_within(INNERMOST + 2.., INNERMOST + 1);
        self.addresses[MOST_FRAMES - 1] = address;
    }

    /// Goes up the frames from `frame`. `read` is a word of memory, or `None`
    /// where none can be read; `is_code` says whether code is at an address.
    pub fn walk(&mut self, mut frame: u64, read: impl Fn(u64) -> Option<u64>, is_code: impl Fn(u64) -> bool) {
        for _ in 0..MOST_STEPS {
            if frame == 0 || !frame.is_multiple_of(8) {
                return;
            }
            let above = frame.checked_add(8).and_then(|second| Some((read(frame)?, read(second)?)));
            let Some((caller, address)) = above else { return };
            if !is_code(address) {
                return;
            }
            self.push_outer(address);
            if caller <= frame {
                return;
            }
            frame = caller;
        }
        // What was kept last is not the outermost.
        self.count = self.count.min(INNERMOST + 1);
    }

    /// The addresses.
    pub fn addresses(&self) -> &[u64] {
        &self.addresses[..self.count]
    }

    /// The backtrace that a line of a console is, if it is one.
    pub fn parse(line: &str) -> Option<Self> {
        let mut backtrace = Self::default();
        let mut words = line.strip_prefix(PREFIX)?.split_ascii_whitespace();
        let all = words.try_for_each(|word| {
            let digits = word.strip_prefix("0x").filter(|digits| !digits.starts_with('+'))?;
            let address = u64::from_str_radix(digits, 16).ok()?;
            (backtrace.count < MOST_FRAMES).then(|| backtrace.push(address))
        });
        all.filter(|()| backtrace.count > 0).map(|()| backtrace)
    }
}

impl FromIterator<u64> for Backtrace {
    /// The first [`MOST_FRAMES`] of these.
    fn from_iter<I: IntoIterator<Item = u64>>(addresses: I) -> Self {
        let mut backtrace = Self::default();
        addresses.into_iter().take(MOST_FRAMES).for_each(|address| backtrace.push(address));
        backtrace
    }
}

impl fmt::Display for Backtrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.addresses().iter().try_for_each(|address| write!(f, " {address:#x}"))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;
    use std::format;
    use std::string::ToString;
    use std::vec::Vec;

    const BASE: u64 = 0x7000_0000_0000;

    /// A walk over a stack of these words, which counts what it reads.
    fn walk(words: &[u64], frame: u64, reads: &Cell<usize>) -> Backtrace {
        let mut backtrace = Backtrace::default();
        backtrace.walk(
            frame,
            |address| {
                reads.set(reads.get() + 1);
                let offset = address.checked_sub(BASE)?;
                assert!(offset % 8 == 0);
                words.get((offset / 8) as usize).copied()
            },
            |address| (0x20_0000..0x30_0000).contains(&address),
        );
        backtrace
    }

    #[test]
    fn frames_are_followed_to_the_last() {
        let words = [BASE + 24, 0x20_0001, 7, BASE + 48, 0x20_0002, 7, 0, 0x20_0003];
        assert_eq!(walk(&words, BASE, &Cell::default()).addresses(), [0x20_0001, 0x20_0002, 0x20_0003]);
        // A return address that is none, a frame below its callee's, one that is not there.
        assert_eq!(walk(&[BASE + 16, 5], BASE, &Cell::default()).addresses(), []);
        assert_eq!(walk(&[BASE, 0x20_0001], BASE, &Cell::default()).addresses(), [0x20_0001]);
        assert_eq!(walk(&[BASE + 800, 0x20_0001], BASE, &Cell::default()).addresses(), [0x20_0001]);
    }

    proptest! {
        #[test]
        fn no_stack_is_read_for_long(
            words in prop::collection::vec(
                prop_oneof![Just(0x20_0001u64), any::<u64>(), (0u64..80).prop_map(|i| BASE + i * 4)], 0..80),
            frame in prop_oneof![any::<u64>(), (0u64..160).prop_map(|i| BASE + i * 4)],
        ) {
            let reads = Cell::new(0);
            let backtrace = walk(&words, frame, &reads);
            prop_assert!(backtrace.addresses().iter().all(|address| (0x20_0000..0x30_0000).contains(address)));
            prop_assert!(reads.get() <= 2 * words.len() + 2);
        }

        #[test]
        fn a_line_is_the_backtrace_it_was(addresses in prop::collection::vec(any::<u64>(), 1..=MOST_FRAMES)) {
            let backtrace: Backtrace = addresses.iter().copied().collect();
            prop_assert_eq!(Backtrace::parse(&backtrace.to_string()), Some(backtrace));
        }
    }

    #[test]
    fn of_many_calls_the_innermost_and_the_outermost_are_kept() {
        let stack = |calls: u64| {
            let frame = |call| [if call + 1 == calls { 0 } else { BASE + 16 * (call + 1) }, 0x20_0000 + call];
            (0..calls).flat_map(frame).collect::<Vec<_>>()
        };
        let all = walk(&stack(64), BASE, &Cell::default());
        assert!(all.addresses().iter().copied().eq((0..64).map(|call| 0x20_0000 + call)));
        let some = walk(&stack(1000), BASE, &Cell::default());
        let kept = (0..47).chain(984..1000).map(|call| 0x20_0000 + call);
        assert_eq!((some.addresses().len(), some.addresses()[47]), (64, GAP));
        assert!(some.addresses().iter().copied().filter(|&address| address != GAP).eq(kept));
        let most = MOST_STEPS as u64;
        let cut = walk(&stack(most + 1), BASE, &Cell::default());
        assert_eq!((cut.addresses().len(), cut.addresses()[47]), (48, GAP));
    }

    #[test]
    fn other_lines_are_none() {
        for line in ["", "backtrace:", "backtrace: x", "backtrace: 0x", "backtrace: 0x+1", "a backtrace: 0x1"]
        {
            assert_eq!(Backtrace::parse(line), None, "{line}");
        }
        let long: Vec<_> = (0..=MOST_FRAMES).map(|i| format!("{i:#x}")).collect();
        assert_eq!(Backtrace::parse(&format!("backtrace: {}", long.join(" "))), None);
    }
}
