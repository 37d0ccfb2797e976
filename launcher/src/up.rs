//! `cyanea up`: a machine in the foreground, from its start to its end.

use crate::arguments::Up;
use crate::output::{complain, say};
use crate::progress::{Report, Reporter, Shown};
use anyhow::Result;
use orchestration::client::Client;
use orchestration::control::Services;
use orchestration::image::Images;
use orchestration::machine::{Event, Machine, Options, Progress, Readiness};
use orchestration::machine_file::MachineFile;
use orchestration::session::{Interrupt, Session, SessionError, Stop};
use orchestration::state_directory::StateDirectory;
use orchestration::vm::Death;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Starts the client of the machine's operating system on the launcher's
/// rings; what it returns serves `run`, `cp` and `ls`.
fn attach(machine: &Machine) -> io::Result<Arc<dyn Services>> {
    Ok(Arc::new(Client::join(machine)?))
}

pub fn run(up: &Up) -> Result<u8> {
    if up.report {
        crate::detach::arrive()?;
    }
    let interrupt = Interrupt::default();
    end_on_signals(interrupt.clone())?;
    let (session, message) = match start(up, &interrupt) {
        Ok(started) => started,
        Err(error) if up.report => {
            Report::Failed(format!("{error:#}")).send();
            return Ok(1);
        }
        Err(error) => return Err(error),
    };
    if up.report {
        crate::detach::let_go(&message)?;
    } else {
        // If nobody reads it, the machine is up all the same.
        let _ = say(&message);
        report_deaths(session.machine());
    }
    let stop = session.wait();
    if matches!(stop, Stop::Interrupted) && !up.report {
        complain(format_args!("{}: ending", session.machine().file().name));
    }
    session.end(stop);
    Ok(0)
}

/// Starts the machine; what is to be said of that comes with it.
fn start(up: &Up, interrupt: &Interrupt) -> Result<(Session, String)> {
    let started = Instant::now();
    let mut file = MachineFile::load(&up.file)?;
    if let Some(name) = &up.name {
        file = file.named(name).map_err(anyhow::Error::msg)?;
    }
    let state = StateDirectory::locate()?;
    let mut options = Options::new(state.folder(&file.name).logs());
    options.images = Images::find(up.images.as_deref());
    options.boot_timeout = Duration::from_secs_f64(up.boot_timeout);
    if let Some(accelerator) = up.accel {
        options.accelerator = accelerator;
    }
    if up.no_wait {
        options.readiness = Readiness::Spawned;
    }
    let (session, calibrated) = match up.report {
        true => bring_up(&file, &state, options, &Reporter, interrupt)?,
        false => {
            let shown = Shown::new();
            let up = bring_up(&file, &state, options, &shown, interrupt);
            shown.finish();
            up?
        }
    };
    let (count, took) = (file.vms.len(), started.elapsed().as_secs_f64());
    Ok((session, format!("{}: {count} VMs up in {took:.1} s{calibrated}", file.name)))
}

/// Starts a machine, and calibrates it where its file asks for that; what is to
/// be said of that comes with it.
pub fn bring_up(
    file: &MachineFile,
    state: &StateDirectory,
    options: Options,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<(Session, String), SessionError> {
    // Images that report nothing run no program either.
    let calibrates = file.locality.is_some() && options.readiness != Readiness::Spawned;
    let session = Session::start(file, state, options, progress, interrupt, attach)?;
    let calibrated = if calibrates { calibrate(file, progress) } else { String::new() };
    Ok((session, calibrated))
}

/// Calibrates a machine whose file asks for distance. If that fails, it runs as
/// well, at the distances that the host has.
fn calibrate(file: &MachineFile, progress: &dyn Progress) -> String {
    let (started, count) = (Instant::now(), file.vms.len());
    progress.step(count, count, "calibrating distances");
    match crate::calibrate::at_start(&file.name) {
        Ok(calibration) => {
            let percent = (calibration.off_by() - 1.0) * 100.0;
            format!(", distances within {percent:.0} % in {:.1} s", started.elapsed().as_secs_f64())
        }
        Err(error) => {
            format!("; its distances are not calibrated ({error:#}), `cyanea calibrate` tries again")
        }
    }
}

/// Ctrl-C, SIGTERM and a closed terminal (unless that was to be ignored) end the
/// machine; a second one while it is ending changes nothing, for ending takes no
/// time to speak of.
pub fn end_on_signals(interrupt: Interrupt) -> Result<()> {
    let hang_up = (!is_ignored(SIGHUP)).then_some(SIGHUP);
    let mut signals = Signals::new([SIGINT, SIGTERM].into_iter().chain(hang_up))?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for _ in signals.forever() {
            interrupt.trigger();
        }
    })?;
    Ok(())
}

/// Whether whoever called this command wants it to ignore a signal, as nohup does.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask >> (signal - 1) & 1 != 0)
}

/// Says which VMs die, with the last they wrote, and which are back.
pub fn report_deaths(machine: &Machine) {
    let (events, membership) = (machine.events(), machine.membership().clone());
    let report = move || {
        for event in events {
            match event {
                Event::Died { death: Death::MachineEnded, .. } => {}
                Event::Died { peer, death, last_lines, restarts, .. } => {
                    let next = if restarts { "; it starts again" } else { "" };
                    complain(format_args!("{} {death}{next}", membership.name(peer)));
                    last_lines.iter().for_each(|line| complain(format_args!("  {line}")));
                }
                Event::Ready { peer, generation } => {
                    let name = membership.name(peer);
                    complain(format_args!("{name} is ready again (generation {generation})"));
                }
                _ => {}
            }
        }
    };
    // Without it the machine runs as well; `cyanea ps` tells.
    let _ = std::thread::Builder::new().name("report".into()).spawn(report);
}
