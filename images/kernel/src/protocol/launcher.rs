//! The pipe of the launcher, peer 0: how a VM reports to the host.

use super::fault::Report;
use serde::{Deserialize, Serialize};

/// Most bytes of output in one request.
pub const MAX_OUTPUT: usize = 32 * 1024;

/// What can be said to the launcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request<'a> {
    /// The sender is ready for work.
    Ready,
    /// Bytes that an activity wrote to its standard output or error.
    Output {
        /// The stream that the task force's creator named.
        stream: u64,
        /// Which activity.
        index: u16,
        /// 1: standard output, 2: standard error.
        fd: u8,
        /// What it wrote, at most [`MAX_OUTPUT`].
        #[serde(borrow, with = "serde_bytes")]
        bytes: &'a [u8],
    },
    /// A fault that ends an activity, after what it wrote before.
    Fault {
        /// The stream that the task force's creator named.
        stream: u64,
        /// Which activity.
        index: u16,
        /// What happened.
        report: Report,
    },
}

/// The answer: it was taken.
pub type Response = ();
