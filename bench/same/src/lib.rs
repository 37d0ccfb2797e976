//! What is measured on Cyanea and on Linux alike: the very same source, with
//! `std` alone, by the same compiler for the same processor.
//!
//! [`measure`] prints `name: number` lines. Numbers are nanoseconds of a loop, or
//! of one switch, handoff or delay; names that end in `-sum` are what a loop computed.
//!
//! * [`loops`]: integers and floats, which call nothing.
//! * [`sleeps`]: how late a sleep ends.
//! * [`threads`]: two threads that take turns.
#![deny(unsafe_code)]

pub mod loops;
pub mod sleeps;
pub mod threads;

use std::time::Instant;

/// What is measured: a name, and what does it and returns its result or its time.
type Way<T> = (&'static str, fn() -> T);
const LOOPS: [Way<u64>; 2] = [("integer", loops::hashes), ("float", loops::planets)];
const SWITCHES: [Way<f64>; 5] = [
    ("yield", threads::yields),
    ("park", threads::parks),
    ("condvar", threads::condvar),
    ("channel", threads::channels),
    ("sleep", sleeps::millisecond),
];

/// Measures everything in turns. The first round only warms up.
pub fn measure(rounds: usize) {
    for round in 0..=rounds {
        for (name, run) in LOOPS {
            let start = Instant::now();
            let sum = run();
            let spent = start.elapsed().as_nanos();
            if round > 0 {
                println!("{name}: {spent}");
                println!("{name}-sum: {sum}");
            }
        }
        for (name, run) in SWITCHES {
            let spent = run();
            if round > 0 {
                println!("{name}: {spent:.0}");
            }
        }
    }
}
