//! The ring between two host threads on two processors, against the cache
//! line and against what else there is ([`rivals`]), in turns.

use crate::Bench;
use crate::report::median;
use crate::rivals;
use crate::threads::{round_trip, throughput};
use anyhow::Result;
use std::hint::{black_box, spin_loop};
use std::sync::atomic::Ordering::{Acquire, Release};
use transport::memory::SharedMemory;
use transport::ring::{Epoch, PAYLOAD_BYTES, PAYLOAD_WORDS, Payload, Place, Reader, Slot, Writer};

const RUNS: usize = 9;
const ROUND_TRIPS: u64 = 200_000;
/// Round trips of what makes system calls.
const SLOW_TRIPS: u64 = 5_000;
const MESSAGES: u64 = 4_000_000;
/// Bytes of a ring, as in a pair region.
const RING_BYTES: usize = 24 * 1024;

/// What is measured, in the order of a run.
const WAYS: [fn() -> Result<f64>; 7] = [
    lines,
    slots,
    || rivals::crossbeam_round_trip(ROUND_TRIPS),
    || rivals::unix_round_trip(SLOW_TRIPS),
    || rivals::rtrb_throughput(MESSAGES),
    ring_throughput,
    || rivals::crossbeam_throughput(MESSAGES),
];

/// Measures all of it, in turns.
pub fn host_threads(bench: &mut Bench) -> Result<()> {
    bench.say("ring between two host threads");
    let mut found = WAYS.map(|_| Vec::new());
    for _ in 0..RUNS {
        for (found, way) in found.iter_mut().zip(WAYS) {
            found.push(way()?);
        }
    }
    let [line, slot, crossbeam_trip, unix_trip, rtrb, ring, crossbeam] = found.map(median);
    let report = &mut bench.report;
    let (trip, speed) = ((slot, "ns"), (ring, "M/s"));
    report.compare("ring, host threads: 64-byte round trip", trip, ("raw: a word each way", line), 1.10);
    report.compare("ring, host threads: 64-byte throughput", speed, ("rtrb", rtrb), 1.0 / 1.3);
    let queue = "crossbeam ArrayQueue";
    report.compare("ring against crossbeam: round trip", trip, (queue, crossbeam_trip), None);
    report.compare("ring against crossbeam: throughput", speed, (queue, crossbeam), None);
    report.compare("ring against a Unix socket: round trip", trip, ("Unix socket", unix_trip), None);
    Ok(())
}

/// Nanoseconds of a round trip of one word each way.
fn lines() -> Result<f64> {
    let memory = SharedMemory::heap(256);
    let (there, back) = (memory.word(0), memory.word(128));
    let (mut sent, mut answered) = (0, 0);
    round_trip(
        ROUND_TRIPS,
        move || {
            sent += 1;
            // SYNC: bench-there, bench-back.
            there.store(sent, Release);
            while back.load(Acquire) != sent {
                spin_loop();
            }
        },
        move || {
            answered += 1;
            // SYNC: bench-there, bench-back.
            while there.load(Acquire) != answered {
                spin_loop();
            }
            back.store(answered, Release);
        },
    )
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
    let mut payload = [1; PAYLOAD_WORDS];
    round_trip(
        ROUND_TRIPS,
        move || {
            send(&mut there, &payload);
            payload = receive(&mut answered);
        },
        move || {
            let payload = receive(&mut served);
            send(&mut back, &payload);
        },
    )
}

/// Millions of slots a second.
fn ring_throughput() -> Result<f64> {
    let (mut writer, mut reader) = ring();
    let sent = black_box([7; PAYLOAD_WORDS]);
    throughput(
        MESSAGES,
        move || send(&mut writer, &sent),
        move || {
            black_box(receive(&mut reader));
        },
    )
}
