//! What the ring costs on this host, against what the hardware allows.
//!
//! `cargo run --release -p transport --example ring_bench [runs]`
//!
//! Two threads on processors 0 and 1. Round trip: a 64-byte slot each way
//! against one word each way, each in a cache line. Throughput: slots of 64 bytes
//! against the rtrb crate with elements of 64 bytes. What is compared is
//! interleaved; the medians and their ratios are printed. Also: what a poll and
//! a preparation of sleep cost an endpoint with many idle peers.

use std::hint::{black_box, spin_loop};
use std::sync::Barrier;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::Instant;
use transport::memory::SharedMemory;
use transport::ring::{Epoch, PAYLOAD_BYTES, Place, Reader, Writer};
use transport::{Doorbell, Endpoint, Header, Kind, PeerAddress};

const ROUND_TRIPS: u64 = 200_000;
const MESSAGES: u64 = 5_000_000;
const RING_BYTES: usize = 24 * 1024;

fn main() {
    let runs: usize = std::env::args().nth(1).and_then(|runs| runs.parse().ok()).unwrap_or(7);
    if std::thread::available_parallelism().map_or(1, |count| count.get()) < 2 {
        println!("two processors are needed");
        return;
    }
    let mut table: [Vec<f64>; 5] = Default::default();
    for _ in 0..runs {
        let values = [
            raw_round_trip(),
            ring_round_trip(false),
            ring_round_trip(true),
            rtrb_throughput(),
            ring_throughput(),
        ];
        table.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
    }
    let [raw, ring, bell, rtrb, through] = table.map(median);
    println!("medians of {runs} interleaved runs");
    println!("round trip, one line each way       {raw:8.1} ns");
    println!("round trip, ring                    {ring:8.1} ns   {:5.2} x raw (at most 1.10)", ring / raw);
    println!("round trip, ring and bell_due       {bell:8.1} ns   {:5.2} x raw", bell / raw);
    println!("throughput, rtrb                    {rtrb:8.1} M/s");
    println!(
        "throughput, ring                    {through:8.1} M/s  {:5.2} x rtrb (at least 1.30)",
        through / rtrb
    );
    for peers in [1, 8, 64] {
        let (poll, sleep, active) = endpoint_costs(peers);
        println!(
            "{peers:3} peers: idle poll {poll:6.1} ns, prepare_sleep idle {sleep:6.1} ns, \
             message + poll + prepare_sleep {active:6.1} ns"
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs both closures on threads of their own, pinned to processors 0 and 1, and
/// returns the nanoseconds that the first one took.
fn on_two_processors(first: impl FnOnce() + Send, second: impl FnOnce() + Send) -> f64 {
    let barrier = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pin(1);
            barrier.wait();
            second();
        });
        let first = scope.spawn(|| {
            pin(0);
            barrier.wait();
            let start = Instant::now();
            first();
            start.elapsed().as_nanos() as f64
        });
        first.join().expect("no panic")
    })
}

/// Pins this thread to a processor.
fn pin(processor: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(processor);
    if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
        println!("not pinned to processor {processor}: {error}");
    }
}

fn raw_round_trip() -> f64 {
    let memory = SharedMemory::heap(256);
    let (there, back) = (memory.word(0), memory.word(128));
    on_two_processors(
        || {
            for number in 1..=ROUND_TRIPS {
                there.store(number, Release);
                while back.load(Acquire) != number {
                    spin_loop();
                }
            }
        },
        || {
            for number in 1..=ROUND_TRIPS {
                while there.load(Acquire) != number {
                    spin_loop();
                }
                back.store(number, Release);
            }
        },
    ) / ROUND_TRIPS as f64
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

fn receive(reader: &mut Reader, payload: &mut [u8; PAYLOAD_BYTES]) {
    while reader.pop(payload).is_none() {
        spin_loop();
    }
}

/// With `bell`, each end also looks whether the other sleeps, as endpoints do.
fn ring_round_trip(bell: bool) -> f64 {
    let ((mut there, mut served), (mut back, mut answered)) = (ring(), ring());
    on_two_processors(
        move || {
            let mut payload = [1; PAYLOAD_BYTES];
            for _ in 0..ROUND_TRIPS {
                while there.push(Place::WHOLE, &payload).is_err() {}
                if bell && there.bell_due() | answered.bell_due() {
                    unreachable!("nobody sleeps");
                }
                receive(&mut answered, &mut payload);
            }
        },
        move || {
            let mut payload = [0; PAYLOAD_BYTES];
            for _ in 0..ROUND_TRIPS {
                receive(&mut served, &mut payload);
                while back.push(Place::WHOLE, &payload).is_err() {}
                if bell && back.bell_due() | served.bell_due() {
                    unreachable!("nobody sleeps");
                }
            }
        },
    ) / ROUND_TRIPS as f64
}

fn ring_throughput() -> f64 {
    let (mut writer, mut reader) = ring();
    let nanoseconds = on_two_processors(
        move || {
            let mut payload = [0; PAYLOAD_BYTES];
            for _ in 0..MESSAGES {
                receive(&mut reader, &mut payload);
                black_box(&payload);
            }
        },
        move || {
            let payload = black_box([7; PAYLOAD_BYTES]);
            for _ in 0..MESSAGES {
                while writer.push(Place::WHOLE, &payload).is_err() {
                    spin_loop();
                }
            }
        },
    );
    MESSAGES as f64 * 1e3 / nanoseconds
}

fn rtrb_throughput() -> f64 {
    let (mut producer, mut consumer) = rtrb::RingBuffer::<[u64; 8]>::new(256);
    let nanoseconds = on_two_processors(
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
    );
    MESSAGES as f64 * 1e3 / nanoseconds
}

struct Silent;

impl Doorbell for Silent {
    fn ring(&self, _: u16) {}
}

/// Nanoseconds of an idle poll, of an idle `prepare_sleep`, and of a message from
/// one peer being sent, polled for and slept after, in an endpoint of so many.
fn endpoint_costs(peers: u16) -> (f64, f64, f64) {
    let own = PeerAddress { peer: 0, generation: 1 };
    let mut endpoint = Endpoint::new(own, Box::new(Silent));
    let mut others = Vec::new();
    for peer in 1..=peers {
        let (out, back) = (SharedMemory::heap(RING_BYTES), SharedMemory::heap(RING_BYTES));
        endpoint.attach(peer, out.clone(), back.clone()).expect("fresh");
        endpoint.set_peer(peer, Some(1));
        let mut other = Endpoint::new(PeerAddress { peer, generation: 1 }, Box::new(Silent));
        other.attach(0, back, out).expect("fresh");
        other.set_peer(0, Some(1));
        others.push(other);
    }
    let rounds = 100_000;
    let time = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..rounds).for_each(|_| work());
        start.elapsed().as_nanos() as f64 / f64::from(rounds)
    };
    let mut events = Vec::new();
    let poll = time(&mut || _ = endpoint.poll(&mut events));
    endpoint.prepare_sleep();
    let sleep = time(&mut || _ = endpoint.prepare_sleep());
    let header = Header { kind: Kind::Notice, pipe: 1, request: 0, trace: 0 };
    let active = time(&mut || {
        others[0].send(own, header, &[&[1; 32]]).expect("there is room");
        others[0].poll(&mut events);
        while endpoint.poll(&mut events) {}
        endpoint.prepare_sleep();
        events.clear();
    });
    (poll, sleep, active)
}
