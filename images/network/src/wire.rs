//! The device below smoltcp: packets for the node itself come back, all others
//! go through the card, if there is one.
//!
//! What comes through the card and is not for the node's address outside, or says
//! that it comes from the node, is dropped: the loopback is the node's own.

use crate::address::{self, Family, is_own};
use crate::packet::{About, Header, about, destination};
use crate::{arp, ndp};
use smoltcp::phy::{self, Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium};
use smoltcp::time::Instant;
use std::collections::VecDeque;
use std::net::IpAddr;
use transport::ethernet::{Card, FRAME_HEADER_BYTES, IPV4, IPV6, MAX_FRAME, MAX_PACKET, outside};

/// Most packets on their way to the node itself.
const MAX_LOOPED: usize = 64;
/// Most frames in a row that are no packets for the node.
const MOST_SKIPPED: usize = 64;

/// The loopback and the card.
pub struct Wire {
    card: Option<Box<dyn Card>>,
    looped: VecDeque<Vec<u8>>,
    /// The packet that is taken next.
    staged: Option<Staged>,
    /// Where it is if it came from the loopback.
    current: Vec<u8>,
    incoming: Box<[u8; MAX_FRAME]>,
    outgoing: Box<[u8; MAX_FRAME]>,
}

/// Where the packet is that is taken next.
#[derive(Clone, Copy)]
enum Staged {
    /// It came from the loopback.
    Looped,
    /// It came from the card, and is so long.
    Arrived(usize),
}

impl Wire {
    pub fn new(card: Option<Box<dyn Card>>) -> Self {
        let frame = || Box::new([0; MAX_FRAME]);
        Self {
            card,
            looped: VecDeque::new(),
            staged: None,
            current: Vec::new(),
            incoming: frame(),
            outgoing: frame(),
        }
    }

    /// Whether there is anything beyond the node.
    pub fn has_card(&self) -> bool {
        self.card.is_some()
    }

    /// Whether this address is the node's.
    pub fn has_address(&self, address: IpAddr) -> bool {
        if self.has_card() { is_own(address) } else { address.is_loopback() }
    }

    /// Whether a packet waits to be taken.
    pub fn has_packet(&self) -> bool {
        self.staged.is_some()
            || !self.looped.is_empty()
            || self.card.as_ref().is_some_and(|card| card.has_frame())
    }

    /// Whether a packet can be sent, wherever it goes.
    pub fn can_send(&mut self) -> bool {
        self.looped.len() < MAX_LOOPED && self.card.as_mut().is_none_or(|card| card.can_send())
    }

    /// Whether there is a packet to be taken: it is looked at before that.
    pub fn stage(&mut self) -> bool {
        if self.staged.is_none() {
            self.staged = match self.looped.pop_front() {
                Some(packet) => {
                    self.current = packet;
                    Some(Staged::Looped)
                }
                None => self.take_from_card().map(Staged::Arrived),
            };
        }
        self.staged.is_some()
    }

    fn staged(&self) -> &[u8] {
        match self.staged {
            Some(Staged::Looped) => &self.current,
            Some(Staged::Arrived(length)) => &self.incoming[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + length],
            None => &[],
        }
    }

    /// What the staged packet is about.
    pub fn about(&self) -> About {
        about(self.staged())
    }

    /// Takes the staged packet for nobody.
    pub fn discard(&mut self) {
        self.staged = None;
    }

    /// How long the packet for the node is that the card gives next.
    fn take_from_card(&mut self) -> Option<usize> {
        let card = self.card.as_mut()?;
        for _ in 0..MOST_SKIPPED {
            // It may have to be answered at once.
            if !card.can_send() {
                return None;
            }
            let length = card.receive(&mut self.incoming)?;
            let frame = &self.incoming[..length];
            if let Some(answer) = arp::answer(frame, outside::ADDRESS, outside::OWN_HARDWARE) {
                card.send(&answer);
            } else if let Some(answer) = ndp::answer(frame, outside::ADDRESS_V6, outside::OWN_HARDWARE) {
                card.send(&answer);
            } else if is_for_node(frame) {
                return Some(length - FRAME_HEADER_BYTES);
            }
        }
        None
    }
}

/// What a frame's header calls packets of this version.
const fn kind(family: Family) -> [u8; 2] {
    match family {
        Family::V4 => IPV4,
        Family::V6 => IPV6,
    }
}

/// Whether a frame carries a packet that may come in.
fn is_for_node(frame: &[u8]) -> bool {
    let Some(header) = frame.get(FRAME_HEADER_BYTES..).and_then(Header::of) else { return false };
    let family = address::of(header.to);
    let is_outsides = frame[12..14] == kind(family) && address::outside(family) == header.to;
    // Pieces of packets are not put together, and no packet says a mapped address.
    is_outsides && header.is_whole && !is_own(header.from) && header.from.to_canonical() == header.from
}

impl Device for Wire {
    type RxToken<'a> = Incoming<'a>;
    type TxToken<'a> = Outgoing<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Incoming<'_>, Outgoing<'_>)> {
        self.stage();
        let Self { card, looped, current, incoming, outgoing, .. } = self;
        let packet = match self.staged.take()? {
            Staged::Looped => &current[..],
            Staged::Arrived(length) => &incoming[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + length],
        };
        Some((Incoming(packet), Outgoing { card, looped, frame: outgoing }))
    }

    fn transmit(&mut self, _: Instant) -> Option<Outgoing<'_>> {
        if !self.can_send() {
            return None;
        }
        let Self { card, looped, outgoing, .. } = self;
        Some(Outgoing { card, looped, frame: outgoing })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MAX_PACKET;
        // What QEMU is given it checks; what comes from it never left the host's
        // memory, where nothing damages it.
        let mut checksums = ChecksumCapabilities::default();
        checksums.ipv4 = Checksum::Tx;
        checksums.tcp = Checksum::Tx;
        checksums.udp = Checksum::Tx;
        checksums.icmpv4 = Checksum::Tx;
        capabilities.checksum = checksums;
        capabilities
    }
}

/// A packet for the node.
pub struct Incoming<'a>(&'a [u8]);

impl phy::RxToken for Incoming<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(self.0)
    }
}

/// Room for a packet.
pub struct Outgoing<'a> {
    card: &'a mut Option<Box<dyn Card>>,
    looped: &'a mut VecDeque<Vec<u8>>,
    frame: &'a mut [u8; MAX_FRAME],
}

impl phy::TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, fill: F) -> R {
        let end = FRAME_HEADER_BYTES + length;
        let filled = fill(&mut self.frame[FRAME_HEADER_BYTES..end]);
        let packet = &self.frame[FRAME_HEADER_BYTES..end];
        let Some(to) = destination(packet) else { return filled };
        if is_own(to) {
            self.looped.push_back(packet.to_vec());
        } else if let Some(card) = self.card {
            self.frame[..6].copy_from_slice(&outside::GATEWAY_HARDWARE);
            self.frame[6..12].copy_from_slice(&outside::OWN_HARDWARE);
            self.frame[12..14].copy_from_slice(&kind(address::of(to)));
            card.send(&self.frame[..end]);
        }
        filled
    }
}
