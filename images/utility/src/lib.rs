//! The utilities of the operating system, each a task force of activities.
//!
//! * [`shared`]: how the activities of a utility share its tables.
//! * [`files`]: the file system.

#![forbid(unsafe_code)]

pub mod files;
pub mod shared;
