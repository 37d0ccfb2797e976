//! The launcher's part in the machine's clock: it keeps the timeline, and
//! answers VMs that ask for the host's ticks (protocol.md C2, C3, C4).

use crate::clock::HostClock;
use crate::machine::Machine;
use crate::machine_file::VmPlan;
use crate::sys;
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
/// A VM that asks for another exchange sooner than this gets none: whatever it
/// does, the launcher's thread stays free for others.
const PAUSE: Duration = Duration::from_micros(500);
/// The least time between the two readings that the timeline begins with: so it
/// begins with a rate that is exact to some millionths.
const BASE_NS: u64 = 10_000_000;

/// What exchanges with a VM need.
struct Line {
    /// The words through which rounds go.
    words: SharedMemory,
    /// Where the VM runs.
    processors: Vec<usize>,
    /// When the last exchange ended.
    last: Option<Instant>,
}

/// Serves the pipe of the clock.
pub struct ClockService {
    lines: Mutex<HashMap<Peer, Line>>,
}

impl ClockService {
    /// Serves the VMs of a machine.
    pub fn new(machine: &Machine) -> Self {
        let line = |(peer, _): (Peer, &VmPlan)| {
            let words = machine.exchange_words(peer)?;
            Some((peer, Line { words, processors: machine.processors(peer).to_vec(), last: None }))
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
            Some(line) if line.last.is_some_and(|last| last.elapsed() < PAUSE) => {}
            Some(line) => {
                let _aside = Aside::step(&line.processors);
                answer(&line.words);
                line.last = Some(Instant::now());
            }
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
fn answer(words: &SharedMemory) {
    let Some(mut answerer) = Answerer::new(words.clone()) else { return };
    let (mut rounds, mut last) = (0, Instant::now());
    while rounds < ROUNDS && last.elapsed() < PATIENCE {
        if answerer.answer(sys::ticks) {
            rounds += 1;
            last = Instant::now();
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
