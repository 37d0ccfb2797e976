//! The commands to a running machine.

use crate::arguments::{Cp, Down, Heal, Kill, Logs, Ls, Partition, Ps, Run, Target};
use crate::output::{complain, put, say};
use crate::project;
use anyhow::{Context, Result, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};
use orchestration::control::{self, Client, Entry, Location, Reply, Request};
use orchestration::machine::MachineStatus;
use orchestration::machine_file::{Size, check_name};
use orchestration::state_directory::StateDirectory;
use orchestration::vm::console;
use std::io::{self, Write};
use std::path::Path;

/// Sends a request to the machine that is meant. Returns the command's exit
/// code; a failure is an error.
pub fn request(target: &Target, request: &Request, take: impl FnMut(Reply) -> Result<()>) -> Result<u8> {
    let state = StateDirectory::locate()?;
    let name = match target.given()? {
        Some(name) => name.into(),
        None => only(state.running())?,
    };
    match Client::connect(&state.folder(&name))?.request(request, take)? {
        Reply::Failed { message } => bail!(message),
        Reply::Exited { code, message } => {
            if let Some(message) = message {
                complain(format_args!("cyanea: {message}"));
            }
            Ok(code)
        }
        _ => Ok(0),
    }
}

/// Sends a request that one reply answers; what `pick` finds in that.
pub fn ask<T>(target: &Target, wanted: &Request, pick: impl Fn(Reply) -> Option<T>) -> Result<T> {
    let mut found = None;
    request(target, wanted, |reply| {
        found = pick(reply).or(found.take());
        Ok(())
    })?;
    found.ok_or_else(|| anyhow!("the machine did not say what it was asked for"))
}

/// Sends a request that nothing answers but that it is done.
fn order(target: &Target, wanted: &Request) -> Result<u8> {
    request(target, wanted, |_| Ok(()))
}

/// The only machine that is up.
fn only(mut running: Vec<String>) -> Result<String> {
    match (running.pop(), running.is_empty()) {
        (None, _) => bail!("no machine is up; `cyanea up FILE` starts one"),
        (Some(name), true) => Ok(name),
        (Some(last), false) => {
            bail!("several machines are up ({}, {last}); say which with --machine NAME", running.join(", "))
        }
    }
}

impl Target {
    /// The machine that is named, if one is.
    ///
    /// # Errors
    /// One sentence, if no machine can be called so.
    pub fn given(&self) -> Result<Option<&str>> {
        let Some(name) = &self.machine else { return Ok(None) };
        // An empty variable is none.
        if name.is_empty() && std::env::var_os("CYANEA_MACHINE").is_some_and(|given| given.is_empty()) {
            return Ok(None);
        }
        check_name("a machine", name).map_err(anyhow::Error::msg)?;
        Ok(Some(name))
    }
}

pub fn run(run: &Run) -> Result<u8> {
    let (activities, words) = run.split().map_err(anyhow::Error::msg)?;
    let mut words = words.into_iter();
    let program = words.next().unwrap_or_else(|| ".".into());
    let wanted = control::Run { program, arguments: words.collect(), activities };
    match (project::is_folder(&wanted.program), &run.bin) {
        (true, bin) => project::run(&run.target, bin.as_deref(), wanted),
        (false, None) => run_program(&run.target, wanted),
        (false, Some(_)) => bail!("--bin is for a crate's folder, and {:?} is none", wanted.program),
    }
}

/// Runs a program that the machine carries; its exit code.
pub fn run_program(target: &Target, program: control::Run) -> Result<u8> {
    request(target, &Request::Run(program), |reply| {
        match reply {
            Reply::Output { fd: 2, bytes, .. } => {
                let _ = io::stderr().write_all(&bytes);
            }
            Reply::Output { bytes, .. } => put(&bytes)?,
            _ => {}
        }
        Ok(())
    })
}

pub fn copy(cp: &Cp) -> Result<u8> {
    let (from, to) = (location(&cp.from)?, location(&cp.to)?);
    match (&from, &to) {
        (Location::Host(_), Location::Host(_)) => {
            bail!("both sides are on the host; use the host's own cp, or leave host: away on one side")
        }
        (Location::Machine(_), Location::Machine(_)) => {
            bail!("both sides are in the machine; write host:PATH for the one on the host")
        }
        _ => {}
    }
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{bar:24} {bytes}/{total_bytes} {bytes_per_sec}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let mut said = String::new();
    let code = request(&cp.target, &Request::Copy { from, to }, |reply| {
        match reply {
            Reply::Progress { done, total } => {
                bar.set_length(total);
                bar.set_position(done);
            }
            Reply::Line(line) => said = line,
            _ => {}
        }
        Ok(())
    });
    bar.finish_and_clear();
    let code = code?;
    say(said)?;
    Ok(code)
}

/// One side of a copy. Paths on the host become absolute, for the launcher has
/// another current folder; so do paths in the machine, whose root is meant.
fn location(text: &str) -> Result<Location> {
    match text.strip_prefix("host:") {
        Some("") | None if text.trim_start_matches("host:").is_empty() => {
            bail!("{text:?} names no file; write a path in the machine, or host:PATH")
        }
        Some(path) => {
            let path = std::path::absolute(Path::new(path));
            Ok(Location::Host(
                path.with_context(|| format!("{text} cannot be found from the current folder"))?,
            ))
        }
        None => Ok(Location::Machine(in_machine(text))),
    }
}

/// A path in the machine, from its root.
fn in_machine(path: &str) -> String {
    if path.starts_with('/') { path.into() } else { format!("/{path}") }
}

pub fn list(ls: &Ls) -> Result<u8> {
    let path = in_machine(&ls.path);
    let mut found = ask(&ls.target, &Request::List { path }, |reply| match reply {
        Reply::Entries(entries) => Some(entries),
        _ => None,
    })?;
    found.sort_by(|a, b| a.name.cmp(&b.name));
    put(entries(&found, ls.json)?.as_bytes())?;
    Ok(0)
}

fn entries(found: &[Entry], json: bool) -> Result<String> {
    if json {
        return Ok(serde_json::to_string_pretty(found)? + "\n");
    }
    let line = |entry: &Entry| {
        let mark = match &entry.link {
            Some(target) => format!(" -> {}", visible(target)),
            None if entry.directory => "/".into(),
            None => String::new(),
        };
        format!("{:>12}  {}{mark}\n", entry.size, visible(&entry.name))
    };
    Ok(found.iter().map(line).collect())
}

/// A name in one line, which does nothing to a terminal: programs may call files anything.
fn visible(name: &str) -> String {
    let shown = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
    name.chars().map(shown).collect()
}

pub fn ps(ps: &Ps) -> Result<u8> {
    let machine = ask(&ps.target, &Request::Ps, |reply| match reply {
        Reply::Machine(machine) => Some(machine),
        _ => None,
    })?;
    let text = if ps.json {
        serde_json::to_string_pretty(&machine)?
            + "
"
    } else {
        table(&machine)
    };
    put(text.as_bytes())?;
    Ok(0)
}

/// A line for each VM.
fn table(machine: &MachineStatus) -> String {
    let mut rows =
        vec![["VM", "CLUSTER", "STATE", "GENERATION", "PROCESS", "CPU", "MEMORY"].map(String::from)];
    for vm in &machine.vms {
        rows.push([
            vm.name.clone(),
            vm.cluster.clone(),
            vm.death.as_ref().map_or(vm.state.clone(), |death| format!("{}: {death}", vm.state)),
            vm.generation.to_string(),
            vm.process.map_or("-".into(), |process| process.to_string()),
            vm.processors.iter().map(usize::to_string).collect::<Vec<_>>().join(","),
            Size(vm.memory).to_string(),
        ]);
    }
    aligned(&rows)
}

/// Rows as lines whose columns stand below each other.
pub fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let mut text = String::new();
    let widths: [usize; COLUMNS] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0));
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text += line.trim_end();
        text += "\n";
    }
    text
}

/// Of a machine that is named and not up: what its VMs wrote when it was.
pub fn logs(logs: &Logs) -> Result<u8> {
    if let Some(name) = logs.target.given()? {
        let folder = StateDirectory::locate()?.folder(name);
        let log = folder.logs().join(format!("{}.log", logs.vm));
        let is_one = !logs.vm.contains('/') && log.is_file();
        if is_one && !folder.is_up() {
            put(console::read(&log).as_bytes())?;
            return Ok(0);
        }
    }
    let wanted = Request::Logs { vm: logs.vm.clone(), follow: logs.follow };
    request(&logs.target, &wanted, |reply| match reply {
        Reply::Line(line) => say(line),
        _ => Ok(()),
    })
}

pub fn kill(kill: &Kill) -> Result<u8> {
    order(&kill.target, &Request::Kill { vm: kill.vm.clone() })
}

pub fn partition(Partition { clusters }: &Partition) -> Result<u8> {
    order(&clusters.target, &Request::Partition { clusters: clusters.names() })
}

pub fn heal(Heal { clusters }: &Heal) -> Result<u8> {
    order(&clusters.target, &Request::Heal { clusters: clusters.names() })
}

pub fn down(down: &Down) -> Result<u8> {
    order(&down.target, &Request::Down)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_machine_is_meant_when_there_is_one() {
        assert_eq!(only(vec!["m".into()]).unwrap(), "m");
        let none = only(vec![]).unwrap_err().to_string();
        assert_eq!(none, "no machine is up; `cyanea up FILE` starts one");
        let several = only(vec!["a".into(), "b".into()]).unwrap_err().to_string();
        assert_eq!(several, "several machines are up (a, b); say which with --machine NAME");
    }

    #[test]
    fn a_name_is_one_line_and_harmless() {
        assert_eq!(visible("größe \"1\".txt"), "größe \"1\".txt");
        assert_eq!(visible("a\nb\x1b[2J"), "a\\nb\\u{1b}[2J");
    }

    #[test]
    fn sides_of_a_copy_are_told_apart() {
        assert_eq!(location("/books").unwrap(), Location::Machine("/books".into()));
        assert_eq!(location("books").unwrap(), Location::Machine("/books".into()));
        assert_eq!(location("host:/tmp/x").unwrap(), Location::Host("/tmp/x".into()));
        let Location::Host(path) = location("host:x").unwrap() else { panic!() };
        assert!(path.is_absolute());
        assert!(location("host:").is_err() && location("").is_err());
    }
}
