//! Both ends of a link whose every word somebody else writes between any two
//! steps, with restarts of either end.
//!
//! Checked: a message is no longer than it may be; a link over memory that
//! nobody writes has an end; sending never goes back. And as long as nobody
//! scribbled since both ends began their epoch, what arrives is what was sent,
//! whole, in order, once.

use crate::input::Input;
use crate::scribble::{forge, scribble};
use std::collections::VecDeque;
use transport::link::{Gather, Link, MAX_MESSAGE, Received, RingLink};
use transport::memory::{LINE, SharedMemory};
use transport::ring::Epoch;
use transport::wire::HEADER_BYTES;

/// One end: its link, its incarnation, and the other's that it knows.
struct End {
    link: RingLink,
    own: u32,
    knows: u32,
    /// The message under way, and how much of it is sent.
    sending: Option<(Vec<u8>, usize)>,
    /// What was sent completely and not received yet, while `clean`.
    sent: VecDeque<Vec<u8>>,
}

struct World {
    rings: [SharedMemory; 2],
    ends: [End; 2],
    /// Both ends began this epoch, and since then nobody scribbled.
    clean: bool,
    next: u8,
}

impl World {
    fn new(slots: usize) -> Self {
        let rings = [(); 2].map(|()| SharedMemory::heap((2 + slots) * LINE));
        let ends = [0, 1].map(|end| {
            let link = link(&rings, end);
            End { link, own: 1, knows: 1, sending: None, sent: VecDeque::new() }
        });
        let mut world = Self { rings, ends, clean: false, next: 0 };
        world.agree();
        world
    }

    /// Both ends begin the same epoch.
    fn agree(&mut self) {
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
            9 => _ = self.ends[end].link.bell_due(),
            10 => self.synchronise(end, u32::from(input.byte())),
            11 => self.restart(end),
            12 => self.agree(),
            13 => {
                self.clean = false;
                forge(input, &self.rings[end].clone(), self.epochs()[end]);
            }
            _ => {
                self.clean = false;
                scribble(input, &self.rings, self.epochs());
            }
        }
    }

    /// Begins a message, or goes on with the one under way.
    fn send(&mut self, end: usize, input: &mut Input<'_>) {
        let this = &mut self.ends[end];
        let (message, from) = this.sending.take().unwrap_or_else(|| {
            self.next = self.next.wrapping_add(1);
            (vec![self.next; HEADER_BYTES + input.length(MAX_MESSAGE - HEADER_BYTES)], 0)
        });
        let sent = this.link.send(&Gather::whole(&message), from);
        assert!((from..=message.len()).contains(&sent), "sent {sent} of {}, from {from}", message.len());
        match sent == message.len() {
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
                    assert!(header.len() + body.len() <= MAX_MESSAGE);
                    if self.clean {
                        let sent = self.ends[1 - end].sent.pop_front().expect("a message that was sent");
                        assert_eq!((&header[..], &body[..]), sent.split_at(HEADER_BYTES));
                    }
                }
            }
            assert!(part < most, "more parts than a ring holds");
        }
    }

    /// Goes to sleep: an end that may not finds something to do.
    fn sleep(&mut self, end: usize, for_space: bool) {
        let link = &mut self.ends[end].link;
        link.arm(for_space);
        let _ = link.is_ready(for_space);
    }

    /// A new incarnation over what the old one left.
    fn restart(&mut self, end: usize) {
        let this = &mut self.ends[end];
        this.link = link(&self.rings, end);
        this.own += 1;
        let knows = this.knows;
        self.synchronise(end, knows);
    }
}

/// The link of one of the two ends.
fn link(rings: &[SharedMemory; 2], end: usize) -> RingLink {
    RingLink::new(rings[end].clone(), rings[1 - end].clone()).expect("room for a slot")
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut world = World::new(1 << (input.byte() % 7));
    while !input.is_over() {
        world.step(&mut input);
    }
    assert!(world.ends.iter().all(|end| end.link.counters().torn == 0), "one thread tears nothing");
}

/// Inputs to start from.
pub fn seeds() -> Vec<Vec<u8>> {
    let send = [0, 0, 40];
    let receive = [9, 255];
    let talk = [&[3][..], &send, &send, &receive, &[1, 6, 30], &[8, 255]].concat();
    let restart = [&talk[..], &[22], &send, &[24], &send, &receive].concat();
    let lie = [&talk[..], &[26, 2, 0, 0xe3], &[1; 56], &[28, 0, 7, 0, 6, 1, 0, 3], &receive].concat();
    vec![talk, restart, lie]
}
