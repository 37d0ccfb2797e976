//! Requests and replies between this VM and its peers.
//!
//! A [`Messenger`] stands between the endpoint (all rings of this VM, behind
//! one lock) and everybody in the VM who talks: any thread may call, one thread
//! (the one in [`Messenger::run`]) receives, wakes callers, and runs services
//! as coroutines.
//!
//! * A call is split-phase: [`Messenger::call`] gives a future at once, the
//!   request leaves when the future is first polled, many may be under way.
//! * A call to an incarnation that dies ends with [`CallError::PeerDied`].
//!   [`Messenger::call_utility`] then sends the *same request id* to another
//!   activity of the utility, whose tables remember what has been done.
//! * A service answers at once or later ([`Outcome`]). The reply goes to the
//!   incarnation that asked, or nowhere if that one is dead.
//! * A peer that has more than [`MAX_SERVED`] unanswered requests here is
//!   broken: what it sends beyond that is dropped and counted.

mod notices;
mod receive;
mod wait;

pub use notices::NoticeHandler;

use crate::executor::{Executor, lock};
use crate::membership::{Membership, Role, Utility};
use crate::protocol::{Incarnation, Peer, Pipe};
use crate::waiters::{Waiters, Window};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::{Future, poll_fn};
use std::hash::{BuildHasherDefault, Hasher};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use transport::endpoint::{Endpoint, PeerAddress, SendError};
use transport::wire::{Header, Kind};

/// Most requests of one peer that are served at a time.
pub const MAX_SERVED: usize = 256;

/// Most calls to utilities that a VM has under way at a time. Their tables
/// remember so many answers per client, so that any of them can be sent again:
/// the ids of those under way differ modulo this.
pub const UTILITY_WINDOW: u64 = 64;

/// Set in the ids of requests that are not sent again.
const ONCE: u64 = 1 << 63;

/// What the messenger needs of the machine it runs on.
pub trait Platform: Send + Sync {
    /// Nanoseconds of a clock that never goes back.
    fn now_ns(&self) -> u64;
    /// Nanoseconds since 1970.
    fn wall_clock_ns(&self) -> u64;
    /// Sleeps until a doorbell, a poke, or `deadline_ns`. One that came since
    /// the last wait counts.
    fn wait(&self, deadline_ns: Option<u64>);
    /// Makes [`Platform::wait`] return; from any thread.
    fn poke(&self);
    /// Whether nobody else in this VM wants the processor, `waiting` threads
    /// apart that would only go to sleep.
    fn may_spin(&self, waiting: usize) -> bool;
}

/// Why a call got no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The peer died, before or after it carried the request out.
    PeerDied(Peer),
    /// The request is longer than a message may be.
    TooLong,
    /// No activity of the utility lives or is about to.
    NoActivity(Utility),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerDied(peer) => write!(f, "{peer} died"),
            Self::TooLong => write!(f, "the request is longer than a message may be"),
            Self::NoActivity(utility) => write!(f, "no activity of {utility} is left alive"),
        }
    }
}

impl std::error::Error for CallError {}

/// A reply that comes later.
pub type Later = Pin<Box<dyn Future<Output = Vec<u8>> + Send>>;

/// What a service makes of a request.
pub enum Outcome {
    /// The reply's body.
    Reply(Vec<u8>),
    /// A coroutine that ends with the reply's body.
    Later(Later),
}

/// A request as a service sees it.
pub struct Request {
    /// Who asks; known from the ring, not from the message.
    pub from: Incarnation,
    /// Unique among the requests of that incarnation; kept when it is re-sent.
    pub id: u64,
    /// What is asked.
    pub body: Vec<u8>,
}

/// Serves one pipe of this VM.
pub trait Service: Send + Sync {
    /// Answers a request, or starts to. Must not block.
    fn serve(self: Arc<Self>, request: Request) -> Outcome;
}

/// Requests and replies between this VM and its peers.
pub struct Messenger {
    own: Incarnation,
    membership: Membership,
    platform: Arc<dyn Platform>,
    executor: Executor,
    endpoint: Mutex<Endpoint>,
    calls: Mutex<HashMap<u64, Call, BuildHasherDefault<OwnIds>>>,
    next_request: AtomicU64,
    services: [OnceLock<Arc<dyn Service>>; 5],
    notices: OnceLock<Arc<dyn NoticeHandler>>,
    /// Unanswered requests, by the peer that sent them.
    served: Mutex<Vec<usize>>,
    window: Window,
    /// Calls under way to each peer: no more than it serves at a time.
    under_way: Vec<Window>,
    /// Those who wait for room in a ring.
    space: Waiters,
    /// Those who wait for a birth or death in the machine.
    changes: Waiters,
    timers: Mutex<BTreeMap<(u64, u64), Waker>>,
    /// The words of the liveness table that the endpoint has been told.
    followed: Mutex<Vec<u64>>,
    dropped: AtomicU64,
    stop: AtomicBool,
    /// The messenger's thread sleeps, or is about to and has looked at
    /// everything that a poke is for. SYNC: messenger-asleep.
    asleep: Arc<AtomicBool>,
    /// Threads that could run, but only to wait for this messenger.
    waiting: Arc<AtomicUsize>,
    /// The messenger's thread would poll now, if it were let.
    polls: AtomicBool,
}

/// Hashes request ids. They are this VM's own and count up, so nobody can
/// choose them to collide.
#[derive(Default)]
struct OwnIds(u64);

impl Hasher for OwnIds {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(self.0 << 8 | u64::from(byte)));
    }

    fn write_u64(&mut self, id: u64) {
        // Fibonacci hashing (Knuth, The Art of Computer Programming 3, 6.4).
        self.0 = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// A call under way.
struct Call {
    to: Incarnation,
    result: Option<Result<Vec<u8>, CallError>>,
    waker: Waker,
}

impl Messenger {
    /// A messenger for `own` over an endpoint to which all rings are attached.
    pub fn new(
        own: Incarnation,
        membership: Membership,
        endpoint: Endpoint,
        platform: Arc<dyn Platform>,
    ) -> Arc<Self> {
        let asleep = Arc::new(AtomicBool::new(false));
        let (sleeper, sleeps) = (platform.clone(), asleep.clone());
        let poke = move || {
            // SYNC: messenger-asleep, with `sleep`.
            fence(Ordering::SeqCst);
            if sleeps.load(Ordering::Relaxed) {
                sleeper.poke();
            }
        };
        let peers = membership.description().peers.len();
        Arc::new(Self {
            own,
            membership,
            executor: Executor::new(poke),
            platform,
            endpoint: Mutex::new(endpoint),
            calls: Mutex::default(),
            next_request: AtomicU64::new(1),
            services: Default::default(),
            notices: OnceLock::new(),
            served: Mutex::new(vec![0; peers]),
            window: Window::new(UTILITY_WINDOW),
            under_way: (0..peers).map(|_| Window::new(MAX_SERVED as u64)).collect(),
            space: Waiters::default(),
            changes: Waiters::default(),
            timers: Mutex::default(),
            followed: Mutex::new(vec![0; peers]),
            dropped: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            asleep,
            waiting: Arc::default(),
            polls: AtomicBool::new(false),
        })
    }

    /// Who this VM is.
    pub fn own(&self) -> Incarnation {
        self.own
    }

    /// Who is in the machine.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// The clock of this VM, in nanoseconds.
    pub fn now_ns(&self) -> u64 {
        self.platform.now_ns()
    }

    /// The wall clock of this VM, in nanoseconds since 1970.
    pub fn wall_clock_ns(&self) -> u64 {
        self.platform.wall_clock_ns()
    }

    /// From now on `service` answers what comes to `pipe`. Once per pipe.
    pub fn serve(&self, pipe: Pipe, service: Arc<dyn Service>) {
        let vacant = self.services[pipe as usize].set(service).is_ok();
        debug_assert!(vacant, "pipe {pipe:?} is served twice");
    }

    /// Makes the messenger's thread look at everything, if it sleeps. What it
    /// is to see comes before.
    fn poke(&self) {
        // SYNC: messenger-asleep, with `sleep`.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) {
            self.platform.poke();
        }
    }

    /// Starts a coroutine on the messenger's thread.
    pub fn spawn(&self, coroutine: impl Future<Output = ()> + Send + 'static) {
        self.executor.spawn(coroutine);
    }

    /// A request id that no other request of this incarnation has.
    pub fn fresh_request(&self) -> u64 {
        ONCE | self.next_request.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a request and waits for its reply.
    pub async fn call(&self, to: Incarnation, pipe: Pipe, body: &[u8]) -> Result<Vec<u8>, CallError> {
        self.call_as(self.fresh_request(), to, pipe, body).await
    }

    /// Sends a request to the nearest living activity of a utility and waits
    /// for its reply; if that activity dies, sends the same request to another.
    /// While the only living activities are not ready yet, it waits for one.
    ///
    /// At most [`UTILITY_WINDOW`] such calls of this VM are under way at a
    /// time; others wait for their turn.
    pub async fn call_utility(&self, utility: Utility, body: &[u8]) -> Result<Vec<u8>, CallError> {
        let place = self.window.enter().await;
        self.call_living(place.number, utility, body).await
    }

    /// The same for a request that may be carried out any number of times (it
    /// changes nothing, or nothing more): it takes no place in the window.
    pub async fn ask_utility(&self, utility: Utility, body: &[u8]) -> Result<Vec<u8>, CallError> {
        self.call_living(self.fresh_request(), utility, body).await
    }

    async fn call_living(&self, request: u64, utility: Utility, body: &[u8]) -> Result<Vec<u8>, CallError> {
        let pipe = match utility {
            Utility::Files => Pipe::Files,
            Utility::Tasks => Pipe::Tasks,
        };
        loop {
            let seen = self.changes.count();
            let nearest = self.membership.nearest(utility, self.own.peer);
            let Some(to) = nearest.first().and_then(|&peer| self.membership.incarnation(peer)) else {
                let role = Role::Utility(utility);
                if !self.membership.with_role(role).any(|peer| self.membership.liveness(peer).is_alive()) {
                    return Err(CallError::NoActivity(utility));
                }
                self.changes.wait(seen).await;
                continue;
            };
            match self.call_as(request, to, pipe, body).await {
                Err(CallError::PeerDied(_)) => continue,
                result => return result,
            }
        }
    }

    /// As [`Messenger::call`], under a request id of the caller's.
    async fn call_as(
        &self,
        request: u64,
        to: Incarnation,
        pipe: Pipe,
        body: &[u8],
    ) -> Result<Vec<u8>, CallError> {
        let under_way = self.under_way.get(usize::from(to.peer.0)).ok_or(CallError::PeerDied(to.peer))?;
        let _place = under_way.enter().await;
        let _forget = Forget { messenger: self, request };
        let waker = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
        lock(&self.calls).insert(request, Call { to, result: None, waker });
        let header = Header { kind: Kind::Request, pipe: pipe as u32, request, trace: 0 };
        match self.send(to, header, &[body]).await {
            Ok(()) => poll_fn(|context| self.poll_call(request, context)).await,
            Err(SendError::TooLong) => Err(CallError::TooLong),
            Err(_) => Err(CallError::PeerDied(to.peer)),
        }
    }

    fn poll_call(&self, request: u64, context: &mut Context<'_>) -> Poll<Result<Vec<u8>, CallError>> {
        let mut calls = lock(&self.calls);
        let Some(call) = calls.get_mut(&request) else {
            return Poll::Ready(Err(CallError::PeerDied(Peer::LAUNCHER)));
        };
        match call.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                call.waker.clone_from(context.waker());
                Poll::Pending
            }
        }
    }

    /// Sends a message, waiting for room.
    async fn send(&self, to: Incarnation, header: Header, parts: &[&[u8]]) -> Result<(), SendError> {
        loop {
            let seen = self.space.count();
            let (sent, waits) = {
                let mut endpoint = lock(&self.endpoint);
                (endpoint.send(address(to), header, parts), endpoint.has_backlog(to.peer.0))
            };
            if waits {
                // The messenger's thread sends the rest; it may be asleep.
                self.poke();
            }
            match sent {
                Err(SendError::WouldBlock) => {}
                // The endpoint learns of a birth when the messenger's thread
                // looks; the caller may have seen it before.
                Err(SendError::PeerDied | SendError::UnknownPeer) if self.membership.lives(to) => {
                    // A look is due; what rang for the birth may be used up.
                    self.platform.poke();
                }
                result => return result,
            }
            self.space.wait(seen).await;
        }
    }

    /// Waits until `deadline_ns` of [`Messenger::now_ns`].
    pub async fn sleep_until(&self, deadline_ns: u64) {
        let key = (deadline_ns, self.fresh_request());
        let _forget = ForgetTimer { messenger: self, key };
        poll_fn(|context| {
            if self.now_ns() >= deadline_ns {
                return Poll::Ready(());
            }
            lock(&self.timers).insert(key, context.waker().clone());
            self.poke();
            Poll::Pending
        })
        .await;
    }

    /// How many messages made no sense here and were dropped: requests beyond
    /// [`MAX_SERVED`] or to a pipe that nobody serves, replies that nobody waits
    /// for, whatever the endpoint found malformed.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// How many births and deaths this messenger has noticed; see
    /// [`Messenger::changed_since`].
    pub fn changes(&self) -> u64 {
        self.changes.count()
    }

    /// Waits until somebody was born or died after `seen` was read from
    /// [`Messenger::changes`].
    pub async fn changed_since(&self, seen: u64) {
        self.changes.wait(seen).await;
    }

    /// Makes [`Messenger::run`] return; from any thread.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.poke();
    }
}

/// Forgets a call when its future is done or dropped.
struct Forget<'a> {
    messenger: &'a Messenger,
    request: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        lock(&self.messenger.calls).remove(&self.request);
    }
}

/// Forgets a timer when its future is done or dropped.
struct ForgetTimer<'a> {
    messenger: &'a Messenger,
    key: (u64, u64),
}

impl Drop for ForgetTimer<'_> {
    fn drop(&mut self) {
        lock(&self.messenger.timers).remove(&self.key);
    }
}

fn address(who: Incarnation) -> PeerAddress {
    PeerAddress { peer: who.peer.0, generation: who.generation }
}

fn incarnation(who: PeerAddress) -> Incarnation {
    Incarnation { peer: Peer(who.peer), generation: who.generation }
}
