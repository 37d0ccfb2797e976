//! Two ends of a link, a clock, and chance.

use super::{End, Medium};
use crate::body::Body;
use crate::ethernet::faults::Random;
use crate::fragments::Gather;
use crate::link::{Link, MAX_MESSAGE, Received};
use crate::ring::sleep_fence;
use crate::wire::{HEADER_BYTES, HEADER_WORDS};
use std::collections::VecDeque;

/// How long a turn of an end takes.
const TURN_NS: u64 = 2_000;
/// Turns in which everything that is tried must be done.
const MOST_TURNS: u64 = 3_000_000;
/// Parts that a turn takes at most.
const PARTS: usize = 64;
/// Bodies that an end keeps for a while.
const MOST_KEPT: u64 = 3;

/// An end: a VM's side of the link.
struct Side {
    link: Box<dyn Link>,
    generation: u32,
    /// The incarnation of the peer that it knows to be alive.
    peer: Option<u32>,
    awake: bool,
    /// It does not run, though it lives.
    frozen: bool,
    outbox: VecDeque<Vec<u8>>,
    /// How much of the first message is sent.
    sent: usize,
    /// Messages put into the outbox in this epoch.
    written: u32,
    /// Messages received in this epoch.
    received: u32,
    /// Bodies that are looked at later: they must not change meanwhile.
    kept: VecDeque<(Body, Vec<u8>)>,
}

/// Two ends, and what is between them.
pub struct World {
    what: String,
    medium: Box<dyn Medium>,
    sides: [Side; 2],
    now_ns: u64,
    turns: u64,
    /// Received messages are held to what must have been sent.
    checks: bool,
    /// What is tried is drawn from this.
    pub random: Random,
}

/// Message `number` of an epoch from an end, `length` bytes long.
fn message(from: End, epoch: [u32; 2], number: u32, length: usize) -> Vec<u8> {
    let words = [from as u32, epoch[0], epoch[1], number, length as u32];
    let mut bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    let mut random = Random::new(u64::from(number) << 32 | length as u64);
    while bytes.len() < length {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The words of a header.
fn words(bytes: &[u8]) -> [u64; HEADER_WORDS] {
    let mut words = [0; HEADER_WORDS];
    for (word, chunk) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_le_bytes(*chunk);
    }
    words
}

impl World {
    /// Both ends alive, in their first incarnation, and known to each other.
    pub(super) fn new(what: String, seed: u64, mut medium: Box<dyn Medium>) -> Self {
        let sides = [0, 1].map(|end| Side {
            link: medium.link(end),
            generation: 1,
            peer: None,
            awake: true,
            frozen: false,
            outbox: VecDeque::new(),
            sent: 0,
            written: 0,
            received: 0,
            kept: VecDeque::new(),
        });
        let random = Random::new(seed);
        let mut world = Self { what, medium, sides, now_ns: 1, turns: 0, checks: true, random };
        world.meet(0);
        world.meet(1);
        world
    }

    /// The end learns which incarnation of its peer lives.
    pub fn meet(&mut self, end: End) {
        let peer = self.sides[1 - end].generation;
        let side = &mut self.sides[end];
        side.link.synchronise(side.generation, peer);
        (side.peer, side.written, side.received, side.sent) = (Some(peer), 0, 0, 0);
        side.outbox.clear();
        side.awake = true;
    }

    /// The end dies and starts again; its peer does not know yet.
    pub fn restart(&mut self, end: End) {
        let link = self.medium.link(end);
        let side = &mut self.sides[end];
        (side.link, side.generation, side.peer) = (link, side.generation + 1, None);
        (side.awake, side.frozen) = (true, false);
        side.outbox.clear();
        side.kept.clear();
    }

    /// The end learns that its peer has died: takes what that one left, which
    /// is bounded, and forgets the rest.
    pub fn bury(&mut self, end: End) {
        self.sides[end].link.peer_died();
        for _ in 0..self.sides[end].link.in_flight() {
            if !self.receive(end) {
                break;
            }
        }
        assert!(
            !self.checks || !self.receive(end),
            "{}: the dead left more than can be under way",
            self.what
        );
        let side = &mut self.sides[end];
        side.link.end();
        side.peer = None;
        side.outbox.clear();
    }

    /// The end wants to send one more message of so many bytes.
    pub fn write(&mut self, end: End, length: usize) {
        let Some(peer) = self.sides[end].peer else { return };
        let side = &mut self.sides[end];
        side.outbox.push_back(message(end, [side.generation, peer], side.written, length));
        side.written += 1;
        side.awake = true;
    }

    /// A length: short ones often, and those at which something changes.
    pub fn some_length(&mut self) -> usize {
        const EDGES: [usize; 9] = [24, 25, 55, 56, 57, 112, 4000, 24 * 1024, MAX_MESSAGE];
        match self.random.below(8) {
            0 => EDGES[self.random.below(EDGES.len() as u64) as usize],
            1 => HEADER_BYTES + self.random.below((MAX_MESSAGE - HEADER_BYTES) as u64) as usize,
            2 | 3 => HEADER_BYTES + self.random.below(5000) as usize,
            _ => HEADER_BYTES + self.random.below(60) as usize,
        }
    }

    /// Stops an end, which lives on, or lets it run again.
    pub fn freeze(&mut self, end: End, frozen: bool) {
        self.sides[end].frozen = frozen;
        self.sides[end].awake = true;
    }

    /// Whether what is received is held to what must have been sent. While an
    /// end is hostile, it need not be.
    pub fn check_received(&mut self, checks: bool) {
        self.checks = checks;
        // What is kept may be in memory that it reaches.
        self.sides.iter_mut().for_each(|side| side.kept.clear());
    }

    /// See [`Medium::cut`].
    pub fn cut(&mut self, cut: bool) {
        self.medium.cut(cut);
    }

    /// See [`Medium::spoil`].
    pub fn spoil(&mut self, end: End) {
        self.medium.spoil(end, &mut self.random);
        self.sides[1 - end].awake = true;
    }

    /// See [`Medium::keeps`].
    pub fn keeps(&self) -> bool {
        self.medium.keeps()
    }

    /// Messages that the end received in this epoch.
    pub fn received(&self, end: End) -> u32 {
        self.sides[end].received
    }

    /// Messages that the end still has to send.
    pub fn waiting(&self, end: End) -> usize {
        self.sides[end].outbox.len()
    }

    /// Everything that was written has been received.
    pub fn all_arrived(&self) -> bool {
        (0..2).all(|end| self.sides[end].written == self.sides[1 - end].received)
    }

    /// Fails, and says where.
    pub fn fail(&self, why: &str) -> ! {
        panic!("{}: {why} (at {} ns)", self.what, self.now_ns);
    }

    /// Runs both ends until `done`.
    ///
    /// # Panics
    /// If both sleep though it is not, or it takes for ever.
    pub fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            if !self.step() {
                self.fail("both ends sleep for ever, and something is missing");
            }
        }
    }

    /// Runs both ends until both sleep and nothing is due.
    pub fn run_until_quiet(&mut self) {
        while self.step() {}
    }

    /// Runs both ends for so long.
    pub fn run_for(&mut self, ns: u64) {
        let end = self.now_ns + ns;
        while self.now_ns < end && self.step() {}
        self.now_ns = self.now_ns.max(end);
    }

    /// Carries, and gives each end that is awake a turn; if none is, the clock
    /// goes on. `false`: nothing is due, nor will ever be.
    fn step(&mut self) -> bool {
        self.turns += 1;
        if self.turns > MOST_TURNS {
            self.fail("it takes for ever");
        }
        let woken = self.medium.carry(self.now_ns);
        let mut ran = false;
        let first = self.random.below(2) as usize;
        for end in [first, 1 - first] {
            let side = &mut self.sides[end];
            let due = side.peer.and_then(|_| side.link.deadline()).is_some_and(|at| at <= self.now_ns);
            side.awake |= woken[end] || due;
            if side.awake && !side.frozen && side.peer.is_some() {
                self.turn(end);
                ran = true;
            }
        }
        if ran {
            self.now_ns += TURN_NS;
            return true;
        }
        let sides = self.sides.iter().filter(|side| !side.frozen && side.peer.is_some());
        let next = sides.filter_map(|side| side.link.deadline()).chain(self.medium.deadline()).min();
        self.now_ns = next.unwrap_or(self.now_ns).max(self.now_ns);
        next.is_some()
    }

    /// A turn of an end, as an endpoint takes it.
    fn turn(&mut self, end: End) {
        let now_ns = self.now_ns;
        self.sides[end].link.tick(now_ns);
        let mut moved = self.flush(end);
        for _ in 0..PARTS {
            let any = self.receive(end);
            moved |= any;
            if !any {
                break;
            }
        }
        let side = &mut self.sides[end];
        if side.link.bell_due() {
            self.sides[1 - end].awake = true;
        }
        let side = &mut self.sides[end];
        if !moved {
            let for_space = !side.outbox.is_empty();
            side.link.arm(for_space);
            sleep_fence();
            side.awake = side.link.is_ready() || for_space && side.link.has_space();
        }
    }

    /// Sends as much of the outbox as goes.
    fn flush(&mut self, end: End) -> bool {
        let side = &mut self.sides[end];
        let mut moved = false;
        while let Some(first) = side.outbox.front() {
            let (header, body) = first.split_at(HEADER_BYTES);
            let body = [body];
            let Some(message) = Gather::new(words(header), &body) else { break };
            let sent = side.link.send(&message, side.sent);
            assert!((side.sent..=first.len()).contains(&sent), "{}: {sent} bytes are sent", self.what);
            moved |= sent > side.sent;
            side.sent = sent;
            if sent < first.len() {
                break;
            }
            (side.sent, _) = (0, side.outbox.pop_front());
        }
        moved
    }

    /// Takes a part; `false` if there is none.
    fn receive(&mut self, end: End) -> bool {
        match self.sides[end].link.receive() {
            Received::Nothing => return false,
            Received::Part => {}
            Received::Malformed(why) if self.checks => self.fail(&why.to_string()),
            Received::Malformed(_) => {}
            Received::Message(header, body) => {
                let header: Vec<u8> = header.into_iter().flat_map(u64::to_le_bytes).collect();
                let mut bytes = vec![0; body.len()];
                body.copy(0, &mut bytes);
                let bytes = [header, bytes].concat();
                assert!(bytes.len() <= MAX_MESSAGE, "{}: {} bytes", self.what, bytes.len());
                if self.checks {
                    self.check(end, &bytes);
                    self.keep(end, body, bytes);
                }
                self.sides[end].received += 1;
            }
        }
        true
    }

    /// Keeps a body for a while, and looks at one that was kept.
    fn keep(&mut self, end: End, body: Body, bytes: Vec<u8>) {
        let most = self.random.below(MOST_KEPT) as usize;
        let kept = &mut self.sides[end].kept;
        kept.push_back((body, bytes));
        while kept.len() > most
            && let Some((body, bytes)) = kept.pop_front()
        {
            assert!(body.into_vec() == bytes[HEADER_BYTES..], "{}: a body changed", self.what);
        }
    }

    /// It is the next message of this epoch, whole.
    fn check(&self, end: End, bytes: &[u8]) {
        let side = &self.sides[end];
        let epoch = [side.peer.unwrap_or(0), side.generation];
        if bytes != message(1 - end, epoch, side.received, bytes.len()) {
            let head: Vec<u32> = bytes[..20]
                .chunks_exact(4)
                .map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
                .collect();
            self.fail(&format!(
                "end {end} expects message {} of epoch {epoch:?} and received one of (end, epoch, number, length) {head:?}",
                side.received
            ));
        }
    }
}
