//! What the two VMs say to each other beside what is measured: which way is
//! next, and that the other one is ready for it.
//!
//! ```text
//! pool + 0      the leader's: number of the command << 8 | way + 1, or 0 at the end
//! pool + 128    the follower's: number of the command that it is ready for
//! pool + 4096   what is measured
//! ```

use ivshmem::layout::{Part, Region, RegionKind};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::Duration;
use transport::memory::SharedMemory;

const COMMAND: usize = 0;
const READY: usize = 128;
const MEASURED: usize = 4096;
/// The end, as a command.
const END: u64 = 0xff;

/// A way to send 64 bytes there and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A cache line each way whose last word is written last, polled.
    Line,
    /// A slot of a ring each way, polled, and a look whether the reader sleeps.
    Ring,
    /// A message each way through an endpoint with as many peers as the
    /// machine has, polled.
    Endpoint,
    /// A call between coroutines of the two messengers, as they are.
    Call,
    /// The same from a thread of its own, as programs call.
    ThreadCall,
    /// A word and a doorbell each way, both halted.
    Bell,
    /// A call, both messengers kept from polling.
    Asleep,
}

impl Way {
    /// All of them, in the order of a round.
    pub const ALL: [Self; 7] =
        [Self::Line, Self::Ring, Self::Endpoint, Self::Call, Self::ThreadCall, Self::Bell, Self::Asleep];

    /// What it is called in the output.
    pub fn name(self) -> &'static str {
        ["line", "ring", "endpoint", "call", "thread-call", "bell", "asleep"][self as usize]
    }

    /// Round trips of one measurement.
    pub fn trips(self) -> u64 {
        match self {
            Self::Line | Self::Ring | Self::Endpoint => 5000,
            Self::Call | Self::ThreadCall => 2000,
            Self::Bell | Self::Asleep => 300,
        }
    }

    /// Round trips before those that are measured: both messengers learn anew
    /// that polling pays, of which the way before may have taught them the contrary.
    pub fn warm_up(self) -> u64 {
        match self {
            Self::Call | Self::ThreadCall => 1500,
            _ => 0,
        }
    }

    /// Whether the messenger takes part.
    pub fn is_call(self) -> bool {
        matches!(self, Self::Call | Self::ThreadCall | Self::Asleep)
    }
}

/// The pool as the two share it.
pub struct Shared {
    pages: SharedMemory,
    leads: bool,
}

impl Shared {
    /// The pool of this VM's cluster.
    pub fn open(leads: bool) -> Self {
        let Some(memory) = runtime::regions::pool() else { vm::refuse("there is no pool") };
        let pages = Region::open(memory, RegionKind::Pool).and_then(|region| region.part(Part::Pages));
        let pages = pages.unwrap_or_else(|error| vm::refuse(&format!("pool: {error}")));
        Self { pages, leads }
    }

    /// Whether this end leads.
    pub fn leads(&self) -> bool {
        self.leads
    }

    /// A window on the pool for what is measured.
    pub fn window(&self, offset: usize, bytes: usize) -> SharedMemory {
        self.pages.window(MEASURED + offset, bytes).unwrap_or_else(|| vm::refuse("the pool is too small"))
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        self.pages.word(offset)
    }

    /// Says what is next (`None`: nothing any more), and waits until the
    /// follower is ready for it.
    pub fn command(&self, way: Option<Way>) {
        let number = (self.word(COMMAND).load(Relaxed) >> 8) + 1;
        let code = way.map_or(END, |way| way as u64);
        // SYNC: bench-command, with `next_command`.
        self.word(COMMAND).store(number << 8 | code, Release);
        // SYNC: bench-ready, with `accept`.
        while way.is_some() && self.word(READY).load(Acquire) != number {
            std::hint::spin_loop();
        }
    }

    /// Waits for a command that has not been accepted.
    pub fn next_command(&self) -> Option<Way> {
        loop {
            // SYNC: bench-command, with `command`.
            let command = self.word(COMMAND).load(Acquire);
            if command >> 8 != self.word(READY).load(Relaxed) {
                return Way::ALL.get((command & 0xff) as usize).copied();
            }
            // Not a spin: a ready thread would keep the messenger from polling.
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Says that this end is ready for the last command.
    pub fn accept(&self) {
        // SYNC: bench-ready, with `command`.
        self.word(READY).store(self.word(COMMAND).load(Relaxed) >> 8, Release);
    }
}
