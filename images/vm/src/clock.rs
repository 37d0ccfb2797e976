//! The VM's clock becomes the machine's (protocol.md C1 to C6).
//!
//! Joining begins it: from then on the clock is the launcher's timeline, by a
//! guess at the offset of this VM's ticks, which the command line gives (`ticks=`:
//! the host's when this VM was started, some milliseconds before its first).
//! Before the VM says that it is ready, and so before it runs programs, it takes
//! an exchange with the launcher ([`synchronize`]). Afterwards it looks now and then
//! whether what it knows is still so, ever more rarely ([`keep`]).

use kernel::clock::exchange::{Asker, ROUNDS};
use kernel::clock::offset::{Offset, Round};
use kernel::clock::steering::{self, Steering};
use kernel::membership::Membership;
use kernel::messenger::{CallError, Messenger};
use kernel::protocol::{Peer, Pipe, monitor};
use runtime::clock::{self, Map, Steer};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use transport::memory::SharedMemory;

/// Nanoseconds for which the launcher is awaited awake: it takes some dozens of
/// microseconds to wake up, if it has a processor.
const AWAKE_NS: u64 = 300_000;
/// Ticks for which the answer of a round is awaited; the launcher is awake by then.
const ROUND_TICKS: u64 = 200_000;
/// An offset is known well if it is wrong by so many nanoseconds at most: two
/// clocks agree within 2 us then, and most exchanges do far better.
const GOOD_NS: u64 = 1_000;
/// Exchanges before the VM is ready, at most.
const TRIES: u32 = 2;
/// The wait between them: what kept the launcher from answering may have passed.
const PAUSE_NS: u64 = 600_000;
/// The first wait for the next exchange while the offset is not known well; it doubles.
const SOON_NS: u64 = 2_000_000;
/// The longest such wait.
const SOONEST_NS: u64 = 250_000_000;
/// The first wait once it is known well; it doubles.
const LATER_NS: u64 = 60_000_000_000;
/// The longest such wait.
const LATEST_NS: u64 = 960_000_000_000;

/// The clock of this VM.
struct Clock {
    steering: Steering,
    exchange: Mutex<Exchange>,
}

/// What exchanges need and tell.
struct Exchange {
    asker: Asker,
    offset: Offset,
}

static CLOCK: OnceLock<Clock> = OnceLock::new();

impl Steer for Clock {
    fn map(&self, now: u64, shown_ns: u64) -> Option<Map> {
        let steering::Map { line, until, wall_ns } = self.steering.map(now, shown_ns)?;
        Some(Map { ticks: line.ticks, ns: line.ns, scale: line.scale, until, wall_ns })
    }
}

impl Clock {
    fn exchange(&self) -> MutexGuard<'_, Exchange> {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a round: the VM's ticks.
    fn ask(&self) -> u64 {
        let sent = clock::ticks();
        self.exchange().asker.ask();
        sent
    }

    /// The round that was begun at `sent`, if it was answered.
    fn answer(&self, sent: u64) -> Option<Round> {
        let host = self.exchange().asker.answer()?;
        Some(Round { sent, host, received: clock::ticks() })
    }

    /// The rounds after the first, while the launcher is awake.
    fn go_on(&self, first: Round, rounds: &mut Vec<Round>) {
        rounds.push(first);
        while rounds.len() < ROUNDS {
            let sent = self.ask();
            // No `spin_loop` here: translated code leaves for the translator at a `pause`.
            let answer = loop {
                match self.answer(sent) {
                    None if clock::ticks() - sent < ROUND_TICKS => {}
                    answer => break answer,
                }
            };
            match answer {
                Some(round) => rounds.push(round),
                None => return,
            }
        }
    }

    /// Takes what an exchange told; whether the offset is known well now.
    fn take(&'static self, era: u64, rounds: &[Round]) -> bool {
        let mut exchange = self.exchange();
        exchange.offset.take(era, rounds);
        let Some(bounds) = exchange.offset.bounds() else { return false };
        self.steering.set_offset(bounds, exchange.offset.era());
        drop(exchange);
        clock::steer(self);
        uncertainty_ns().is_some_and(|error| error <= GOOD_NS)
    }
}

/// Makes the clock the machine's; `words` are those for exchanges with the launcher.
pub(crate) fn join(membership: &Membership, words: SharedMemory, generation: u32) {
    let Some(asker) = Asker::new(words, generation) else { return };
    let guess = runtime::boot::parameter("ticks").and_then(|ticks| ticks.parse().ok()).unwrap_or(0_u64);
    let clock = CLOCK.get_or_init(|| Clock {
        steering: Steering::new(membership.timeline().clone(), guess as i64),
        exchange: Mutex::new(Exchange { asker, offset: Offset::default() }),
    });
    clock::steer(clock);
}

/// By how many nanoseconds the clock may differ from the machine's time;
/// `None` if nobody knows.
pub fn uncertainty_ns() -> Option<u64> {
    let (now, shown) = clock::reading();
    CLOCK.get()?.steering.uncertainty_ns(now, shown)
}

/// What is known of the clock.
pub fn status() -> monitor::Clock {
    let counts = CLOCK.get().map(|clock| {
        let offset = clock.exchange().offset;
        (clock.steering.offset(), offset.rounds(), offset.contradictions())
    });
    let (offset, rounds, contradictions) = counts.unwrap_or_default();
    monitor::Clock {
        now_ns: clock::now_ns(),
        uncertainty_ns: uncertainty_ns(),
        offset_ticks: offset,
        hertz: clock::tsc_frequency(),
        rounds,
        contradictions,
    }
}

/// Finds the offset as well as a few exchanges can, soon. Whether that is well.
pub(crate) async fn synchronize(messenger: &Messenger) -> bool {
    for _ in 1..TRIES {
        if exchange(messenger).await.unwrap_or(false) {
            return true;
        }
        messenger.sleep_until(messenger.now_ns() + PAUSE_NS).await;
    }
    exchange(messenger).await.unwrap_or(false)
}

/// Finds it better if it is not known well, and sees to it that it still is so.
pub(crate) async fn keep(messenger: &Messenger, mut is_good: bool) {
    let (mut soon, mut later) = (SOON_NS, LATER_NS);
    loop {
        let (wait, longest) = if is_good { (&mut later, LATEST_NS) } else { (&mut soon, SOONEST_NS) };
        messenger.sleep_until(messenger.now_ns() + *wait).await;
        *wait = (*wait * 2).min(longest);
        match exchange(messenger).await {
            Ok(good) => is_good = good,
            // Without a launcher there is no machine.
            Err(_) => return,
        }
    }
}

/// One exchange with the launcher; whether the offset is known well after it.
async fn exchange(messenger: &Messenger) -> Result<bool, CallError> {
    let Some(clock) = CLOCK.get() else { return Ok(false) };
    let launcher =
        messenger.membership().incarnation(Peer::LAUNCHER).ok_or(CallError::PeerDied(Peer::LAUNCHER))?;
    let era = || clock.steering.page().read().map_or(0, |timeline| timeline.era);
    let before = era();
    let mut rounds = Vec::with_capacity(ROUNDS);
    let mut call = pin!(messenger.call(launcher, Pipe::Clock, &[]));
    let sent = clock.ask();
    let begun = messenger.now_ns();
    let called = poll_fn(|context| {
        let called = call.as_mut().poll(context);
        if called.is_pending() && rounds.is_empty() {
            match clock.answer(sent) {
                Some(first) => clock.go_on(first, &mut rounds),
                None if messenger.now_ns() - begun < AWAKE_NS => context.waker().wake_by_ref(),
                None => {}
            }
        }
        called
    })
    .await;
    if let Some(first) = clock.answer(sent).filter(|_| rounds.is_empty()) {
        rounds.push(first);
    }
    if era() != before {
        rounds.clear();
    }
    called.map(|_| clock.take(before, &rounds))
}
