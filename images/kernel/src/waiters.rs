//! Those who wait for something to change that is counted.
//!
//! A waiter reads the count, looks at whatever it cares for, and waits for the
//! count to move on from what it read: a change in between is not lost.

use crate::executor::lock;
use std::future::poll_fn;
use std::sync::Mutex;
use std::task::{Poll, Waker};

/// A count of changes, and those who wait for the next.
#[derive(Default)]
pub struct Waiters(Mutex<State>);

#[derive(Default)]
struct State {
    count: u64,
    wakers: Vec<Waker>,
}

impl Waiters {
    /// How many changes there have been.
    pub fn count(&self) -> u64 {
        lock(&self.0).count
    }

    /// Waits until there have been other than `seen` changes.
    pub async fn wait(&self, seen: u64) {
        poll_fn(|context| {
            let mut state = lock(&self.0);
            if state.count != seen {
                return Poll::Ready(());
            }
            if !state.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                state.wakers.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Counts a change and wakes everybody.
    pub fn wake_all(&self) {
        let wakers = {
            let mut state = lock(&self.0);
            state.count += 1;
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Lets at most so many in at a time.
pub struct Window {
    free: Mutex<usize>,
    left: Waiters,
}

/// A place in a [`Window`], given back when dropped.
pub struct Place<'a>(&'a Window);

impl Window {
    /// A window with `places` places.
    pub fn new(places: usize) -> Self {
        Self { free: Mutex::new(places), left: Waiters::default() }
    }

    /// Waits for a place.
    pub async fn enter(&self) -> Place<'_> {
        loop {
            let seen = self.left.count();
            if self.take() {
                return Place(self);
            }
            self.left.wait(seen).await;
        }
    }

    fn take(&self) -> bool {
        let mut free = lock(&self.free);
        let any = *free > 0;
        *free -= usize::from(any);
        any
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *lock(&self.0.free) += 1;
        self.0.left.wake_all();
    }
}
