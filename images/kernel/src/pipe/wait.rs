//! Waiting for several things at once.

use crate::waiters::{Wait, Waiters};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

/// Something that can be waited for together with others.
pub trait Event: Send + Sync {
    /// Counts on whenever [`Event::is_ready`] may have become true.
    fn changes(&self) -> &Waiters;
    /// Whether what is waited for is there.
    fn is_ready(&self) -> bool;
}

/// Waits until some of `events` are ready and says which, in order; none of
/// them if `timer` ended first.
pub async fn wait_any(events: &[&dyn Event], timer: impl Future<Output = ()>) -> Vec<usize> {
    let mut timer = pin!(timer);
    loop {
        let mut waits: Vec<Wait<'_>> = events
            .iter()
            .map(|event| {
                let changes = event.changes();
                changes.wait(changes.count())
            })
            .collect();
        // Counted first, looked at then: what changes in between ends the wait.
        let ready: Vec<usize> = (0..events.len()).filter(|&index| events[index].is_ready()).collect();
        if !ready.is_empty() || !changed(&mut waits, timer.as_mut()).await {
            return ready;
        }
    }
}

/// Waits for a change; `false` if `timer` ended first.
async fn changed(waits: &mut [Wait<'_>], mut timer: Pin<&mut impl Future<Output = ()>>) -> bool {
    poll_fn(|context: &mut Context<'_>| {
        // All are asked, so that each wakes this one.
        let mut any = false;
        for wait in waits.iter_mut() {
            any |= Pin::new(wait).poll(context).is_ready();
        }
        if any {
            return Poll::Ready(true);
        }
        timer.as_mut().poll(context).map(|()| false)
    })
    .await
}
