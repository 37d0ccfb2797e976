//! What an image carries.

use std::process::Termination;

/// A program: a name and a `main`.
#[derive(Clone, Copy)]
pub struct Program {
    /// What `cyanea run` calls it.
    pub name: &'static str,
    /// Runs it; returns its exit code.
    pub main: fn() -> i32,
}

impl Program {
    /// See [`crate::program!`].
    pub const fn new(name: &'static str, main: fn() -> i32) -> Self {
        Self { name, main }
    }
}

/// The exit code of what a `main` returned, as `std` has it: an `Err` is
/// printed and counts as failure.
pub fn exit_code(returned: impl Termination) -> i32 {
    returned.report().to_i32()
}
