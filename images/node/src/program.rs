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

/// Runs a `main`: its exit code, as `std` has it. An `Err` is printed and
/// counts as failure.
pub fn run<T: Termination>(main: impl FnOnce() -> T) -> i32 {
    __rust_begin_short_backtrace(main).report().to_i32()
}

/// Backtraces end above a function of this name, in `std`'s and in ours: what
/// stands below is the same under every program.
#[inline(never)]
fn __rust_begin_short_backtrace<T>(main: impl FnOnce() -> T) -> T {
    let returned = main();
    // Or the call of `main` would be the last thing, and a jump.
    std::hint::black_box(());
    returned
}
