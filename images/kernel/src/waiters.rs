//! Those who wait for something to change that is counted.
//!
//! A waiter reads the count, looks at whatever it cares for, and waits for the
//! count to move on from what it read: a change in between is not lost.

use crate::executor::lock;
use std::future::poll_fn;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

/// A count of changes, and those who wait for the next.
#[derive(Default)]
pub struct Waiters {
    count: AtomicU64,
    /// Somebody may be among the wakers.
    waits: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
}

impl Waiters {
    /// How many changes there have been.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits until there have been other than `seen` changes.
    pub async fn wait(&self, seen: u64) {
        poll_fn(|context| self.poll_changed(seen, context)).await;
    }

    /// The same, polled.
    pub fn poll_changed(&self, seen: u64, context: &Context<'_>) -> Poll<()> {
        let mut state = lock(&self.wakers);
        // Under the lock: who counts a change takes the wakers after it.
        self.waits.store(true, Ordering::SeqCst);
        if self.count.load(Ordering::SeqCst) != seen {
            return Poll::Ready(());
        }
        if !state.iter().any(|waker| waker.will_wake(context.waker())) {
            state.push(context.waker().clone());
        }
        Poll::Pending
    }

    /// Counts a change and wakes everybody. Costs little while nobody waits.
    pub fn wake_all(&self) {
        // SYNC: waiters: of this count and this look, and the store and the
        // look of `poll_changed`, all in one order, one sees the other.
        self.count.fetch_add(1, Ordering::SeqCst);
        if !self.waits.load(Ordering::SeqCst) {
            return;
        }
        let wakers = {
            let mut wakers = lock(&self.wakers);
            self.waits.store(false, Ordering::SeqCst);
            std::mem::take(&mut *wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Lets at most so many in at a time, and numbers them: a number that somebody
/// has is nobody else's, and one that comes from the same place later is higher.
pub struct Window {
    free: Mutex<Free>,
    places: u64,
    left: Waiters,
}

/// The free places of a [`Window`].
struct Free {
    /// How many places were never taken: the last ones.
    fresh: u64,
    /// The numbers that the others give next.
    used: Vec<u64>,
}

/// A place in a [`Window`], given back when dropped.
pub struct Place<'a> {
    window: &'a Window,
    /// Differs modulo the window's size from the number of everybody else who is in.
    pub number: u64,
}

impl Window {
    /// A window with `places` places.
    pub fn new(places: u64) -> Self {
        Self { free: Mutex::new(Free { fresh: places, used: Vec::new() }), places, left: Waiters::default() }
    }

    /// Waits for a place.
    pub async fn enter(&self) -> Place<'_> {
        loop {
            let seen = self.left.count();
            if let Some(number) = self.take() {
                return Place { window: self, number };
            }
            self.left.wait(seen).await;
        }
    }
}

impl Window {
    fn take(&self) -> Option<u64> {
        let mut free = lock(&self.free);
        if let Some(number) = free.used.pop() {
            return Some(number);
        }
        free.fresh = free.fresh.checked_sub(1)?;
        // Numbers start above 0.
        Some(2 * self.places - 1 - free.fresh)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        lock(&self.window.free).used.push(self.number + self.window.places);
        self.window.left.wake_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::block_on;

    #[test]
    fn numbers_of_those_who_are_in_differ_modulo_the_window() {
        let window = Window::new(3);
        block_on(async {
            let (first, second) = (window.enter().await, window.enter().await);
            for _ in 0..10 {
                let third = window.enter().await;
                assert_ne!(third.number % 3, first.number % 3);
                assert_ne!(third.number % 3, second.number % 3);
            }
            let seen = first.number;
            drop(first);
            assert_eq!(window.enter().await.number, seen + 3);
        });
    }
}
