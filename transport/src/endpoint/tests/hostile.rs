//! A peer that writes anything anywhere at any time (protocol.md H1, H2, H3, H4).
//!
//! Nothing panics, every call ends, memory stays bounded, and what comes out is
//! an event of that peer's channel; another peer's conversation goes on.

use super::*;
use crate::channel::PARTS_PER_TURN;
use crate::memory::WORD;
use crate::ring::{Epoch, Full, Place, Slot, Writer, payload};
use proptest::prelude::*;
use std::sync::atomic::Ordering::Relaxed;

/// Numbers from a seed (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators", 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// A word that looks as if it belonged to the ring, more or less.
fn plausible(random: &mut Random, epochs: [Epoch; 2]) -> u64 {
    let tag = u64::from(epochs[random.below(2)].tag());
    let sequence = random.below(64) as u64;
    match random.below(6) {
        0 => random.next(),
        1 => tag << 32 | sequence,
        2 => tag << 32 | random.next() >> 32,
        _ => tag << 32 | sequence << 8 | random.next() & 0xff,
    }
}

/// One run: peer 0 is honest and talks to 1, which scribbles, and to 2, honest.
fn scribble(seed: u64, steps: usize) {
    let mut random = Random(seed);
    let pair = Pair::new(SMALL);
    let mut victim = pair.start(0, 1);
    let (out, back) = (SharedMemory::heap(SMALL), SharedMemory::heap(SMALL));
    victim.attach(2, windows(out.clone(), back.clone())).unwrap();
    let mut friend = Endpoint::new(at(2, 1), Arc::new(pair.bells.clone()));
    friend.attach(0, windows(back, out)).unwrap();
    friend.set_peer(0, Some(1));
    victim.set_peer(2, Some(1));
    let mut generation = 1;
    victim.set_peer(1, Some(generation));
    let (mut heard, mut told) = (0, 0);
    for _ in 0..steps {
        let epochs = [Epoch { writer: 1, reader: generation }, Epoch { writer: generation, reader: 1 }];
        for _ in 0..random.below(20) {
            let memory = &pair.rings[random.below(2)];
            let offset = random.below(memory.len() / WORD) * WORD;
            memory.word(offset).store(plausible(&mut random, epochs), Relaxed);
        }
        match random.below(8) {
            0 => _ = victim.send(at(1, generation), header(1), &[&vec![1; random.below(2000)]]),
            1 => _ = victim.prepare_sleep(),
            2 if random.below(20) == 0 => {
                victim.set_peer(1, None);
                generation += 1;
                victim.set_peer(1, Some(generation));
            }
            3 => told += u64::from(friend.send(at(0, 1), header(told), &[b"sense"]).is_ok()),
            _ => {
                let mut events = Vec::new();
                poll(&mut victim, &mut events);
                assert!(events.len() <= 2 * (PARTS_PER_TURN + 2) * 20);
                for event in events {
                    match event {
                        Event::Message { from, header: got, body } if from == at(2, 1) => {
                            assert_eq!((got, body), (header(heard), Body::from(&b"sense"[..])));
                            heard += 1;
                        }
                        Event::Message { from, body, .. } => {
                            assert!(from.peer == 1 && body.len() <= MAX_MESSAGE);
                        }
                        Event::PeerDied(who) | Event::Malformed { from: who, .. } => {
                            assert_eq!(who.peer, 1);
                        }
                    }
                }
            }
        }
        pair.bells.take();
    }
    while poll(&mut friend, &mut Vec::new()) {}
    let mut rest = Vec::new();
    (0..100).for_each(|_| _ = poll(&mut victim, &mut rest));
    heard +=
        rest.iter().filter(|event| matches!(event, Event::Message { from, .. } if from.peer == 2)).count()
            as u64;
    assert_eq!(heard, told, "the honest peer's messages all arrived");
}

#[test]
fn a_scribbling_peer_spoils_its_own_conversation_only() {
    let seed = match std::env::var("CYANEA_SEED") {
        Ok(seed) => seed.parse().expect("CYANEA_SEED is a number"),
        Err(_) => 0x00c7_a4ea,
    };
    println!("CYANEA_SEED={seed}");
    (0..400).for_each(|run| scribble(seed + run, 500));
}

/// An endless message: the assembler refuses it, once, and its memory stays
/// bounded.
#[test]
fn a_message_without_end_is_refused_once() {
    use crate::ring::PAYLOAD_BYTES;
    let pair = Pair::new(SMALL);
    let mut victim = pair.start(0, 1);
    victim.set_peer(1, Some(1));
    let mut liar = Writer::new(pair.rings[1].clone()).unwrap();
    liar.synchronise(Epoch { writer: 1, reader: 1 });
    let mut events = Vec::new();
    let mut first = true;
    for _ in 0..10 * MAX_MESSAGE / PAYLOAD_BYTES {
        let mut bytes = [0; PAYLOAD_BYTES];
        bytes[0] = 1;
        while push(&mut liar, Place { first, last: false }, &bytes).is_err() {
            poll(&mut victim, &mut events);
        }
        first = false;
    }
    while push(&mut liar, Place::WHOLE, &header(5).encode()).is_err() {
        poll(&mut victim, &mut events);
    }
    while poll(&mut victim, &mut events) {}
    let refused = Event::Malformed { from: at(1, 1), error: Malformed::TooLong };
    assert_eq!(events, [refused, message(at(1, 1), 5, b"")]);
    assert_eq!(victim.counters(1).unwrap().malformed(Malformed::TooLong), 1);
}

fn push(writer: &mut Writer, place: Place, bytes: &[u8]) -> Result<(), Full> {
    writer.push(Slot { place, used: bytes.len() }, &payload(bytes))
}

/// Each kind of nonsense is told by its name, and the next message is heard.
#[test]
fn each_kind_of_nonsense_has_its_name() {
    use crate::ring::PAYLOAD_BYTES;
    let first = Place { first: true, last: false };
    let last = Place { first: false, last: true };
    let full = [1; PAYLOAD_BYTES];
    for (slots, error) in [
        (vec![(last, &full[..])], Malformed::Order),
        (vec![(first, &full[..]), (Place::WHOLE, &full[..])], Malformed::Order),
        (vec![(first, &full[..30]), (last, &full[..])], Malformed::Slot),
        (vec![(Place::WHOLE, &full[..23])], Malformed::TooShort),
        (vec![(Place::WHOLE, &full[..])], Malformed::Header),
    ] {
        let pair = Pair::new(SMALL);
        let mut victim = pair.start(0, 1);
        victim.set_peer(1, Some(1));
        let mut liar = Writer::new(pair.rings[1].clone()).unwrap();
        liar.synchronise(Epoch { writer: 1, reader: 1 });
        slots.into_iter().for_each(|(place, bytes)| push(&mut liar, place, bytes).unwrap());
        push(&mut liar, Place::WHOLE, &header(5).encode()).unwrap();
        let refused = Event::Malformed { from: at(1, 1), error };
        assert_eq!(poll_all(&mut victim), [refused, message(at(1, 1), 5, b"")]);
    }
}

proptest! {
    #[test]
    fn no_content_of_the_rings_upsets_an_endpoint(
        words in proptest::collection::vec(any::<u64>(), 2 * SMALL / WORD),
        seed: u64,
    ) {
        let pair = Pair::new(SMALL);
        let (one, two) = words.split_at(SMALL / WORD);
        for (ring, words) in pair.rings.iter().zip([one, two]) {
            words.iter().enumerate().for_each(|(at, &word)| ring.word(at * WORD).store(word, Relaxed));
        }
        let (mut a, mut b) = pair.both();
        a.send(at(1, 1), header(1), &[b"through"]).unwrap();
        assert_eq!(poll_all(&mut b), [message(at(0, 1), 1, b"through")]);
        scribble(seed, 100);
    }
}
