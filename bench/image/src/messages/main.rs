//! Two VMs of a machine that send each other 64 bytes in every way there is,
//! in turns, from the barest to the operating system's own.
//!
//! The first two nodes of the machine measure; all others take part in the
//! machine and idle. Node 1 leads and prints, for each round and way, a line
//! `bench: WAY NANOSECONDS` per round trip, and `bench: done` at the end.
//!
//! * [`shared`]: what the two say to each other beside what is measured.
//! * [`bare`]: lines, rings, endpoints and doorbells in the cluster's pool.
//! * [`calls`]: requests through the messenger.
//! * [`platform`]: holds the messenger still, or keeps it from polling.
#![forbid(unsafe_code)]

mod bare;
mod calls;
mod platform;
mod shared;

use bare::Bare;
use calls::Calls;
use kernel::messenger::Messenger;
use kernel::protocol::Peer;
use platform::Measured;
use shared::{Shared, Way};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rounds of which the first ones only warm up.
const ROUNDS: usize = 17;
/// Rounds that are not printed.
const WARM_UP: usize = 2;
/// Which peers measure.
const PAIR: [Peer; 2] = [Peer(1), Peer(2)];

fn main() {
    let platform = Arc::new(Measured::default());
    let messenger = vm::join_on(platform.clone());
    let calls = Calls::serve(&messenger);
    if PAIR.contains(&messenger.own().peer) {
        let messenger = messenger.clone();
        let measuring = move || measure(&messenger, &platform, &calls);
        std::thread::Builder::new().spawn(measuring).expect("a thread to measure in");
    }
    vm::serve(messenger)
}

/// Either end's part.
fn measure(messenger: &Arc<Messenger>, platform: &Measured, calls: &Calls) {
    let peers = messenger.membership().description().peers.len() as u16;
    while !(0..peers).all(|peer| messenger.membership().is_ready(Peer(peer))) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let leads = messenger.own().peer == PAIR[0];
    let other = PAIR[usize::from(leads)];
    let shared = Shared::open(leads);
    let mut bare = Bare::new(&shared, other, peers);
    if leads {
        for round in 0..ROUNDS {
            for way in Way::ALL {
                let nanoseconds = lead(way, messenger, platform, calls, &shared, &mut bare, other);
                if round >= WARM_UP {
                    println!("bench: {} {nanoseconds:.1}", way.name());
                }
            }
        }
        shared.command(None);
        println!("bench: done");
    } else {
        while let Some(way) = shared.next_command() {
            follow(way, platform, calls, &shared, &mut bare);
        }
    }
}

/// Measures a way once: nanoseconds of a round trip.
fn lead(
    way: Way,
    messenger: &Arc<Messenger>,
    platform: &Measured,
    calls: &Calls,
    shared: &Shared,
    bare: &mut Bare,
    other: Peer,
) -> f64 {
    platform.prepare(way);
    shared.command(Some(way));
    let start = Instant::now();
    match way {
        Way::Line => bare.lead_lines(way.trips()),
        Way::Ring => bare.lead_ring(way.trips()),
        Way::Endpoint => bare.lead_endpoint(way.trips()),
        Way::Bell => bare.lead_bell(way.trips()),
        Way::Call | Way::Asleep | Way::ThreadCall => {
            let spent = calls.lead(way, messenger, other);
            platform.pause();
            return spent.as_nanos() as f64 / way.trips() as f64;
        }
    }
    start.elapsed().as_nanos() as f64 / way.trips() as f64
}

/// Answers what the leader measures.
fn follow(way: Way, platform: &Measured, calls: &Calls, shared: &Shared, bare: &mut Bare) {
    platform.prepare(way);
    calls.expect(way.warm_up() + way.trips());
    if !way.is_call() {
        bare.drain();
    }
    shared.accept();
    match way {
        Way::Line => bare.follow_lines(way.trips()),
        Way::Ring => bare.follow_ring(way.trips()),
        Way::Endpoint => bare.follow_endpoint(way.trips()),
        Way::Bell => bare.follow_bell(way.trips()),
        Way::Call | Way::Asleep | Way::ThreadCall => {
            calls.await_all();
            platform.pause();
        }
    }
}
