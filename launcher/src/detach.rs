//! `cyanea up --detach`: leaves a launcher running in a session of its own.
//!
//! The command starts itself again with `--report`, relays what that says, and
//! ends when the machine is up. Until then the other one dies with this one,
//! however this one ends.

use crate::arguments::Up;
use crate::output::say;
use crate::progress::{Report, Shown};
use anyhow::{Context, Result, bail};
use orchestration::machine::Progress;
use rustix::process::{Signal, getppid, set_parent_process_death_signal, setsid};
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// In the command: starts the other launcher and waits until its machine is up.
pub fn start(up: &Up) -> Result<u8> {
    let executable = std::env::current_exe().context("cannot find this command's own file")?;
    let mut command = Command::new(executable);
    command.args(["up", "--report"]);
    command.args(["--boot-timeout", &up.boot_timeout.to_string()]);
    if let Some(accelerator) = up.accel {
        command.args(["--accel", &accelerator.to_string()]);
    }
    if let Some(images) = &up.images {
        command.arg("--images").arg(images);
    }
    if let Some(name) = &up.name {
        command.args(["--name", name]);
    }
    if up.no_wait {
        command.arg("--no-wait");
    }
    command.arg("--").arg(&up.file);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command.env("CYANEA_DETACHED_FROM", std::process::id().to_string());
    let mut child = command.spawn().context("cannot start the launcher that stays")?;
    let reports = BufReader::new(child.stdout.take().context("the launcher that stays has no output")?);
    let shown = Shown::new();
    for line in reports.lines() {
        match serde_json::from_str(&line?)? {
            Report::Step { done, total, what } => shown.step(done, total, &what),
            Report::Up(message) => {
                shown.finish();
                say(message)?;
                return Ok(0);
            }
            Report::Failed(message) => {
                shown.finish();
                let _ = child.wait();
                bail!(message);
            }
        }
    }
    shown.finish();
    bail!("the launcher ended before its machine was up ({})", child.wait()?);
}

/// In the launcher that stays, before it does anything: a session of its own,
/// and it ends if the command that waits for it does.
pub fn arrive() -> Result<()> {
    let _ = setsid();
    set_parent_process_death_signal(Some(Signal::TERM))?;
    let parent = std::env::var("CYANEA_DETACHED_FROM").ok().and_then(|id| id.parse().ok());
    if parent.is_some() && parent != getppid().map(|id| id.as_raw_nonzero().get()) {
        bail!("the command that started this launcher is gone");
    }
    Ok(())
}

/// In the launcher that stays, once its machine is up: lives on by itself.
pub fn let_go(message: &str) -> Result<()> {
    set_parent_process_death_signal(None)?;
    Report::Up(message.into()).send();
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    std::env::set_current_dir("/").context("cannot leave the current folder")
}
