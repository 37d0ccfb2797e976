//! A station on an Ethernet with two peers: one sends whatever frames a port
//! lets it send, one is honest. Any of the three may start again at any time.
//!
//! The liar has a station as well, so that it gets as far as a connection: its
//! frames are taken off its cable, spoilt or not, and sent when the input says.
//!
//! Checked: what the honest peer sends arrives whole, in order, once, whatever
//! the liar does; what makes no sense is told of the liar alone; an
//! incarnation's end is told once.

use crate::input::Input;
use crate::scribble::Silent;
use std::collections::VecDeque;
use std::sync::Arc;
use transport::conformance::ethernet::Cable;
use transport::endpoint::{Endpoint, Event, PeerAddress, SendError};
use transport::ethernet::faults::Faults;
use transport::ethernet::switch::Switch;
use transport::ethernet::{FRAME_HEADER_BYTES, MAX_FRAME, frame_header, ip_address};
use transport::link::MAX_MESSAGE;
use transport::link::net::Station;
use transport::wire::{HEADER_BYTES, Header, Kind};

const VICTIM: u16 = 0;
const LIAR: u16 = 1;
const FRIEND: u16 = 2;
const PEERS: usize = 3;
/// Nanoseconds of a step.
const STEP_NS: u64 = 200_000;
/// Most frames of the liar that are remembered to be sent again.
const MOST_KEPT: usize = 16;
/// Bytes of a frame before TCP's header.
const BEFORE_TCP: usize = FRAME_HEADER_BYTES + 20;

struct World {
    switch: Switch,
    cables: [Cable; PEERS],
    endpoints: [Endpoint; PEERS],
    generations: [u32; PEERS],
    now_ns: u64,
    /// What the liar's station sent, or was sent, the latest last.
    kept: VecDeque<Vec<u8>>,
    /// The liar's own frames pass as they are.
    passes: bool,
    /// What the friend sent and the victim has not received.
    told: VecDeque<(u64, usize)>,
    next: u64,
    /// The incarnations of liar and friend whose end was told last.
    buried: [u32; PEERS],
}

fn header(request: u64) -> Header {
    Header { kind: Kind::Notice, pipe: 7, request, trace: 9 }
}

fn index(peer: u16) -> usize {
    usize::from(peer)
}

impl World {
    fn new() -> Self {
        let mut switch = Switch::default();
        switch.join(VICTIM, LIAR, Faults::default());
        switch.join(VICTIM, FRIEND, Faults::default());
        let endpoint = |peer| Endpoint::new(PeerAddress { peer, generation: 0 }, Arc::new(Silent));
        let mut world = Self {
            switch,
            cables: Default::default(),
            endpoints: [VICTIM, LIAR, FRIEND].map(endpoint),
            generations: [0; PEERS],
            now_ns: 0,
            kept: VecDeque::new(),
            passes: true,
            told: VecDeque::new(),
            next: 0,
            buried: [0; PEERS],
        };
        [LIAR, FRIEND, VICTIM].into_iter().for_each(|peer| world.start(peer));
        world
    }

    /// The next incarnation of a peer, of which all learn at once.
    fn start(&mut self, peer: u16) {
        if peer != LIAR {
            self.take_all();
        }
        let generation = self.generations[index(peer)] + 1;
        self.generations[index(peer)] = generation;
        let cable = Cable::default();
        let station = Station::new(peer, Box::new(cable.clone()), generation.into());
        let mut fresh = Endpoint::new(PeerAddress { peer, generation }, Arc::new(Silent));
        let others: &[u16] = if peer == VICTIM { &[LIAR, FRIEND] } else { &[VICTIM] };
        for &other in others {
            fresh.attach_link(other, Box::new(station.link(other))).expect("a fresh channel");
        }
        self.cables[index(peer)] = cable;
        self.endpoints[index(peer)] = fresh;
        if peer == VICTIM {
            self.buried = [0; PEERS];
        }
        for (a, b) in [(VICTIM, LIAR), (VICTIM, FRIEND)] {
            let [of_a, of_b] = [a, b].map(|peer| self.generations[index(peer)]);
            self.endpoints[index(a)].set_peer(b, Some(of_b));
            self.endpoints[index(b)].set_peer(a, Some(of_a));
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() % 16 {
            0..4 => self.forge(input),
            4 | 5 => self.invent(input),
            6 => self.passes = !input.byte().is_multiple_of(4),
            7 => self.send(LIAR, VICTIM, input.length(MAX_MESSAGE)),
            8 => self.send(VICTIM, LIAR, input.length(MAX_MESSAGE)),
            9 | 10 => self.tell(input.length(MAX_MESSAGE - HEADER_BYTES)),
            11 => match input.byte() % 16 {
                0 => self.start(VICTIM),
                1 => self.start(LIAR),
                2 => self.start(FRIEND),
                3 => self.endpoints[index(VICTIM)].set_peer(LIAR, None),
                _ => self.now_ns += input.of_any_size() % 1_000_000_000,
            },
            _ => self.pass_time(),
        }
    }

    /// The liar sends a frame of its station, or one that it was sent, with
    /// some bytes changed: mostly those by which TCP goes.
    fn forge(&mut self, input: &mut Input<'_>) {
        let Some(kept) = self.kept.len().checked_sub(1) else { return };
        let mut frame = self.kept[kept - input.below(kept + 1)].clone();
        for _ in 0..input.byte() % 5 {
            let at = match input.byte() % 4 {
                3 => input.below(frame.len()),
                _ => BEFORE_TCP + usize::from(input.byte()) % 24,
            };
            let value = input.byte();
            frame.get_mut(at).into_iter().for_each(|byte| *byte = value);
        }
        let more = input.byte();
        if more.is_multiple_of(8) {
            frame.extend_from_slice(input.string());
            frame.truncate(MAX_FRAME);
        }
        self.send_as_liar(frame);
    }

    /// The liar sends a frame of its own making.
    fn invent(&mut self, input: &mut Input<'_>) {
        let mut frame = frame_header(LIAR, VICTIM).to_vec();
        frame.extend_from_slice(input.string());
        self.send_as_liar(frame);
    }

    /// A port sends from its own address alone, and the packet within says the
    /// same, or it would go no further than that.
    fn send_as_liar(&mut self, mut frame: Vec<u8>) {
        let length = frame.len().saturating_sub(FRAME_HEADER_BYTES) as u16;
        frame.resize(frame.len().max(FRAME_HEADER_BYTES), 0);
        frame[..FRAME_HEADER_BYTES].copy_from_slice(&frame_header(LIAR, VICTIM));
        let mut put = |at: usize, bytes: &[u8]| {
            let place = frame.get_mut(FRAME_HEADER_BYTES + at..).and_then(|rest| rest.get_mut(..bytes.len()));
            place.into_iter().for_each(|place| place.copy_from_slice(bytes));
        };
        put(2, &length.to_be_bytes());
        put(12, &ip_address(LIAR));
        put(16, &ip_address(VICTIM));
        self.switch.accept(self.now_ns, LIAR, &frame);
    }

    fn send(&mut self, from: u16, to: u16, length: usize) {
        let address = PeerAddress { peer: to, generation: self.generations[index(to)] };
        let sent = self.endpoints[index(from)].send(address, header(1), &[&vec![2; length]]);
        match sent {
            Ok(()) | Err(SendError::WouldBlock | SendError::PeerDied) => {}
            Err(SendError::TooLong) => assert!(length + HEADER_BYTES > MAX_MESSAGE),
            Err(error) => panic!("{error}"),
        }
    }

    /// The friend sends to the victim.
    fn tell(&mut self, length: usize) {
        let to = PeerAddress { peer: VICTIM, generation: self.generations[index(VICTIM)] };
        let body = vec![self.next as u8; length];
        match self.endpoints[index(FRIEND)].send(to, header(self.next), &[&body]) {
            Ok(()) => {
                self.told.push_back((self.next, length));
                self.next += 1;
            }
            Err(error) => assert_eq!(error, SendError::WouldBlock),
        }
    }

    /// Frames travel, and everybody polls.
    fn pass_time(&mut self) {
        self.now_ns += STEP_NS;
        for peer in [VICTIM, LIAR, FRIEND] {
            for frame in self.cables[index(peer)].take_sent() {
                if peer == LIAR {
                    self.keep(frame.clone());
                }
                if peer != LIAR || self.passes {
                    self.switch.accept(self.now_ns, peer, &frame);
                }
            }
        }
        while let Some((to, frame)) = self.switch.deliver(self.now_ns) {
            if to == LIAR {
                self.keep(frame.clone());
            }
            self.cables[index(to)].arrive(frame);
        }
        for peer in [VICTIM, LIAR, FRIEND] {
            let mut events = Vec::new();
            self.endpoints[index(peer)].poll(self.now_ns, true, |event| events.push(event));
            if peer == VICTIM {
                events.into_iter().for_each(|event| self.check(event));
            }
        }
    }

    fn keep(&mut self, frame: Vec<u8>) {
        self.kept.push_back(frame);
        if self.kept.len() > MOST_KEPT {
            self.kept.pop_front();
        }
    }

    /// What the victim hears.
    fn check(&mut self, event: Event) {
        match event {
            Event::Message { from, header: got, mut body } if from.peer == FRIEND => {
                let (request, length) = self.told.pop_front().expect("something was sent");
                assert_eq!((got, body.bytes()), (header(request), &vec![request as u8; length][..]));
            }
            Event::Message { from, body, .. } => {
                assert!(from.peer == LIAR && body.len() <= MAX_MESSAGE - HEADER_BYTES);
            }
            Event::Malformed { from, .. } => assert_eq!(from.peer, LIAR),
            Event::PeerDied(who) => {
                let buried = &mut self.buried[index(who.peer)];
                assert!(who.generation > *buried, "{who:?} died twice");
                *buried = who.generation;
            }
        }
    }

    /// Everything that the friend sent arrives.
    fn take_all(&mut self) {
        for _ in 0..20_000 {
            if self.told.is_empty() {
                return;
            }
            self.pass_time();
        }
        panic!("{} messages of the friend never came", self.told.len());
    }
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut world = World::new();
    while !input.is_over() {
        world.step(&mut input);
    }
    world.take_all();
}

/// Inputs to start from.
pub fn seeds() -> Vec<Vec<u8>> {
    let connect = [15; 12];
    let talk = [&connect[..], &[9, 0, 30, 7, 6, 20, 8, 7, 90, 10, 7, 200], &connect].concat();
    let restart = [&talk[..], &[11, 0], &talk, &[11, 1], &talk, &[11, 2], &talk, &[11, 3], &talk].concat();
    let forge =
        [&talk[..], &[6, 0, 7, 0, 8, 15, 0, 0, 0, 1, 0, 13, 4, 1, 15, 4, 10, 0, 0x45, 0, 9, 0, 15]].concat();
    let late = [&talk[..], &[11, 9, 30, 1, 2, 3, 4, 5, 6, 7, 8], &connect, &[9, 7, 250], &connect].concat();
    vec![talk, restart, forge, late]
}
