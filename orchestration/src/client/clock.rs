//! The launcher's part in the machine's clock: it keeps the timeline, and
//! answers VMs that ask for the host's ticks (protocol.md C2, C3, C4).

mod allowance;

use crate::clock::HostClock;
use crate::machine::Machine;
use crate::machine_file::VmPlan;
use crate::sys;
use allowance::Allowance;
use kernel::clock::exchange::{Answerer, ROUNDS};
use kernel::clock::keeper::Keeper;
use kernel::clock::line::frequency;
use kernel::clock::page::Page;
use kernel::messenger::{Outcome, Refusal, Request, Service};
use kernel::protocol::{Peer, monitor};
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use std::collections::HashMap;
use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use transport::memory::SharedMemory;

/// How long the next ask of an exchange is awaited: many times a round's length.
const PATIENCE: Duration = Duration::from_micros(50);
/// Exchanges with all VMs together take at most one in so many parts of the
/// thread's time in the long run, however they ask and answer.
const SHARE: u32 = 2;
/// The least time between the two readings that the timeline begins with: so it
/// begins with a rate that is exact to some millionths.
const BASE_NS: u64 = 10_000_000;

/// What exchanges with a VM need.
struct Line {
    /// The words through which rounds go.
    words: SharedMemory,
    /// Where the VM runs.
    processors: Vec<usize>,
    /// How long exchanges with it may still take.
    allowance: Allowance,
}

impl Line {
    /// With one of so many VMs, which runs on these processors.
    fn new(words: SharedMemory, processors: Vec<usize>, vms: u32) -> Self {
        Self { words, processors, allowance: Allowance::new(SHARE * vms) }
    }

    /// Answers the asks of an exchange, if the VM has not used up what it may
    /// take of the thread's time.
    fn exchange(&mut self, mut now: impl FnMut() -> Instant) {
        let begun = now();
        if self.allowance.is_left(begun) {
            let _aside = Aside::step(&self.processors);
            answer(&self.words, &mut now);
            self.allowance.take(now() - begun);
        }
    }
}

/// Serves the pipe of the clock.
pub struct ClockService {
    lines: Mutex<HashMap<Peer, Line>>,
}

impl ClockService {
    /// Serves the VMs of a machine.
    pub fn new(machine: &Machine) -> Self {
        let vms = machine.file().vms.len() as u32;
        let line = |(peer, _): (Peer, &VmPlan)| {
            Some((peer, Line::new(machine.exchange_words(peer)?, machine.processors(peer).to_vec(), vms)))
        };
        Self { lines: Mutex::new(machine.file().peers().filter_map(line).collect()) }
    }
}

impl Service for ClockService {
    /// Answers asks at once, on the messenger's thread: what a detour takes
    /// would be added to each round. It is over in at most `ROUNDS` times
    /// [`PATIENCE`], however slow the VM is.
    fn serve(self: Arc<Self>, request: Request) -> Outcome {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        match lines.get_mut(&request.from.peer) {
            None => return Outcome::Refuse(Refusal::NoSuchPipe),
            Some(line) => line.exchange(Instant::now),
        }
        Outcome::reply(Vec::new())
    }
}

/// Keeps the calling thread off a VM's processors while it lives: two that wait
/// for each other on one processor wait long.
struct Aside(CpuSet);

impl Aside {
    /// Steps aside, if the thread is in the VM's way and there is another processor.
    fn step(processors: &[usize]) -> Option<Self> {
        if !processors.contains(&sched_getcpu()) {
            return None;
        }
        let before = sched_getaffinity(None).ok()?;
        let mut others = before;
        processors.iter().for_each(|&processor| others.unset(processor));
        sched_setaffinity(None, &others).ok()?;
        Some(Self(before))
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // It was allowed a moment ago; if it is no more, the thread stays where it is.
        let _ = sched_setaffinity(None, &self.0);
    }
}

/// Answers the asks of one exchange.
fn answer(words: &SharedMemory, mut now: impl FnMut() -> Instant) {
    let Some(mut answerer) = Answerer::new(words.clone()) else { return };
    let (mut rounds, mut last) = (0, now());
    while rounds < ROUNDS && now().saturating_duration_since(last) < PATIENCE {
        if answerer.answer(sys::ticks) {
            rounds += 1;
            last = now();
        }
        std::hint::spin_loop();
    }
}

/// Keeps the timeline until it is dropped.
pub struct Timekeeper {
    /// Nothing is ever sent: its end is the thread's.
    _alive: Sender<()>,
}

impl Timekeeper {
    /// Makes the timeline known, and lets a thread keep it.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(page: &Page, clock: HostClock) -> io::Result<Self> {
        thread::sleep(Duration::from_nanos(BASE_NS.saturating_sub(clock.now_ns())));
        let mut keeper = Keeper::new(clock.first(), clock.read());
        page.write(keeper.timeline());
        let (alive, ended) = channel();
        let page = page.clone();
        let keep = move || {
            while ended.recv_timeout(Duration::from_nanos(keeper.wait_ns())) == Err(RecvTimeoutError::Timeout)
            {
                if keeper.take(clock.read()) {
                    page.write(keeper.timeline());
                }
            }
        };
        thread::Builder::new().name("clock".into()).spawn(keep)?;
        Ok(Self { _alive: alive })
    }
}

/// What the launcher knows of its own clock, which is the timeline.
pub fn status(page: &Page) -> monitor::Clock {
    let timeline = page.read().unwrap_or_default();
    let ticks = sys::ticks();
    monitor::Clock {
        now_ns: timeline.at(ticks),
        uncertainty_ns: Some(0),
        offset_ticks: 0,
        hertz: frequency(timeline.line(ticks).0.scale),
        rounds: 0,
        contradictions: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::allowance::AT_ONCE;
    use super::*;
    use kernel::clock::exchange::{Asker, EXCHANGE_BYTES};
    use std::cell::Cell;

    /// What a look at the clock takes.
    const STEP: Duration = Duration::from_micros(1);

    /// Two VMs ask for an exchange whenever they can, and then ask as late as
    /// they may; a third one wants one now and then. In a time of the test's own.
    #[test]
    fn vms_that_ask_without_end_leave_half_of_the_time_to_others() {
        let words = [(); 3].map(|()| SharedMemory::heap(EXCHANGE_BYTES));
        let mut lines = words.clone().map(|words| Line::new(words, Vec::new(), 3));
        let mut askers = words.map(|words| Asker::new(words, 1).unwrap());
        let (start, passed) = (Instant::now(), Cell::new(Duration::ZERO));
        let pass = |time| passed.set(passed.get() + time);
        let (mut taken, mut asked) = (Duration::ZERO, Duration::ZERO);
        while passed.get() < Duration::from_secs(10) {
            for (line, asker) in lines.iter_mut().zip(&mut askers).take(2) {
                let begun = passed.get();
                asker.ask();
                line.exchange(|| {
                    pass(STEP);
                    if passed.get() - asked >= PATIENCE - 4 * STEP {
                        asked = passed.get();
                        asker.ask();
                    }
                    start + passed.get()
                });
                // A look that does not lead to an exchange takes a step.
                taken += passed.get() - begun - STEP;
            }
            // Its own work.
            pass(3 * STEP);
        }
        let most = 2 * passed.get() / (3 * SHARE) + 2 * (AT_ONCE + PATIENCE * ROUNDS as u32);
        assert!(taken < most, "{taken:?} of {:?}, at most {most:?}", passed.get());
        // That is what they would be glad of.
        assert!(taken > passed.get() / 4, "{taken:?} of {:?}", passed.get());
        askers[2].ask();
        lines[2].exchange(|| {
            pass(PATIENCE / 2);
            start + passed.get()
        });
        assert!(askers[2].answer().is_some(), "who has taken nothing is answered");
    }
}
