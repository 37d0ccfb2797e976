//! A second implementation of rings and pages, written from `docs/protocol.md`
//! alone, talks to the first one: protocol.md R1, R2, R3, R4, R5, R6, R7 and R8;
//! P1, P2, P3, P4, P5 and P7; D2, D3 and D5; E2, E3, E4 and E5.
//!
//! It knows nothing of the crate but its windows of memory, and takes every
//! number from the page. One thread: how accesses interleave is the models' part.
#![cfg(not(loom))]

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU64, fence};
use transport::link::{Gather, Received};
use transport::memory::SharedMemory;
use transport::{Doorbell, Link, RingLink, Windows};

const SEQUENCES: u64 = 1 << 24;
const HELD: u64 = 1 << 31;

/// R3.
fn tag(writer: u64, reader: u64) -> u64 {
    (writer % 65535 + 1) * 65536 + (reader % 65535 + 1)
}

/// One end of a channel, by the page.
struct Second {
    windows: Windows,
    /// Of the ring and the pages that it writes, and of those that it reads.
    tags: [u64; 2],
    /// The next sequences: to send, to receive.
    next: [u64; 2],
    position: u64,
    looked: u64,
    lent: Vec<u64>,
    taken: Vec<u64>,
    message: Vec<u8>,
}

impl Second {
    /// E2.
    fn new(windows: Windows) -> Self {
        windows.incoming.word(8).store(0, Relaxed);
        windows.outgoing.word(64).store(0, Relaxed);
        let [lends, borrows] = windows.pages.as_ref().unwrap();
        lends.word(0).store(0, Relaxed);
        let pages = pages(borrows);
        (0..pages).for_each(|page| borrows.word(64 + 8 * page).store(0, Relaxed));
        let counts = || vec![0; pages];
        let (lent, taken) = (counts(), counts());
        Self { windows, tags: [0; 2], next: [0; 2], position: 0, looked: 0, lent, taken, message: Vec::new() }
    }

    /// E3, E4, E5 (nothing is left over: whatever it lent was given back).
    fn enter(&mut self, own: u64, peer: u64) {
        self.tags = [tag(own, peer), tag(peer, own)];
        (self.next, self.position, self.looked) = ([0; 2], 0, 0);
        self.message.clear();
        self.windows.incoming.word(8).store(0, Relaxed);
        self.windows.incoming.word(0).store(self.tags[1] << 32, Release);
        (0..slots(&self.windows.outgoing)).for_each(|slot| self.outgoing(slot, 0).store(0, Relaxed));
        fence(SeqCst);
        self.windows.outgoing.word(64).store(0, Relaxed);
        self.lent.fill(0);
        self.taken.fill(0);
    }

    fn outgoing(&self, sequence: u64, word: u64) -> &AtomicU64 {
        slot(&self.windows.outgoing, sequence, word)
    }

    /// R7.
    fn is_free(&self) -> bool {
        let position = self.windows.outgoing.word(0).load(Acquire);
        let position = if position >> 32 == self.tags[0] { position as u32 as u64 } else { 0 };
        (self.next[0] + SEQUENCES - position) % SEQUENCES < slots(&self.windows.outgoing)
    }

    /// R4.
    fn publish(&mut self, payload: [u64; 7], used: u64, first: bool, last: bool) {
        let sequence = self.next[0];
        (1..).zip(payload).for_each(|(word, value)| self.outgoing(sequence, word).store(value, Relaxed));
        let slot = used << 2 | u64::from(last) << 1 | u64::from(first);
        self.outgoing(sequence, 0).store(self.tags[0] << 32 | sequence << 8 | slot, Release);
        self.next[0] = (sequence + 1) % SEQUENCES;
    }

    /// R8: sends from byte `sent` on, as far as it goes, and says how far that is.
    fn send_slots(&mut self, message: &[u8], mut sent: usize) -> usize {
        while sent < message.len() && self.is_free() {
            let part = &message[sent..message.len().min(sent + 56)];
            let last = sent + part.len() == message.len();
            self.publish(words(part), part.len() as u64, sent == 0, last);
            sent += part.len();
        }
        sent
    }

    /// P2, P3: all of it or nothing.
    fn lend(&mut self, message: &[u8]) -> bool {
        let memory = self.windows.pages.as_ref().unwrap()[0].clone();
        let body = &message[24..];
        let is_free = |&page: &usize| {
            let word = memory.word(64 + 8 * page).load(Acquire);
            self.lent[page] == 0 || word == self.tags[0] << 32 | self.lent[page]
        };
        let free: Vec<usize> = (0..self.lent.len()).filter(is_free).take(body.len().div_ceil(8192)).collect();
        if !self.is_free() || free.len() < body.len().div_ceil(8192) {
            return false;
        }
        let mut payload = words(&message[..24]);
        payload[3] = body.len() as u64;
        for (index, (&page, bytes)) in free.iter().zip(body.chunks(8192)).enumerate() {
            self.lent[page] += 1;
            memory.copy_in(start(&memory) + 8192 * page, bytes);
            payload[4 + index / 4] |= (page as u64) << (16 * (index % 4));
        }
        self.publish(payload, 63, true, true);
        true
    }

    /// D3 and D5: whether to ring.
    fn must_ring(&mut self) -> bool {
        let (from, to) = (self.looked, self.next[0]);
        self.looked = to;
        fence(SeqCst);
        let asleep = self.windows.outgoing.word(8).load(Relaxed);
        let ahead = |sequence: u64| (sequence + SEQUENCES - from) % SEQUENCES;
        asleep >> 32 == self.tags[0] && ahead(asleep % SEQUENCES) < ahead(to)
    }

    /// D2: whether it may sleep.
    fn may_sleep(&self) -> bool {
        let wait = self.tags[1] << 32 | self.next[1];
        self.windows.incoming.word(8).store(wait, Relaxed);
        fence(SeqCst);
        let header = slot(&self.windows.incoming, self.next[1], 0).load(Relaxed);
        header >> 8 != self.tags[1] << 24 | self.next[1]
    }

    /// R5, R6, R8: the next whole message.
    fn receive(&mut self) -> Option<Vec<u8>> {
        loop {
            let incoming = self.windows.incoming.clone();
            let sequence = self.next[1];
            let header = slot(&incoming, sequence, 0).load(Acquire);
            if header >> 8 != self.tags[1] << 24 | sequence {
                return None;
            }
            let payload: Vec<u64> =
                (1..8).map(|word| slot(&incoming, sequence, word).load(Relaxed)).collect();
            let used = (header >> 2 & 63) as usize;
            let bytes: Vec<u8> = payload.iter().flat_map(|word| word.to_le_bytes()).collect();
            let body = if used == 63 { self.take(&payload) } else { Vec::new() };
            fence(Acquire);
            assert_eq!(slot(&incoming, sequence, 0).load(Relaxed), header, "nobody writes meanwhile");
            self.message.extend(&bytes[..if used == 63 { 24 } else { used }]);
            self.message.extend(body);
            self.next[1] = (sequence + 1) % SEQUENCES;
            if (self.next[1] + SEQUENCES - self.position) % SEQUENCES >= slots(&incoming).div_ceil(4) {
                self.position = self.next[1];
                incoming.word(0).store(self.tags[1] << 32 | self.position, Release);
            }
            incoming.word(8).store(0, Relaxed);
            if header & 2 != 0 {
                return Some(std::mem::take(&mut self.message));
            }
        }
    }

    /// P4, P5: takes the pages, copies them, gives them back.
    fn take(&mut self, payload: &[u64]) -> Vec<u8> {
        let memory = self.windows.pages.as_ref().unwrap()[1].clone();
        let mut body = vec![0; payload[3] as usize];
        for (index, part) in body.chunks_mut(8192).enumerate() {
            let page = (payload[4 + index / 4] >> (16 * (index % 4)) & 0xffff) as usize;
            self.taken[page] += 1;
            let word = self.tags[1] << 32 | self.taken[page];
            memory.word(64 + 8 * page).store(word | HELD, Relaxed);
            fence(SeqCst);
            memory.copy_out(start(&memory) + 8192 * page, part);
            memory.word(64 + 8 * page).store(word, Release);
        }
        body
    }
}

/// R1.
fn slots(ring: &SharedMemory) -> u64 {
    1 << ((ring.len() - 128) / 64).min(65536).ilog2()
}

fn slot(ring: &SharedMemory, sequence: u64, word: u64) -> &AtomicU64 {
    ring.word(128 + (sequence % slots(ring) * 64 + word * 8) as usize)
}

/// P1.
fn pages(memory: &SharedMemory) -> usize {
    let fits = |pages: &usize| (64 + 8 * pages).next_multiple_of(4096) + 8192 * pages <= memory.len();
    (8..=256).rev().find(fits).unwrap()
}

fn start(memory: &SharedMemory) -> usize {
    (64 + 8 * pages(memory)).next_multiple_of(4096)
}

fn words(bytes: &[u8]) -> [u64; 7] {
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
    std::array::from_fn(|word| u64::from_le_bytes(std::array::from_fn(|at| byte(8 * word + at))))
}

struct Silent;

impl Doorbell for Silent {
    fn ring(&self, _: u16) {}
}

/// Both implementations, each at an end of a channel.
fn ends() -> (RingLink, Second) {
    // Neither is a power of two of slots, or whole pages.
    let rings = [0, 1].map(|_| SharedMemory::heap(128 + 24 * 64));
    let lent = [0, 1].map(|_| SharedMemory::heap(4096 + 11 * 8192 + 64));
    let windows = |own: usize| Windows {
        outgoing: rings[own].clone(),
        incoming: rings[1 - own].clone(),
        pages: Some([lent[own].clone(), lent[1 - own].clone()]),
    };
    (RingLink::new(windows(0), 1, Arc::new(Silent)).unwrap(), Second::new(windows(1)))
}

/// What one end sends: the messages, and how much of the first is sent.
#[derive(Default)]
struct Outward(VecDeque<Vec<u8>>, usize);

/// A message of a length from everywhere between the shortest and the longest.
fn message(random: &mut u64) -> Vec<u8> {
    *random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    let (bits, value) = (*random >> 60, *random >> 20);
    let length = 24 + (value % (2 << bits)).min(65512) as usize;
    (0..length as u64).map(|at| (value + at * 7) as u8).collect()
}

fn first_sends(first: &mut RingLink, Outward(queue, sent): &mut Outward) {
    let Some(message) = queue.front() else { return };
    let header: [u64; 3] = words(&message[..24])[..3].try_into().unwrap();
    let parts = [&message[24..]];
    *sent = first.send(&Gather::new(header, &parts).unwrap(), *sent);
}

fn second_sends(second: &mut Second, Outward(queue, sent): &mut Outward) {
    let Some(message) = queue.front() else { return };
    // P7: some of those that could go by reference go in slots.
    let by_reference = message.len() > 24 + 512 && !message.len().is_multiple_of(3);
    match by_reference {
        true if second.lend(message) => *sent = message.len(),
        true => {}
        false => *sent = second.send_slots(message, *sent),
    }
}

fn first_receives(first: &mut RingLink) -> Option<Vec<u8>> {
    loop {
        match first.receive() {
            Received::Nothing => return None,
            Received::Part => {}
            Received::Message(header, mut body) => {
                let header = header.iter().flat_map(|word| word.to_le_bytes());
                return Some(header.chain(body.bytes().iter().copied()).collect());
            }
            Received::Malformed(error) => panic!("{error}"),
        }
    }
}

/// Turns of both ends in each epoch.
const STEPS: usize = 4000;

#[test]
fn a_second_implementation_from_the_page_is_understood() {
    let (mut first, mut second) = ends();
    let mut random = 1;
    // The generations of both; each restarts once, and one wraps in the tag.
    for (one, other) in [(1, 65534), (1, 65535), (2, 65535)] {
        first.synchronise(one, other);
        second.enter(u64::from(other), u64::from(one));
        let mut outward = [Outward::default(), Outward::default()];
        let mut arrived = [0; 2];
        for _ in 0..STEPS {
            outward.iter_mut().filter(|out| out.0.is_empty()).for_each(|Outward(queue, sent)| {
                queue.push_back(message(&mut random));
                *sent = 0;
            });
            first_sends(&mut first, &mut outward[0]);
            second_sends(&mut second, &mut outward[1]);
            let got = [second.receive(), first_receives(&mut first)];
            for ((out, arrived), got) in outward.iter_mut().zip(&mut arrived).zip(got) {
                if let Some(got) = got {
                    assert_eq!(Some(got), out.0.pop_front());
                    *arrived += 1;
                }
            }
        }
        // In slots, the longest takes 74 turns: there are 16.
        assert!(arrived.iter().all(|&arrived| arrived > STEPS / 8), "{arrived:?} of {STEPS}");
    }
    assert_eq!(first.counters(), Default::default());
}

#[test]
fn each_rings_for_the_other_when_it_sleeps_and_only_then() {
    let (mut first, mut second) = ends();
    first.synchronise(1, 1);
    second.enter(1, 1);
    let header: Vec<u8> = vec![3; 24];
    for _ in 0..100 {
        for sleeps in [false, true] {
            assert!(!sleeps || second.may_sleep());
            first_sends(&mut first, &mut Outward([header.clone()].into(), 0));
            assert_eq!(first.bell_due(), sleeps);
            assert!(!second.may_sleep(), "something is there");
            assert_eq!(second.receive().as_ref(), Some(&header));
            if sleeps {
                first.arm(false);
                assert!(!first.is_ready());
            }
            second_sends(&mut second, &mut Outward([header.clone()].into(), 0));
            assert_eq!(second.must_ring(), sleeps);
            assert_eq!(first_receives(&mut first).as_ref(), Some(&header));
        }
    }
}
