//! A link with distance: what the link below brings is handed on some time later.
//!
//! ```text
//!   link below ──receive──▶ held, in order, each with the time it is due ──▶ who receives
//! ```
//! * Each message is held until [`Delay::ns`] after it was first seen here. The
//!   delay is read for each message, so it may change at any time; messages stay
//!   in order all the same.
//! * At most [`HELD_MESSAGES`] messages and [`HELD_BYTES`] bytes (unless it is a
//!   single message) are held; then what is below waits, and pushes back.
//! * What was taken from below and is not due yet counts as a part: whoever
//!   receives looks again, and learns by [`Link::deadline`] when.
//! * If the peer dies, what it sent is due at once: its death comes after it. An
//!   epoch that ends takes with it what is held.
//! * What is sent is not held: the other end's link does that.

use super::{Link, LinkCounters, Received};
use crate::fragments::Gather;
use crate::memory::{SharedMemory, WORD};
use crate::wire::HEADER_BYTES;
use alloc::collections::VecDeque;
use core::sync::atomic::Ordering::Relaxed;

/// Most messages that are held.
pub const HELD_MESSAGES: usize = 256;
/// Most bytes of them.
pub const HELD_BYTES: usize = 128 * 1024;
/// Longest delay: whatever the word says, no message is held for longer.
pub const MOST_DELAY_NS: u64 = 10_000_000_000;

/// A delay that somebody else sets while links have it: a word of shared memory.
#[derive(Clone, Debug)]
pub struct Delay(SharedMemory);

impl Delay {
    /// The delay that the first word of a window holds; `None` if it has none.
    pub fn at(window: SharedMemory) -> Option<Self> {
        (window.len() >= WORD).then_some(Self(window))
    }

    /// The delay as it is now, in nanoseconds, at most [`MOST_DELAY_NS`].
    pub fn ns(&self) -> u64 {
        self.0.word(0).load(Relaxed).min(MOST_DELAY_NS)
    }

    /// Sets the delay. For who may write the word.
    pub fn set_ns(&self, ns: u64) {
        self.0.word(0).store(ns.min(MOST_DELAY_NS), Relaxed);
    }
}

/// A link below, and what came from it and is not due yet.
#[derive(Debug)]
pub struct Delayed<L> {
    below: L,
    delay: Delay,
    now_ns: u64,
    held: VecDeque<Held>,
    /// Bytes of what is held.
    bytes: usize,
    /// The peer is dead: everything is due.
    is_over: bool,
}

/// Something received, and when it is due.
#[derive(Debug)]
struct Held {
    due_ns: u64,
    received: Received,
}

impl Held {
    fn bytes(&self) -> usize {
        match &self.received {
            Received::Message(_, body) => HEADER_BYTES + body.len(),
            _ => HEADER_BYTES,
        }
    }
}

impl<L: Link> Delayed<L> {
    /// The link `below`, further away by `delay`.
    pub fn new(below: L, delay: Delay) -> Self {
        Self { below, delay, now_ns: 0, held: VecDeque::new(), bytes: 0, is_over: false }
    }

    fn is_full(&self) -> bool {
        self.held.len() >= HELD_MESSAGES || self.bytes >= HELD_BYTES
    }

    /// The first is due.
    fn is_due(&self) -> bool {
        self.held.front().is_some_and(|first| self.is_over || first.due_ns <= self.now_ns)
    }

    /// Takes the next thing from below; whether there was one.
    fn take(&mut self) -> bool {
        match self.below.receive() {
            Received::Nothing => return false,
            // The rest of the message will be seen later.
            Received::Part => {}
            received => {
                let held = Held { due_ns: self.now_ns.saturating_add(self.delay.ns()), received };
                self.bytes += held.bytes();
                self.held.push_back(held);
            }
        }
        true
    }

    /// Forgets what is held.
    fn forget(&mut self) {
        self.held.clear();
        self.bytes = 0;
    }
}

impl<L: Link> Link for Delayed<L> {
    fn synchronise(&mut self, own: u32, peer: u32) {
        self.forget();
        self.is_over = false;
        self.below.synchronise(own, peer);
    }

    fn peer_died(&mut self) {
        self.is_over = true;
        self.below.peer_died();
    }

    fn end(&mut self) {
        self.forget();
        self.below.end();
    }

    fn send(&mut self, message: &Gather<'_>, from: usize) -> usize {
        self.below.send(message, from)
    }

    fn receive(&mut self) -> Received {
        // Each is seen as early as can be: that is when its delay begins.
        let took = !self.is_full() && self.take();
        if self.is_due()
            && let Some(first) = self.held.pop_front()
        {
            self.bytes -= first.bytes();
            return first.received;
        }
        if took { Received::Part } else { Received::Nothing }
    }

    fn in_flight(&self) -> usize {
        self.held.len() + self.below.in_flight()
    }

    fn tick(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
        self.below.tick(now_ns);
    }

    fn deadline(&self) -> Option<u64> {
        // 0 would be something else.
        let due = self.held.front().map(|first| first.due_ns.max(1));
        due.into_iter().chain(self.below.deadline()).min()
    }

    fn bell_due(&mut self) -> bool {
        self.below.bell_due()
    }

    fn is_unflushed(&self) -> bool {
        self.below.is_unflushed()
    }

    fn arm(&mut self, for_space: bool) {
        self.below.arm(for_space);
    }

    fn disarm(&mut self) {
        self.below.disarm();
    }

    fn is_ready(&mut self) -> bool {
        // While no more can be held, only the deadline is waited for.
        self.is_due() || !self.is_full() && self.below.is_ready()
    }

    fn has_space(&mut self) -> bool {
        self.below.has_space()
    }

    fn counters(&self) -> LinkCounters {
        self.below.counters()
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
