//! The `cyanea` command: a thin face on [`orchestration`].
//!
//! Exit codes: 0 fine, 1 failure, 2 usage; `run` ends with its program's code.
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod arguments;
mod calibrate;
mod channels;
mod check;
mod client;
mod clocks;
mod detach;
mod doctor;
mod output;
mod progress;
mod project;
mod up;

use arguments::{Arguments, Command};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match dispatch(arguments.command) {
        Ok(code) => ExitCode::from(code),
        Err(error) if error.is::<output::Closed>() => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(format_args!("cyanea: {error:#}"));
            ExitCode::from(1)
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::New(new) => project::create(&new),
        Command::Build(build) => project::build(&build),
        Command::Check(check) => check::run(&check),
        Command::Up(up) if up.detach => detach::start(&up),
        Command::Up(up) => up::run(&up),
        Command::Run(run) => client::run(&run),
        Command::Calibrate(calibrate) => calibrate::run(&calibrate),
        Command::Cp(cp) => client::copy(&cp),
        Command::Ls(ls) => client::list(&ls),
        Command::Ps(ps) if ps.channels => channels::show(&ps),
        Command::Ps(ps) if ps.clocks => clocks::show(&ps),
        Command::Ps(ps) => client::ps(&ps),
        Command::Logs(logs) => client::logs(&logs),
        Command::Kill(kill) => client::kill(&kill),
        Command::Partition(partition) => client::partition(&partition),
        Command::Heal(heal) => client::heal(&heal),
        Command::Down(down) => client::down(&down),
        Command::Doctor(doctor) => doctor::run(&doctor),
    }
}
