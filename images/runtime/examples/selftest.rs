//! First light.
use runtime as _;
fn main() { println!("selftest: ok"); }
