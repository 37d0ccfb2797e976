//! How the activities of a utility share its tables.
//!
//! The tables lie in the utility's region, which every activity maps. An
//! activity may be killed at any store: whatever it was doing is then either
//! done or not begun, and a survivor goes on at once.
//!
//! ```text
//!   Tables ── exclusive() ──► Change ── set(), set(), commit() ──► region
//!     │                         │                                    ▲
//!     │                     RobustLock: one word, the owner's        │
//!     │                     incarnation; taken over when it died     │
//!     │                     Journal: redo log; a commit is one store ┘
//!     └── read() ──► no lock: tried against the journal's counter
//!
//!   Completed: what each client's last requests were answered, written in
//!   the same transaction as their effect
//! ```
//!
//! * [`cells`]: the region as words and bytes; every store goes through it.
//! * [`environment`]: who lives, and how to wait.
//! * [`lock`], [`journal`], [`completed`]: the three mechanisms.
//! * [`tables`]: lock and journal together; what a utility uses.

pub mod cells;
pub mod completed;
pub mod environment;
pub mod journal;
pub mod lock;
pub mod tables;
#[cfg(test)]
pub(crate) mod testing;
