//! What polling and going to sleep cost an endpoint, by its number of peers.
//!
//! `cargo run --release -p transport --example peers`. What the ring itself
//! costs, `make bench` measures.

use std::sync::Arc;
use std::time::Instant;
use transport::memory::SharedMemory;
use transport::{Doorbell, Endpoint, Header, Kind, PeerAddress, Windows};

const RING_BYTES: usize = 24 * 1024;

fn main() {
    for peers in [1, 8, 64] {
        let (poll, sleep, active) = endpoint_costs(peers);
        println!(
            "{peers:3} peers: idle poll {poll:6.1} ns, prepare_sleep idle {sleep:6.1} ns, \
             message + poll + prepare_sleep {active:6.1} ns"
        );
    }
}

fn windows(outgoing: &SharedMemory, incoming: &SharedMemory) -> Windows {
    Windows { outgoing: outgoing.clone(), incoming: incoming.clone(), pages: None }
}

struct Silent;

impl Doorbell for Silent {
    fn ring(&self, _: u16) {}
}

/// Nanoseconds of an idle poll, of an idle `prepare_sleep`, and of a message from
/// one peer being sent, polled for and slept after, in an endpoint of so many.
fn endpoint_costs(peers: u16) -> (f64, f64, f64) {
    let own = PeerAddress { peer: 0, generation: 1 };
    let mut endpoint = Endpoint::new(own, Arc::new(Silent));
    let mut others = Vec::new();
    for peer in 1..=peers {
        let (out, back) = (SharedMemory::heap(RING_BYTES), SharedMemory::heap(RING_BYTES));
        endpoint.attach(peer, windows(&out, &back)).expect("fresh");
        endpoint.set_peer(peer, Some(1));
        let mut other = Endpoint::new(PeerAddress { peer, generation: 1 }, Arc::new(Silent));
        other.attach(0, windows(&back, &out)).expect("fresh");
        other.set_peer(0, Some(1));
        others.push(other);
    }
    let rounds = 100_000;
    let time = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..rounds).for_each(|_| work());
        start.elapsed().as_nanos() as f64 / f64::from(rounds)
    };
    let poll = time(&mut || _ = endpoint.poll(0, false, drop));
    endpoint.prepare_sleep();
    let sleep = time(&mut || _ = endpoint.prepare_sleep());
    let header = Header { kind: Kind::Notice, pipe: 1, request: 0, trace: 0 };
    let active = time(&mut || {
        others[0].send(own, header, &[&[1; 32]]).expect("there is room");
        others[0].poll(0, false, drop);
        while endpoint.poll(0, true, drop) {}
        endpoint.prepare_sleep();
    });
    (poll, sleep, active)
}
