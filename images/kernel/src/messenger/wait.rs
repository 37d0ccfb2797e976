//! How a thread of a program waits for the messenger.
//!
//! The messenger's thread polls only while nobody else wants the processor. A
//! thread that is about to wait for it says so, and lets it poll first: what
//! comes within its patience costs two switches of threads instead of a halt
//! and a doorbell.

use super::Messenger;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// A thread that waits.
struct Caller {
    thread: Thread,
    woken: AtomicBool,
    /// It is counted in `waiting`: it can run, but only to wait.
    counted: AtomicBool,
    /// How many threads are counted.
    waiting: Arc<AtomicUsize>,
}

impl Caller {
    fn count(&self) {
        self.counted.store(true, SeqCst);
        self.waiting.fetch_add(1, SeqCst);
    }

    fn discount(&self) {
        if self.counted.swap(false, SeqCst) {
            self.waiting.fetch_sub(1, SeqCst);
        }
    }
}

impl Wake for Caller {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, SeqCst);
        self.discount();
        self.thread.unpark();
    }
}

impl Messenger {
    /// Waits for a future on the calling thread, which is not the messenger's
    /// own. As [`crate::executor::block_on`], but the messenger polls for what
    /// is waited for, as its patience has it.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let caller = Arc::new(Caller {
            thread: thread::current(),
            woken: AtomicBool::new(false),
            counted: AtomicBool::new(false),
            waiting: self.waiting.clone(),
        });
        let waker = Waker::from(caller.clone());
        let mut context = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            caller.woken.store(false, SeqCst);
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return output;
            }
            if self.polls.load(SeqCst) {
                caller.count();
                // Whoever woke it before it was counted did not discount it.
                match caller.woken.load(SeqCst) {
                    true => caller.discount(),
                    false => self.poke(),
                }
                // It has polled; from here on this thread does not want to run.
                caller.discount();
            }
            while !caller.woken.load(SeqCst) {
                thread::park();
            }
            caller.discount();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_discounted_once() {
        let waiting = Arc::new(AtomicUsize::new(0));
        let caller = Arc::new(Caller {
            thread: thread::current(),
            woken: AtomicBool::new(false),
            counted: AtomicBool::new(false),
            waiting: waiting.clone(),
        });
        caller.count();
        assert_eq!(waiting.load(SeqCst), 1);
        caller.clone().wake();
        caller.clone().wake();
        caller.discount();
        assert_eq!(waiting.load(SeqCst), 0);
    }
}
