//! `std::process`: there is one process, and it ends with a code.
//!
//! (`process::id` panics on a node: `std`'s port has no numbers for processes.)

use crate::{Outcome, say, tell};
use std::io::Write;
use std::process::{self, Command, ExitCode, Stdio, Termination};

pub fn main() -> Outcome {
    tell("no such program", Command::new("/std-suite-nothing").spawn().map(|_| ()));
    tell("its output", Command::new("/std-suite-nothing").stdin(Stdio::null()).output().map(|_| ()));
    say("codes", (ExitCode::SUCCESS.report() == ExitCode::SUCCESS, ExitCode::from(3) == ExitCode::FAILURE));
    print!("no end of line before the end");
    std::io::stdout().flush()?;
    println!();
    let held = Held;
    say("the code is to be", 42);
    process::exit(if std::hint::black_box(true) { 42 } else { held.code() })
}

/// Whose destructor does not run when the process exits.
struct Held;

impl Held {
    fn code(&self) -> i32 {
        1
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        println!("destructors run at exit: true");
    }
}
