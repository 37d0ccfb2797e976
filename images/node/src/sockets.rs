//! The IP stack of this node, and its sockets with the settings that programs
//! give them.
//!
//! A node with a card to the outside has its stack from the start, so that who
//! calls a port that nobody has is refused at once; another one from its first
//! socket on. The stack's turns are a coroutine's: they end when nothing is due.

use futures_util::future::select;
use kernel::errno::Errno;
use kernel::messenger::Messenger;
use network::{Kind, Socket, Stack};
use std::collections::hash_map::RandomState;
use std::future::{Future, poll_fn};
use std::hash::BuildHasher;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;
use transport::ethernet::Card;

/// The sockets of this node.
pub struct Network {
    messenger: Arc<Messenger>,
    stack: OnceLock<Arc<Stack>>,
}

impl Network {
    /// A network with the card to the outside, if there is one.
    pub fn new(messenger: Arc<Messenger>) -> Self {
        let network = Self { messenger, stack: OnceLock::new() };
        if let Some(card) = runtime::card::start_outside() {
            network.stack.get_or_init(|| network.start(Some(Box::new(card))));
        }
        network
    }

    /// The IP stack.
    pub fn stack(&self) -> &Arc<Stack> {
        self.stack.get_or_init(|| self.start(None))
    }

    fn start(&self, card: Option<Box<dyn Card>>) -> Arc<Stack> {
        let stack = Stack::new(
            card,
            // Its keys are the system's random numbers.
            || RandomState::new().hash_one(0),
            runtime::untouched_memory(),
            runtime::clock::now_ns,
        );
        self.messenger.spawn(drive(stack.clone(), self.messenger.clone()));
        stack
    }
}

/// Moves what comes from outside, and what is due.
async fn drive(stack: Arc<Stack>, messenger: Arc<Messenger>) {
    loop {
        let (rings, wanted) = (messenger.rings().count(), stack.wanted().count());
        let next = stack.turn();
        let wanted = stack.wanted().wait(wanted);
        match (next, stack.has_card()) {
            (Some(at), _) if at <= messenger.now_ns() => give_way().await,
            (at, true) => until(&messenger, at, select(wanted, messenger.rings().wait(rings))).await,
            (at, false) => until(&messenger, at, wanted).await,
        }
    }
}

/// Waits for a future, at most until a time.
async fn until(messenger: &Messenger, deadline_ns: Option<u64>, future: impl Future) {
    match deadline_ns {
        Some(deadline_ns) => _ = messenger.before(deadline_ns, future).await,
        None => _ = future.await,
    }
}

/// Lets others have a turn.
async fn give_way() {
    let mut first = true;
    poll_fn(|context| match std::mem::take(&mut first) {
        true => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
        false => Poll::Ready(()),
    })
    .await;
}

/// A socket with its settings. Times are nanoseconds; 0: for ever.
pub struct OpenSocket {
    pub socket: Socket,
    pub nonblocking: AtomicBool,
    pub receive_timeout_ns: AtomicU64,
    pub send_timeout_ns: AtomicU64,
    pub reuse_address: AtomicBool,
    pub keep_alive: AtomicBool,
    pub broadcast: AtomicBool,
    pub no_delay: AtomicBool,
    pub time_to_live: AtomicU8,
    /// Seconds and one; 0: none.
    pub linger: AtomicU64,
}

impl OpenSocket {
    /// A socket with the settings that all begin with.
    pub fn new(socket: Socket) -> Self {
        Self {
            socket,
            nonblocking: AtomicBool::new(false),
            receive_timeout_ns: AtomicU64::new(0),
            send_timeout_ns: AtomicU64::new(0),
            reuse_address: AtomicBool::new(false),
            keep_alive: AtomicBool::new(false),
            broadcast: AtomicBool::new(false),
            no_delay: AtomicBool::new(false),
            time_to_live: AtomicU8::new(64),
            linger: AtomicU64::new(0),
        }
    }

    /// Tells the connection below what was set before there was one.
    pub fn apply(&self) {
        self.socket.set_no_delay(self.no_delay.load(Relaxed));
        self.socket.set_keep_alive(self.keep_alive.load(Relaxed));
        self.socket.set_time_to_live(self.time_to_live.load(Relaxed));
    }

    /// How long a call may wait that reads, or one that writes; `AGAIN` if it may not.
    pub fn patience(&self, timeout_ns: &AtomicU64) -> Result<Option<Duration>, Errno> {
        if self.nonblocking.load(Relaxed) {
            return Err(Errno::AGAIN);
        }
        Ok(Some(timeout_ns.load(Relaxed)).filter(|&ns| ns > 0).map(Duration::from_nanos))
    }

    /// Whether it is TCP.
    pub fn is_stream(&self) -> bool {
        self.socket.kind() == Kind::Stream
    }

    /// Closes it before it is dropped, whoever is about to use it.
    pub fn close(&self) {
        self.linger();
        self.socket.close();
    }

    /// To linger for no time is to break the connection.
    fn linger(&self) {
        if self.linger.load(Relaxed) == 1 {
            self.socket.abort();
        }
    }
}

impl Drop for OpenSocket {
    fn drop(&mut self) {
        self.linger();
    }
}
