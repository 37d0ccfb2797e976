//! Those who wait for a time to come.

use crate::executor::lock;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use super::Messenger;

/// The time by which something should have happened came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadlinePassed;

impl std::fmt::Display for DeadlinePassed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the deadline passed")
    }
}

impl std::error::Error for DeadlinePassed {}

/// The wakers of those who wait, by time and a number of their own.
#[derive(Default)]
pub(super) struct Timers {
    wakers: Mutex<BTreeMap<(u64, u64), Waker>>,
    /// The earliest time of all, or `u64::MAX`; written under the lock.
    earliest: AtomicU64,
    next: AtomicU64,
}

impl Timers {
    pub(super) fn new() -> Self {
        Self { earliest: AtomicU64::new(u64::MAX), ..Self::default() }
    }

    fn set(&self, key: (u64, u64), waker: Option<Waker>) {
        let mut wakers = lock(&self.wakers);
        match waker {
            Some(waker) => _ = wakers.insert(key, waker),
            None => _ = wakers.remove(&key),
        }
        self.note_earliest(&wakers);
    }

    fn note_earliest(&self, wakers: &BTreeMap<(u64, u64), Waker>) {
        let earliest = wakers.first_key_value().map_or(u64::MAX, |(&(time, _), _)| time);
        self.earliest.store(earliest, Ordering::Release);
    }

    /// The earliest time that somebody waits for.
    pub(super) fn earliest(&self) -> Option<u64> {
        Some(self.earliest.load(Ordering::Acquire)).filter(|&time| time != u64::MAX)
    }

    /// Wakes those whose time has come by `now_ns`; whether there were any.
    pub(super) fn run(&self, now_ns: u64) -> bool {
        let mut due = Vec::new();
        let mut wakers = lock(&self.wakers);
        while let Some(entry) = wakers.first_entry().filter(|entry| entry.key().0 <= now_ns) {
            due.push(entry.remove());
        }
        self.note_earliest(&wakers);
        drop(wakers);
        let any = !due.is_empty();
        due.into_iter().for_each(Waker::wake);
        any
    }
}

/// A wait until a time.
struct Sleep<'a> {
    messenger: &'a Messenger,
    key: (u64, u64),
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.messenger.now_ns() >= self.key.0 {
            return Poll::Ready(());
        }
        self.messenger.timers.set(self.key, Some(context.waker().clone()));
        self.messenger.poke();
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        self.messenger.timers.set(self.key, None);
    }
}

impl Messenger {
    /// Waits until `deadline_ns` of [`Messenger::now_ns`].
    pub async fn sleep_until(&self, deadline_ns: u64) {
        let number = self.timers.next.fetch_add(1, Ordering::Relaxed);
        Sleep { messenger: self, key: (deadline_ns, number) }.await;
    }

    /// Waits for `future` until `deadline_ns`. What has not come by then is
    /// dropped: a call is taken back, a wait is given up.
    ///
    /// # Errors
    /// [`DeadlinePassed`].
    pub async fn before<F: Future>(&self, deadline_ns: u64, future: F) -> Result<F::Output, DeadlinePassed> {
        let (mut future, mut sleep) = (pin!(future), pin!(self.sleep_until(deadline_ns)));
        std::future::poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Ok(output));
            }
            sleep.as_mut().poll(context).map(|()| Err(DeadlinePassed))
        })
        .await
    }
}
