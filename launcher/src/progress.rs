//! How a start goes, for a terminal, for a log, or for another process.

use crate::output::complain;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use orchestration::machine::Progress;
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::io::Write;
use std::time::{Duration, Instant};

/// What the launcher left running says to the `up --detach` that waits for it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// So many VMs are ready.
    Step { done: usize, total: usize, what: String },
    /// The machine is up; this is to be said.
    Up(String),
    /// It is not; this is why.
    Failed(String),
}

impl Report {
    /// Writes it as a line to standard output. If nobody reads it, nobody waits.
    pub fn send(&self) {
        if let Ok(line) = serde_json::to_string(self) {
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    }
}

/// Sends each step as a [`Report`].
pub struct Reporter;

impl Progress for Reporter {
    fn step(&self, done: usize, total: usize, what: &str) {
        Report::Step { done, total, what: what.into() }.send();
    }
}

/// A bar on a terminal; elsewhere a line whenever a second has passed.
pub struct Shown {
    bar: ProgressBar,
    last: Cell<Instant>,
}

impl Shown {
    pub fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{bar:24} {pos}/{len} VMs ready {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, last: Cell::new(Instant::now()) }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Shown {
    fn step(&self, done: usize, total: usize, what: &str) {
        if !self.bar.is_hidden() {
            self.bar.set_length(total as u64);
            self.bar.set_position(done as u64);
            self.bar.set_message(what.to_owned());
        } else if self.last.get().elapsed() >= Duration::from_secs(1) {
            self.last.set(Instant::now());
            complain(format_args!("{done} of {total} VMs ready ({what})"));
        }
    }
}
