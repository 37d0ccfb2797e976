//! An image that says so when it reaches `main`, and ends: what starting a VM costs.
#![forbid(unsafe_code)]

// The runtime is linked for its entry point.
use runtime as _;

fn main() {
    println!("!");
}
