//! The utilities of the operating system, each a task force of activities.
//!
//! * [`shared`]: how the activities of a utility share its tables.
//! * [`files`]: the file system.
//! * [`tasks`]: task forces.

#![forbid(unsafe_code)]

pub mod files;
#[cfg(feature = "image")]
pub mod image;
pub mod shared;
pub mod tasks;
