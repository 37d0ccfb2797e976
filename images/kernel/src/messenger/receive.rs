//! The messenger's own thread: it receives, serves, and sleeps.
//!
//! ```text
//!            nothing moved             budget spent
//!   turns ───────────────▶ polling ───────────────────▶ asleep
//!     ▲                       │ something moved            │ bell, poke, timer
//!     └───────────────────────┴────────────────────────────┘
//! ```
//! What polling and sleeping went before counts for [`Patience`] only when a
//! message (or a birth or death) ended it: that is what polling is for.

use super::{CallError, Later, MAX_SERVED, Messenger, Outcome, Request, address, incarnation};
use crate::executor::lock;
use crate::patience::Patience;
use crate::protocol::{Incarnation, Peer};
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, OnceLock};
use transport::endpoint::{Endpoint, Event, SendError};
use transport::wire::{Header, Kind};

/// What going to sleep and being woken by a doorbell costs, about.
const SLEEP_NS: u64 = 30_000;

/// While polling, births and deaths are looked for every so many turns: a look
/// touches a word of every peer.
const TURNS_PER_LOOK: u32 = 32;

/// What a turn moved.
#[derive(Clone, Copy)]
struct Moved {
    /// Messages, or births and deaths: what is waited for.
    heard: bool,
    /// Anything at all.
    any: bool,
}

impl Messenger {
    /// Receives and serves until [`Messenger::stop`]. One thread does this.
    pub fn run(self: &Arc<Self>) {
        let mut patience = Patience::new(SLEEP_NS);
        // Since when nothing was heard, and whether it was slept since.
        let mut wait = None;
        // Kept from turn to turn, so that a message costs no allocation here.
        let mut events = Vec::new();
        while !self.stop.load(Ordering::Acquire) {
            let slept = wait.take();
            let moved = self.turn(&mut events, true);
            if moved.heard {
                self.waited(&mut patience, slept);
            }
            if moved.any {
                continue;
            }
            let since = self.now_ns();
            self.polls.store(patience.budget() > 0, Ordering::SeqCst);
            let moved = self.spin(&mut events, since + patience.budget());
            if moved.heard {
                self.waited(&mut patience, Some((since, false)));
            }
            if !moved.any {
                self.sleep();
                wait = Some((since, true));
            }
        }
    }

    fn waited(&self, patience: &mut Patience, wait: Option<(u64, bool)>) {
        if let Some((since, slept)) = wait {
            patience.waited(self.now_ns() - since, slept);
        }
    }

    /// Takes turns until one moved something or `until_ns` has come.
    fn spin(self: &Arc<Self>, events: &mut Vec<Event>, until_ns: u64) -> Moved {
        let mut turns = 0;
        while self.platform.may_spin(self.waiting.load(Ordering::SeqCst)) && self.now_ns() < until_ns {
            turns += 1;
            let moved = self.turn(events, turns % TURNS_PER_LOOK == 0);
            if moved.any {
                return moved;
            }
            // No `spin_loop` here: a turn is long enough, and translated code
            // leaves for the translator at a `pause` (140 ns).
        }
        Moved { heard: false, any: false }
    }

    /// Sleeps until somebody rings or pokes, or a timer is due; not at all if
    /// there is something to do.
    fn sleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        // SYNC: messenger-asleep, with `poke`: either it sees that this thread
        // sleeps, or this thread sees what it was called for. That is looked at
        // from here on: coroutines, `stop`, backlogs, timers.
        fence(Ordering::SeqCst);
        let nothing = self.executor.is_idle() && !self.stop.load(Ordering::Acquire);
        if nothing && lock(&self.endpoint).prepare_sleep() {
            let timer = lock(&self.timers).first_key_value().map(|(&(deadline, _), _)| deadline);
            self.platform.wait(timer);
        }
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// One turn: births and deaths (if `look`), messages, timers, coroutines.
    fn turn(self: &Arc<Self>, events: &mut Vec<Event>, look: bool) -> Moved {
        let (moved, changed) = {
            let mut endpoint = lock(&self.endpoint);
            let changed = look && self.follow_membership(&mut endpoint);
            (endpoint.poll(events), changed)
        };
        for event in events.drain(..) {
            self.take(event);
        }
        if changed {
            self.changes.wake_all();
        }
        let heard = moved || changed;
        if heard {
            self.space.wake_all();
        }
        let timers = self.run_timers();
        Moved { heard, any: self.executor.run_ready() || heard || timers }
    }

    /// Tells the endpoint who was born and who died since the last look.
    fn follow_membership(&self, endpoint: &mut Endpoint) -> bool {
        let mut changed = false;
        for (id, followed) in lock(&self.followed).iter_mut().enumerate() {
            let liveness = self.membership.liveness(Peer(id as u16));
            if *followed == liveness.to_word() {
                continue;
            }
            *followed = liveness.to_word();
            changed = true;
            if id != usize::from(self.own.peer.0) {
                endpoint.set_peer(id as u16, liveness.is_alive().then_some(liveness.generation));
            }
        }
        changed
    }

    fn take(self: &Arc<Self>, event: Event) {
        match event {
            Event::Message { from, header, body } => match header.kind {
                Kind::Request => self.take_request(incarnation(from), header, body),
                Kind::Reply => self.finish(header.request, incarnation(from), Ok(body)),
                Kind::Notice => match self.notices.get() {
                    Some(handler) => {
                        handler.take(incarnation(from), header.pipe, header.request, body.into());
                    }
                    None => {
                        self.dropped.fetch_add(1, Ordering::Relaxed);
                    }
                },
            },
            Event::PeerDied(dead) => {
                self.bury(incarnation(dead));
                self.notices.get().inspect(|handler| handler.died(incarnation(dead)));
            }
            Event::Malformed { .. } => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn take_request(self: &Arc<Self>, from: Incarnation, header: Header, body: Vec<u8>) {
        if !self.admit(from.peer) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let reply = Header { kind: Kind::Reply, ..header };
        let Some(service) = self.services.get(header.pipe as usize).and_then(OnceLock::get) else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            // An empty body is no reply that anybody knows: the caller learns that.
            return self.reply_later(from, reply, Box::pin(async { Vec::new() }));
        };
        match service.clone().serve(Request { from, id: header.request, body }) {
            Outcome::Reply(body) => {
                let sent = lock(&self.endpoint).send(address(from), reply, &[&body]);
                match sent {
                    Err(SendError::WouldBlock | SendError::TooLong) => {
                        self.reply_later(from, reply, Box::pin(async { body }));
                    }
                    _ => self.dismiss(from.peer),
                }
            }
            Outcome::Later(later) => self.reply_later(from, reply, later),
        }
    }

    fn reply_later(self: &Arc<Self>, to: Incarnation, reply: Header, later: Later) {
        let messenger = self.clone();
        self.spawn(async move {
            let body = later.await;
            // A caller that died meanwhile wants no reply.
            if messenger.send(to, reply, &[&body]).await == Err(SendError::TooLong) {
                // It must learn something: an empty body is no reply that it knows.
                let _ = messenger.send(to, reply, &[]).await;
            }
            messenger.dismiss(to.peer);
        });
    }

    /// Counts a request of `peer` as being served, unless there are too many.
    fn admit(&self, peer: Peer) -> bool {
        let mut served = lock(&self.served);
        let Some(count) = served.get_mut(usize::from(peer.0)) else { return false };
        let admitted = *count < MAX_SERVED;
        *count += usize::from(admitted);
        admitted
    }

    fn dismiss(&self, peer: Peer) {
        if let Some(count) = lock(&self.served).get_mut(usize::from(peer.0)) {
            *count = count.saturating_sub(1);
        }
    }

    /// Ends a call. A reply from somebody who was not asked is dropped.
    fn finish(&self, request: u64, from: Incarnation, result: Result<Vec<u8>, CallError>) {
        let mut calls = lock(&self.calls);
        match calls.get_mut(&request) {
            Some(call) if call.to == from && call.result.is_none() => {
                call.result = Some(result);
                call.waker.wake_by_ref();
            }
            _ => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Ends every call to a dead incarnation.
    fn bury(&self, dead: Incarnation) {
        for call in lock(&self.calls).values_mut() {
            if call.to == dead && call.result.is_none() {
                call.result = Some(Err(CallError::PeerDied(dead.peer)));
                call.waker.wake_by_ref();
            }
        }
    }

    fn run_timers(&self) -> bool {
        let mut timers = lock(&self.timers);
        if timers.is_empty() {
            return false;
        }
        let now = self.now_ns();
        let mut any = false;
        while let Some(entry) = timers.first_entry().filter(|entry| entry.key().0 <= now) {
            entry.remove().wake();
            any = true;
        }
        any
    }
}
