//! The program on the host: a task force of one.

use std::process::ExitCode;

fn main() -> ExitCode {
    webserver::main()
}
