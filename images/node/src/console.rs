//! The locks of `std`'s standard output and error, which all activities of a
//! node share.
//!
//! A thread of an activity that was ended may be in the middle of a line, with
//! the lock held: it cannot be ended there, or nobody on this node would ever
//! write again. It ends when it hands the lock on to somebody who waits
//! (`AfterCall::GoesOn`). If nobody does, [`ConsoleLocks::want`] makes somebody.

use kernel::messenger::Messenger;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether somebody waits for the locks on behalf of the node.
#[derive(Default)]
pub struct ConsoleLocks {
    wanted: Arc<AtomicBool>,
}

impl ConsoleLocks {
    /// Starts a thread that takes both locks once, unless there is one.
    pub fn want(&self, messenger: &Arc<Messenger>) {
        if self.wanted.swap(true, Ordering::AcqRel) {
            return;
        }
        let wanted = self.wanted.clone();
        // From the node's own thread: the caller's would be ended like the caller.
        messenger.spawn(async move {
            let done = wanted.clone();
            let take = move || {
                drop(std::io::stdout().lock());
                drop(std::io::stderr().lock());
                done.store(false, Ordering::Release);
            };
            let started = std::thread::Builder::new().name("console".into()).spawn(take);
            if started.is_err() {
                // No memory for a thread: the next line tries again.
                wanted.store(false, Ordering::Release);
            }
        });
    }
}
