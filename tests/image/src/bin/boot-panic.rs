//! An image that panics at boot.

// The runtime is linked for its entry point.
use runtime as _;

fn main() {
    println!("about to panic");
    panic!("this image panics at boot, as it should");
}
