//! Serving: what comes of a request.
//!
//! A coroutine that serves is polled once where the request was taken: most end
//! there, and their reply leaves with no detour. Those that do not go on under
//! the executor, and, if they may, end when their caller takes the request back.

use super::{MAX_SERVED, Messenger, address};
use crate::executor::lock;
use crate::protocol::{Incarnation, Peer};
use std::collections::HashMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use transport::Body;
use transport::endpoint::SendError;
use transport::wire::{Header, Kind};

/// A reply that comes later.
pub type Later = Pin<Box<dyn Future<Output = Body> + Send>>;

/// What a service makes of a request.
pub enum Outcome {
    /// The reply's body.
    Reply(Body),
    /// A coroutine that ends with the reply's body. It runs to its end.
    Later(Later),
    /// The same, but it is dropped where it stands when nobody waits for the
    /// reply any more.
    WhileAwaited(Later),
    /// It is not served.
    Refuse(Refusal),
}

impl Outcome {
    /// The reply's body.
    pub fn reply(body: impl Into<Body>) -> Self {
        Self::Reply(body.into())
    }
}

/// Why a request is not served. The numbers travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Refusal {
    /// Nobody serves that pipe.
    NoSuchPipe = 1,
    /// The request's body does not decode.
    Undecodable = 2,
    /// The reply would be longer than a message may be.
    ReplyTooLong = 3,
    /// The request has more in it than its pipe takes.
    BeyondLimit = 4,
    /// It was taken back before it was answered.
    TakenBack = 5,
}

impl Refusal {
    /// From the body of a refusal, which may be anything.
    pub(super) fn from_body(body: &mut Body) -> Self {
        match body.bytes() {
            [1] => Self::NoSuchPipe,
            [3] => Self::ReplyTooLong,
            [4] => Self::BeyondLimit,
            [5] => Self::TakenBack,
            _ => Self::Undecodable,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchPipe => "the VM that was asked does not serve that pipe",
            Self::Undecodable => "the VM that was asked could not decode the request",
            Self::ReplyTooLong => "the reply is longer than a message may be",
            Self::BeyondLimit => "the request has more in it than the VM that was asked takes",
            Self::TakenBack => "the request was taken back",
        })
    }
}

/// A request as a service sees it.
pub struct Request {
    /// Who asks; known from the ring, not from the message.
    pub from: Incarnation,
    /// Unique among the requests of that incarnation; kept when it is re-sent.
    pub id: u64,
    /// What is asked.
    pub body: Body,
}

/// Serves one pipe of this VM.
pub trait Service: Send + Sync {
    /// Answers a request, or starts to. Must not block.
    fn serve(self: Arc<Self>, request: Request) -> Outcome;
}

/// Requests that are being served.
pub(super) struct Served {
    /// How many, by the peer that sent them.
    counts: Vec<usize>,
    /// Those that can be taken back.
    awaited: HashMap<(Incarnation, u64), Arc<TakenBack>>,
}

impl Served {
    pub(super) fn new(peers: usize) -> Self {
        Self { counts: vec![0; peers], awaited: HashMap::new() }
    }

    /// Counts a request of `peer` as being served, unless there are too many.
    pub(super) fn admit(&mut self, peer: Peer) -> bool {
        let Some(count) = self.counts.get_mut(usize::from(peer.0)) else { return false };
        let admitted = *count < MAX_SERVED;
        *count += usize::from(admitted);
        admitted
    }

    pub(super) fn dismiss(&mut self, peer: Peer) {
        if let Some(count) = self.counts.get_mut(usize::from(peer.0)) {
            *count = count.saturating_sub(1);
        }
    }

    /// Nobody waits for anything that a dead incarnation asked.
    pub(super) fn bury(&mut self, dead: Incarnation) {
        self.awaited.extract_if(|(from, _), _| *from == dead).for_each(|(_, taken_back)| taken_back.set());
    }

    /// A request that could be taken back is done with.
    fn done(&mut self, key: (Incarnation, u64), taken_back: &Arc<TakenBack>) {
        if self.awaited.get(&key).is_some_and(|known| Arc::ptr_eq(known, taken_back)) {
            self.awaited.remove(&key);
        }
    }

    /// The caller does not wait for this request's reply any more.
    pub(super) fn take_back(&mut self, from: Incarnation, id: u64) {
        if let Some(taken_back) = self.awaited.remove(&(from, id)) {
            taken_back.set();
        }
    }
}

/// Whether a request was taken back, and who wants to know.
#[derive(Default)]
struct TakenBack(Mutex<(bool, Option<Waker>)>);

impl TakenBack {
    fn set(&self) {
        let waker = {
            let mut state = lock(&self.0);
            state.0 = true;
            state.1.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    fn poll(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = lock(&self.0);
        if state.0 {
            return Poll::Ready(());
        }
        state.1 = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Messenger {
    /// Serves a request that was admitted.
    pub(super) fn serve_request(self: &Arc<Self>, from: Incarnation, header: Header, body: Body) {
        let Some(service) = self.services.get(header.pipe as usize).and_then(OnceLock::get) else {
            return self.refuse(from, header, Refusal::NoSuchPipe);
        };
        match service.clone().serve(Request { from, id: header.request, body }) {
            Outcome::Reply(body) => self.reply(from, header, body),
            Outcome::Refuse(refusal) => self.refuse(from, header, refusal),
            Outcome::Later(later) => self.go_on(from, header, later, false),
            Outcome::WhileAwaited(later) => self.go_on(from, header, later, true),
        }
    }

    /// Polls a coroutine once here, and leaves it to the executor if it goes on.
    fn go_on(self: &Arc<Self>, from: Incarnation, header: Header, mut later: Later, while_awaited: bool) {
        // If it waits, the executor polls it again at once, with a waker that works.
        if let Poll::Ready(body) = later.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return self.reply(from, header, body);
        }
        let messenger = self.clone();
        if !while_awaited {
            self.spawn(async move { messenger.reply_in_time(from, header, later.await).await });
            return;
        }
        let key = (from, header.request);
        let taken_back = Arc::<TakenBack>::default();
        let before = lock(&self.core).served.awaited.insert(key, taken_back.clone());
        // Only who does not keep to the protocol asks twice under an id.
        before.iter().for_each(|before| before.set());
        self.spawn(async move {
            let body = until_taken_back(later, &taken_back).await;
            lock(&messenger.core).served.done(key, &taken_back);
            match body {
                Some(body) => messenger.reply_in_time(from, header, body).await,
                // So that its caller, too, knows that it is served no more.
                None => messenger.refuse(from, header, Refusal::TakenBack),
            }
        });
    }

    /// Answers a request, now if there is room.
    fn reply(self: &Arc<Self>, to: Incarnation, request: Header, mut body: Body) {
        let header = Header { kind: Kind::Reply, ..request };
        let bytes = body.bytes();
        let sent = {
            let mut core = lock(&self.core);
            let sent = core.endpoint.send(address(to), header, &[bytes]);
            if !matches!(sent, Err(SendError::WouldBlock | SendError::TooLong)) {
                // A caller that died meanwhile wants no reply.
                core.served.dismiss(to.peer);
            }
            sent
        };
        match sent {
            Err(SendError::WouldBlock) => {
                let messenger = self.clone();
                self.spawn(async move { messenger.reply_in_time(to, request, body).await });
            }
            Err(SendError::TooLong) => self.refuse(to, request, Refusal::ReplyTooLong),
            _ => {}
        }
    }

    /// Answers a request, when there is room.
    async fn reply_in_time(self: &Arc<Self>, to: Incarnation, request: Header, mut body: Body) {
        let reply = Header { kind: Kind::Reply, ..request };
        match self.send(to, reply, body.bytes()).await {
            Err(SendError::TooLong) => self.refuse(to, request, Refusal::ReplyTooLong),
            _ => lock(&self.core).served.dismiss(to.peer),
        }
    }

    /// Tells a caller that its request, which was admitted, is not served.
    fn refuse(self: &Arc<Self>, to: Incarnation, request: Header, why: Refusal) {
        if let Some(fault) = why.fault() {
            lock(&self.core).faults.count(to.peer, fault);
        }
        let messenger = self.clone();
        self.spawn(async move {
            let header = Header { kind: Kind::Refuse, ..request };
            let _ = messenger.send(to, header, &[why as u8]).await;
            lock(&messenger.core).served.dismiss(to.peer);
        });
    }

    /// Sends a message, waiting for room.
    async fn send(&self, to: Incarnation, header: Header, body: &[u8]) -> Result<(), SendError> {
        loop {
            let seen = self.space.count();
            match self.try_send(to, header, &[body]) {
                Err(SendError::WouldBlock) => self.space.wait(seen).await,
                sent => return sent,
            }
        }
    }
}

/// What a coroutine makes, or `None` if its request is taken back first.
async fn until_taken_back(mut later: Later, taken_back: &TakenBack) -> Option<Body> {
    poll_fn(|context| match later.as_mut().poll(context) {
        Poll::Ready(body) => Poll::Ready(Some(body)),
        Poll::Pending => taken_back.poll(context).map(|()| None),
    })
    .await
}
