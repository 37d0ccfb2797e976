//! The control socket of a running machine: how `cyanea ps` and the others
//! reach it.
//!
//! One connection carries one command: a [`Request`] as one line of JSON, then
//! [`Reply`] lines until one that is final. Only the same user may connect. A
//! client that goes away while its command runs is noticed
//! ([`Replies::is_gone`]).
//!
//! `run`, `cp`, `ls`, `ps --channels` and `ps --clocks` are commands to the operating system in the
//! machine: whoever is its client on the launcher's rings implements
//! [`Services`].

mod bytes;
mod client;
mod server;
#[cfg(test)]
mod tests;

pub use client::{Client, ControlError};
pub use kernel::protocol::monitor::Clock;
pub use server::{ControlServer, Replies};

use crate::distance::Calibration;
use crate::machine::MachineStatus;
use kernel::protocol::tasks::Program;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// A command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// What is known of the machine; answered by `Machine`.
    Ps,
    /// Ends a VM at once.
    Kill {
        /// Its name.
        vm: String,
    },
    /// Cuts two clusters off from each other.
    Partition {
        /// Their names.
        clusters: [String; 2],
    },
    /// Ends that.
    Heal {
        /// Their names.
        clusters: [String; 2],
    },
    /// A VM's log; answered by `Line`s.
    Logs {
        /// Its name.
        vm: String,
        /// Whether to go on with lines as they come.
        follow: bool,
    },
    /// Ends the machine; answered when all of it is gone.
    Down,
    /// Runs a program; answered by `Output`s, then `Exited`.
    Run(Run),
    /// Copies a file or a tree; answered by `Progress` and a `Line`.
    Copy {
        /// Where it is.
        from: Location,
        /// Where it shall be.
        to: Location,
    },
    /// Makes messages cost what the machine's file says; answered by `Calibrated`.
    Calibrate,
    /// What has passed through the machine's channels; answered by `Channels`.
    Channels,
    /// What the VMs know of their clocks; answered by `Clocks`.
    Clocks,
    /// Lists a directory; answered by `Entries`.
    List {
        /// An absolute path in the machine.
        path: String,
    },
}

/// A program to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Its name.
    pub program: String,
    /// What it is given, without its own name.
    pub arguments: Vec<String>,
    /// How many activities it has.
    pub activities: u16,
}

impl Run {
    /// It, as `tasks` knows it.
    pub fn program(&self) -> Program {
        Program { name: self.program.clone(), arguments: self.arguments.clone() }
    }

    /// Whether `tasks` would refuse it, whatever the nodes carry.
    ///
    /// # Errors
    /// Why.
    pub fn check(&self) -> Result<(), ServiceError> {
        self.program().check(self.activities).map_err(|refusal| ServiceError(refusal.to_string()))
    }
}

/// One side of a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Location {
    /// An absolute path on the host.
    Host(PathBuf),
    /// An absolute path in the machine.
    Machine(String),
}

/// A part of the answer to a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// A line for people: of a log, or what became of a copy.
    Line(String),
    /// Something a program wrote.
    Output {
        /// Which of its activities.
        index: u16,
        /// 1: standard output, 2: standard error.
        fd: u8,
        /// What: each byte is the character of that number.
        #[serde(with = "bytes")]
        bytes: Vec<u8>,
    },
    /// How far something that takes long has come.
    Progress {
        /// What is done, in bytes.
        done: u64,
        /// What there is to do, in bytes.
        total: u64,
    },
    /// What is known of the machine.
    Machine(MachineStatus),
    /// What distances cost before, and now.
    Calibrated(Calibration),
    /// What has passed through the machine's channels.
    Channels(Channels),
    /// What the VMs know of their clocks.
    Clocks(Clocks),
    /// Names in a directory, or what one name is.
    Entries(Vec<Entry>),
    /// Final: it is done.
    Done,
    /// Final: the program ended.
    Exited {
        /// The code that the command shall end with.
        code: u8,
        /// What is to be said of it, if anything.
        message: Option<String>,
    },
    /// Final: it cannot be done.
    Failed {
        /// Why, and how to mend it.
        message: String,
    },
}

impl Reply {
    /// Whether nothing follows.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Done | Self::Exited { .. } | Self::Failed { .. })
    }
}

/// A name in a directory of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The name, without its directory.
    pub name: String,
    /// Whether it is a directory.
    pub directory: bool,
    /// What it stands for, if it is a symbolic link.
    pub link: Option<String>,
    /// Bytes in it.
    pub size: u64,
    /// When it was changed, nanoseconds since 1970.
    pub modified_ns: u64,
}

/// What has passed through the channels of a machine, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channels {
    /// Both ends of each channel, as the VM at that end counts.
    pub channels: Vec<ChannelStatus>,
    /// Living VMs that did not answer in time: their ends are missing.
    pub silent: Vec<String>,
}

/// One end of a channel, since its VM started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelStatus {
    /// The VM whose end it is.
    pub vm: String,
    /// The VM at the other end.
    pub peer: String,
    /// Messages sent.
    pub sent: u64,
    /// Bytes of these, headers included.
    pub sent_bytes: u64,
    /// Messages received.
    pub received: u64,
    /// Bytes of these, headers included.
    pub received_bytes: u64,
    /// Doorbells rung for the peer.
    pub doorbells: u64,
    /// Messages that did not go out at once.
    pub delayed: u64,
    /// Times that a message was not taken because too many waited.
    pub would_block: u64,
    /// Messages that were not completely sent when the peer died.
    pub dropped: u64,
    /// Incarnations of the peer that ended.
    pub deaths: u64,
    /// What of the peer's made no sense, by name, and how often.
    pub errors: BTreeMap<String, u64>,
}

/// What VMs know of their clocks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clocks {
    /// Those of the VMs that answered.
    pub clocks: Vec<ClockStatus>,
    /// Living VMs that did not answer in time.
    pub silent: Vec<String>,
}

/// What a VM knows of its clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockStatus {
    /// The VM.
    pub vm: String,
    /// What it told.
    #[serde(flatten)]
    pub clock: Clock,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The code that the command shall end with: 0 if every activity ended well.
    pub code: u8,
    /// What is to be said of it, if anything.
    pub message: Option<String>,
}

/// Why a service does not do what it was asked for: one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceError(pub String);

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ServiceError {}

/// What the operating system in the machine does for commands. Each call comes
/// on a thread of its own and may take as long as it takes.
pub trait Services: Send + Sync {
    /// Runs a program, sends its output, and says how it ended. If the client
    /// is gone ([`Replies::is_gone`]), the task force is to be ended.
    fn run(&self, run: &Run, replies: &Replies) -> Result<Outcome, ServiceError>;

    /// Copies a file or a tree between host and machine.
    fn copy(&self, from: &Location, to: &Location, replies: &Replies) -> Result<(), ServiceError>;

    /// Measures what messages cost, and adds to them what the file asks for.
    fn calibrate(&self) -> Result<Calibration, ServiceError>;

    /// Lists a directory.
    fn list(&self, path: &str) -> Result<Vec<Entry>, ServiceError>;

    /// What has passed through the channels. Takes bounded time.
    fn channels(&self) -> Channels;

    /// What VMs know of their clocks. Takes bounded time.
    fn clocks(&self) -> Clocks;
}
