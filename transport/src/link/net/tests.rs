//! What a peer that speaks TCP as it should can still do wrong.

use super::*;
use crate::conformance::Medium;
use crate::conformance::ethernet::Ethernet;
use crate::ethernet::faults::Faults;
use crate::link::{MAX_MESSAGE, Malformed};
use crate::wire::{HEADER_BYTES, HEADER_WORDS};

/// A message, or what made no sense.
type Got = Result<([u64; HEADER_WORDS], Vec<u8>), Malformed>;

/// Two stations, each with its link to the other, and what is between them.
struct Pair {
    ethernet: Ethernet,
    links: [NetLink; 2],
    now_ns: u64,
}

impl Pair {
    fn new() -> Self {
        let mut ethernet = Ethernet::new(Faults::default());
        let links = [0, 1].map(|end| ethernet.station(end).link(2 - end as u16));
        Self { ethernet, links, now_ns: 1 }
    }

    /// With an epoch between the first incarnations.
    fn met() -> Self {
        let mut pair = Self::new();
        pair.links.iter_mut().for_each(|link| link.synchronise(1, 1));
        pair.run();
        pair
    }

    /// Lets a tenth of a second pass.
    fn run(&mut self) {
        for _ in 0..1000 {
            self.now_ns += 100_000;
            self.ethernet.carry(self.now_ns);
            self.links.iter_mut().for_each(|link| link.tick(self.now_ns));
        }
    }

    /// Puts bytes into the connection of an end, whatever the protocol says.
    fn say(&mut self, end: usize, bytes: &[u8]) {
        let mut shared = self.links[end].shared();
        let Shared { conversations, sockets, due, .. } = &mut *shared;
        let conversation = conversations.iter().flatten().next().expect("there is one");
        assert_eq!(conversation.socket(sockets).expect("it is open").send_slice(bytes), Ok(bytes.len()));
        *due = true;
    }

    /// Everything that an end receives, in a while.
    fn received(&mut self, end: usize) -> Vec<Got> {
        let mut all = Vec::new();
        for _ in 0..4 {
            self.run();
            loop {
                match self.links[end].receive() {
                    Received::Nothing => break,
                    Received::Part => {}
                    Received::Malformed(why) => all.push(Err(why)),
                    Received::Message(header, body) => all.push(Ok((header, body.into_vec()))),
                }
            }
        }
        all
    }
}

/// A message as it goes through a connection.
fn message(content: u8) -> Vec<u8> {
    let mut bytes = (HEADER_BYTES as u32 + 1).to_le_bytes().to_vec();
    bytes.resize(4 + HEADER_BYTES + 1, content);
    bytes
}

fn expected(content: u8) -> Got {
    Ok(([u64::from_le_bytes([content; 8]); HEADER_WORDS], vec![content]))
}

#[test]
fn a_message_of_an_impossible_length_is_one_complaint_and_no_more() {
    for (length, reason) in [
        (0, Malformed::TooShort),
        (HEADER_BYTES - 1, Malformed::TooShort),
        (MAX_MESSAGE + 1, Malformed::TooLong),
        (3 * MAX_MESSAGE, Malformed::TooLong),
    ] {
        let mut pair = Pair::met();
        pair.say(0, &message(7));
        pair.say(0, &(length as u32).to_le_bytes());
        let mut got = Vec::new();
        for piece in vec![9; length].chunks(10_000) {
            pair.say(0, piece);
            got.extend(pair.received(1));
        }
        pair.say(0, &message(8));
        got.extend(pair.received(1));
        assert_eq!(got, [expected(7), Err(reason), expected(8)], "length {length}");
    }
}

#[test]
fn another_generation_on_the_same_ports_is_refused_by_the_greeting() {
    let mut pair = Pair::new();
    pair.links[0].synchronise(60_001, 1);
    pair.links[1].synchronise(1, 1);
    for end in [0, 1] {
        assert_eq!(pair.received(end), [Err(Malformed::Broken)]);
        assert_eq!(pair.links[end].send(&Gather::new([0; HEADER_WORDS], &[]).expect("it is short"), 0), 0);
    }
    // The next epoch is as good as any.
    pair.links[1].synchronise(1, 60_001);
    pair.links[0].synchronise(60_001, 1);
    pair.run();
    let whole = [5];
    let whole = [&whole[..]];
    let message = Gather::new([u64::from_le_bytes([5; 8]); HEADER_WORDS], &whole).expect("it is short");
    assert_eq!(pair.links[0].send(&message, 0), HEADER_BYTES + 1);
    assert_eq!(pair.received(1), [expected(5)]);
}

#[test]
fn frames_of_another_generation_are_counted_and_change_nothing() {
    let mut pair = Pair::met();
    // End 1 has died and started again, and end 0 does not know.
    pair.links[1].synchronise(2, 1);
    pair.run();
    assert!(pair.links[0].counters().stale > 0);
    assert!(matches!(pair.links[0].receive(), Received::Nothing));
    pair.links[0].synchronise(1, 2);
    pair.run();
    pair.say(1, &message(3));
    assert_eq!(pair.received(0), [expected(3)]);
}

#[test]
fn a_connection_that_is_ended_within_an_epoch_is_broken_once() {
    for finish in [true, false] {
        let mut pair = Pair::met();
        pair.say(0, &message(4));
        {
            let mut shared = pair.links[0].shared();
            let Shared { conversations, sockets, due, .. } = &mut *shared;
            let conversation = conversations.iter().flatten().next().expect("there is one");
            let socket = conversation.socket(sockets).expect("it is open");
            if finish {
                socket.close()
            } else {
                socket.abort()
            }
            *due = true;
        }
        let got = pair.received(1);
        let broken = Err(Malformed::Broken);
        if finish {
            assert_eq!(got, [expected(4), broken]);
        } else {
            // A reset overtakes what was not sent yet.
            assert_eq!(got.last(), Some(&broken));
        }
        assert_eq!(pair.received(1), [], "said once");
        assert_eq!(pair.links[1].deadline(), None, "and nothing goes on");
    }
}

#[test]
fn an_idle_connection_wants_no_time() {
    let mut pair = Pair::met();
    pair.say(0, &message(4));
    assert_eq!(pair.received(1), [expected(4)]);
    pair.run();
    assert_eq!(pair.links[0].deadline(), None);
    assert_eq!(pair.links[1].deadline(), None);
}

#[test]
fn nothing_is_sent_to_a_dead_peer() {
    let mut pair = Pair::met();
    pair.say(0, &message(4));
    pair.links[0].end();
    pair.run();
    assert_eq!(pair.links[0].deadline(), None);
    assert_eq!(pair.received(1), [], "what had not left has gone with the epoch");
}
