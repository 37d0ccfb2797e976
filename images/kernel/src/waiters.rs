//! Those who wait for something to change that is counted.
//!
//! A waiter reads the count, looks at whatever it cares for, and waits for the
//! count to move on from what it read: a change in between is not lost.

use crate::executor::lock;
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

/// A count of changes, and those who wait for the next.
#[derive(Default)]
pub struct Waiters {
    count: AtomicU64,
    /// Somebody may be among the wakers.
    waits: AtomicBool,
    list: Mutex<List>,
}

/// The number in a [`List`] of those that stay until there is a change.
const NOBODYS: u64 = 0;

/// Who is to be woken, each with a number of its own or [`NOBODYS`].
#[derive(Default)]
struct List {
    wakers: Vec<(u64, Waker)>,
    last: u64,
}

impl Waiters {
    /// How many changes there have been.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits until there have been other than `seen` changes.
    pub fn wait(&self, seen: u64) -> Wait<'_> {
        Wait { waiters: self, seen, number: None }
    }

    /// Looks whether there have been other than `seen` changes, for a future
    /// that waits for something else as well and stays in the list.
    pub fn poll_changed(&self, seen: u64, context: &Context<'_>) -> Poll<()> {
        let mut list = lock(&self.list);
        if self.has_changed(seen) {
            return Poll::Ready(());
        }
        let waker = context.waker();
        if !list.wakers.iter().any(|(number, other)| *number == NOBODYS && other.will_wake(waker)) {
            list.wakers.push((NOBODYS, waker.clone()));
        }
        Poll::Pending
    }

    /// Whether there is no need to wait. Under the lock of the list: who counts
    /// a change takes the wakers after it.
    fn has_changed(&self, seen: u64) -> bool {
        // SYNC: waiters, with `wake_all`.
        self.waits.store(true, Ordering::SeqCst);
        self.count() != seen
    }

    /// Counts a change and wakes everybody. Costs little while nobody waits.
    pub fn wake_all(&self) {
        // SYNC: waiters: of this count and this look, and the store and the
        // look of `has_changed`, all in one order, one sees the other.
        self.count.fetch_add(1, Ordering::SeqCst);
        if !self.waits.load(Ordering::SeqCst) {
            return;
        }
        let wakers = {
            let mut list = lock(&self.list);
            self.waits.store(false, Ordering::SeqCst);
            std::mem::take(&mut list.wakers)
        };
        wakers.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

/// Waits for a change. One that is given up leaves nothing behind.
pub struct Wait<'a> {
    waiters: &'a Waiters,
    seen: u64,
    /// Its number in the list, where it may be no longer.
    number: Option<u64>,
}

impl Future for Wait<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut list = lock(&self.waiters.list);
        if self.waiters.has_changed(self.seen) {
            return Poll::Ready(());
        }
        // Whoever counted the change before `seen` may have taken it from the list.
        self.number = Some(list.put(self.number, context.waker()));
        Poll::Pending
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            lock(&self.waiters.list).wakers.retain(|(other, _)| *other != number);
        }
    }
}

impl List {
    /// Puts a waker in, instead of the one of this number if that is there;
    /// returns its number.
    fn put(&mut self, number: Option<u64>, waker: &Waker) -> u64 {
        match self.wakers.iter_mut().find(|(other, _)| Some(*other) == number) {
            Some((number, own)) => {
                own.clone_from(waker);
                *number
            }
            None => {
                self.last += 1;
                self.wakers.push((self.last, waker.clone()));
                self.last
            }
        }
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
    fn a_wait_that_is_given_up_leaves_nothing_behind() {
        let waiters = Waiters::default();
        let mut context = Context::from_waker(Waker::noop());
        let (mut first, mut second) = (Box::pin(waiters.wait(0)), Box::pin(waiters.wait(0)));
        assert!(first.as_mut().poll(&mut context).is_pending());
        assert!(second.as_mut().poll(&mut context).is_pending());
        drop(first);
        assert_eq!(lock(&waiters.list).wakers.len(), 1);
        waiters.wake_all();
        assert!(second.as_mut().poll(&mut context).is_ready());
        drop(second);
        assert_eq!(lock(&waiters.list).wakers.len(), 0);
    }

    /// Each change is answered before the next: a wake-up that is lost is missed for ever.
    #[test]
    fn no_change_is_missed() {
        const CHANGES: u64 = 100_000;
        let (waiters, changed, answered) = (Waiters::default(), AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut known = 0;
                while known < CHANGES {
                    let seen = waiters.count();
                    match changed.load(Ordering::SeqCst) {
                        now if now != known => {
                            known = now;
                            answered.store(known, Ordering::SeqCst);
                        }
                        _ => block_on(waiters.wait(seen)),
                    }
                }
            });
            for change in 1..=CHANGES {
                changed.store(change, Ordering::SeqCst);
                waiters.wake_all();
                let start = std::time::Instant::now();
                while answered.load(Ordering::SeqCst) != change {
                    std::thread::yield_now();
                    if start.elapsed().as_secs() > 30 {
                        // Lets the other thread end.
                        changed.store(CHANGES, Ordering::SeqCst);
                        waiters.wake_all();
                        panic!("change {change} was missed");
                    }
                }
            }
        });
    }

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
