//! Loops that only compute.
//!
//! They lie in a page of their own. QEMU's translator has to look up where to go on
//! whenever a jump leaves a page: a loop that happens to cross a boundary takes
//! 1.6 times as long, and where the linker puts it would be what is measured.
#![expect(unsafe_code, reason = "says where functions lie, no more")]

use std::arch::global_asm;
use std::hint::black_box;

global_asm!(".pushsection .text.loops, \"ax\", @progbits", ".p2align 12", ".popsection");

/// Blocks that are hashed, and steps that planets go: a few milliseconds of each,
/// so that some rounds go by without the host doing something else meanwhile.
const BLOCKS: u32 = 3000;
const STEPS: u32 = 1500;

/// Integers: the compression function of SHA-256 (FIPS 180-4), over and over.
// SAFETY: an ordinary section of code.
#[unsafe(link_section = ".text.loops")]
#[inline(never)]
pub fn hashes() -> u64 {
    let mut state = START;
    for block in 0..black_box(BLOCKS) {
        compress(&mut state, std::array::from_fn(|word| block.wrapping_mul(word as u32 + 1)));
    }
    u64::from(state[0]) << 32 | u64::from(state[7])
}

const START: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
#[rustfmt::skip]
const ROUND: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

#[inline(always)]
fn compress(state: &mut [u32; 8], block: [u32; 16]) {
    let mut words = [0; 64];
    words[..16].copy_from_slice(&block);
    for at in 16..64 {
        let (old, new) = (words[at - 15], words[at - 2]);
        let small = old.rotate_right(7) ^ old.rotate_right(18) ^ old >> 3;
        let large = new.rotate_right(17) ^ new.rotate_right(19) ^ new >> 10;
        words[at] = words[at - 16].wrapping_add(small).wrapping_add(words[at - 7]).wrapping_add(large);
    }
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for (word, constant) in words.into_iter().zip(ROUND) {
        let sum = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let choice = e & f ^ !e & g;
        let first = h.wrapping_add(sum).wrapping_add(choice).wrapping_add(constant).wrapping_add(word);
        let sum = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let majority = a & b ^ a & c ^ b & c;
        (h, g, f, e) = (g, f, e, d.wrapping_add(first));
        (d, c, b, a) = (c, b, a, first.wrapping_add(sum).wrapping_add(majority));
    }
    let new = [a, b, c, d, e, f, g, h];
    state.iter_mut().zip(new).for_each(|(old, new)| *old = old.wrapping_add(new));
}

/// A body: where it is, how fast it goes, how heavy it is.
#[derive(Clone, Copy)]
struct Body {
    place: [f64; 3],
    speed: [f64; 3],
    mass: f64,
}

/// Floats: five bodies that attract each other, step by step; the bits of one place.
// SAFETY: an ordinary section of code.
#[unsafe(link_section = ".text.loops")]
#[inline(never)]
pub fn planets() -> u64 {
    let mut bodies: [Body; 5] = std::array::from_fn(|index| {
        let at = index as f64;
        Body {
            place: [at * 4.0, at * 3.0 - 5.0, 1.0 - at],
            speed: [0.1 * at, 0.3, -0.2 * at],
            mass: 10.0 / (1.0 + at),
        }
    });
    for _ in 0..black_box(STEPS) {
        step(&mut bodies, 0.001);
    }
    bodies[0].place[0].to_bits()
}

#[inline(always)]
fn step(bodies: &mut [Body; 5], time: f64) {
    for left in 0..bodies.len() {
        for right in left + 1..bodies.len() {
            let way: [f64; 3] =
                std::array::from_fn(|axis| bodies[left].place[axis] - bodies[right].place[axis]);
            let square = way.iter().map(|part| part * part).sum::<f64>();
            let pull = time / (square * square.sqrt());
            let (left_mass, right_mass) = (bodies[left].mass, bodies[right].mass);
            for (axis, part) in way.into_iter().enumerate() {
                bodies[left].speed[axis] -= part * right_mass * pull;
                bodies[right].speed[axis] += part * left_mass * pull;
            }
        }
    }
    for body in bodies {
        body.place.iter_mut().zip(body.speed).for_each(|(place, speed)| *place += speed * time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_sha_256() {
        // "abc", padded.
        let mut block = [0; 16];
        (block[0], block[15]) = (0x6162_6380, 24);
        let mut state = START;
        compress(&mut state, block);
        assert_eq!((state[0], state[7]), (0xba78_16bf, 0xf200_15ad));
    }

    #[test]
    fn what_is_computed_does_not_depend_on_when() {
        assert_eq!((hashes(), planets()), (hashes(), planets()));
    }
}
