//! An OS node: the programs it carries, and their activities.
//!
//! A node image is a crate of a few lines:
//!
//! ```ignore
//! fn main() {
//!     node::main(&[node::program!(wordcount)])
//! }
//! ```
//!
//! * [`program`]: what an image carries.
//! * [`activities`]: the activities on this node, from start to end.
//! * [`activity`]: one activity; its ends of pipes and what it writes.
//! * [`ends`]: the ends of pipes that an activity holds, and who may send to them.
//! * [`binary`]: images that are ordinary binaries, with a `main` of their own.
//! * [`service`]: the node's pipe.
//! * [`faults`]: what ended an activity, in the words of its report.
//! * [`descriptors`]: what an activity has open; [`counter`]: one such thing.
//! * [`sockets`]: the node's IP stack.
//! * [`files`]: `std::fs` as requests to the `files` utility.
//! * [`guest`]: the `cyanea` crate's calls.
#![deny(unsafe_code)]
#![feature(alloc_error_hook, process_exitcode_internals)]
#![expect(internal_features, reason = "nothing else tells the number of an ExitCode")]

mod activities;
mod activity;
mod binary;
mod counter;
mod descriptors;
mod ends;
mod faults;
mod files;
mod guest;
mod program;
mod service;
mod sockets;

pub use program::{Program, run};

use activities::Activities;
use descriptors::Descriptors;
use files::Files;
use std::sync::Arc;

/// What every image carries, behind its own programs: the launcher calibrates by it.
const BUILT_IN: &[Program] = &[program!(distance)];

/// What a node image's `main` does: joins the machine, and runs the activities
/// that `tasks` places here, until the machine ends.
///
/// Every activity begins with a copy of the programs' statics as they are now:
/// what a `main` has put there before must own nothing, on the heap or else.
pub fn main(programs: &[Program]) -> ! {
    let messenger = vm::join();
    let descriptors = Arc::new(Descriptors::default());
    let files = Arc::new(Files::new(messenger.clone(), descriptors.clone()));
    let programs = [programs, BUILT_IN].concat();
    let activities = Activities::new(messenger.clone(), descriptors.clone(), programs);
    let node = guest::Node::new(activities.clone(), files, descriptors);
    let node: &'static guest::Node = Box::leak(Box::new(node));
    runtime::system::install(node);
    cyanea::install(node);
    do_not_gather_output();
    faults::listen();
    service::start(&messenger, activities);
    vm::serve(messenger)
}

/// Makes `std` hand on at once what programs print: one that panics or is ended
/// would take with it what was gathered, and activities begin with a copy of
/// what `std` has here, so it must own nothing.
///
/// After `process::exit` a buffer would not be flushed any more, so `std` does
/// away with it there; the activity of the thread that calls it here is none.
fn do_not_gather_output() {
    let others = runtime::thread::count();
    // The stack that `std` would choose it would remember, also for activities.
    let thread = std::thread::Builder::new().stack_size(64 * 1024);
    let started = thread.spawn(|| {
        runtime::thread::set_activity(activities::OVER);
        std::process::exit(0)
    });
    drop(started.expect("there is memory at boot"));
    while runtime::thread::count() > others {
        std::thread::yield_now();
    }
}

/// Names a program that an image carries: `program!(wordcount)` is the crate
/// `wordcount` with its function `main`.
#[macro_export]
macro_rules! program {
    ($crate_name:ident) => {
        $crate::Program::new(stringify!($crate_name), || $crate::run($crate_name::main))
    };
    ($name:literal, $main:expr) => {
        $crate::Program::new($name, || $crate::run($main))
    };
}
