//! What was counted, and how it travels between activities.
//!
//! A message is either the four totals (tag 0) or a batch of words (tag 1), each
//! word as its count, its length and its bytes; numbers are 64 and 32 bits,
//! little-endian.

use std::collections::HashMap;

const TOTALS: u8 = 0;
const WORDS: u8 = 1;

/// Counts of files, and of each word in them.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Files.
    pub files: u64,
    /// Bytes.
    pub bytes: u64,
    /// Line feeds.
    pub lines: u64,
    /// Maximal runs of bytes that are not white space.
    pub words: u64,
    frequency: HashMap<Box<[u8]>, u64>,
}

/// ASCII white space: space, tab, line feed, vertical tab, form feed, carriage return.
fn is_white_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

impl Counts {
    /// Counts the contents of one file.
    pub fn add_file(&mut self, text: &[u8]) {
        self.files += 1;
        self.bytes += text.len() as u64;
        self.lines += text.iter().filter(|&&byte| byte == b'\n').count() as u64;
        for word in text.split(is_white_space).filter(|word| !word.is_empty()) {
            self.words += 1;
            self.add_word(word, 1);
        }
    }

    fn add_word(&mut self, word: &[u8], count: u64) {
        match self.frequency.get_mut(word) {
            Some(total) => *total += count,
            None => {
                self.frequency.insert(word.into(), count);
            }
        }
    }

    /// The `n` most frequent words, most frequent first, ties by their bytes.
    pub fn most_frequent(&self, n: usize) -> Vec<(&[u8], u64)> {
        let mut all: Vec<(&[u8], u64)> =
            self.frequency.iter().map(|(word, &count)| (&**word, count)).collect();
        let order = |&(word, count): &(&[u8], u64)| (std::cmp::Reverse(count), word.to_vec());
        if all.len() > n && n > 0 {
            all.select_nth_unstable_by(n - 1, |a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
            all.truncate(n);
        }
        all.sort_by_key(order);
        all
    }

    /// Everything counted, as messages of at most `limit` bytes. A word too
    /// long for a message keeps its place in the totals and loses its own count.
    pub fn messages(&self, limit: usize) -> Vec<Vec<u8>> {
        let mut totals = vec![TOTALS];
        for number in [self.files, self.bytes, self.lines, self.words] {
            totals.extend_from_slice(&number.to_le_bytes());
        }
        let mut messages = vec![totals];
        let mut batch = vec![WORDS];
        for (word, count) in &self.frequency {
            let length = 12 + word.len();
            if batch.len() + length > limit {
                messages.push(std::mem::replace(&mut batch, vec![WORDS]));
            }
            if length < limit {
                batch.extend_from_slice(&count.to_le_bytes());
                batch.extend_from_slice(&(word.len() as u32).to_le_bytes());
                batch.extend_from_slice(word);
            }
        }
        messages.push(batch);
        messages
    }

    /// Adds what a message says; `None` if it does not decode.
    pub fn add_message(&mut self, message: &[u8]) -> Option<()> {
        let (&tag, mut rest) = message.split_first()?;
        if tag == TOTALS {
            for total in [&mut self.files, &mut self.bytes, &mut self.lines, &mut self.words] {
                *total += take_u64(&mut rest)?;
            }
            return rest.is_empty().then_some(());
        }
        while tag == WORDS && !rest.is_empty() {
            let count = take_u64(&mut rest)?;
            let (length, after) = rest.split_first_chunk::<4>()?;
            let (word, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            rest = after;
            self.add_word(word, count);
        }
        (tag == WORDS).then_some(())
    }
}

fn take_u64(bytes: &mut &[u8]) -> Option<u64> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    *bytes = rest;
    Some(u64::from_le_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(text: &[u8]) -> Counts {
        let mut counts = Counts::default();
        counts.add_file(text);
        counts
    }

    #[test]
    fn words_are_runs_without_any_ascii_white_space() {
        let counts = counted(b" a\tb\x0bc\x0cd\re\n\n\x00x\x85 \xc2\xa0");
        assert_eq!((counts.bytes, counts.lines, counts.words), (18, 2, 7));
    }

    #[test]
    fn counts_survive_the_journey() {
        let mut here = counted(b"one two two three three three\n");
        let there = counted(b"two four");
        for message in there.messages(40) {
            assert!(message.len() <= 40);
            here.add_message(&message).unwrap();
        }
        assert_eq!((here.files, here.words), (2, 8));
        let top: Vec<_> = here.most_frequent(2);
        assert_eq!(top, [(&b"three"[..], 3), (&b"two"[..], 3)]);
    }

    #[test]
    fn spoilt_messages_are_refused() {
        for spoilt in [&b""[..], b"\x00123", b"\x01123", b"\x02", b"\x01\0\0\0\0\0\0\0\0\xff\xff\xff\xff"] {
            assert_eq!(Counts::default().add_message(spoilt), None);
        }
    }
}
