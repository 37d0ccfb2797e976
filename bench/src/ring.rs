//! The ring between two host threads on two processors, against the cache
//! line and against another ring of the kind.

use crate::Bench;
use crate::report::median;
use anyhow::{Result, anyhow};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::hint::{black_box, spin_loop};
use std::sync::Barrier;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::Instant;
use transport::memory::SharedMemory;
use transport::ring::{Epoch, PAYLOAD_BYTES, PAYLOAD_WORDS, Payload, Place, Reader, Slot, Writer};

const RUNS: usize = 9;
const ROUND_TRIPS: u64 = 200_000;
const MESSAGES: u64 = 4_000_000;
/// Bytes of a ring, as in a pair region.
const RING_BYTES: usize = 24 * 1024;

/// Measures both, in turns.
pub fn host_threads(bench: &mut Bench) -> Result<()> {
    bench.say("ring between two host threads");
    let (mut line, mut slot, mut rtrb, mut ring) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        line.push(lines()?);
        slot.push(slots()?);
        rtrb.push(rtrb_throughput()?);
        ring.push(ring_throughput()?);
    }
    let line = ("raw: a word each way", median(line));
    bench.report.compare("ring, host threads: 64-byte round trip", (median(slot), "ns"), line, 1.10);
    let rtrb = ("rtrb", median(rtrb));
    let throughput = (median(ring), "M/s");
    bench.report.compare("ring, host threads: 64-byte throughput", throughput, rtrb, 1.0 / 1.3);
    Ok(())
}

/// Runs both closures at once on threads of their own, each on a processor of
/// its own; the nanoseconds that the first one took.
fn on_two_processors(first: impl FnOnce() + Send, second: impl FnOnce() + Send) -> Result<f64> {
    let usable = sched_getaffinity(None)?;
    let mut processors = (0..CpuSet::MAX_CPU).filter(|&processor| usable.is_set(processor));
    let (Some(one), Some(other)) = (processors.next(), processors.next()) else {
        return Err(anyhow!("two processors are needed"));
    };
    let barrier = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pin(other);
            barrier.wait();
            second();
        });
        let first = scope.spawn(|| {
            pin(one);
            barrier.wait();
            let start = Instant::now();
            first();
            start.elapsed().as_nanos() as f64
        });
        first.join().map_err(|_| anyhow!("a measuring thread panicked"))
    })
}

/// Pins this thread. If the host refuses, the numbers are worse, not wrong.
fn pin(processor: usize) {
    let mut set = CpuSet::new();
    set.set(processor);
    let _ = sched_setaffinity(None, &set);
}

/// Nanoseconds of a round trip of one word each way.
fn lines() -> Result<f64> {
    let memory = SharedMemory::heap(256);
    let (there, back) = (memory.word(0), memory.word(128));
    let spent = on_two_processors(
        || {
            for number in 1..=ROUND_TRIPS {
                // SYNC: bench-there, bench-back.
                there.store(number, Release);
                while back.load(Acquire) != number {
                    spin_loop();
                }
            }
        },
        || {
            for number in 1..=ROUND_TRIPS {
                // SYNC: bench-there, bench-back.
                while there.load(Acquire) != number {
                    spin_loop();
                }
                back.store(number, Release);
            }
        },
    )?;
    Ok(spent / ROUND_TRIPS as f64)
}

fn ring() -> (Writer, Reader) {
    let memory = SharedMemory::heap(RING_BYTES);
    let epoch = Epoch { writer: 1, reader: 1 };
    let mut writer = Writer::new(memory.clone()).expect("large enough");
    let mut reader = Reader::new(memory).expect("large enough");
    writer.synchronise(epoch);
    reader.synchronise(epoch);
    (writer, reader)
}

fn receive(reader: &mut Reader) -> Payload {
    loop {
        if let Some((_, payload)) = reader.pop() {
            return payload;
        }
        spin_loop();
    }
}

fn send(writer: &mut Writer, payload: &Payload) {
    let slot = Slot { place: Place::WHOLE, used: PAYLOAD_BYTES };
    while writer.push(slot, payload).is_err() {
        spin_loop();
    }
}

/// Nanoseconds of a round trip of a slot each way.
fn slots() -> Result<f64> {
    let ((mut there, mut served), (mut back, mut answered)) = (ring(), ring());
    let spent = on_two_processors(
        move || {
            let mut payload = [1; PAYLOAD_WORDS];
            for _ in 0..ROUND_TRIPS {
                send(&mut there, &payload);
                payload = receive(&mut answered);
            }
        },
        move || {
            for _ in 0..ROUND_TRIPS {
                let payload = receive(&mut served);
                send(&mut back, &payload);
            }
        },
    )?;
    Ok(spent / ROUND_TRIPS as f64)
}

/// Millions of slots a second.
fn ring_throughput() -> Result<f64> {
    let (mut writer, mut reader) = ring();
    let spent = on_two_processors(
        move || {
            for _ in 0..MESSAGES {
                black_box(receive(&mut reader));
            }
        },
        move || {
            let payload = black_box([7; PAYLOAD_WORDS]);
            (0..MESSAGES).for_each(|_| send(&mut writer, &payload));
        },
    )?;
    Ok(MESSAGES as f64 * 1e3 / spent)
}

/// The same of rtrb, with elements of 64 bytes.
fn rtrb_throughput() -> Result<f64> {
    let (mut producer, mut consumer) = rtrb::RingBuffer::<[u64; 8]>::new(256);
    let spent = on_two_processors(
        move || {
            for _ in 0..MESSAGES {
                let element = loop {
                    match consumer.pop() {
                        Ok(element) => break element,
                        Err(_) => spin_loop(),
                    }
                };
                black_box(&element);
            }
        },
        move || {
            let element = black_box([7; 8]);
            for _ in 0..MESSAGES {
                while producer.push(element).is_err() {
                    spin_loop();
                }
            }
        },
    )?;
    Ok(MESSAGES as f64 * 1e3 / spent)
}
