//! An endpoint with two peers: one lies in every way that memory allows, one is
//! honest. Any of the three may start again at any time.
//!
//! Checked: what the honest peer sends arrives whole, in order, once, whatever
//! the liar does; a poll hands on a bounded number of events; what made no
//! sense is counted by its name; an incarnation's end is told once.

use crate::input::Input;
use crate::scribble::{Between, Silent, forge, scribble};
use std::collections::VecDeque;
use std::sync::Arc;
use transport::endpoint::{Endpoint, Event, PeerAddress, SendError};
use transport::link::{MAX_MESSAGE, Malformed};
use transport::ring::Epoch;
use transport::wire::{HEADER_BYTES, Header, Kind};
use transport::{MESSAGES_PER_TURN, PARTS_PER_TURN};

const VICTIM: u16 = 0;
const LIAR: u16 = 1;
const FRIEND: u16 = 2;

struct World {
    /// Between victim and liar, and between victim and friend.
    pairs: [Between; 2],
    generations: [u32; 3],
    victim: Endpoint,
    liar: Endpoint,
    friend: Endpoint,
    /// What the friend sent and the victim has not received.
    told: VecDeque<(u64, usize)>,
    next: u64,
    /// How much nonsense was told since the victim started, by reason.
    malformed: [u64; Malformed::ALL.len()],
    /// The liar's incarnation whose end was told last.
    buried: u32,
}

fn endpoint(own: u16, generation: u32) -> Endpoint {
    Endpoint::new(PeerAddress { peer: own, generation }, Arc::new(Silent))
}

fn header(request: u64) -> Header {
    Header { kind: Kind::Request, pipe: 7, request, trace: 9 }
}

impl World {
    fn new(slots: usize, pages: bool) -> Self {
        let mut world = Self {
            pairs: [Between::new(slots, pages), Between::new(8, pages)],
            generations: [0; 3],
            victim: endpoint(VICTIM, 0),
            liar: endpoint(LIAR, 0),
            friend: endpoint(FRIEND, 0),
            told: VecDeque::new(),
            next: 0,
            malformed: Default::default(),
            buried: 0,
        };
        world.start(LIAR);
        world.start(FRIEND);
        world.start(VICTIM);
        world
    }

    /// The next incarnation of a peer, of which all learn at once.
    fn start(&mut self, peer: u16) {
        let generation = &mut self.generations[usize::from(peer)];
        *generation += 1;
        let mut fresh = endpoint(peer, *generation);
        let [liar, friend] = self.pairs.clone();
        match peer {
            VICTIM => {
                attach(&mut fresh, LIAR, &liar, 0);
                attach(&mut fresh, FRIEND, &friend, 0);
                (self.victim, self.malformed, self.buried) = (fresh, Default::default(), 0);
            }
            LIAR => {
                attach(&mut fresh, VICTIM, &liar, 1);
                self.liar = fresh;
            }
            _ => {
                self.take_all();
                attach(&mut fresh, VICTIM, &friend, 1);
                self.friend = fresh;
            }
        }
        if peer != LIAR {
            self.told.clear();
        }
        let [victim, liar, friend] = self.generations;
        self.victim.set_peer(LIAR, Some(liar));
        self.victim.set_peer(FRIEND, Some(friend));
        self.liar.set_peer(VICTIM, Some(victim));
        self.friend.set_peer(VICTIM, Some(victim));
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() % 16 {
            0 | 1 => self.lie(input),
            2..4 => forge(input, &self.pairs[0], 1, self.epochs()[1]),
            4..7 => scribble(input, &self.pairs[0], self.epochs()),
            7 => self.answer_liar(input),
            8 | 9 => self.tell(input.length(MAX_MESSAGE - HEADER_BYTES)),
            10 => _ = self.victim.prepare_sleep(),
            11 => _ = poll(&mut self.friend),
            12 => match input.byte() % 16 {
                0 => self.start(VICTIM),
                1 => self.start(LIAR),
                2 => self.start(FRIEND),
                3 => self.victim.set_peer(LIAR, None),
                _ => _ = poll(&mut self.liar),
            },
            _ => self.take(),
        }
    }

    /// The epochs of the rings between victim and liar.
    fn epochs(&self) -> [Epoch; 2] {
        let [victim, liar, _] = self.generations;
        [Epoch { writer: victim, reader: liar }, Epoch { writer: liar, reader: victim }]
    }

    /// The liar talks sense for once, as far as what it scribbled lets it.
    fn lie(&mut self, input: &mut Input<'_>) {
        let to = PeerAddress { peer: VICTIM, generation: self.generations[0] };
        let body = vec![1; input.length(MAX_MESSAGE - HEADER_BYTES)];
        let _ = self.liar.send(to, header(input.word()), &[&body]);
    }

    /// The victim sends to the liar.
    fn answer_liar(&mut self, input: &mut Input<'_>) {
        let to = PeerAddress { peer: LIAR, generation: self.generations[1] };
        let body = vec![2; input.length(MAX_MESSAGE)];
        match self.victim.send(to, header(1), &[&body]) {
            Ok(()) | Err(SendError::WouldBlock | SendError::PeerDied) => {}
            Err(SendError::TooLong) => assert!(body.len() + HEADER_BYTES > MAX_MESSAGE),
            Err(error) => panic!("{error}"),
        }
    }

    /// The friend sends to the victim.
    fn tell(&mut self, length: usize) {
        let to = PeerAddress { peer: VICTIM, generation: self.generations[0] };
        match self.friend.send(to, header(self.next), &[&vec![self.next as u8; length]]) {
            Ok(()) => {
                self.told.push_back((self.next, length));
                self.next += 1;
            }
            Err(error) => assert_eq!(error, SendError::WouldBlock),
        }
    }

    /// The victim polls once.
    fn take(&mut self) {
        let events = poll(&mut self.victim);
        // Two turns, and what a burial found in a ring.
        assert!(events.len() <= 2 * (PARTS_PER_TURN + MESSAGES_PER_TURN) + 4096);
        events.into_iter().for_each(|event| self.check(event));
        let counters = self.victim.counters(LIAR).expect("a channel");
        for (reason, &count) in Malformed::ALL.iter().zip(&self.malformed) {
            assert_eq!(counters.malformed(*reason), count, "{reason}");
        }
    }

    fn check(&mut self, event: Event) {
        match event {
            Event::Message { from, header: got, mut body } if from.peer == FRIEND => {
                let (request, length) = self.told.pop_front().expect("something was sent");
                assert_eq!((got, body.bytes()), (header(request), &vec![request as u8; length][..]));
            }
            Event::Message { from, body, .. } => {
                assert!(from.peer == LIAR && body.len() <= MAX_MESSAGE - HEADER_BYTES);
            }
            Event::Malformed { from, error } => {
                assert_eq!(from.peer, LIAR);
                self.malformed[error as usize] += 1;
            }
            Event::PeerDied(who) if who.peer == LIAR => {
                assert!(who.generation > self.buried, "{who:?} died twice");
                self.buried = who.generation;
            }
            Event::PeerDied(who) => assert!(who.generation < self.generations[2]),
        }
    }

    /// Everything that the friend sent arrives.
    fn take_all(&mut self) {
        for _ in 0..10_000 {
            if self.told.is_empty() {
                return;
            }
            poll(&mut self.friend);
            self.take();
        }
        assert!(self.told.is_empty(), "{} messages of the friend never came", self.told.len());
    }
}

/// Polls once, as after a doorbell.
fn poll(endpoint: &mut Endpoint) -> Vec<Event> {
    let mut events = Vec::new();
    endpoint.poll(0, true, |event| events.push(event));
    events
}

/// Attaches a channel to `peer` for the lower (0) or higher (1) end of a pair.
fn attach(endpoint: &mut Endpoint, peer: u16, pair: &Between, end: usize) {
    endpoint.attach(peer, pair.windows(end)).expect("a fresh channel");
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let form = input.byte();
    let mut world = World::new(1 << (form % 7), form & 128 == 0);
    while !input.is_over() {
        world.step(&mut input);
    }
    world.take_all();
}

/// Inputs to start from.
pub fn seeds() -> Vec<Vec<u8>> {
    let talk = [&[3][..], &[0, 0, 9], &[0; 8], &[8, 6, 30], &[15, 11, 15, 7, 6, 20, 12, 9]].concat();
    let restart = [&talk[..], &[12, 0], &talk[1..], &[12, 1], &talk[1..], &[12, 2], &talk[1..]].concat();
    let lie = [&talk[..], &[2, 1, 0, 0xe3], &[1; 56], &[15], &[4, 1, 16, 0, 7, 2, 0, 0xe3, 15]].concat();
    vec![talk, restart, lie]
}
