//! Ethernet between the VMs of one machine: who has which address, what a frame
//! looks like, what a network card is.
//!
//! - [`faults`]: what becomes of the n-th frame from one VM to another.
//! - [`switch`]: forwards frames between ports, with these faults.
//! - [`outside`]: the Ethernet that leads out of the machine.
//!
//! Addresses follow from the peer id and nothing else (protocol.md W1, W2). The switch lets a port
//! send from its own addresses alone, so they say who sent a frame; a frame
//! whose addresses say two different things is nobody's.

pub mod faults;
pub mod outside;
pub mod switch;

/// Bytes of a frame before its packet.
pub const FRAME_HEADER_BYTES: usize = 14;
/// Most bytes of a packet: with all headers before it, a page.
pub const MAX_PACKET: usize = 4000;
/// Most bytes of a frame.
pub const MAX_FRAME: usize = FRAME_HEADER_BYTES + MAX_PACKET;
/// Bytes of an IPv4 header without options.
const IP_HEADER_BYTES: usize = 20;
/// Most bytes of a TCP header.
pub const MAX_HEADERS: usize = FRAME_HEADER_BYTES + IP_HEADER_BYTES + 60;

/// A hardware address.
pub type HardwareAddress = [u8; 6];

/// IPv4, as a frame's header calls it.
pub const IPV4: [u8; 2] = [8, 0];
/// IPv6.
pub const IPV6: [u8; 2] = [0x86, 0xdd];
/// TCP, as a packet's header calls it.
const TCP: u8 = 6;

/// A network card, as a station uses it. Nothing blocks.
pub trait Card: Send {
    /// Whether a frame has arrived.
    fn has_frame(&self) -> bool;

    /// Copies the next frame that arrived to the start of `frame` and returns
    /// its length. One that does not fit is dropped.
    fn receive(&mut self, frame: &mut [u8; MAX_FRAME]) -> Option<usize>;

    /// Whether [`Card::send`] would take a frame.
    fn can_send(&mut self) -> bool;

    /// Sends a frame of at most [`MAX_FRAME`] bytes; drops it if there is no room.
    fn send(&mut self, frame: &[u8]);
}

/// The hardware address of a peer's card: locally administered.
pub const fn hardware_address(peer: u16) -> HardwareAddress {
    let [high, low] = peer.to_be_bytes();
    [0x02, b'C', b'y', 0, high, low]
}

/// The IPv4 address of a peer, in 10.0.0.0/16.
pub const fn ip_address(peer: u16) -> [u8; 4] {
    let [high, low] = peer.to_be_bytes();
    [10, 0, high, low]
}

/// Whose hardware address this is.
fn peer_of(address: &[u8]) -> Option<u16> {
    match *address {
        [0x02, b'C', b'y', 0, high, low] => Some(u16::from_be_bytes([high, low])),
        _ => None,
    }
}

/// The header of a frame that carries an IPv4 packet.
pub fn frame_header(from: u16, to: u16) -> [u8; FRAME_HEADER_BYTES] {
    let mut header = [0; FRAME_HEADER_BYTES];
    header[..6].copy_from_slice(&hardware_address(to));
    header[6..12].copy_from_slice(&hardware_address(from));
    header[12..].copy_from_slice(&IPV4);
    header
}

/// From and to which peer a frame says that it goes, if it says so.
pub fn ends(frame: &[u8]) -> Option<(u16, u16)> {
    Some((peer_of(frame.get(6..12)?)?, peer_of(frame.get(..6)?)?))
}

/// To which peer an outgoing packet goes.
pub fn destination(packet: &[u8]) -> Option<u16> {
    match *packet.get(16..20)? {
        [10, 0, high, low] => Some(u16::from_be_bytes([high, low])),
        _ => None,
    }
}

/// A frame with a whole TCP segment from one peer to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Who sent it.
    pub from: u16,
    /// For whom it is.
    pub to: u16,
    /// The port that it comes from.
    pub source: u16,
    /// The port that it goes to.
    pub destination: u16,
    /// The packet, its IPv4 header first.
    pub packet: &'a [u8],
}

impl<'a> Segment<'a> {
    /// Takes a frame apart; `None` if it is anything else: other protocols,
    /// fragments, options, lengths or addresses that contradict one another.
    pub fn parse(frame: &'a [u8]) -> Option<Self> {
        let (from, to) = ends(frame)?;
        let packet = frame.get(FRAME_HEADER_BYTES..)?;
        let header: &[u8; IP_HEADER_BYTES] = packet.first_chunk()?;
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let sound = frame[12..14] == IPV4
            && header[0] == 0x45
            && word(6) & 0x3fff == 0
            && header[9] == TCP
            && header[12..16] == ip_address(from)
            && header[16..20] == ip_address(to);
        let packet = packet.get(..usize::from(word(2))).filter(|_| sound)?;
        let &[s, o, d, e] = packet.get(IP_HEADER_BYTES..)?.first_chunk()?;
        let (source, destination) = (u16::from_be_bytes([s, o]), u16::from_be_bytes([d, e]));
        Some(Self { from, to, source, destination, packet })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame with a segment of no more than ports.
    fn frame(from: u16, to: u16) -> [u8; 38] {
        let mut frame = [0; 38];
        frame[..14].copy_from_slice(&frame_header(from, to));
        frame[14..18].copy_from_slice(&[0x45, 0, 0, 24]);
        frame[23] = TCP;
        frame[26..30].copy_from_slice(&ip_address(from));
        frame[30..34].copy_from_slice(&ip_address(to));
        frame[34..38].copy_from_slice(&[0, 7, 1, 2]);
        frame
    }

    #[test]
    fn a_segment_says_from_whom_it_is() {
        let bytes = frame(3, 0x201);
        let segment = Segment::parse(&bytes).unwrap();
        assert_eq!((segment.from, segment.to, segment.source, segment.destination), (3, 0x201, 7, 0x102));
        assert_eq!(ends(&bytes), Some((3, 0x201)));
        assert_eq!(destination(segment.packet), Some(0x201));
        assert_eq!(segment.packet.len(), 24);
    }

    #[test]
    fn whatever_contradicts_itself_is_nobodys() {
        let good = frame(3, 4);
        // Hardware address, type, version, fragment, protocol, addresses.
        for at in [0, 6, 11, 12, 14, 20, 23, 26, 29, 33] {
            let mut bad = good;
            bad[at] ^= 1;
            assert_eq!(Segment::parse(&bad), None, "byte {at}");
        }
        for length in 0..good.len() {
            assert_eq!(Segment::parse(&good[..length]), None, "{length} bytes");
        }
        let mut longer = good;
        longer[17] = 25;
        assert_eq!(Segment::parse(&longer), None, "more than there is");
        longer[17] = 23;
        assert_eq!(Segment::parse(&longer), None, "less than two ports");
    }
}
