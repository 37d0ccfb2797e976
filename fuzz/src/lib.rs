//! Fuzz targets over everything that is read from a region or a wire.
//!
//! A target is a module here: `run` takes any bytes and panics if something
//! does not hold, `seeds` makes inputs to start from. Each has a program in
//! `fuzz_targets/`: `scripts/fuzz` builds and runs them all, and
//! `cargo fuzz run NAME` one. An input that a fuzzer found stays in
//! `cases/NAME/`, and an ordinary test runs it from then on.
//!
//! | target | what is hostile |
//! |---|---|
//! | [`ring`] | every word of both rings of a link |
//! | [`endpoint`] | a peer of an endpoint that talks to an honest one as well |
//! | [`ethernet`] | every frame of a station's peer, of two |
//! | [`messenger`] | every message: headers, pipes, requests, replies |
//! | [`protocol`] | headers and bodies as bytes |
//! | [`regions`] | region headers, machine description, liveness table |
//! | [`files`] | requests to the file system, and its tables |
//! | [`tasks`] | requests to `tasks`, its table, and what nodes answer it |
//! | [`control`] | the lines on the launcher's control socket |
//! | [`machine_file`] | a user's machine file |
//! | [`image`] | a file that is named as an image |
//!
//! What each checks beyond "no panic" its own page says. That nothing hangs or
//! grows is the fuzzer's to see: it limits the time and memory of a run.
#![forbid(unsafe_code)]

pub mod control;
pub mod endpoint;
pub mod ethernet;
pub mod files;
pub mod image;
pub mod input;
pub mod machine_file;
pub mod messenger;
pub mod protocol;
pub mod regions;
pub mod ring;
pub mod scribble;
pub mod tasks;
pub mod world;

#[cfg(fuzzing)]
pub use libfuzzer_sys;

use std::path::Path;

/// A fuzz target.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name: that of its module, of its program and of its folder of cases.
    pub name: &'static str,
    /// Runs one input.
    pub run: fn(&[u8]),
    /// Makes inputs to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

macro_rules! targets {
    ($($name:ident)*) => {
        /// All targets.
        pub const TARGETS: &[Target] =
            &[$(Target { name: stringify!($name), run: $name::run, seeds: $name::seeds }),*];
    };
}

targets!(ring endpoint ethernet messenger protocol regions files tasks control machine_file image);

/// The target of that name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|target| target.name == name).copied()
}

/// The program of a target: the fuzzer, or (built without one) a program that
/// runs the inputs in the files it is given.
#[macro_export]
macro_rules! program {
    ($name:ident) => {
        #[cfg(fuzzing)]
        $crate::libfuzzer_sys::fuzz_target!(
            init: $crate::write_seeds(stringify!($name)),
            |data: &[u8]| $crate::$name::run(data)
        );

        #[cfg(not(fuzzing))]
        fn main() -> std::io::Result<()> {
            std::env::args_os().skip(1).try_for_each(|file| Ok($crate::$name::run(&std::fs::read(file)?)))
        }
    };
}

/// Writes a target's seeds to the folder that `FUZZ_SEEDS` names, if it does.
///
/// # Panics
/// If there is no such target, or the seeds cannot be written.
pub fn write_seeds(name: &str) {
    let Some(folder) = std::env::var_os("FUZZ_SEEDS") else { return };
    let seeds = (target(name).expect("a target").seeds)();
    for (number, seed) in seeds.iter().enumerate() {
        let path = Path::new(&folder).join(format!("seed-{number}"));
        std::fs::write(path, seed).expect("the folder for the seeds can be written");
    }
}
