//! Two endpoints on two host threads that sleep for real, one of which restarts
//! (protocol.md D1, E1, E6, L6, and R and D between real threads).
//!
//! Every wait has a watchdog; there are no other time limits.
#![cfg(not(loom))]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use transport::memory::SharedMemory;
use transport::pages::window_bytes;
use transport::{Doorbell, Endpoint, Event, Header, Kind, PeerAddress, SendError, Windows};

/// The doorbells of both, each a latch.
#[derive(Clone, Default)]
struct Bells(Arc<[(Mutex<bool>, Condvar); 2]>);

impl Doorbell for Bells {
    fn ring(&self, peer: u16) {
        let (rung, condition) = &self.0[usize::from(peer)];
        *rung.lock().unwrap() = true;
        condition.notify_one();
    }
}

impl Bells {
    /// Sleeps until `own` is rung.
    fn sleep(&self, own: u16) {
        let (rung, condition) = &self.0[usize::from(own)];
        let rung = rung.lock().unwrap();
        let (mut rung, timeout) =
            condition.wait_timeout_while(rung, Duration::from_secs(60), |rung| !*rung).unwrap();
        assert!(!timeout.timed_out(), "peer {own} was never woken");
        *rung = false;
    }
}

/// The machine of two: memory, doorbells, and the generations that live.
#[derive(Clone)]
struct Machine {
    rings: [SharedMemory; 2],
    pages: Option<[SharedMemory; 2]>,
    bells: Bells,
    table: Arc<[AtomicU32; 2]>,
}

impl Machine {
    fn new(bytes: usize, pages: usize) -> Self {
        let rings = [SharedMemory::heap(bytes), SharedMemory::heap(bytes)];
        let window = || SharedMemory::heap(window_bytes(pages));
        let pages = (pages > 0).then(|| [window(), window()]);
        Self { rings, pages, bells: Bells::default(), table: Arc::new([1.into(), 1.into()]) }
    }

    fn start(&self, own: u16, generation: u32) -> Endpoint {
        let mut endpoint = Endpoint::new(PeerAddress { peer: own, generation }, Arc::new(self.bells.clone()));
        let [outgoing, incoming] = [own, 1 - own].map(|peer| self.rings[usize::from(peer)].clone());
        endpoint.attach(1 - own, Windows { outgoing, incoming, pages: self.pages(own) }).unwrap();
        self.look(&mut endpoint);
        endpoint
    }

    fn pages(&self, own: u16) -> Option<[SharedMemory; 2]> {
        let mut both = self.pages.clone()?;
        both.rotate_left(usize::from(own));
        Some(both)
    }

    fn look(&self, endpoint: &mut Endpoint) {
        let peer = 1 - endpoint.own().peer;
        endpoint.set_peer(peer, Some(self.table[usize::from(peer)].load(Ordering::Acquire)));
    }

    /// Polls until something happened, asleep when nothing does.
    fn wait(&self, endpoint: &mut Endpoint) -> Vec<Event> {
        let (mut events, mut rang) = (Vec::new(), true);
        loop {
            self.look(endpoint);
            let moved = endpoint.poll(0, rang, |event| events.push(event));
            rang = false;
            if !events.is_empty() {
                return events;
            }
            if !moved && endpoint.prepare_sleep() {
                self.bells.sleep(endpoint.own().peer);
                rang = true;
            }
        }
    }
}

fn length(request: u64) -> usize {
    match request % 50 {
        0 => 40_000,
        rest => (rest * rest) as usize,
    }
}

fn request(number: u64) -> (Header, Vec<u8>) {
    let header = Header { kind: Kind::Request, pipe: 1, request: number, trace: 0 };
    (header, vec![number as u8; length(number)])
}

/// Echoes requests; dies after so many of them, for so many generations.
fn echo(machine: &Machine, generations: u32, lifetime: impl Fn(u32) -> u64) {
    for generation in 1..=generations {
        let mut endpoint = machine.start(1, generation);
        let mut served = 0;
        while served < lifetime(generation) {
            for event in machine.wait(&mut endpoint) {
                let Event::Message { from, mut header, body } = event else { panic!("{event:?}") };
                let body = body.into_vec();
                assert!(body.iter().all(|&byte| byte == header.request as u8));
                assert_eq!(body.len(), length(header.request));
                header.kind = Kind::Reply;
                endpoint.send(from, header, &[&body]).unwrap();
                served += 1;
            }
        }
        if generation == generations {
            // Stay until the replies are taken.
            while machine.table[0].load(Ordering::Acquire) == 1 {
                endpoint.poll(0, true, drop);
                std::thread::yield_now();
            }
            return;
        }
        drop(endpoint);
        machine.table[1].store(generation + 1, Ordering::Release);
        machine.bells.ring(0);
    }
}

/// Asks with up to `window` requests under way until the last generation of the
/// echo answered `wanted`. Whatever was not answered when it died is asked again.
fn ask(machine: &Machine, generations: u32, wanted: u64, window: u64) {
    let mut endpoint = machine.start(0, 1);
    let (mut next, mut answered, mut deaths, mut before) = (0, 0, 0, 0);
    loop {
        while next < answered + window {
            let (header, body) = request(next);
            let to = endpoint.address(1).unwrap();
            match endpoint.send(to, header, &[&body]) {
                Ok(()) => next += 1,
                Err(SendError::WouldBlock) => break,
                Err(error) => panic!("{error}"),
            }
        }
        for event in machine.wait(&mut endpoint) {
            match event {
                Event::Message { from, header, body } => {
                    assert_eq!(from.generation, deaths + 1);
                    assert_eq!((header.kind, header.request), (Kind::Reply, answered));
                    assert_eq!(body.into_vec(), request(answered).1);
                    answered += 1;
                }
                Event::PeerDied(who) => {
                    deaths += 1;
                    assert_eq!(who, PeerAddress { peer: 1, generation: deaths });
                    (next, before) = (answered, answered);
                }
                Event::Malformed { .. } => panic!("{event:?}"),
            }
        }
        if deaths + 1 == generations && answered - before >= wanted {
            break;
        }
    }
    machine.table[0].store(2, Ordering::Release);
}

#[test]
fn requests_and_replies_between_sleeping_threads() {
    let rings = [(24 * 1024, 1), (24 * 1024, 30), (10 * 64, 30), (3 * 64, 3)];
    for (bytes, window, pages) in
        rings.into_iter().flat_map(|(bytes, window)| [0, 8, 64].map(|pages| (bytes, window, pages)))
    {
        let machine = Machine::new(bytes, pages);
        let wanted = 4_000;
        std::thread::scope(|scope| {
            scope.spawn(|| echo(&machine, 1, |_| wanted));
            ask(&machine, 1, wanted, window);
        });
    }
}

#[test]
fn requests_and_replies_to_a_peer_that_keeps_dying() {
    for (bytes, pages) in [(24 * 1024, 0), (10 * 64, 0), (24 * 1024, 8), (10 * 64, 64)] {
        let machine = Machine::new(bytes, pages);
        let lifetime = |generation: u32| u64::from(1 + generation * 7 % 60);
        std::thread::scope(|scope| {
            scope.spawn(|| echo(&machine, 150, lifetime));
            ask(&machine, 150, lifetime(150), 20);
        });
    }
}
