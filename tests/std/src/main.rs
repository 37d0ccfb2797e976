//! `std-suite PROGRAM DIRECTORY`: a program of the suite on the host.

use std::process::ExitCode;
use std_suite::PROGRAMS;

fn main() -> ExitCode {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    match PROGRAMS.iter().find(|program| program.name == wanted) {
        Some(program) => std::process::exit((program.main)()),
        None => {
            let names: Vec<_> = PROGRAMS.iter().map(|program| program.name).collect();
            eprintln!("usage: std-suite PROGRAM DIRECTORY, with one of {}", names.join(", "));
            ExitCode::from(2)
        }
    }
}
