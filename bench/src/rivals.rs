//! What else carries 64 bytes between two host threads: rtrb, crossbeam's
//! array queue, a Unix socket. All are used as their users would: whoever
//! finds a queue empty or full tries again, and the socket blocks.

use crate::threads::{round_trip, throughput};
use anyhow::Result;
use crossbeam_queue::ArrayQueue;
use std::hint::{black_box, spin_loop};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

type Element = [u64; 8];

/// Elements of a queue.
const LENGTH: usize = 256;

/// Millions of elements a second through rtrb.
pub fn rtrb_throughput(messages: u64) -> Result<f64> {
    let (mut producer, mut consumer) = rtrb::RingBuffer::<Element>::new(LENGTH);
    let element = black_box([7; 8]);
    throughput(
        messages,
        move || {
            while producer.push(element).is_err() {
                spin_loop();
            }
        },
        move || {
            black_box(until_some(|| consumer.pop().ok()));
        },
    )
}

/// The same through crossbeam.
pub fn crossbeam_throughput(messages: u64) -> Result<f64> {
    let queue = ArrayQueue::<Element>::new(LENGTH);
    let element = black_box([7; 8]);
    throughput(
        messages,
        || {
            while queue.push(element).is_err() {
                spin_loop();
            }
        },
        || {
            black_box(until_some(|| queue.pop()));
        },
    )
}

/// Nanoseconds of a round trip through two crossbeam queues.
pub fn crossbeam_round_trip(trips: u64) -> Result<f64> {
    let there = ArrayQueue::<Element>::new(LENGTH);
    let back = ArrayQueue::<Element>::new(LENGTH);
    let element = black_box([7; 8]);
    round_trip(
        trips,
        || {
            // At most one element is under way.
            let _ = there.push(element);
            black_box(until_some(|| back.pop()));
        },
        || {
            let _ = back.push(until_some(|| there.pop()));
        },
    )
}

/// Nanoseconds of a round trip of 64 bytes through a pair of Unix sockets.
pub fn unix_round_trip(trips: u64) -> Result<f64> {
    let (mut near, mut far) = UnixStream::pair()?;
    let (mut sent, mut answered) = ([7; 64], [0; 64]);
    round_trip(
        trips,
        move || {
            near.write_all(&sent).expect("the other end is open");
            near.read_exact(&mut sent).expect("the other end is open");
        },
        move || {
            far.read_exact(&mut answered).expect("the other end is open");
            far.write_all(&answered).expect("the other end is open");
        },
    )
}

/// What `take` has, once it has something.
fn until_some<T>(mut take: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(taken) = take() {
            return taken;
        }
        spin_loop();
    }
}
