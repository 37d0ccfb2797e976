//! What the addresses of a backtrace stand for: functions, files and lines.
//!
//! * `image`: the file that a VM booted, as it was then.
//! * `lookup`: what its symbols and debug information say of an address.
//! * `text`: a backtrace as people read it.
//!
//! A guest sends addresses only. That they are its image's, nothing says: any
//! number may come, and is looked up in what the host has. A file that has
//! changed since the VM booted is not asked: its answers would be wrong.

mod image;
mod lookup;
#[cfg(test)]
mod tests;
mod text;

pub use image::{Booted, Image};
pub use lookup::Place;

/// Why addresses stay addresses: a hint for whoever reads them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSymbols {
    /// The file is another one by now.
    #[error(
        "{0} was changed after this VM had booted it, so its names are not those of the addresses; start the VM again"
    )]
    Changed(String),
    /// The file cannot be read.
    #[error("{0} cannot be read for its symbols: {1}")]
    Unreadable(String, String),
    /// It was stripped.
    #[error("{0} has no symbols; build it without strip, and with debug = 1 for files and lines")]
    Stripped(String),
}
