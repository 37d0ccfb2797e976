//! The messenger's own thread: it receives, serves, and sleeps.
//!
//! ```text
//!            nothing moved             budget spent
//!   turns ───────────────▶ polling ───────────────────▶ asleep
//!     ▲                       │ something moved            │ bell, poke, timer,
//!     ├───────────────────────┴────────────────────────────┤ or others have run and wait
//!     │                others want the processor           │
//!     └──────────────────── aside ◀────────────────────────┘
//! ```
//! It is *aside* while a program of this VM runs: peers that it has just talked
//! with do not ring, for the program will soon want something, mostly, and then
//! this thread looks before the processor halts. A doorbell costs both VMs more
//! than a message of the greatest length. If the program runs on, this thread
//! asks for doorbells after [`ASIDE_NS`], and does not stand aside again before
//! programs have let the processor go: that is how late a message can be noticed,
//! and it is not so for one message after the other.
//!
//! What polling and sleeping went before counts for [`Patience`] only when a
//! message (or a birth or death) ended it: that is what polling is for.

use super::{CallError, Core, Messenger, Refusal, incarnation};
use crate::executor::lock;
use crate::membership::{Membership, Utility};
use crate::patience::Patience;
use crate::protocol::monitor::Fault;
use crate::protocol::{Incarnation, Peer};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use transport::Body;
use transport::endpoint::Event;
use transport::wire::{Header, Kind};

/// What going to sleep and being woken by a doorbell costs, about.
const SLEEP_NS: u64 = 30_000;

/// A message that is due within so much time is polled for: no sleep is as short.
const SHORT_NS: u64 = 2 * SLEEP_NS;

/// How long hot channels are not looked at because a program runs. To set a
/// timer wakes a thread of QEMU's, which takes the processor from somebody: so
/// this is as rare as a scheduler's tick.
const ASIDE_NS: u64 = 2_000_000;

/// So often the rings are looked at between two looks at the clock and at
/// whether somebody else wants the processor.
const POLLS_PER_LOOK: u32 = 16;

/// What a turn moved.
#[derive(Clone, Copy)]
struct Moved {
    /// Messages, or births and deaths: what is waited for.
    heard: bool,
    /// Anything at all.
    any: bool,
}

/// What the messenger's thread did instead of polling.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// It slept.
    Slept(End),
    /// It stood aside.
    Aside(End),
    /// It stood aside, and a program ran all the time.
    AsideInVain,
    /// Nothing: something is due, or was just found.
    Polls,
}

/// Why that ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// A doorbell rang, or somebody poked.
    Rang,
    /// A timer or a link is due.
    Due,
    /// Others have run, and now nobody wants the processor.
    Free,
}

/// What was received and is to be done when the core is free again.
enum Received {
    /// A request, notice or cancellation.
    Message(Incarnation, Header, Body),
    /// An incarnation died.
    Death(Incarnation),
}

type Inbox = Vec<Received>;

impl Messenger {
    /// Receives and serves until [`Messenger::stop`]. One thread does this.
    pub fn run(self: &Arc<Self>) {
        let mut patience = Patience::new(SLEEP_NS);
        // Since when nothing was heard, and whether it was slept since.
        let mut wait = None;
        let mut rang = true;
        // The last time that this thread stood aside a program kept the processor,
        // and none has let it go since.
        let mut in_vain = false;
        // Kept from turn to turn, so that a message costs no allocation here.
        let mut inbox = Inbox::new();
        // Who was born before this thread ran rang for nobody.
        self.follow_membership();
        while !self.stop.load(Ordering::Acquire) {
            let slept = wait.take();
            let moved = self.turn(&mut inbox, 1, std::mem::take(&mut rang));
            if moved.heard {
                self.waited(&mut patience, slept);
            }
            if moved.any {
                continue;
            }
            let since = match slept {
                // It goes on polling for what is due.
                Some((since, false)) => since,
                _ => self.now_ns(),
            };
            let moved = self.spin(&mut inbox, since + patience.budget());
            if moved.heard {
                self.waited(&mut patience, Some((since, false)));
            }
            if moved.any {
                continue;
            }
            let way = self.sleep(in_vain, patience.budget() > 0);
            in_vain = match way {
                Wait::Slept(End::Free) | Wait::Aside(End::Free) => false,
                Wait::AsideInVain => true,
                _ => in_vain,
            };
            rang = matches!(way, Wait::Slept(End::Rang) | Wait::Aside(End::Rang));
            wait = match way {
                // Whoever waits now has only begun to.
                Wait::Slept(End::Free) | Wait::Aside(_) | Wait::AsideInVain => None,
                Wait::Slept(_) => Some((since, true)),
                Wait::Polls => Some((since, false)),
            };
        }
        // Nobody polls any more: who is to be rung for what was sent is rung now.
        lock(&self.core).endpoint.flush();
    }

    fn waited(&self, patience: &mut Patience, wait: Option<(u64, bool)>) {
        if let Some((since, slept)) = wait {
            patience.waited(self.now_ns() - since, slept);
        }
    }

    /// Takes turns until one moved something or `until_ns` has come.
    fn spin(self: &Arc<Self>, inbox: &mut Inbox, until_ns: u64) -> Moved {
        while self.platform.may_spin() && self.now_ns() < until_ns {
            let moved = self.turn(inbox, POLLS_PER_LOOK, false);
            if moved.any {
                return moved;
            }
            // No `spin_loop` here: a turn is long enough, and translated code
            // leaves for the translator at a `pause` (140 ns).
        }
        Moved { heard: false, any: false }
    }

    /// Sleeps until somebody rings or pokes, or a timer is due; not at all if
    /// there is something to do. Of a message that is held until its time comes
    /// the last part is polled for, unless somebody else wants the processor.
    ///
    /// If `polling` pays, it stands aside for a program (unless it did so
    /// `in_vain`), and goes on when programs have run and wait: mostly for messages.
    fn sleep(&self, in_vain: bool, polling: bool) -> Wait {
        self.asleep.store(true, Ordering::Relaxed);
        // SYNC: messenger-asleep, with `poke`: either it sees that this thread
        // sleeps, or this thread sees what it was called for. That is looked at
        // from here on: coroutines, `stop`, backlogs, timers.
        fence(Ordering::SeqCst);
        let way = if !self.executor.is_idle() || self.stop.load(Ordering::Acquire) {
            Wait::Polls
        } else if polling && !in_vain && self.platform.is_wanted() {
            self.stand_aside()
        } else {
            self.sleep_armed(polling)
        };
        self.asleep.store(false, Ordering::Relaxed);
        way
    }

    fn stand_aside(&self) -> Wait {
        let due = {
            let mut core = lock(&self.core);
            core.endpoint.stand_aside();
            core.endpoint.deadline()
        };
        let end = self.now_ns() + ASIDE_NS;
        let until = [due, self.timers.earliest()].into_iter().flatten().fold(end, u64::min);
        match self.stand_by(Some(until)) {
            End::Due if until == end => Wait::AsideInVain,
            ended => Wait::Aside(ended),
        }
    }

    fn sleep_armed(&self, polling: bool) -> Wait {
        let mut core = lock(&self.core);
        let may_sleep = core.endpoint.prepare_sleep();
        let due = core.endpoint.deadline();
        drop(core);
        let early = if self.platform.may_spin() { SHORT_NS } else { 0 };
        let due = due.map(|due| due.saturating_sub(early));
        if !may_sleep || due.is_some_and(|due| due <= self.now_ns()) {
            return Wait::Polls;
        }
        let until = due.into_iter().chain(self.timers.earliest()).min();
        if polling || self.platform.is_wanted() {
            return Wait::Slept(self.stand_by(until));
        }
        Wait::Slept(if self.platform.wait(until) { End::Rang } else { End::Due })
    }

    /// Sleeps, and says why that ended.
    fn stand_by(&self, until_ns: Option<u64>) -> End {
        if self.platform.stand_by(until_ns) {
            End::Rang
        } else if until_ns.is_some_and(|until| self.now_ns() >= until) {
            End::Due
        } else {
            End::Free
        }
    }

    /// One turn: births and deaths (if it `rang`), messages (looked for up to so
    /// many times), timers, coroutines.
    fn turn(self: &Arc<Self>, inbox: &mut Inbox, polls: u32, rang: bool) -> Moved {
        let rang = self.platform.rang() || rang;
        if rang {
            self.rings.wake_all();
        }
        let changed = rang && self.follow_membership();
        let now = self.now_ns();
        let moved = lock(&self.core).poll(now, rang, polls, inbox);
        if !inbox.is_empty() {
            inbox.drain(..).for_each(|received| self.take(received));
        }
        if moved {
            self.space.wake_all();
        }
        let heard = moved || changed;
        let timers = self.timers.earliest().is_some_and(|time| time <= now) && self.timers.run(now);
        Moved { heard, any: self.executor.run_ready() || heard || timers }
    }

    /// Looks who was born and who died since the last look. Whoever waits for
    /// that, or to send to somebody who was not known, is woken; deaths are
    /// told by the next poll.
    fn follow_membership(&self) -> bool {
        let changed = lock(&self.core).follow(&self.membership, self.own.peer);
        if changed {
            self.changes.wake_all();
            self.space.wake_all();
        }
        changed
    }

    fn take(self: &Arc<Self>, received: Received) {
        match received {
            Received::Message(from, header, body) => self.take_message(from, header, body),
            Received::Death(dead) => {
                lock(&self.core).served.bury(dead);
                if let Some(notices) = self.notices.get() {
                    notices.died(dead);
                }
            }
        }
    }

    fn take_message(self: &Arc<Self>, from: Incarnation, header: Header, body: Body) {
        match header.kind {
            Kind::Request => self.serve_request(from, header, body),
            Kind::Cancel => lock(&self.core).served.take_back(from, header.request),
            Kind::Notice => match self.notices.get() {
                Some(notices) => notices.take(from, header.pipe, header.request, body),
                None => lock(&self.core).faults.count(from.peer, Fault::Notice),
            },
            // The core took them.
            Kind::Reply | Kind::Refuse => {}
        }
    }
}

impl Core {
    /// Looks for messages up to so many times. Replies go to whoever waits for
    /// them, all else to `inbox`, in order.
    fn poll(&mut self, now_ns: u64, rang: bool, polls: u32, inbox: &mut Inbox) -> bool {
        let Self { endpoint, calls, served, faults, .. } = self;
        let mut take = |event: Event| match event {
            Event::Message { from, header, mut body } => {
                let from = incarnation(from);
                let (is_good, fault) = match header.kind {
                    Kind::Reply => (calls.finish(header.request, from, Ok(body)), Fault::Reply),
                    Kind::Refuse => {
                        let why = CallError::Refused(Refusal::from_body(&mut body));
                        (calls.finish(header.request, from, Err(why)), Fault::Reply)
                    }
                    Kind::Request if !served.admit(from.peer) => (false, Fault::Flood),
                    Kind::Request | Kind::Notice | Kind::Cancel => {
                        return inbox.push(Received::Message(from, header, body));
                    }
                };
                if !is_good {
                    faults.count(from.peer, fault);
                }
            }
            Event::PeerDied(dead) => {
                calls.bury(incarnation(dead));
                inbox.push(Received::Death(incarnation(dead)));
            }
            Event::Malformed { from, error } => faults.count(Peer(from.peer), error.into()),
        };
        if endpoint.poll(now_ns, rang, &mut take) {
            return true;
        }
        (1..polls).any(|_| endpoint.poll(now_ns, false, &mut take))
    }

    /// Tells the endpoint who was born and who died, and chooses the routes anew.
    fn follow(&mut self, membership: &Membership, own: Peer) -> bool {
        let mut changed = false;
        for (id, followed) in self.followed.iter_mut().enumerate() {
            let liveness = membership.liveness(Peer(id as u16));
            if *followed == liveness.to_word() {
                continue;
            }
            *followed = liveness.to_word();
            changed = true;
            if id != usize::from(own.0) {
                self.endpoint.set_peer(id as u16, liveness.is_alive().then_some(liveness.generation));
            }
        }
        if changed {
            self.routes = Utility::ALL.map(|utility| {
                let nearest = membership.nearest(utility, own);
                nearest.first().and_then(|&peer| membership.incarnation(peer))
            });
        }
        changed
    }
}
