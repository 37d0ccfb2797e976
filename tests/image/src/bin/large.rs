//! A node image that is larger than the memory of most VMs.

use std::hint::black_box;
use std::sync::atomic::{AtomicU8, Ordering};

/// Bytes that it takes from its start on.
const BYTES: usize = 64 << 20;

static TABLE: [AtomicU8; BYTES] = [const { AtomicU8::new(0) }; BYTES];

fn main() {
    TABLE[black_box(BYTES - 1)].store(1, Ordering::Relaxed);
    node::main(&[node::program!("large", large)])
}

/// Says how much of its table is not zero.
fn large() {
    println!("{} of {BYTES}", TABLE.iter().filter(|byte| byte.load(Ordering::Relaxed) != 0).count());
}
