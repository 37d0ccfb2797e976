//! One call as a future.
//!
//! ```text
//!   Begins ── no room ──▶ Begins (polled again when there may be)
//!     │ sent
//!     ▼
//!   Waits ── reply, refusal, death of the peer ──▶ done
//! ```
//! A call that is dropped while it waits is taken back: the peer is told that
//! nobody waits for its reply any more.

use super::{CallError, Core, MAX_SERVED, Messenger, address};
use crate::executor::lock;
use crate::protocol::{Incarnation, Pipe};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use transport::endpoint::SendError;
use transport::wire::{Header, Kind};
use transport::{Body, MAX_MESSAGE};

/// A call; see [`Messenger::call`].
pub struct CallFuture<'a> {
    messenger: &'a Messenger,
    to: Incarnation,
    pipe: Pipe,
    body: &'a [&'a [u8]],
    /// The id that it must have, if it is sent again.
    wanted: Option<u64>,
    /// The id under which it was sent.
    sent: Option<u64>,
}

/// Why a call does not begin.
enum Refused {
    /// It may later.
    NoRoom,
    /// It may when the messenger's thread has looked who lives.
    NotKnownYet,
    Never(CallError),
}

impl<'a> CallFuture<'a> {
    pub(super) fn new(
        messenger: &'a Messenger,
        wanted: Option<u64>,
        to: Incarnation,
        pipe: Pipe,
        body: &'a [&'a [u8]],
    ) -> Self {
        Self { messenger, to, pipe, body, wanted, sent: None }
    }

    /// Sends the request, if there is room for it.
    fn begin(&mut self, core: &mut Core, context: &Context<'_>) -> Result<u64, Refused> {
        if core.calls.under_way(self.to) >= MAX_SERVED {
            return Err(Refused::NoRoom);
        }
        let id = core.calls.begin(self.wanted, self.to, context.waker().clone()).ok_or(Refused::NoRoom)?;
        let header = Header { kind: Kind::Request, pipe: self.pipe as u32, request: id, trace: 0 };
        let Err(error) = core.endpoint.send(address(self.to), header, self.body) else { return Ok(id) };
        core.calls.forget(id);
        Err(match error {
            SendError::WouldBlock => Refused::NoRoom,
            SendError::TooLong => Refused::Never(CallError::TooLong),
            // The endpoint learns of a birth when the messenger's thread looks;
            // the caller may have seen it before.
            SendError::PeerDied | SendError::UnknownPeer if self.messenger.membership.lives(self.to) => {
                Refused::NotKnownYet
            }
            SendError::PeerDied | SendError::UnknownPeer => Refused::Never(CallError::PeerDied(self.to.peer)),
        })
    }

    fn poll_begin(&mut self, context: &mut Context<'_>) -> Poll<Result<Body, CallError>> {
        loop {
            let seen = self.messenger.space.count();
            let mut core = lock(&self.messenger.core);
            match self.begin(&mut core, context) {
                Ok(id) => {
                    let waits = core.endpoint.has_backlog(self.to.peer.0);
                    drop(core);
                    self.sent = Some(id);
                    if waits {
                        // The messenger's thread sends the rest; it may be asleep.
                        self.messenger.poke();
                    }
                    return Poll::Pending;
                }
                Err(Refused::Never(error)) => return Poll::Ready(Err(error)),
                Err(Refused::NoRoom) => drop(core),
                Err(Refused::NotKnownYet) => {
                    drop(core);
                    self.messenger.platform.poke();
                }
            }
            if self.messenger.space.poll_changed(seen, context).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Future for CallFuture<'_> {
    type Output = Result<Body, CallError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(id) = self.sent else { return self.poll_begin(context) };
        let mut core = lock(&self.messenger.core);
        let Some(result) = core.calls.take(id, context.waker()) else { return Poll::Pending };
        core.calls.forget(id);
        self.sent = None;
        // Whoever waits to begin a call may do so now.
        let is_crowded = core.calls.under_way(self.to) + 1 == MAX_SERVED;
        drop(core);
        if is_crowded {
            self.messenger.space.wake_all();
        }
        Poll::Ready(result)
    }
}

impl Drop for CallFuture<'_> {
    fn drop(&mut self) {
        let Some(id) = self.sent else { return };
        let abandoned = lock(&self.messenger.core).calls.abandon(id);
        if let Some(to) = abandoned {
            let header = Header { kind: Kind::Cancel, pipe: self.pipe as u32, request: id, trace: 0 };
            // Without room for it the peer answers in vain, no more.
            let _ = self.messenger.try_send(to, header, &[]);
        }
        self.messenger.space.wake_all();
    }
}

/// Most bytes of a request's or reply's body.
pub const MAX_BODY: usize = MAX_MESSAGE - transport::HEADER_BYTES;
