//! Programs that exercise `std`, a file per module of `std`.
//!
//! Each prints lines `topic: value`, always the same ones, whatever it runs on:
//! on the host (`std-suite PROGRAM DIRECTORY`) and on a node (`cyanea run
//! PROGRAM DIRECTORY`, the test image carries them). A test runs all of them in
//! both places and compares. Where a node's line differs because `std`'s Hermit
//! port wants it so, [`differences`] says so, and why; no line may differ
//! otherwise, and no difference that is listed may be missing.
//!
//! A program has a directory of its own, its last argument, which it makes.
#![deny(unsafe_code)]

pub mod differences;
mod programs;

use std::error::Error;
use std::fmt::{Debug, Display};
use std::io;
use std::path::PathBuf;

/// What a program returns.
pub type Outcome = Result<(), Box<dyn Error>>;

/// A program of the suite.
pub struct Program {
    /// Its name, that of its file with `std-` before it.
    pub name: &'static str,
    /// Runs it; its exit code.
    pub main: fn() -> i32,
}

/// Names a program after its file.
macro_rules! program {
    ($name:ident) => {
        Program { name: concat!("std-", stringify!($name)), main: || exit_code(programs::$name::main) }
    };
}

/// All of them.
pub const PROGRAMS: &[Program] = &[
    program!(alloc),
    program!(beyond),
    program!(collections),
    program!(env),
    program!(fs),
    program!(io),
    program!(net),
    program!(process),
    program!(sync),
    program!(thread),
    program!(time),
];

/// Runs a program in its directory as `std` would: an error is printed, and is code 1.
fn exit_code(main: fn() -> Outcome) -> i32 {
    match std::fs::create_dir_all(path("")).map_err(Into::into).and_then(|()| main()) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error}");
            1
        }
    }
}

/// A path in the program's directory.
fn path(name: &str) -> PathBuf {
    PathBuf::from(cyanea::args().pop().unwrap_or_default()).join(name)
}

/// Prints a line.
fn say(topic: &str, value: impl Debug) {
    println!("{topic}: {value:?}");
}

/// Prints a line with what a call returned, or with its error: its kind, and its number if it has one.
fn tell<T: Debug>(topic: &str, result: io::Result<T>) {
    match result {
        Ok(value) => println!("{topic}: {value:?}"),
        Err(error) => match error.raw_os_error() {
            Some(number) => println!("{topic}: {:?} ({number})", error.kind()),
            None => println!("{topic}: {:?}", error.kind()),
        },
    }
}

/// Prints a line with what a call returned, or with the text of its error.
fn text<T: Debug, E: Display>(topic: &str, result: Result<T, E>) {
    match result {
        Ok(value) => println!("{topic}: {value:?}"),
        Err(error) => println!("{topic}: {error}"),
    }
}

/// A few bits of every byte, to compare much by little (FNV-1a).
fn checksum(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes
        .into_iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
