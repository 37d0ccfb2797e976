//! What commands ask of the operating system in the machine.

use super::files::{Copied, Listed};
use super::run::Finished;
use super::{Client, Output};
use crate::control::{
    Channels, Clocks, Entry, Location, Outcome, Replies, Reply, Run, ServiceError, Services,
};
use crate::distance::Calibration;
use kernel::protocol::files::FileKind;
use kernel::protocol::tasks::{Activity, End};
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How often a copy says how far it is.
const STEP: Duration = Duration::from_millis(100);

fn failed(error: impl ToString) -> ServiceError {
    ServiceError(error.to_string())
}

impl Services for Client {
    fn run(&self, run: &Run, replies: &Replies) -> Result<Outcome, ServiceError> {
        let started = self.start(run.program(), run.activities).map_err(failed)?;
        let take = |Output { index, fd, bytes }| {
            // Whether the client is gone is looked at below.
            let _ = replies.send(&Reply::Output { index, fd, bytes });
        };
        let finished = started.finish(take, || replies.is_gone()).map_err(failed)?;
        Ok(self.outcome(&finished))
    }

    fn copy(&self, from: &Location, to: &Location, replies: &Replies) -> Result<(), ServiceError> {
        let last = Mutex::new(Instant::now());
        let progress = |copied: Copied| {
            let mut last = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if last.elapsed() >= STEP {
                *last = Instant::now();
                // If the client is gone, the files that are under way are finished, and no more.
                return replies.progress(copied.bytes, copied.total);
            }
            ControlFlow::Continue(())
        };
        let copied = match (from, to) {
            (Location::Host(from), Location::Machine(to)) => self.copy_in(from, to.as_bytes(), &progress),
            (Location::Machine(from), Location::Host(to)) => self.copy_out(from.as_bytes(), to, &progress),
            _ => {
                return Err(ServiceError(
                    "one side of a copy is on the host, the other in the machine".into(),
                ));
            }
        };
        let copied = copied.map_err(failed)?;
        let Copied { files, directories, bytes, skipped, .. } = copied;
        let mut said = format!("copied {files} files, {bytes} bytes, {directories} directories");
        if skipped > 0 {
            said += &format!("; passed over {skipped} (links to directories or to nothing, devices)");
        }
        // If nobody listens any more, the copy stands all the same.
        let _ = replies.send(&Reply::Line(said));
        Ok(())
    }

    fn calibrate(&self) -> Result<Calibration, ServiceError> {
        Client::calibrate(self).map_err(failed)
    }

    fn list(&self, path: &str) -> Result<Vec<Entry>, ServiceError> {
        let listed = Client::list(self, path.as_bytes()).map_err(failed)?;
        Ok(listed.into_iter().map(entry).collect())
    }

    fn channels(&self) -> Channels {
        Client::channels(self)
    }

    fn clocks(&self) -> Clocks {
        Client::clocks(self)
    }
}

fn entry(Listed { entry, status, link }: Listed) -> Entry {
    Entry {
        name: String::from_utf8_lossy(&entry.name).into_owned(),
        directory: status.kind == FileKind::Directory,
        link: link.map(|target| String::from_utf8_lossy(&target).into_owned()),
        size: status.size,
        modified_ns: status.modified_ns,
    }
}

impl Client {
    /// How a task force ended, as `cyanea run` says it.
    fn outcome(&self, Finished { task_force, faults }: &Finished) -> Outcome {
        let Some((index, activity, end)) = task_force.failure() else {
            return Outcome { code: 0, message: None };
        };
        let program = &task_force.program.name;
        let message = match end {
            End::NodeDied => self.node_died(program, index, activity),
            End::Killed => format!("{program} was ended"),
            End::Faulted(kind) => {
                let fault = faults.get(&(index as u16, activity.node));
                let who = format!("{program}: activity {index}");
                match fault {
                    Some(fault) => fault.told(&who, self.node(activity)),
                    // Its report got lost with its VM, or comes from one that does not keep to the protocol.
                    None => format!("{who} on {}: {kind}", self.node(activity)),
                }
            }
            End::Exited(code) => {
                format!("{program}: activity {index} exited with code {code} on {}", self.node(activity))
            }
        };
        let code = match end {
            // What the program says, as far as a process can say it.
            End::Exited(code) => u8::try_from(code & 0xff).ok().filter(|&code| code != 0).unwrap_or(1),
            End::Faulted(kind) => kind.exit_code(),
            _ => 1,
        };
        Outcome { code, message: Some(message) }
    }

    fn node_died(&self, program: &str, index: usize, activity: Activity) -> String {
        let told = format!("{program}: activity {index} died with its node {}", self.node(activity));
        let Some((death, lines)) = self.last_words.of(activity.node) else { return told };
        let said: String = lines.iter().map(|line| format!("\n  {line}")).collect();
        format!("{told}, which {death}:{said}")
    }

    fn node(&self, activity: Activity) -> &str {
        self.messenger.membership().name(activity.node.peer)
    }
}
