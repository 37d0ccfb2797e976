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
//!   broken: what it sends beyond that is dropped and counted. So is all else
//!   that makes no sense, by peer and by name ([`Fault`](crate::protocol::monitor::Fault)).

mod call;
mod calls;
mod faults;
mod receive;
mod serve;
mod timers;

use crate::executor::{Executor, lock};
use crate::membership::{Membership, Role, Utility};
use crate::protocol::monitor::Fault;
use crate::protocol::{Incarnation, Peer, Pipe};
use crate::waiters::{Waiters, Window};
use calls::Calls;
use faults::Faults;
use serve::Served;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock};
use timers::Timers;
use transport::Body;
use transport::endpoint::{Endpoint, PeerAddress, SendError};
use transport::wire::{Header, Kind};

pub use call::{CallFuture, MAX_BODY};
pub use timers::DeadlinePassed;

/// Most requests of one peer that are served at a time.
pub const MAX_SERVED: usize = 256;

/// Most calls to utilities that a VM has under way at a time. Their tables
/// remember so many answers per client, so that any of them can be sent again:
/// the ids of those under way differ modulo this.
pub const UTILITY_WINDOW: u64 = 64;

/// What the messenger needs of the machine it runs on.
pub trait Platform: Send + Sync {
    /// Nanoseconds of a clock that never goes back.
    fn now_ns(&self) -> u64;
    /// Nanoseconds since 1970.
    fn wall_clock_ns(&self) -> u64;
    /// Sleeps until a doorbell, a poke, or `deadline_ns`. One that came since
    /// the last wait or [`Platform::rang`] counts. Whether one came.
    fn wait(&self, deadline_ns: Option<u64>) -> bool;
    /// The same, and goes on as well when others in this VM have run since, and
    /// none of them wants the processor any more.
    fn stand_by(&self, deadline_ns: Option<u64>) -> bool {
        self.wait(deadline_ns)
    }
    /// Makes [`Platform::wait`] return; from any thread.
    fn poke(&self);
    /// Whether a doorbell or poke came since the last call or wait, or may have.
    fn rang(&self) -> bool {
        true
    }
    /// Whether the processor is there for polling: nobody else wants it.
    fn may_spin(&self) -> bool;
    /// Whether somebody else in this VM wants the processor, so that
    /// [`Platform::stand_by`] says when nobody does any more.
    fn is_wanted(&self) -> bool {
        false
    }
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
    /// The peer does not serve the request.
    Refused(Refusal),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerDied(peer) => write!(f, "{peer} died"),
            Self::TooLong => write!(f, "the request is longer than a message may be"),
            Self::NoActivity(utility) => write!(f, "no activity of {utility} is left alive"),
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}

impl std::error::Error for CallError {}

pub use serve::{Later, Outcome, Refusal, Request, Service};

/// Takes one-way messages, and learns of deaths in the same order: nothing of
/// a dead incarnation comes after its death. Called on the messenger's thread;
/// must not block.
pub trait NoticeHandler: Send + Sync {
    /// A message came. `word` is its sender's to choose.
    fn take(&self, from: Incarnation, pipe: u32, word: u64, body: Body);
    /// An incarnation died.
    fn died(&self, who: Incarnation);
    /// What was wrong with what a peer sent here, and how often.
    fn faults(&self, _peer: Peer) -> Vec<(Fault, u64)> {
        Vec::new()
    }
}

/// Requests and replies between this VM and its peers.
pub struct Messenger {
    own: Incarnation,
    membership: Membership,
    platform: Arc<dyn Platform>,
    executor: Executor,
    core: Mutex<Core>,
    services: [OnceLock<Arc<dyn Service>>; SERVICES],
    notices: OnceLock<Arc<dyn NoticeHandler>>,
    window: Window,
    /// Those who wait for room: in a ring, or among the calls to a peer.
    space: Waiters,
    /// Those who wait for a birth or death in the machine.
    changes: Waiters,
    /// Those who wait for a device of this VM to interrupt.
    rings: Waiters,
    timers: Timers,
    stop: AtomicBool,
    /// The messenger's thread sleeps, or is about to and has looked at
    /// everything that a poke is for. SYNC: messenger-asleep.
    asleep: Arc<AtomicBool>,
}

/// What one lock holds: whatever a message touches on its way.
struct Core {
    endpoint: Endpoint,
    calls: Calls,
    served: Served,
    /// The words of the liveness table that the endpoint has been told.
    followed: Vec<u64>,
    /// The activity of each utility that calls go to: the nearest that is ready.
    routes: [Option<Incarnation>; Utility::ALL.len()],
    faults: Faults,
}

/// One more than the highest [`Pipe`].
const SERVICES: usize = 7;

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
        let core = Core {
            endpoint,
            calls: Calls::new(peers),
            served: Served::new(peers),
            followed: vec![0; peers],
            routes: Default::default(),
            faults: Faults::new(peers),
        };
        Arc::new(Self {
            own,
            membership,
            executor: Executor::new(poke),
            platform,
            core: Mutex::new(core),
            services: Default::default(),
            notices: OnceLock::new(),
            window: Window::new(UTILITY_WINDOW),
            space: Waiters::default(),
            changes: Waiters::default(),
            rings: Waiters::default(),
            timers: Timers::new(),
            stop: AtomicBool::new(false),
            asleep,
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

    /// From now on `handler` takes one-way messages. Once.
    pub fn on_notice(&self, handler: Arc<dyn NoticeHandler>) {
        let vacant = self.notices.set(handler).is_ok();
        debug_assert!(vacant, "notices are taken twice");
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

    /// Sends a request and waits for its reply. The request leaves when the
    /// future is first polled; if it is dropped before the reply came, the peer
    /// is told that nobody waits any more.
    pub async fn call(&self, to: Incarnation, pipe: Pipe, body: &[u8]) -> Result<Body, CallError> {
        CallFuture::new(self, None, to, pipe, &[body]).await
    }

    /// Sends a request to the nearest living activity of a utility and waits
    /// for its reply; if that activity dies, sends the same request to another.
    /// While the only living activities are not ready yet, it waits for one.
    ///
    /// At most [`UTILITY_WINDOW`] such calls of this VM are under way at a
    /// time; others wait for their turn.
    pub async fn call_utility(&self, utility: Utility, body: &[u8]) -> Result<Body, CallError> {
        let place = self.window.enter().await;
        self.call_living(Some(place.number), utility, &[body]).await
    }

    /// The same with a body in parts.
    pub async fn call_utility_parts(&self, utility: Utility, body: &[&[u8]]) -> Result<Body, CallError> {
        let place = self.window.enter().await;
        self.call_living(Some(place.number), utility, body).await
    }

    /// The same for a request that may be carried out any number of times (it
    /// changes nothing, or nothing more): it takes no place in the window.
    pub async fn ask_utility(&self, utility: Utility, body: &[u8]) -> Result<Body, CallError> {
        self.call_living(None, utility, &[body]).await
    }

    async fn call_living(
        &self,
        request: Option<u64>,
        utility: Utility,
        body: &[&[u8]],
    ) -> Result<Body, CallError> {
        loop {
            let seen = self.changes.count();
            let route = lock(&self.core).routes[utility as usize];
            let Some(to) = route else {
                let role = Role::Utility(utility);
                if !self.membership.with_role(role).any(|peer| self.membership.liveness(peer).is_alive()) {
                    return Err(CallError::NoActivity(utility));
                }
                self.changes.wait(seen).await;
                continue;
            };
            match CallFuture::new(self, request, to, utility.pipe(), body).await {
                Err(CallError::PeerDied(_)) => continue,
                result => return result,
            }
        }
    }

    /// Sends a one-way message, if there is room for it. `word` is the
    /// sender's to choose.
    ///
    /// # Errors
    /// [`SendError::WouldBlock`]: not now. Otherwise never.
    pub fn notify(&self, to: Incarnation, pipe: u32, word: u64, parts: &[&[u8]]) -> Result<(), SendError> {
        self.try_send(to, Header { kind: Kind::Notice, pipe, request: word, trace: 0 }, parts)
    }

    fn try_send(&self, to: Incarnation, header: Header, parts: &[&[u8]]) -> Result<(), SendError> {
        let (sent, waits) = {
            let mut core = lock(&self.core);
            let sent = core.endpoint.send(address(to), header, parts);
            (sent, core.endpoint.has_backlog(to.peer.0))
        };
        if waits {
            // The messenger's thread sends the rest; it may be asleep.
            self.poke();
        }
        match sent {
            // The endpoint learns of a birth when the messenger's thread looks.
            Err(SendError::PeerDied | SendError::UnknownPeer) if self.membership.lives(to) => {
                self.platform.poke();
                Err(SendError::WouldBlock)
            }
            sent => sent,
        }
    }

    /// As [`Messenger::notify`], waiting for room.
    pub async fn notify_wait(
        &self,
        to: Incarnation,
        pipe: u32,
        word: u64,
        parts: &[&[u8]],
    ) -> Result<(), SendError> {
        loop {
            let seen = self.space.count();
            match self.notify(to, pipe, word, parts) {
                Err(SendError::WouldBlock) => self.space.wait(seen).await,
                sent => return sent,
            }
        }
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

    /// Counts on after every doorbell, and whatever else of this VM's devices
    /// interrupts as it does.
    pub fn rings(&self) -> &Waiters {
        &self.rings
    }

    /// Makes [`Messenger::run`] return; from any thread.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.poke();
    }
}

fn address(who: Incarnation) -> PeerAddress {
    PeerAddress { peer: who.peer.0, generation: who.generation }
}

fn incarnation(who: PeerAddress) -> Incarnation {
    Incarnation { peer: Peer(who.peer), generation: who.generation }
}
