//! The `cyanea` command.
fn main() {}
