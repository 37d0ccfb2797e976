//! Who has the node's address of IPv6 on the Ethernet outside (RFC 4861): as with
//! [`arp`](crate::arp), the node answers and never asks.

use crate::packet::{ICMPV6, V6_HEADER_BYTES};
use smoltcp::wire::Icmpv6Packet;
use std::net::Ipv6Addr;
use transport::ethernet::{FRAME_HEADER_BYTES, HardwareAddress, IPV6};

/// The kinds of message: who has this address, and I have.
const SOLICITATION: [u8; 2] = [135, 0];
const ADVERTISEMENT: [u8; 2] = [136, 0];
/// It was asked for, and takes the place of what was known.
const SOLICITED: u8 = 0x60;
/// So many hops a message has before it that no router has passed on.
const ALL_HOPS: u8 = 255;
/// An option that is a hardware address, and its length in pieces of eight bytes.
const HARDWARE: [u8; 2] = [2, 1];
/// Where the message starts in a frame, and how long question and answer are.
const MESSAGE: usize = FRAME_HEADER_BYTES + V6_HEADER_BYTES;
const QUESTION_BYTES: usize = 24;
const ANSWER_BYTES: usize = 32;
/// Bytes of a frame with an answer.
pub const FRAME_BYTES: usize = MESSAGE + ANSWER_BYTES;

/// The frame that answers `frame`, if that asks who has `address`.
pub fn answer(frame: &[u8], address: Ipv6Addr, hardware: HardwareAddress) -> Option<[u8; FRAME_BYTES]> {
    let asked: &[u8; MESSAGE + QUESTION_BYTES] = frame.first_chunk()?;
    let asks = asked[12..14] == IPV6 && asked[20..22] == [ICMPV6, ALL_HOPS] && asked[54..56] == SOLICITATION;
    let asker = Ipv6Addr::from(*asked[22..].first_chunk()?);
    // Who has no address yet asks whether somebody has this one: nobody else can.
    if !asks || asked[62..] != address.octets() || asker.is_unspecified() || asker.is_multicast() {
        return None;
    }
    let mut answer = [0; FRAME_BYTES];
    answer[..6].copy_from_slice(&asked[6..12]);
    answer[6..12].copy_from_slice(&hardware);
    answer[12..14].copy_from_slice(&IPV6);
    answer[14] = 6 << 4;
    answer[19..22].copy_from_slice(&[ANSWER_BYTES as u8, ICMPV6, ALL_HOPS]);
    answer[22..38].copy_from_slice(&address.octets());
    answer[38..54].copy_from_slice(&asker.octets());
    answer[54..56].copy_from_slice(&ADVERTISEMENT);
    answer[58] = SOLICITED;
    answer[62..78].copy_from_slice(&address.octets());
    answer[78..80].copy_from_slice(&HARDWARE);
    answer[80..].copy_from_slice(&hardware);
    Icmpv6Packet::new_unchecked(&mut answer[MESSAGE..]).fill_checksum(&address, &asker);
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: HardwareAddress = [2, 0, 0, 0, 0, 9];
    const ADDRESS: Ipv6Addr = Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0x15);
    const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

    fn request(from: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
        let router = [0x52, 0x56, 0, 0, 0, 2];
        let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0x15);
        let start = [0x60, 0, 0, 0, 0, 32, ICMPV6, ALL_HOPS];
        let ethernet = [&[0x33, 0x33, 0xff, 0, 0, 0x15], &router[..], &IPV6].concat();
        let header = [&start[..], &from.octets(), &group.octets()].concat();
        let message = [&[135, 0, 0, 0, 0, 0, 0, 0], &target.octets()[..], &[1, 1], &router].concat();
        [ethernet, header, message].concat()
    }

    #[test]
    fn who_asks_for_the_own_address_is_answered() {
        let answer = answer(&request(ROUTER, ADDRESS), ADDRESS, OWN).unwrap();
        assert_eq!(answer[..14], [0x52, 0x56, 0, 0, 0, 2, 2, 0, 0, 0, 0, 9, 0x86, 0xdd]);
        assert_eq!(answer[14..22], [0x60, 0, 0, 0, 0, 32, ICMPV6, 255]);
        assert_eq!(answer[22..54], [ADDRESS.octets(), ROUTER.octets()].concat());
        let message = Icmpv6Packet::new_checked(&answer[54..]).unwrap();
        assert!(message.verify_checksum(&ADDRESS, &ROUTER));
        assert_eq!((answer[54], &answer[62..78]), (136, &ADDRESS.octets()[..]));
        assert_eq!(answer[78..], [2, 1, 2, 0, 0, 0, 0, 9]);
    }

    #[test]
    fn nothing_else_is_answered() {
        let other = Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0x16);
        assert_eq!(answer(&request(ROUTER, other), ADDRESS, OWN), None);
        assert_eq!(answer(&request(Ipv6Addr::UNSPECIFIED, ADDRESS), ADDRESS, OWN), None);
        let asked = request(ROUTER, ADDRESS);
        for length in 0..MESSAGE + QUESTION_BYTES {
            assert_eq!(answer(&asked[..length], ADDRESS, OWN), None, "{length} bytes");
        }
        for at in [12, 13, 20, 21, 54, 55, 62, 77] {
            let mut other = asked.clone();
            other[at] ^= 3;
            assert_eq!(answer(&other, ADDRESS, OWN), None, "byte {at}");
        }
    }
}
