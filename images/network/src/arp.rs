//! Who has the node's address on the Ethernet outside (RFC 826): the node answers,
//! and never asks, for everything that it sends goes to the gateway.

use transport::ethernet::{FRAME_HEADER_BYTES, HardwareAddress};

/// The kind of frame.
const ARP: [u8; 2] = [8, 6];
/// Ethernet and IPv4, with lengths of their addresses.
const FORM: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];
/// Bytes of a frame with a packet of this protocol.
pub const FRAME_BYTES: usize = FRAME_HEADER_BYTES + 28;

/// The frame that answers `frame`, if that asks who has `address`.
pub fn answer(frame: &[u8], address: [u8; 4], hardware: HardwareAddress) -> Option<[u8; FRAME_BYTES]> {
    let asked: &[u8; FRAME_BYTES] = frame.first_chunk()?;
    let asks = asked[12..14] == ARP && asked[14..20] == FORM && asked[20..22] == REQUEST;
    if !asks || asked[38..42] != address {
        return None;
    }
    let (asker, asker_address) = (&asked[22..28], &asked[28..32]);
    let mut answer = [0; FRAME_BYTES];
    answer[..6].copy_from_slice(asker);
    answer[6..12].copy_from_slice(&hardware);
    answer[12..14].copy_from_slice(&ARP);
    answer[14..20].copy_from_slice(&FORM);
    answer[20..22].copy_from_slice(&REPLY);
    answer[22..28].copy_from_slice(&hardware);
    answer[28..32].copy_from_slice(&address);
    answer[32..38].copy_from_slice(asker);
    answer[38..42].copy_from_slice(asker_address);
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: HardwareAddress = [2, 0, 0, 0, 0, 9];

    fn request(target: [u8; 4]) -> Vec<u8> {
        let gateway = [0x52, 0x55, 10, 0, 2, 2];
        [&[0xff; 6][..], &gateway, &ARP, &FORM, &REQUEST, &gateway, &[10, 0, 2, 2], &[0; 6], &target].concat()
    }

    #[test]
    fn who_asks_for_the_own_address_is_answered() {
        let answer = answer(&request([10, 0, 2, 15]), [10, 0, 2, 15], OWN).unwrap();
        assert_eq!(answer[..6], [0x52, 0x55, 10, 0, 2, 2]);
        assert_eq!(answer[6..12], OWN);
        assert_eq!(answer[20..22], REPLY);
        assert_eq!(answer[22..32], [2, 0, 0, 0, 0, 9, 10, 0, 2, 15]);
        assert_eq!(answer[32..], [0x52, 0x55, 10, 0, 2, 2, 10, 0, 2, 2]);
    }

    #[test]
    fn nothing_else_is_answered() {
        let own = [10, 0, 2, 15];
        assert_eq!(answer(&request([10, 0, 2, 16]), own, OWN), None);
        let asked = request(own);
        for length in 0..asked.len() {
            assert_eq!(answer(&asked[..length], own, OWN), None, "{length} bytes");
        }
        for at in [12, 14, 16, 18, 19, 21] {
            let mut other = asked.clone();
            other[at] ^= 3;
            assert_eq!(answer(&other, own, OWN), None, "byte {at}");
        }
    }
}
