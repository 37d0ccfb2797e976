//! The `tasks` utility: creates task forces, places their activities on nodes,
//! and says what became of them.
//!
//! Every activity of `tasks` can answer every request: what is known of a task
//! force stands in the [`table`], in the region that they share. A request that
//! is sent again finds the record that its first sending made. What follows
//! from a record (starting activities, ending the others when one failed,
//! telling who waits) is derived from it and idempotent, so a survivor does it
//! again after a death.
//!
//! A task force *fails as one*: when an activity ends otherwise than with exit
//! code 0, the others are ended.

pub mod placement;
pub mod record;
pub mod service;
pub mod table;
