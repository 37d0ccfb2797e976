//! Links at a distance, over a link of which the tests have both ends.

use super::*;
use crate::body::Body;
use crate::endpoint::{Doorbell, Endpoint, Event, PeerAddress};
use crate::link::{Malformed, RingLink, Windows};
use crate::wire::{Header, Kind};
use proptest::prelude::*;
use std::collections::VecDeque as Queue;
use std::sync::{Arc, Mutex};

/// What the link below brings: put in by the test.
#[derive(Clone, Default)]
struct Below(Arc<Mutex<(Queue<Received>, bool)>>);

impl Below {
    fn put(&self, received: Received) {
        self.0.lock().unwrap().0.push_back(received);
    }

    fn message(&self, number: u64, length: usize) {
        self.put(Received::Message([number, 0, 0], Body::from(vec![number as u8; length])));
    }

    fn left(&self) -> usize {
        self.0.lock().unwrap().0.len()
    }

    fn is_armed(&self) -> bool {
        self.0.lock().unwrap().1
    }
}

impl Link for Below {
    fn synchronise(&mut self, _: u32, _: u32) {
        *self.0.lock().unwrap() = Default::default();
    }

    fn send(&mut self, message: &Gather<'_>, _: usize) -> usize {
        message.len()
    }

    fn receive(&mut self) -> Received {
        let mut state = self.0.lock().unwrap();
        let received = state.0.pop_front().unwrap_or(Received::Nothing);
        state.1 &= matches!(received, Received::Nothing);
        received
    }

    fn in_flight(&self) -> usize {
        self.left()
    }

    fn bell_due(&mut self) -> bool {
        false
    }

    fn arm(&mut self, _: bool) {
        self.0.lock().unwrap().1 = true;
    }

    fn has_space(&mut self) -> bool {
        true
    }

    fn is_ready(&mut self) -> bool {
        self.left() > 0
    }

    fn counters(&self) -> LinkCounters {
        LinkCounters::default()
    }
}

fn delay_of(ns: u64) -> Delay {
    let delay = Delay::at(SharedMemory::heap(WORD)).unwrap();
    delay.set_ns(ns);
    delay
}

fn at_distance(ns: u64) -> (Delayed<Below>, Below, Delay) {
    let (below, delay) = (Below::default(), delay_of(ns));
    let mut link = Delayed::new(below.clone(), delay.clone());
    link.synchronise(1, 1);
    (link, below, delay)
}

/// The numbers of the messages that are due at `now_ns`.
fn due(link: &mut Delayed<Below>, now_ns: u64) -> Vec<u64> {
    link.tick(now_ns);
    let mut numbers = Vec::new();
    loop {
        match link.receive() {
            Received::Nothing => return numbers,
            Received::Message([number, ..], body) => {
                assert!(body.into_vec().iter().all(|&byte| byte == number as u8));
                numbers.push(number);
            }
            _ => {}
        }
    }
}

#[test]
fn a_message_comes_when_its_time_has_come() {
    let (mut link, below, delay) = at_distance(100);
    below.message(1, 0);
    assert_eq!(due(&mut link, 50), []);
    assert_eq!(link.deadline(), Some(150));
    below.message(2, 0);
    assert_eq!(due(&mut link, 149), []);
    assert_eq!(due(&mut link, 150), [1]);
    assert_eq!(link.deadline(), Some(249));
    // A shorter delay does not let a later message overtake.
    delay.set_ns(1);
    below.message(3, 0);
    assert_eq!(due(&mut link, 151), []);
    assert_eq!(due(&mut link, 249), [2, 3]);
    assert_eq!(link.deadline(), None);
}

#[test]
fn a_sleeper_is_woken_by_the_deadline_and_an_arrival_alone() {
    let (mut link, below, _) = at_distance(100);
    below.message(1, 0);
    link.arm(false);
    assert!(link.is_ready(), "something came");
    link.tick(10);
    // It moved, so whoever polls polls on; and the link is not armed any more.
    assert!(matches!(link.receive(), Received::Part) && !below.is_armed());
    link.arm(false);
    assert!(!link.is_ready() && link.deadline() == Some(110));
    link.tick(110);
    assert!(link.is_ready());
}

#[test]
fn what_is_held_is_bounded_and_the_rest_waits_below() {
    let (mut link, below, _) = at_distance(100);
    (0..2 * HELD_MESSAGES as u64).for_each(|number| below.message(number, 8));
    assert_eq!(due(&mut link, 1), []);
    assert_eq!(below.left(), HELD_MESSAGES);
    link.arm(false);
    assert!(!link.is_ready(), "until the deadline nothing can be done");
    let all: Vec<u64> = (0..2 * HELD_MESSAGES as u64).collect();
    let (first, second) = all.split_at(HELD_MESSAGES);
    assert_eq!(due(&mut link, 101), first);
    assert_eq!(due(&mut link, 201), second);
    (0..5).for_each(|number| below.message(number, HELD_BYTES / 2));
    assert_eq!(due(&mut link, 300), []);
    assert_eq!(below.left(), 3, "bytes count too");
}

#[test]
fn what_the_dead_have_sent_is_due_and_what_an_epoch_leaves_is_forgotten() {
    let (mut link, below, _) = at_distance(1000);
    for number in 0..3 {
        below.message(number, 0);
        due(&mut link, number);
    }
    below.message(3, 0);
    link.peer_died();
    assert_eq!(link.in_flight(), 4);
    assert_eq!(due(&mut link, 5), [0, 1, 2, 3]);
    link.end();
    link.synchronise(1, 2);
    below.message(7, 0);
    assert_eq!(due(&mut link, 6), [], "the next incarnation is as far away");
    link.synchronise(1, 3);
    assert_eq!(due(&mut link, 5000), []);
    assert_eq!((link.deadline(), link.in_flight()), (None, 0));
}

#[test]
fn nonsense_keeps_its_place() {
    let (mut link, below, _) = at_distance(10);
    below.message(1, 0);
    below.put(Received::Malformed(Malformed::Order));
    assert_eq!(due(&mut link, 0), []);
    link.tick(10);
    assert!(matches!(link.receive(), Received::Message([1, ..], _)));
    assert!(matches!(link.receive(), Received::Malformed(Malformed::Order)));
}

#[test]
fn a_word_that_says_for_ever_is_not_believed() {
    let delay = delay_of(0);
    delay.0.word(0).store(u64::MAX, Relaxed);
    assert_eq!(delay.ns(), MOST_DELAY_NS);
    assert!(Delay::at(SharedMemory::heap(0)).is_none());
}

proptest! {
    /// However arrivals, looks and changes of the delay mix: each message comes
    /// once, in order, no earlier than its delay after it was seen, and no
    /// later than the first look after the last deadline.
    #[test]
    fn order_and_times_hold(steps in proptest::collection::vec((0u8..3, 0u64..200), 1..200)) {
        let (mut link, below, delay) = at_distance(0);
        let (mut now, mut sent, mut seen, mut got) = (0, 0, Vec::new(), 0);
        for (what, value) in steps {
            match what {
                0 => {
                    below.message(sent, value as usize);
                    sent += 1;
                }
                1 => delay.set_ns(value),
                _ => now += value,
            }
            if what == 2 {
                seen.resize(sent as usize, now + delay.ns());
                for number in due(&mut link, now) {
                    prop_assert_eq!(number, got);
                    prop_assert!(seen[number as usize] <= now);
                    got += 1;
                }
                prop_assert!(link.deadline().is_none_or(|at| at > now));
            }
        }
        now += 1000;
        due(&mut link, now).iter().for_each(|_| got += 1);
        now += 1000;
        due(&mut link, now).iter().for_each(|_| got += 1);
        prop_assert_eq!(got, sent);
    }
}

/// Nobody is rung: the tests poll.
struct Silent;

impl Doorbell for Silent {
    fn ring(&self, _: u16) {}
}

/// The end of peer 0 or 1, both at a distance.
fn end(rings: &[SharedMemory; 2], own: u16, generation: u32, delay: &Delay) -> Endpoint {
    let [outgoing, incoming] = [0, 1].map(|ring: u16| rings[usize::from(ring ^ own)].clone());
    let link = RingLink::new(Windows { outgoing, incoming, pages: None }, 1 - own, Arc::new(Silent)).unwrap();
    let mut endpoint = Endpoint::new(PeerAddress { peer: own, generation }, Arc::new(Silent));
    endpoint.attach_link(1 - own, Box::new(Delayed::new(link, delay.clone()))).unwrap();
    endpoint
}

/// Polls as if a doorbell had rung, until nothing moves.
fn poll(endpoint: &mut Endpoint, now_ns: u64) -> Vec<Event> {
    let mut events = Vec::new();
    while endpoint.poll(now_ns, true, |event| events.push(event)) {}
    events
}

#[test]
fn an_endpoint_sleeps_until_the_deadline_and_hears_of_a_death_last() {
    let rings = [SharedMemory::heap(1024), SharedMemory::heap(1024)];
    let delay = delay_of(100);
    let (mut a, mut b) = (end(&rings, 0, 1, &delay), end(&rings, 1, 1, &delay));
    a.set_peer(1, Some(1));
    b.set_peer(0, Some(1));
    poll(&mut a, 0);
    let header = |request| Header { kind: Kind::Notice, pipe: 1, request, trace: 0 };
    let send = |a: &mut Endpoint, request| {
        a.send(PeerAddress { peer: 1, generation: 1 }, header(request), &[b"x"]).unwrap();
        a.flush();
    };
    send(&mut a, 1);
    assert_eq!(poll(&mut b, 10), []);
    while !b.prepare_sleep() {
        b.poll(11, false, |_| panic!("it is not due"));
    }
    assert_eq!(b.deadline(), Some(110));
    // Nobody rings, but the deadline has come.
    let mut requests = Vec::new();
    let mut take = |event| match event {
        Event::Message { header, .. } => requests.push(header.request),
        other => panic!("{other:?}"),
    };
    assert!(b.poll(110, false, &mut take));
    assert_eq!(requests, [1]);
    send(&mut a, 2);
    assert_eq!(poll(&mut b, 120), []);
    send(&mut a, 3);
    b.set_peer(0, None);
    let events = poll(&mut b, 121);
    let requests: Vec<u64> = events
        .iter()
        .filter_map(|event| match event {
            Event::Message { header, .. } => Some(header.request),
            _ => None,
        })
        .collect();
    assert_eq!(requests, [2, 3]);
    assert_eq!(events.last(), Some(&Event::PeerDied(PeerAddress { peer: 0, generation: 1 })));
    assert_eq!((events.len(), b.deadline()), (3, None));
}
