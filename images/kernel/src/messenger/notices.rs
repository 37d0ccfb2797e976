//! Notices: messages that want no reply.

use super::{Messenger, address};
use crate::executor::lock;
use crate::pipe::Body;
use crate::protocol::Incarnation;
use std::sync::Arc;
use transport::endpoint::SendError;
use transport::wire::{Header, Kind};

/// Takes the notices that come to this VM, on the messenger's thread. Must not block.
pub trait NoticeHandler: Send + Sync {
    /// A notice arrived. What one incarnation sent comes in its order.
    fn take(&self, from: Incarnation, pipe: u32, word: u64, body: Body);

    /// An incarnation died, and everything that it sent has been taken.
    fn died(&self, who: Incarnation);
}

impl Messenger {
    /// From now on `handler` takes all notices. Once.
    pub fn on_notice(&self, handler: Arc<dyn NoticeHandler>) {
        let vacant = self.notices.set(handler).is_ok();
        debug_assert!(vacant, "notices have two handlers");
    }

    /// Sends a notice, at once or not at all. `word` is the handler's own.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn notify(&self, to: Incarnation, pipe: u32, word: u64, parts: &[&[u8]]) -> Result<(), SendError> {
        let (sent, waits) = {
            let mut endpoint = lock(&self.endpoint);
            let sent = endpoint.send(address(to), notice(pipe, word), parts);
            (sent, endpoint.has_backlog(to.peer.0))
        };
        if waits {
            // The messenger's thread sends the rest; it may be asleep.
            self.poke();
        }
        sent
    }

    /// The same, waiting for room.
    ///
    /// # Errors
    /// See [`SendError`]; never `WouldBlock`.
    pub async fn notify_wait(
        &self,
        to: Incarnation,
        pipe: u32,
        word: u64,
        parts: &[&[u8]],
    ) -> Result<(), SendError> {
        self.send(to, notice(pipe, word), parts).await
    }
}

fn notice(pipe: u32, word: u64) -> Header {
    Header { kind: Kind::Notice, pipe, request: word, trace: 0 }
}
