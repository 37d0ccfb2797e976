//! Who is to do what, in words of the cluster's pool:
//!
//! ```text
//! pool + 0              the leader's: number of the act << 32 | round << 16 | talkers << 8 | phase
//! pool + 128 * (1 + n)  VM n's: number of the act << 1 | whether it has left it
//! ```
//! ```text
//! Quiet ──begin──► Talk ──all talkers have entered──► Count ──► Quiet ──all have left──► the next
//! ```
//! VMs that do not talk leave an act at once. Nobody goes on before all have:
//! a VM that is late is waited for.

use ivshmem::layout::{Part, Region, RegionKind};
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::Duration;
use transport::memory::SharedMemory;

/// Bytes between words: each has lines of its own.
const STRIDE: usize = 128;
/// Between two looks of whoever waits.
const LOOK: Duration = Duration::from_micros(500);

/// What an act is.
#[derive(Clone, Copy, Debug)]
pub struct Act {
    /// Its round.
    pub round: usize,
    /// How many VMs talk in it.
    pub talkers: u16,
}

/// How far an act is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It is over, or none has begun.
    Quiet,
    /// The talkers talk.
    Talk,
    /// They count.
    Count,
    /// There will be no act.
    Done,
}

/// The words.
pub struct Stage {
    pages: SharedMemory,
}

impl Stage {
    /// Those of this VM's cluster.
    pub fn open() -> Self {
        let Some(memory) = runtime::regions::pool() else { vm::refuse("there is no pool") };
        let pages = Region::open(memory, RegionKind::Pool).and_then(|region| region.part(Part::Pages));
        Self { pages: pages.unwrap_or_else(|error| vm::refuse(&format!("pool: {error}"))) }
    }

    fn word(&self) -> u64 {
        // SYNC: bench-stage, with `put`.
        self.pages.word(0).load(Acquire)
    }

    fn put(&self, word: u64) {
        // SYNC: bench-stage, with `word`.
        self.pages.word(0).store(word, Release);
    }

    fn place(&self, vm: u16) -> u64 {
        // SYNC: bench-place, with `stand`.
        self.pages.word(STRIDE * (1 + usize::from(vm))).load(Acquire)
    }

    fn stand(&self, vm: u16, place: u64) {
        // SYNC: bench-place, with `place`.
        self.pages.word(STRIDE * (1 + usize::from(vm))).store(place, Release);
    }

    /// How far this act is.
    pub fn phase(&self) -> Phase {
        phase(self.word())
    }

    /// The leader's: how far the act is now.
    pub fn set(&self, phase: Phase) {
        self.put(self.word() & !0xff | phase as u64);
    }

    /// The leader's: begins an act, and returns when all its talkers talk.
    pub fn begin(&self, act: Act, vms: u16) {
        let number = (self.word() >> 32) + 1;
        let what = (act.round as u64) << 16 | u64::from(act.talkers) << 8;
        self.put(number << 32 | what | Phase::Talk as u64);
        self.await_all(vms, number << 1);
    }

    /// The leader's: ends the act, and returns when all have left it.
    pub fn end(&self, vms: u16) {
        self.set(Phase::Quiet);
        self.await_all(vms, (self.word() >> 32) << 1 | 1);
    }

    fn await_all(&self, vms: u16, place: u64) {
        while !(0..vms).all(|vm| self.place(vm) >= place) {
            std::thread::sleep(LOOK);
        }
    }

    /// Waits for the next act, one that this VM has not left.
    pub fn next(&self, vm: u16) -> Option<Act> {
        loop {
            let word = self.word();
            match phase(word) {
                Phase::Done => return None,
                Phase::Talk | Phase::Count if word >> 32 > self.place(vm) >> 1 => {
                    return Some(Act {
                        round: (word >> 16 & 0xffff) as usize,
                        talkers: (word >> 8 & 0xff) as u16,
                    });
                }
                _ => std::thread::sleep(LOOK),
            }
        }
    }

    /// This VM talks.
    pub fn enter(&self, vm: u16) {
        self.stand(vm, (self.word() >> 32) << 1);
    }

    /// This VM does so no more.
    pub fn leave(&self, vm: u16) {
        self.stand(vm, (self.word() >> 32) << 1 | 1);
    }
}

fn phase(word: u64) -> Phase {
    [Phase::Quiet, Phase::Talk, Phase::Count, Phase::Done][(word & 3) as usize]
}
