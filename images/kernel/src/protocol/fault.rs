//! What a node reports of a fault that ended an activity.
//!
//! Addresses mean something only with the image's symbols: whoever takes the
//! report, on the host, has them. A report is bounded; one that is not within
//! its bounds is from nobody who keeps to the protocol.

use alloc::string::String;
use alloc::vec::Vec;
pub use ivshmem::fault::{Access, Backtrace, Kind, MOST_FRAMES, Place};
use serde::{Deserialize, Serialize};
extern crate alloc;

/// Most threads in a report.
pub const MOST_THREADS: usize = 16;
/// Most bytes of a thread's name.
pub const MOST_NAME: usize = 64;
/// Most bytes of a panic's message.
pub const MOST_MESSAGE: usize = 1024;

/// What ended an activity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What happened.
    pub kind: Kind,
    /// Of a panic: where, and what was said. Else empty.
    pub message: String,
    /// The thread to which it happened; in a deadlock, then the others.
    pub threads: Vec<Thread>,
}

/// A thread, and where it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    /// Its number on its node.
    pub id: u32,
    /// Its name; empty if it has none, or none that is known.
    pub name: String,
    /// Addresses of code, the innermost first, as in a [`Backtrace`].
    pub addresses: Vec<u64>,
}

impl Report {
    /// Whether it is within its bounds.
    pub fn is_bounded(&self) -> bool {
        let bounded =
            |thread: &Thread| thread.name.len() <= MOST_NAME && thread.addresses.len() <= MOST_FRAMES;
        self.message.len() <= MOST_MESSAGE
            && (1..=MOST_THREADS).contains(&self.threads.len())
            && self.threads.iter().all(bounded)
    }
}

/// The beginning of a text, at most `bytes` bytes of it.
pub fn beginning(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{decode, encode};
    use alloc::vec;

    #[test]
    fn the_longest_report_fits_into_a_message() {
        let thread = Thread { id: 7, name: "n".repeat(MOST_NAME), addresses: vec![u64::MAX; MOST_FRAMES] };
        let mut report = Report {
            kind: Kind::Deadlock,
            message: "m".repeat(MOST_MESSAGE),
            threads: vec![thread.clone(); MOST_THREADS],
        };
        let bytes = encode(&report);
        assert!(report.is_bounded() && bytes.len() <= super::super::launcher::MAX_OUTPUT);
        assert_eq!(decode::<Report>(&bytes).as_ref(), Ok(&report));
        report.threads.push(thread);
        assert!(!report.is_bounded());
        report.threads.clear();
        assert!(!report.is_bounded());
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(beginning("aß", 2), "a");
        assert_eq!(beginning("aß", 3), "aß");
        assert_eq!(beginning("", 3), "");
    }
}
