//! What carries the notices of pipes: the messenger.

use super::{Body, Pipes};
use crate::messenger::{Messenger, NoticeHandler};
use crate::protocol::monitor::Fault;
use crate::protocol::{Incarnation, Peer};
use std::future::Future;
use std::pin::Pin;
use transport::SendError;

/// A coroutine.
pub type Coroutine = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What carries notices between VMs: the messenger, or a simulation.
///
/// What is sent to one incarnation arrives in that order, once, while both live.
pub trait Carrier: Send + Sync {
    /// Who this VM is.
    fn own(&self) -> Incarnation;

    /// Sends a notice to another VM, at once or not at all.
    ///
    /// # Errors
    /// As [`SendError`] has it.
    fn notify(&self, to: Incarnation, pipe: u32, word: u64, parts: &[&[u8]]) -> Result<(), SendError>;

    /// The same, waiting for room, which is rare.
    fn notify_wait<'a>(
        &'a self,
        to: Incarnation,
        pipe: u32,
        word: u64,
        parts: &'a [&'a [u8]],
    ) -> Pin<Box<dyn Future<Output = Result<(), SendError>> + Send + 'a>>;

    /// Starts a coroutine.
    fn spawn(&self, coroutine: Coroutine);
}

impl Carrier for Messenger {
    fn own(&self) -> Incarnation {
        self.own()
    }

    fn notify(&self, to: Incarnation, pipe: u32, word: u64, parts: &[&[u8]]) -> Result<(), SendError> {
        self.notify(to, pipe, word, parts)
    }

    fn notify_wait<'a>(
        &'a self,
        to: Incarnation,
        pipe: u32,
        word: u64,
        parts: &'a [&'a [u8]],
    ) -> Pin<Box<dyn Future<Output = Result<(), SendError>> + Send + 'a>> {
        Box::pin(self.notify_wait(to, pipe, word, parts))
    }

    fn spawn(&self, coroutine: Coroutine) {
        self.spawn(coroutine);
    }
}

impl NoticeHandler for Pipes {
    fn take(&self, from: Incarnation, pipe: u32, word: u64, body: Body) {
        self.take(from, pipe, word, body);
    }

    fn died(&self, who: Incarnation) {
        self.died(who);
    }

    fn faults(&self, peer: Peer) -> Vec<(Fault, u64)> {
        let counters = self.counters(peer);
        vec![
            (Fault::Pipe, counters.no_such_pipe),
            (Fault::Rights, counters.not_allowed),
            (Fault::Flood, counters.too_many),
            (Fault::Body, counters.malformed),
            (Fault::Credit, counters.overrun),
            (Fault::Stale, counters.stale),
        ]
    }
}
