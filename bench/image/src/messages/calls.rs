//! Null calls through the messengers of the two VMs.

use crate::shared::Way;
use kernel::executor::block_on;
use kernel::messenger::{Messenger, Outcome, Request, Service};
use kernel::protocol::{Peer, Pipe};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// Bytes of a body that make a message 64 bytes in the ring.
const BODY_BYTES: usize = 32;

/// The service that is called, and those who wait.
#[derive(Clone)]
pub struct Calls {
    service: Arc<Null>,
}

/// Answers each call with what it was called with: from a coroutine of its own
/// where the body says so.
#[derive(Default)]
struct Null {
    /// Calls that are still to come.
    left: AtomicU64,
    /// Who wants to know when none are.
    waits: Mutex<Option<Thread>>,
}

impl Null {
    fn count(&self) {
        if self.left.fetch_sub(1, SeqCst) == 1
            && let Some(thread) = self.waits.lock().unwrap_or_else(PoisonError::into_inner).as_ref()
        {
            thread.unpark();
        }
    }
}

impl Service for Null {
    fn serve(self: Arc<Self>, mut request: Request) -> Outcome {
        self.count();
        match request.body.bytes().first() {
            Some(1) => Outcome::Later(Box::pin(async move { request.body })),
            _ => Outcome::Reply(request.body),
        }
    }
}

impl Calls {
    /// Serves the pipe that is called.
    pub fn serve(messenger: &Messenger) -> Self {
        let service = Arc::new(Null::default());
        messenger.serve(Pipe::Node, service.clone());
        Self { service }
    }

    /// So many calls will come, which the calling thread will wait for.
    pub fn expect(&self, calls: u64) {
        self.service.left.store(calls, SeqCst);
        let mut waits = self.service.waits.lock().unwrap_or_else(PoisonError::into_inner);
        *waits = Some(std::thread::current());
    }

    /// Waits until all calls have come.
    pub fn await_all(&self) {
        while self.service.left.load(SeqCst) > 0 {
            std::thread::park();
        }
        // The last answer leaves before the messenger is held.
        std::thread::sleep(Duration::from_micros(500));
    }

    /// Calls the other VM as `way` says, and returns how long all calls took.
    pub fn lead(&self, way: Way, messenger: &Arc<Messenger>, other: Peer) -> Duration {
        let Some(to) = messenger.membership().incarnation(other) else { vm::refuse("the other end died") };
        let mut body = [0; BODY_BYTES];
        // Both asleep: what the doorbell costs, not the coroutine.
        body[0] = u8::from(way != Way::Asleep);
        let caller = messenger.clone();
        let all = async move {
            let mut start = Instant::now();
            for trip in 0..way.warm_up() + way.trips() {
                if trip == way.warm_up() {
                    start = Instant::now();
                }
                caller.call(to, Pipe::Node, &body).await.expect("the other end answers");
            }
            start.elapsed()
        };
        if way == Way::ThreadCall {
            return block_on(all);
        }
        let (spent, leader) = (Arc::new(Mutex::new(None)), std::thread::current());
        let result = spent.clone();
        messenger.spawn(async move {
            *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(all.await);
            leader.unpark();
        });
        loop {
            if let Some(spent) = *spent.lock().unwrap_or_else(PoisonError::into_inner) {
                return spent;
            }
            std::thread::park();
        }
    }
}
