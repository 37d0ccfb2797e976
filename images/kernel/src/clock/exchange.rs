//! The words through which rounds go (protocol.md C4): a line that the launcher
//! writes and one that the VM writes, so that a round is two lines' trips and
//! nothing else.
//!
//! ```text
//! line 0   launcher writes   answer: the ask that it answers | the host's ticks
//! line 1   VM writes         ask: generation:32 | number:32
//! ```

use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use transport::memory::{LINE, SharedMemory, WORD};

/// Bytes of these words.
pub const EXCHANGE_BYTES: usize = ivshmem::layout::EXCHANGE_BYTES;
/// Rounds of an exchange, at most.
pub const ROUNDS: usize = 16;

const ANSWER: usize = 0;
const TICKS: usize = WORD;
const ASK: usize = LINE;

/// The VM's end.
#[derive(Debug)]
pub struct Asker {
    words: SharedMemory,
    ask: u64,
}

impl Asker {
    /// The end of a VM in this generation, if the memory is large enough.
    pub fn new(words: SharedMemory, generation: u32) -> Option<Self> {
        (words.len() >= EXCHANGE_BYTES).then_some(Self { words, ask: u64::from(generation) << 32 })
    }

    /// Asks for the host's ticks.
    pub fn ask(&mut self) {
        // A carry into the generation would take 2^32 asks.
        self.ask = self.ask.wrapping_add(1);
        // SYNC: clock-ask
        self.words.word(ASK).store(self.ask, Release);
    }

    /// The host's ticks, once they were read for the last ask.
    pub fn answer(&self) -> Option<u64> {
        // SYNC: clock-answer
        let answered = self.words.word(ANSWER).load(Acquire) == self.ask;
        answered.then(|| self.words.word(TICKS).load(Relaxed))
    }
}

/// The launcher's end, for one exchange.
#[derive(Debug)]
pub struct Answerer {
    words: SharedMemory,
    answered: Option<u64>,
}

impl Answerer {
    /// The end for an exchange, if the memory is large enough.
    pub fn new(words: SharedMemory) -> Option<Self> {
        (words.len() >= EXCHANGE_BYTES).then_some(Self { words, answered: None })
    }

    /// Answers an ask that was not answered yet with what `ticks` reads; whether there was one.
    pub fn answer(&mut self, ticks: impl FnOnce() -> u64) -> bool {
        // SYNC: clock-ask
        let ask = self.words.word(ASK).load(Acquire);
        if self.answered.replace(ask) == Some(ask) {
            return false;
        }
        self.words.word(TICKS).store(ticks(), Relaxed);
        // SYNC: clock-answer
        self.words.word(ANSWER).store(ask, Release);
        true
    }
}
