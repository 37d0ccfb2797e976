//! Calls under way: who was asked what, and what came of it.
//!
//! A call has a slot, which its request id names, so a reply finds it without a
//! search. Ids of requests to utilities are the places of a window and keep
//! their id when they are sent again; the others count up and are never used
//! twice:
//!
//! ```text
//! id of a request to a utility    0 | number:63              slot: number mod UTILITY_WINDOW
//! id of any other request         1 | count:47 | slot:16     slot: itself, from UTILITY_WINDOW on
//! ```

use super::{CallError, UTILITY_WINDOW};
use crate::protocol::Incarnation;
use std::task::Waker;
use transport::Body;

/// Set in the ids of requests that are not sent again.
const ONCE: u64 = 1 << 63;
/// Most calls under way of a VM.
const MOST: usize = 1 << 16;

/// A call under way.
struct Call {
    id: u64,
    to: Incarnation,
    result: Option<Result<Body, CallError>>,
    waker: Option<Waker>,
    /// Nobody waits any more; the peer serves it still, as far as is known.
    is_abandoned: bool,
}

/// All calls under way.
pub struct Calls {
    slots: Vec<Option<Call>>,
    /// Slots that nobody has, beyond the window's.
    free: Vec<usize>,
    /// How many requests were made that are not sent again.
    made: u64,
    /// Calls under way, by the peer that was asked.
    under_way: Vec<usize>,
    /// Of each place of the window, the abandoned call that lost it to another one
    /// and may be answered yet.
    late: [Option<(u64, Incarnation)>; UTILITY_WINDOW as usize],
}

impl Calls {
    /// None, in a machine of so many peers.
    pub fn new(peers: usize) -> Self {
        let slots = (0..UTILITY_WINDOW).map(|_| None).collect();
        Self {
            slots,
            free: Vec::new(),
            made: 0,
            under_way: vec![0; peers],
            late: [None; UTILITY_WINDOW as usize],
        }
    }

    /// How many calls to `to` are under way.
    pub fn under_way(&self, to: Incarnation) -> usize {
        self.under_way.get(usize::from(to.peer.0)).copied().unwrap_or(0)
    }

    /// Begins a call, under an id of the window's or one of its own, and says
    /// which. `None`: there are as many calls as there can be.
    pub fn begin(&mut self, id: Option<u64>, to: Incarnation, waker: Waker) -> Option<u64> {
        let (id, slot) = match id {
            Some(id) => (id, (id % UTILITY_WINDOW) as usize),
            None => self.fresh()?,
        };
        // An abandoned call of the window may be there yet: its place is this one's.
        if let Some(call) = self.slots.get(slot).and_then(Option::as_ref) {
            self.late[slot] = Some((call.id, call.to));
        }
        self.clear(slot);
        *self.under_way.get_mut(usize::from(to.peer.0))? += 1;
        self.slots[slot] = Some(Call { id, to, result: None, waker: Some(waker), is_abandoned: false });
        Some(id)
    }

    fn fresh(&mut self) -> Option<(u64, usize)> {
        let slot = self.free.pop().unwrap_or(self.slots.len());
        if slot == MOST {
            return None;
        }
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        self.made += 1;
        Some((ONCE | self.made << 16 & (ONCE - 1) | slot as u64, slot))
    }

    /// The slot of the call of this id.
    fn slot(id: u64) -> usize {
        match id & ONCE {
            0 => (id % UTILITY_WINDOW) as usize,
            _ => (id & 0xffff) as usize,
        }
    }

    fn find(&mut self, id: u64) -> Option<&mut Call> {
        self.slots.get_mut(Self::slot(id))?.as_mut().filter(|call| call.id == id)
    }

    /// What came of a call, once; until then `waker` is woken when that is known.
    pub fn take(&mut self, id: u64, waker: &Waker) -> Option<Result<Body, CallError>> {
        let call = self.find(id)?;
        let result = call.result.take();
        if result.is_none() && !call.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            call.waker = Some(waker.clone());
        }
        result
    }

    /// Forgets a call: its answer came, or it was not sent.
    pub fn forget(&mut self, id: u64) {
        if self.find(id).is_some() {
            self.free(Self::slot(id));
        }
    }

    /// Nobody waits for a call any more. Whom it asked, if nothing had come of
    /// it yet: then it counts as under way until something does, as it does for
    /// the peer.
    pub fn abandon(&mut self, id: u64) -> Option<Incarnation> {
        let call = self.find(id)?;
        if call.result.is_some() {
            self.forget(id);
            return None;
        }
        (call.is_abandoned, call.waker) = (true, None);
        Some(call.to)
    }

    /// Empties a slot.
    fn clear(&mut self, slot: usize) {
        let Some(call) = self.slots.get_mut(slot).and_then(Option::take) else { return };
        if let Some(count) = self.under_way.get_mut(usize::from(call.to.peer.0)) {
            *count = count.saturating_sub(1);
        }
    }

    /// Empties a slot, for whoever wants it.
    fn free(&mut self, slot: usize) {
        self.clear(slot);
        if slot >= UTILITY_WINDOW as usize {
            self.free.push(slot);
        }
    }

    /// Something came of a call. `false`: nobody asked `from` that.
    pub fn finish(&mut self, id: u64, from: Incarnation, result: Result<Body, CallError>) -> bool {
        match self.find(id) {
            Some(call) if call.to == from && call.result.is_none() => {
                match call.is_abandoned {
                    true => self.free(Self::slot(id)),
                    false => call.finish(result),
                }
                true
            }
            _ => {
                let late = self.late.get_mut(Self::slot(id));
                late.and_then(|late| late.take_if(|late| *late == (id, from))).is_some()
            }
        }
    }

    /// Nothing will come of the calls to a dead incarnation.
    pub fn bury(&mut self, dead: Incarnation) {
        for slot in 0..self.slots.len() {
            match &mut self.slots[slot] {
                Some(call) if call.to != dead || call.result.is_some() => {}
                Some(call) if !call.is_abandoned => call.finish(Err(CallError::PeerDied(dead.peer))),
                Some(_) => self.free(slot),
                None => {}
            }
        }
    }
}

impl Call {
    fn finish(&mut self, result: Result<Body, CallError>) {
        self.result = Some(result);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Peer;

    const ONE: Incarnation = Incarnation { peer: Peer(1), generation: 1 };
    const OTHER: Incarnation = Incarnation { peer: Peer(1), generation: 2 };

    fn reply() -> Result<Body, CallError> {
        Ok(Body::from(&b"reply"[..]))
    }

    #[test]
    fn a_reply_reaches_the_call_it_answers_and_no_other() {
        let (mut calls, waker) = (Calls::new(2), Waker::noop());
        let first = calls.begin(None, ONE, waker.clone()).unwrap();
        let second = calls.begin(None, ONE, waker.clone()).unwrap();
        let window = calls.begin(Some(5), ONE, waker.clone()).unwrap();
        assert_eq!((window, calls.under_way(ONE)), (5, 3));
        assert!(!calls.finish(second, OTHER, reply()), "another incarnation was asked");
        assert!(!calls.finish(second + (1 << 16), ONE, reply()));
        assert!(!calls.finish(5 + UTILITY_WINDOW, ONE, reply()));
        assert!(calls.finish(second, ONE, reply()));
        assert!(!calls.finish(second, ONE, reply()), "it was answered");
        assert_eq!(calls.take(first, waker), None);
        assert_eq!(calls.take(second, waker), Some(reply()));
        calls.forget(second);
        assert_eq!(calls.abandon(first), Some(ONE), "it was not answered");
        assert_eq!(calls.under_way(ONE), 2, "it is served still");
        assert!(calls.finish(first, ONE, reply()), "it was asked");
        assert_eq!(calls.under_way(ONE), 1);
        assert_eq!(calls.abandon(5), Some(ONE));
        assert_eq!(calls.begin(Some(5 + UTILITY_WINDOW), ONE, waker.clone()), Some(5 + UTILITY_WINDOW));
        assert_eq!(calls.under_way(ONE), 1, "the place is the later call's");
        assert!(!calls.finish(5, OTHER, reply()));
        assert!(calls.finish(5, ONE, reply()) && !calls.finish(5, ONE, reply()), "it was asked, once");
        let third = calls.begin(None, ONE, waker.clone()).unwrap();
        assert!(third != first && third != second && !calls.finish(first, ONE, reply()));
    }

    #[test]
    fn a_death_ends_the_calls_to_the_dead_alone() {
        let (mut calls, waker) = (Calls::new(2), Waker::noop());
        let ids = [ONE, OTHER].map(|to| calls.begin(None, to, waker.clone()).unwrap());
        let abandoned = calls.begin(None, ONE, waker.clone()).unwrap();
        assert_eq!(calls.abandon(abandoned), Some(ONE));
        calls.bury(ONE);
        assert_eq!(calls.under_way(ONE), 2, "of whom the peer's next incarnation knows nothing");
        assert_eq!(calls.take(ids[0], waker), Some(Err(CallError::PeerDied(Peer(1)))));
        assert_eq!(calls.take(ids[1], waker), None);
    }

    #[test]
    fn there_are_only_so_many_calls() {
        let (mut calls, waker) = (Calls::new(2), Waker::noop());
        let most = MOST - UTILITY_WINDOW as usize;
        let first = calls.begin(None, ONE, waker.clone()).unwrap();
        (1..most).for_each(|_| _ = calls.begin(None, ONE, waker.clone()).unwrap());
        assert_eq!(calls.begin(None, ONE, waker.clone()), None);
        calls.forget(first);
        assert!(calls.begin(None, ONE, waker.clone()).is_some());
    }
}
