use super::*;
use crate::channel::{BACKLOG_BYTES, MESSAGES_PER_TURN};
use crate::memory::SharedMemory;
use crate::pages;
use crate::wire::{HEADER_BYTES, Kind};
use std::sync::{Arc, Mutex};

mod hostile;
mod model;

/// Bytes of a test ring's window: 8 slots.
pub(super) const SMALL: usize = 10 * 64;

/// Remembers who was rung.
#[derive(Clone, Default)]
pub(super) struct Bells(Arc<Mutex<Vec<u16>>>);

impl Doorbell for Bells {
    fn ring(&self, peer: u16) {
        self.0.lock().unwrap().push(peer);
    }
}

impl Bells {
    fn take(&self) -> Vec<u16> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// The memory between two peers, and what their incarnations are made of.
#[derive(Clone)]
pub(super) struct Pair {
    rings: [SharedMemory; 2],
    pages: Option<[SharedMemory; 2]>,
    bells: Bells,
}

impl Pair {
    pub(super) fn new(bytes: usize) -> Self {
        let rings = [SharedMemory::heap(bytes), SharedMemory::heap(bytes)];
        Self { rings, pages: None, bells: Bells::default() }
    }

    /// The same with so many pages each way.
    pub(super) fn with_pages(self, pages: usize) -> Self {
        let window = || SharedMemory::heap(pages::window_bytes(pages));
        Self { pages: Some([window(), window()]), ..self }
    }

    /// The windows as peer 0 or 1 sees them.
    fn windows(&self, own: u16) -> Windows {
        let turned = |both: &[SharedMemory; 2]| {
            let mut both = both.clone();
            both.rotate_left(usize::from(own));
            both
        };
        let [outgoing, incoming] = turned(&self.rings);
        Windows { outgoing, incoming, pages: self.pages.as_ref().map(turned) }
    }

    /// A fresh incarnation of peer 0 or 1, which knows of no other.
    pub(super) fn start(&self, own: u16, generation: u32) -> Endpoint {
        let mut endpoint = Endpoint::new(PeerAddress { peer: own, generation }, Arc::new(self.bells.clone()));
        endpoint.attach(1 - own, self.windows(own)).unwrap();
        endpoint
    }

    /// Two first incarnations that know each other.
    pub(super) fn both(&self) -> (Endpoint, Endpoint) {
        let (mut a, mut b) = (self.start(0, 1), self.start(1, 1));
        a.set_peer(1, Some(1));
        b.set_peer(0, Some(1));
        (a, b)
    }
}

pub(super) fn header(request: u64) -> Header {
    Header { kind: Kind::Request, pipe: 7, request, trace: 9 }
}

pub(super) fn at(peer: u16, generation: u32) -> PeerAddress {
    PeerAddress { peer, generation }
}

fn message(from: PeerAddress, request: u64, body: &[u8]) -> Event {
    Event::Message { from, header: header(request), body: body.into() }
}

/// Polls all channels once.
fn poll(endpoint: &mut Endpoint, events: &mut Vec<Event>) -> bool {
    endpoint.poll(0, true, |event| events.push(event))
}

/// Windows of a channel that has nobody at its other end.
fn windows(outgoing: SharedMemory, incoming: SharedMemory) -> Windows {
    Windows { outgoing, incoming, pages: None }
}

fn poll_all(endpoint: &mut Endpoint) -> Vec<Event> {
    let mut events = Vec::new();
    while poll(endpoint, &mut events) {}
    events
}

/// Polls both until neither moves; returns what the second one got.
fn settle(a: &mut Endpoint, b: &mut Endpoint) -> Vec<Event> {
    let mut events = Vec::new();
    while poll(a, &mut Vec::new()) | poll(b, &mut events) {}
    events
}

#[test]
fn a_message_arrives_with_its_sender_and_its_parts_joined() {
    let (mut a, mut b) = Pair::new(24 * 1024).both();
    a.send(at(1, 1), header(5), &[b"split ", b"", b"body"]).unwrap();
    assert_eq!(poll_all(&mut b), [message(at(0, 1), 5, b"split body")]);
    assert_eq!(poll_all(&mut b), []);
    let (sent, received) = (a.counters(1).unwrap(), b.counters(0).unwrap());
    assert_eq!((sent.sent, sent.sent_bytes), (1, 34));
    assert_eq!((received.received, received.received_bytes), (1, 34));
}

#[test]
fn messages_of_every_length_arrive_whole_and_in_order() {
    for bytes in [3 * 64, SMALL, 24 * 1024] {
        let (mut a, mut b) = Pair::new(bytes).both();
        for length in (0..400).chain([MAX_MESSAGE - HEADER_BYTES - 1, MAX_MESSAGE - HEADER_BYTES]) {
            let body: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
            a.send(at(1, 1), header(length as u64), &[&body]).unwrap();
            assert_eq!(settle(&mut a, &mut b), [message(at(0, 1), length as u64, &body)]);
        }
    }
}

#[test]
fn a_request_with_a_body_of_32_bytes_takes_one_slot() {
    let pair = Pair::new(3 * 64); // one slot
    let (mut a, mut b) = pair.both();
    a.send(at(1, 1), header(1), &[&[1; 32]]).unwrap();
    assert_eq!(a.counters(1).unwrap().delayed, 0);
    assert_eq!(poll_all(&mut b).len(), 1);
    a.send(at(1, 1), header(1), &[&[1; 33]]).unwrap();
    assert_eq!(a.counters(1).unwrap().delayed, 1);
}

#[test]
fn what_cannot_be_sent_is_refused_with_its_reason() {
    let pair = Pair::new(SMALL);
    let mut a = pair.start(0, 1);
    assert_eq!(a.send(at(1, 1), header(0), &[]), Err(SendError::UnknownPeer));
    assert_eq!(a.send(at(9, 1), header(0), &[]), Err(SendError::UnknownPeer));
    a.set_peer(1, Some(3));
    assert_eq!(a.send(at(1, 4), header(0), &[]), Err(SendError::UnknownPeer));
    assert_eq!(a.send(at(1, 2), header(0), &[]), Err(SendError::PeerDied));
    assert_eq!(a.send(at(1, 3), header(0), &[&[0; MAX_MESSAGE]]), Err(SendError::TooLong));
    a.set_peer(1, None);
    assert_eq!(a.send(at(1, 3), header(0), &[]), Err(SendError::PeerDied));
    a.set_peer(1, Some(3));
    assert_eq!(a.address(1), None, "the dead do not rise");
    let both = |bytes| windows(SharedMemory::heap(SMALL), SharedMemory::heap(bytes));
    assert_eq!(a.attach(1, both(SMALL)), Err(AttachError::Attached));
    assert_eq!(a.attach(0, both(SMALL)), Err(AttachError::Own));
    assert_eq!(a.attach(2, both(128)), Err(AttachError::TooSmall));
}

#[test]
fn the_backlog_is_bounded_and_drains() {
    let (mut a, mut b) = Pair::new(SMALL).both();
    let body = [3; 1000];
    let mut sent = 0;
    while a.send(at(1, 1), header(sent), &[&body]).is_ok() {
        sent += 1;
    }
    assert_eq!(a.send(at(1, 1), header(0), &[&body]), Err(SendError::WouldBlock));
    assert!((sent as usize) * 1024 <= BACKLOG_BYTES + 2048);
    let got = settle(&mut a, &mut b);
    assert_eq!(got, (0..sent).map(|request| message(at(0, 1), request, &body)).collect::<Vec<_>>());
    a.send(at(1, 1), header(0), &[&body]).unwrap();
}

#[test]
fn a_reply_published_before_death_is_delivered_before_the_death() {
    let (mut a, mut b) = Pair::new(SMALL).both();
    a.send(at(1, 1), header(1), &[b"whole"]).unwrap();
    a.send(at(1, 1), header(2), &[&[2; 100]]).unwrap();
    a.send(at(1, 1), header(3), &[&[3; 1000]]).unwrap(); // only begun
    drop(a);
    b.set_peer(0, None);
    let died = Event::PeerDied(at(0, 1));
    assert_eq!(poll_all(&mut b), [message(at(0, 1), 1, b"whole"), message(at(0, 1), 2, &[2; 100]), died]);
}

#[test]
fn a_new_incarnation_gets_nothing_of_the_old_ones() {
    let pair = Pair::new(SMALL);
    let (mut a, b) = pair.both();
    a.send(at(1, 1), header(1), &[b"for the first"]).unwrap();
    a.send(at(1, 1), header(2), &[&[0; 2000]]).unwrap();
    drop(b);
    let mut b = pair.start(1, 2);
    b.set_peer(0, Some(1));
    assert_eq!(poll_all(&mut b), []);
    a.set_peer(1, Some(2));
    assert_eq!(poll_all(&mut a), [Event::PeerDied(at(1, 1))]);
    assert_eq!(a.counters(1).unwrap().dropped, 1);
    assert_eq!(a.send(at(1, 1), header(3), &[]), Err(SendError::PeerDied));
    a.send(at(1, 2), header(4), &[b"for the second"]).unwrap();
    assert_eq!(settle(&mut a, &mut b), [message(at(0, 1), 4, b"for the second")]);
}

#[test]
fn a_half_message_of_a_dead_writer_is_not_continued_by_the_next() {
    let pair = Pair::new(SMALL);
    let (mut a, mut b) = pair.both();
    a.send(at(1, 1), header(1), &[&[1; 2000]]).unwrap();
    assert_eq!(poll_all(&mut b), []);
    let mut a = {
        drop(a);
        pair.start(0, 2)
    };
    a.set_peer(1, Some(1));
    a.send(at(1, 1), header(2), &[b"new"]).unwrap();
    assert_eq!(poll_all(&mut b), [], "b does not know the new incarnation yet");
    b.set_peer(0, Some(2));
    let expected = [Event::PeerDied(at(0, 1)), message(at(0, 2), 2, b"new")];
    assert_eq!(settle(&mut a, &mut b), expected);
}

#[test]
fn a_doorbell_rings_once_and_only_for_who_sleeps() {
    let pair = Pair::new(SMALL);
    let (mut a, mut b) = pair.both();
    a.send(at(1, 1), header(1), &[]).unwrap();
    assert_eq!(pair.bells.take(), []);
    assert!(!b.prepare_sleep(), "there is a message");
    assert_eq!(poll_all(&mut b).len(), 1);
    assert!(b.prepare_sleep());
    a.send(at(1, 1), header(2), &[]).unwrap();
    a.send(at(1, 1), header(3), &[]).unwrap();
    assert_eq!(pair.bells.take(), [], "only once it is flushed");
    a.flush();
    assert_eq!(pair.bells.take(), [1]);
    assert_eq!(poll_all(&mut b).len(), 2);
    a.send(at(1, 1), header(4), &[]).unwrap();
    a.flush();
    assert_eq!(pair.bells.take(), [], "b is awake");
    assert_eq!(poll_all(&mut b).len(), 1);
    assert!(b.prepare_sleep());
    a.send(at(1, 1), header(5), &[]).unwrap();
    poll_all(&mut a);
    assert_eq!(pair.bells.take(), [1], "each sleep is ended anew");
    assert_eq!(a.counters(1).unwrap().doorbells, 2);
}

#[test]
fn a_writer_that_sleeps_on_a_full_ring_is_rung() {
    let pair = Pair::new(SMALL);
    let (mut a, mut b) = pair.both();
    a.send(at(1, 1), header(1), &[&[1; 5000]]).unwrap();
    assert!(a.prepare_sleep());
    let mut got = Vec::new();
    for _ in 0..100 {
        poll(&mut b, &mut got);
        if pair.bells.take().contains(&0) {
            poll(&mut a, &mut Vec::new());
            a.prepare_sleep();
        }
    }
    assert_eq!(got, [message(at(0, 1), 1, &[1; 5000])]);
}

#[test]
fn a_new_incarnation_is_rung_although_the_old_one_was() {
    let pair = Pair::new(SMALL);
    let (mut a, mut b) = pair.both();
    assert!(b.prepare_sleep());
    drop(b);
    a.set_peer(1, Some(2));
    a.send(at(1, 2), header(1), &[]).unwrap();
    pair.bells.take();
    let mut b = pair.start(1, 2);
    b.set_peer(0, Some(1));
    assert_eq!(poll_all(&mut b).len(), 1);
    assert!(b.prepare_sleep());
    a.send(at(1, 2), header(2), &[]).unwrap();
    a.flush();
    assert_eq!(pair.bells.take(), [1]);
}

#[test]
fn a_flood_from_one_peer_leaves_the_others_their_turn() {
    let bells = Bells::default();
    let mut hub = Endpoint::new(at(0, 1), Arc::new(bells.clone()));
    let mut peers = Vec::new();
    for peer in 1..4 {
        let (out, back) = (SharedMemory::heap(24 * 1024), SharedMemory::heap(24 * 1024));
        hub.attach(peer, windows(out.clone(), back.clone())).unwrap();
        hub.set_peer(peer, Some(1));
        let mut endpoint = Endpoint::new(at(peer, 1), Arc::new(bells.clone()));
        endpoint.attach(0, windows(back, out)).unwrap();
        endpoint.set_peer(0, Some(1));
        peers.push(endpoint);
    }
    (0..200).for_each(|request| peers[0].send(at(0, 1), header(request), &[]).unwrap());
    peers[2].send(at(0, 1), header(9), &[]).unwrap();
    let mut events = Vec::new();
    assert!(poll(&mut hub, &mut events));
    assert_eq!(events.len(), MESSAGES_PER_TURN + 1);
    assert!(events.contains(&message(at(3, 1), 9, b"")));
}

/// What costs nothing to watch: a channel through which nothing comes is looked
/// at no more, and its peer rings when it has something to say.
#[test]
fn a_silent_channel_becomes_cold_and_its_peer_rings() {
    let pair = Pair::new(SMALL);
    let (mut a, mut b) = pair.both();
    let mut events = Vec::new();
    let mut hot_poll = |endpoint: &mut Endpoint| endpoint.poll(0, false, |event| events.push(event));
    for request in 0..3 {
        (0..=crate::channel::HOT_POLLS).for_each(|_| assert!(!hot_poll(&mut b)));
        a.send(at(1, 1), header(request), &[]).unwrap();
        assert!(!hot_poll(&mut b), "nobody looks");
        a.flush();
        assert_eq!(pair.bells.take(), [1]);
        assert!(b.poll(0, true, |_| {}), "it rang");
        a.send(at(1, 1), header(request), &[]).unwrap();
        a.flush();
        assert_eq!(pair.bells.take(), [], "it is hot again");
        assert!(hot_poll(&mut b));
    }
}

#[test]
fn whoever_sends_looks_for_the_answer() {
    let pair = Pair::new(SMALL);
    let (mut a, mut b) = pair.both();
    (0..=crate::channel::HOT_POLLS).for_each(|_| _ = a.poll(0, false, drop));
    a.send(at(1, 1), header(1), &[]).unwrap();
    assert!(poll(&mut b, &mut Vec::new()));
    b.send(at(0, 1), header(1), &[]).unwrap();
    b.flush();
    assert_eq!(pair.bells.take(), [], "a looks by itself");
    assert!(a.poll(0, false, drop));
}

#[test]
fn whoever_sends_while_nobody_polls_is_rung_for_the_answer() {
    let pair = Pair::new(SMALL);
    let (mut a, mut b) = pair.both();
    assert!(a.prepare_sleep() && b.prepare_sleep());
    a.send(at(1, 1), header(1), &[]).unwrap();
    assert_eq!(pair.bells.take(), [1], "at once");
    assert!(poll(&mut b, &mut Vec::new()));
    b.send(at(0, 1), header(1), &[]).unwrap();
    b.flush();
    assert_eq!(pair.bells.take(), [0]);
    assert!(a.poll(0, false, drop), "the first poll looks where it was sent through");
}

#[test]
fn a_sender_that_lacks_pages_is_rung_when_they_are_given_back() {
    let pair = Pair::new(24 * 1024).with_pages(8);
    let (mut a, mut b) = pair.both();
    let body: Vec<u8> = (0..4 * pages::PAGE_BYTES).map(|byte| byte as u8).collect();
    (0..9).for_each(|request| a.send(at(1, 1), header(request), &[&body]).unwrap_or_default());
    let sent = a.counters(1).unwrap().sent;
    assert_eq!(a.counters(1).unwrap().delayed, sent - 2);
    let mut request = 0;
    while request < sent {
        assert!(a.prepare_sleep(), "nothing to do for a");
        let got = poll_all(&mut b);
        assert!(!got.is_empty(), "a was not rung when there was room");
        for event in got {
            assert_eq!(event, message(at(0, 1), request, &body));
            request += 1;
        }
        if pair.bells.take().contains(&0) {
            poll_all(&mut a);
        }
    }
}

/// Whoever keeps what it received does not keep others from receiving.
#[test]
fn bodies_that_are_kept_do_not_keep_the_pages() {
    let pair = Pair::new(24 * 1024).with_pages(8);
    let (mut a, mut b) = pair.both();
    let mut kept = Vec::new();
    for request in 0..20 {
        a.send(at(1, 1), header(request), &[&[request as u8; 600]]).unwrap();
        assert_eq!(a.counters(1).unwrap().delayed, 0);
        kept.extend(poll_all(&mut b));
    }
    for (event, request) in kept.into_iter().zip(0..) {
        assert_eq!(event, message(at(0, 1), request, &[request as u8; 600]));
    }
}

#[test]
fn an_endpoint_may_move_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<Endpoint>();
}

#[test]
fn who_is_aside_is_not_rung_by_hot_peers_but_rings_at_once() {
    let pair = Pair::new(SMALL);
    let (mut a, mut b) = pair.both();
    a.send(at(1, 1), header(1), &[]).unwrap();
    settle(&mut a, &mut b);
    assert!(b.prepare_sleep());
    pair.bells.take();
    a.stand_aside();
    // What a program sends meanwhile rings whoever sleeps.
    a.send(at(1, 1), header(2), &[]).unwrap();
    assert_eq!(pair.bells.take(), [1]);
    assert_eq!(poll_all(&mut b), [message(at(0, 1), 2, b"")]);
    // What it is sent is there when it looks again.
    b.send(at(0, 1), header(3), &[]).unwrap();
    b.flush();
    assert_eq!(pair.bells.take(), []);
    let mut events = Vec::new();
    assert!(a.poll(0, false, |event| events.push(event)));
    assert_eq!(events, [message(at(1, 1), 3, b"")]);
    // Asleep it is rung again.
    assert!(poll_all(&mut a).is_empty() && a.prepare_sleep());
    b.send(at(0, 1), header(4), &[]).unwrap();
    b.flush();
    assert_eq!(pair.bells.take(), [0]);
}
