//! Stations on a simulated Ethernet: the switch as it is, cards without a device.

use super::{End, Medium};
use crate::ethernet::faults::{Faults, Random};
use crate::ethernet::switch::Switch;
use crate::ethernet::{Card, FRAME_HEADER_BYTES, MAX_FRAME, frame_header};
use crate::link::Link;
use crate::link::net::Station;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Frames that a card holds each way.
const CARD_FRAMES: usize = 16;

/// Both sides of a card: the station has one clone, whoever carries frames another.
#[derive(Clone, Default)]
pub struct Cable(Arc<Mutex<Queues>>);

#[derive(Default)]
struct Queues {
    arrived: VecDeque<Vec<u8>>,
    sent: VecDeque<Vec<u8>>,
}

impl Cable {
    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what the station sent.
    pub fn take_sent(&self) -> Vec<Vec<u8>> {
        self.queues().sent.drain(..).collect()
    }

    /// Brings a frame, unless the card has no buffer for it. Whether it had.
    pub fn arrive(&self, frame: Vec<u8>) -> bool {
        let arrived = &mut self.queues().arrived;
        let has_room = arrived.len() < CARD_FRAMES;
        if has_room {
            arrived.push_back(frame);
        }
        has_room
    }
}

impl Card for Cable {
    fn has_frame(&self) -> bool {
        !self.queues().arrived.is_empty()
    }

    fn receive(&mut self, frame: &mut [u8; MAX_FRAME]) -> Option<usize> {
        let arrived = self.queues().arrived.pop_front()?;
        frame.get_mut(..arrived.len())?.copy_from_slice(&arrived);
        Some(arrived.len())
    }

    fn can_send(&mut self) -> bool {
        self.queues().sent.len() < CARD_FRAMES
    }

    fn send(&mut self, frame: &[u8]) {
        self.queues().sent.push_back(frame.to_vec());
    }
}

/// Two stations and a switch.
pub struct Ethernet {
    switch: Switch,
    cables: [Cable; 2],
    seed: u64,
    now_ns: u64,
    /// A frame that each end sent.
    sample: [Vec<u8>; 2],
}

/// The peer id of an end.
const fn peer(end: End) -> u16 {
    end as u16 + 1
}

impl Ethernet {
    /// A line that does this to frames.
    pub fn new(faults: Faults) -> Self {
        let mut switch = Switch::default();
        switch.join(peer(0), peer(1), faults);
        let sample = [0, 1].map(|end| frame_header(peer(end), peer(1 - end)).to_vec());
        Self { switch, cables: Default::default(), seed: faults.seed, now_ns: 0, sample }
    }

    /// The station of an end, as a VM makes it when it boots: with a card in
    /// which nothing is.
    pub fn station(&mut self, end: End) -> Station {
        self.cables[end] = Cable::default();
        self.seed += 1;
        Station::new(peer(end), Box::new(self.cables[end].clone()), self.seed)
    }
}

impl Medium for Ethernet {
    fn link(&mut self, end: End) -> Box<dyn Link> {
        Box::new(self.station(end).link(peer(1 - end)))
    }

    fn carry(&mut self, now_ns: u64) -> [bool; 2] {
        self.now_ns = now_ns;
        for end in [0, 1] {
            for frame in self.cables[end].take_sent() {
                self.switch.accept(now_ns, peer(end), &frame);
                self.sample[end] = frame;
            }
        }
        let mut woken = [false; 2];
        while let Some((to, frame)) = self.switch.deliver(now_ns) {
            let end = usize::from(to) - 1;
            woken[end] |= self.cables[end].arrive(frame);
        }
        woken
    }

    fn deadline(&self) -> Option<u64> {
        // Frames in a card are carried at once.
        let sent = self.cables.iter().any(|cable| !cable.queues().sent.is_empty());
        if sent { Some(self.now_ns) } else { self.switch.deadline() }
    }

    fn spoil(&mut self, end: End, random: &mut Random) {
        for _ in 0..1 + random.below(6) {
            let mut frame = match random.below(4) {
                // What it sent, or what it was sent, turned round.
                0 | 1 => self.sample[end].clone(),
                2 => self.sample[1 - end].clone(),
                _ => (0..random.below(100)).map(|_| random.next() as u8).collect(),
            };
            // Often it gets as far as TCP: flags, numbers, lengths, data.
            for _ in 0..random.below(4) {
                let at =
                    if random.happens(0.7) { 38 + random.below(22) } else { random.below(4000) } as usize;
                if let Some(byte) = frame.get_mut(at) {
                    *byte = random.next() as u8;
                }
            }
            if random.happens(0.1) {
                frame.truncate(random.below(80) as usize);
            }
            if random.happens(0.95) && frame.len() >= FRAME_HEADER_BYTES {
                frame[..FRAME_HEADER_BYTES].copy_from_slice(&frame_header(peer(end), peer(1 - end)));
            }
            self.switch.accept(self.now_ns, peer(end), &frame);
        }
    }

    fn cut(&mut self, cut: bool) {
        self.switch.cut(peer(0), peer(1), cut);
    }

    fn keeps(&self) -> bool {
        false
    }
}
