//! The card as smoltcp sees it: packets of the connections there are, nothing else
//! (protocol.md W4).
//!
//! Frames lose and get their Ethernet headers here; no address is ever looked
//! up, for they follow from peer ids.

use crate::ethernet::{Card, FRAME_HEADER_BYTES, MAX_FRAME, MAX_PACKET, Segment, destination, frame_header};
use alloc::boxed::Box;
use alloc::vec::Vec;
use smoltcp::phy::{self, ChecksumCapabilities, Device, DeviceCapabilities, Medium};
use smoltcp::time::Instant;

/// Most frames in a row that are skipped before somebody else has a turn.
const MOST_SKIPPED: usize = 64;

/// The ports of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// This end's.
    pub own: u16,
    /// The peer's.
    pub peer: u16,
}

/// What is admitted from a peer.
#[derive(Clone, Copy, Debug, Default)]
struct Admission {
    route: Option<Route>,
    stale: u64,
}

/// A card behind a filter.
pub struct Wire {
    own: u16,
    card: Box<dyn Card>,
    /// By peer.
    admissions: Vec<Admission>,
    incoming: Box<[u8; MAX_FRAME]>,
    outgoing: Box<[u8; MAX_FRAME]>,
}

impl Wire {
    pub fn new(own: u16, card: Box<dyn Card>) -> Self {
        let frame = || Box::new([0; MAX_FRAME]);
        Self { own, card, admissions: Vec::new(), incoming: frame(), outgoing: frame() }
    }

    /// From now on only segments of this connection are admitted from `peer`.
    pub fn set_route(&mut self, peer: u16, route: Option<Route>) {
        let index = usize::from(peer);
        if self.admissions.len() <= index {
            self.admissions.resize(index + 1, Admission::default());
        }
        self.admissions[index].route = route;
    }

    /// Segments from `peer` that were of no connection there is.
    pub fn stale(&self, peer: u16) -> u64 {
        self.admissions.get(usize::from(peer)).map_or(0, |admission| admission.stale)
    }

    pub fn has_frame(&self) -> bool {
        self.card.has_frame()
    }

    pub fn can_send(&mut self) -> bool {
        self.card.can_send()
    }

    /// How long the packet in the first `length` bytes of the incoming frame
    /// is, if it is admitted.
    fn admit(&mut self, length: usize) -> Option<usize> {
        let segment = Segment::parse(self.incoming.get(..length)?)?;
        let admission = self.admissions.get_mut(usize::from(segment.from))?;
        let ports = Route { own: segment.destination, peer: segment.source };
        if segment.to != self.own || admission.route != Some(ports) {
            admission.stale += 1;
            return None;
        }
        Some(segment.packet.len())
    }
}

impl Device for Wire {
    type RxToken<'a> = Incoming<'a>;
    type TxToken<'a> = Outgoing<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Incoming<'_>, Outgoing<'_>)> {
        for _ in 0..MOST_SKIPPED {
            // It may have to be answered at once.
            if !self.card.can_send() {
                return None;
            }
            let length = self.card.receive(&mut self.incoming)?;
            if let Some(length) = self.admit(length) {
                let packet = &self.incoming[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + length];
                let outgoing = Outgoing { own: self.own, card: &mut *self.card, frame: &mut self.outgoing };
                return Some((Incoming(packet), outgoing));
            }
        }
        None
    }

    fn transmit(&mut self, _: Instant) -> Option<Outgoing<'_>> {
        let ready = self.card.can_send();
        ready.then_some(Outgoing { own: self.own, card: &mut *self.card, frame: &mut self.outgoing })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MAX_PACKET;
        // Frames never leave the memory of the host: nothing damages them but
        // their sender, who would sum them up anew.
        capabilities.checksum = ChecksumCapabilities::ignored();
        capabilities
    }
}

/// A packet that was admitted.
pub struct Incoming<'a>(&'a [u8]);

impl phy::RxToken for Incoming<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(self.0)
    }
}

/// Room for a packet.
pub struct Outgoing<'a> {
    own: u16,
    card: &'a mut dyn Card,
    frame: &'a mut [u8; MAX_FRAME],
}

impl phy::TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, fill: F) -> R {
        let end = FRAME_HEADER_BYTES + length;
        let filled = fill(&mut self.frame[FRAME_HEADER_BYTES..end]);
        if let Some(to) = destination(&self.frame[FRAME_HEADER_BYTES..end]) {
            self.frame[..FRAME_HEADER_BYTES].copy_from_slice(&frame_header(self.own, to));
            self.card.send(&self.frame[..end]);
        }
        filled
    }
}
