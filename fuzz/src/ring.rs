//! Both ends of a link whose every word somebody else writes between any two
//! steps, with restarts of either end.
//!
//! Checked: a message is no longer than it may be; a link over memory that
//! nobody writes has an end; sending never goes back. As long as nobody
//! scribbled since both ends began their epoch, what arrives is what was sent,
//! whole, in order, once. And a body that then is still in the sender's pages
//! stays what it was, whoever starts again meanwhile, until somebody scribbles.

use crate::input::Input;
use crate::scribble::{Between, Silent, forge, scribble};
use std::collections::VecDeque;
use std::sync::Arc;
use transport::Body;
use transport::link::{Gather, Link, MAX_MESSAGE, Received, RingLink};
use transport::ring::Epoch;
use transport::wire::{HEADER_BYTES, HEADER_WORDS};

/// Bodies that an end keeps at most.
const KEPT: usize = 4;

/// A message: the first word of its header, and its body.
type Message = (u64, Vec<u8>);

/// One end: its link, its incarnation, and the other's that it knows.
struct End {
    link: RingLink,
    own: u32,
    knows: u32,
    /// The message under way, and how much of it is sent.
    sending: Option<(Message, usize)>,
    /// What was sent completely and not received yet, while `clean`.
    sent: VecDeque<Message>,
    /// Bodies that are kept, with what they held, and how often somebody had
    /// scribbled by then, if nobody had in that epoch.
    kept: VecDeque<(Body, Vec<u8>, Option<u64>)>,
}

struct World {
    between: Between,
    ends: [End; 2],
    /// Both ends began this epoch, and since then nobody scribbled.
    clean: bool,
    /// How often somebody scribbled.
    scribbles: u64,
    next: u8,
    /// The generation that was used last.
    generation: u32,
}

impl World {
    fn new(slots: usize, pages: bool) -> Self {
        let between = Between::new(slots, pages);
        let ends = [0, 1].map(|end| End {
            link: link(&between, end),
            own: 1,
            knows: 1,
            sending: None,
            sent: VecDeque::new(),
            kept: VecDeque::new(),
        });
        let mut world = Self { between, ends, clean: false, scribbles: 0, next: 0, generation: 1000 };
        world.agree();
        world
    }

    /// Both ends start again and begin the same epoch, one that never was before:
    /// nothing that was scribbled is of it.
    fn agree(&mut self) {
        for end in [0, 1] {
            self.give_back(end, 0);
            self.generation += 1;
            self.ends[end].own = self.generation;
        }
        for end in [0, 1] {
            let peer = self.ends[1 - end].own;
            self.synchronise(end, peer);
        }
        self.clean = true;
    }

    fn synchronise(&mut self, end: usize, peer: u32) {
        let end = &mut self.ends[end];
        end.knows = peer;
        end.link.synchronise(end.own, peer);
        (end.sending, self.clean) = (None, false);
        self.ends.iter_mut().for_each(|end| end.sent.clear());
    }

    /// An end hears of the other's incarnation, if it did not know it. Who is
    /// said to be dead is: pages that it keeps are free for others from then on.
    fn learn(&mut self, end: usize) {
        let (lives, knows) = (self.ends[1 - end].own, self.ends[end].knows);
        if lives > knows {
            self.synchronise(end, lives);
        }
    }

    /// The epochs that words of the rings may belong to.
    fn epochs(&self) -> [Epoch; 2] {
        let end = &self.ends[0];
        [Epoch { writer: end.own, reader: end.knows }, Epoch { writer: end.knows, reader: end.own }]
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let choice = input.byte();
        let end = usize::from(choice & 1);
        match choice >> 1 & 15 {
            0..4 => self.send(end, input),
            4..8 => self.receive(end, usize::from(input.byte())),
            8 => self.sleep(end, input.byte() & 1 == 1),
            9 if input.byte() & 1 == 0 => _ = self.ends[end].link.bell_due(),
            9 => self.give_back(end, 0),
            10 => self.learn(end),
            11 => self.restart(end),
            12 => self.agree(),
            13 => {
                self.lies();
                forge(input, &self.between, end, self.epochs()[end]);
            }
            _ => {
                self.lies();
                scribble(input, &self.between, self.epochs());
            }
        }
    }

    /// Somebody is about to scribble.
    fn lies(&mut self) {
        self.clean = false;
        self.scribbles += 1;
    }

    /// Begins a message, or goes on with the one under way.
    fn send(&mut self, end: usize, input: &mut Input<'_>) {
        let this = &mut self.ends[end];
        let (message, from) = this.sending.take().unwrap_or_else(|| {
            self.next = self.next.wrapping_add(1);
            ((u64::from(self.next), vec![self.next; input.length(MAX_MESSAGE - HEADER_BYTES)]), 0)
        });
        let body: [&[u8]; 1] = [&message.1];
        let gather = Gather::new([message.0; HEADER_WORDS], &body).expect("a length");
        let sent = this.link.send(&gather, from);
        assert!((from..=gather.len()).contains(&sent), "sent {sent} of {}, from {from}", gather.len());
        match sent == gather.len() {
            true => this.sent.push_back(message),
            false => this.sending = Some((message, sent)),
        }
    }

    fn receive(&mut self, end: usize, parts: usize) {
        let most = self.ends[end].link.in_flight();
        for part in 0..parts.min(most + 1) {
            match self.ends[end].link.receive() {
                Received::Nothing => break,
                Received::Part => {}
                Received::Malformed(why) => assert!(!self.clean, "{why}"),
                Received::Message(header, body) => {
                    assert!(HEADER_BYTES + body.len() <= MAX_MESSAGE);
                    let found = content(&body);
                    if self.clean {
                        let sent = self.ends[1 - end].sent.pop_front().expect("a message that was sent");
                        assert_eq!((header, &found), ([sent.0; HEADER_WORDS], &sent.1));
                    }
                    self.ends[end].kept.push_back((body, found, self.clean.then_some(self.scribbles)));
                    self.give_back(end, KEPT);
                }
            }
            assert!(part < most, "more parts than a ring holds");
        }
    }

    /// Gives back what an end keeps beyond so many bodies.
    fn give_back(&mut self, end: usize, most: usize) {
        while self.ends[end].kept.len() > most {
            let Some((body, found, scribbles)) = self.ends[end].kept.pop_front() else { return };
            assert!(scribbles != Some(self.scribbles) || content(&body) == found, "a body changed");
        }
    }

    /// Goes to sleep: an end that may not finds something to do.
    fn sleep(&mut self, end: usize, for_space: bool) {
        let link = &mut self.ends[end].link;
        link.arm(for_space);
        let _ = (link.is_ready(), for_space && link.has_space());
    }

    /// A new incarnation over what the old one left.
    fn restart(&mut self, end: usize) {
        self.give_back(end, 0);
        let this = &mut self.ends[end];
        this.link = link(&self.between, end);
        self.generation += 1;
        this.own = self.generation;
        let knows = this.knows;
        self.synchronise(end, knows);
    }
}

/// The link of one of the two ends.
fn link(between: &Between, end: usize) -> RingLink {
    RingLink::new(between.windows(end), 0, Arc::new(Silent)).expect("room for a slot")
}

/// What a body holds.
fn content(body: &Body) -> Vec<u8> {
    let mut bytes = vec![0; body.len()];
    assert_eq!(body.copy(0, &mut bytes), bytes.len());
    bytes
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let form = input.byte();
    let mut world = World::new(1 << (form % 7), form & 128 == 0);
    while !input.is_over() {
        world.step(&mut input);
    }
    (0..2).for_each(|end| world.give_back(end, 0));
    assert!(world.ends.iter().all(|end| end.link.counters().torn == 0), "one thread tears nothing");
}

/// Inputs to start from.
pub fn seeds() -> Vec<Vec<u8>> {
    let send = [0, 0, 40];
    let receive = [9, 255];
    let talk = [&[3][..], &send, &send, &receive, &[1, 6, 30], &[8, 255]].concat();
    let restart = [&talk[..], &[22], &send, &[24], &send, &receive].concat();
    let lie = [&talk[..], &[26, 2, 0, 0xe3], &[1; 56], &[28, 0, 7, 0, 6, 1, 0, 3], &receive].concat();
    let lend =
        [&[3][..], &[0, 7, 20], &[0, 7, 200], &receive, &[24], &[1, 7, 9, 8, 9, 18, 1], &[22, 9, 9]].concat();
    let refer =
        [&lend[..], &[26, 0, 0, 0xff], &[7; 24], &[100, 5, 0, 0, 0, 0, 0, 0], &[0, 0, 1, 0], &receive];
    vec![talk, restart, lie, refer.concat(), lend]
}
