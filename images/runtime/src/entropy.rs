//! Random bytes: from the processor where it has them, else from a generator.
//!
//! RDRAND, else RDSEED. Without both, ChaCha20 (RFC 8439) with a key made of
//! `seed=` on the command line and of the TSC's jitter: good enough to keep
//! hash tables apart, **not a secret**. A run with `seed=` is still not
//! reproducible for that reason; what must be draws from a seed of its own.

use crate::boot;
use crate::processor::critical::Locked;
use crate::processor::features;
use core::arch::x86_64::{_rdrand64_step, _rdseed64_step, _rdtsc};

/// How often the processor is asked before it counts as out of entropy.
const TRIES: usize = 64;

/// Fills `target` with random bytes.
pub fn fill(target: &mut [u8]) {
    for chunk in target.chunks_mut(8) {
        let word = hardware().unwrap_or_else(|| GENERATOR.with(Generator::next));
        chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
    }
}

/// A word from the processor.
fn hardware() -> Option<u64> {
    let step: fn(&mut u64) -> i32 = if features::has_rdrand() {
        // SAFETY: CPUID says that the instruction is there.
        |word| unsafe { _rdrand64_step(word) }
    } else if features::has_rdseed() {
        // SAFETY: as above.
        |word| unsafe { _rdseed64_step(word) }
    } else {
        return None;
    };
    let mut word = 0;
    (0..TRIES).any(|_| step(&mut word) == 1).then_some(word)
}

struct Generator {
    key: Option<[u32; 8]>,
    counter: u64,
}

static GENERATOR: Locked<Generator> = Locked::new(Generator { key: None, counter: 0 });

impl Generator {
    fn next(&mut self) -> u64 {
        let key = *self.key.get_or_insert_with(seed);
        self.counter += 1;
        let block = block(key, self.counter);
        u64::from(block[0]) << 32 | u64::from(block[1])
    }
}

/// A key from the command line and the jitter of the TSC.
fn seed() -> [u32; 8] {
    let given: u64 = boot::parameter("seed").and_then(|value| value.parse().ok()).unwrap_or(0);
    let mut key = [0; 8];
    key[0] = given as u32;
    key[1] = (given >> 32) as u32;
    for round in 0..1024 {
        // SAFETY: every processor in long mode has a TSC.
        let ticks = unsafe { _rdtsc() };
        key[2 + round % 6] = key[2 + round % 6].rotate_left(5) ^ ticks as u32;
    }
    key
}

/// The first words of the ChaCha20 block `counter` under `key`.
fn block(key: [u32; 8], counter: u64) -> [u32; 16] {
    let mut start = [0; 16];
    start[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]);
    start[4..12].copy_from_slice(&key);
    start[12] = counter as u32;
    start[13] = (counter >> 32) as u32;
    let mut state = start;
    let mut quarter = |a: usize, b: usize, c: usize, d: usize| {
        for (x, y, z, turn) in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)] {
            state[x] = u32::wrapping_add(state[x], state[y]);
            state[z] = u32::rotate_left(state[z] ^ state[x], turn);
        }
    };
    for _ in 0..10 {
        for column in 0..4 {
            quarter(column, column + 4, column + 8, column + 12);
        }
        for column in 0..4 {
            quarter(column, 4 + (column + 1) % 4, 8 + (column + 2) % 4, 12 + (column + 3) % 4);
        }
    }
    for (word, first) in state.iter_mut().zip(start) {
        *word = word.wrapping_add(first);
    }
    state
}
