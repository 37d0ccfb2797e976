//! What is asked for when a machine is started, and what is told of it.

use crate::host::{Accelerator, AcceleratorError, QemuError};
use crate::image::{ImageError, Images};
use crate::machine_file::Size;
use crate::regions::RegionError;
use crate::vm::Death;
use kernel::protocol::Peer;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::time::Duration;

/// How a machine is to be started.
#[derive(Clone, Debug)]
pub struct Options {
    /// QEMU's program.
    pub qemu: PathBuf,
    /// What runs the VMs' instructions.
    pub accelerator: Accelerator,
    /// What VMs boot where the machine file does not say.
    pub images: Images,
    /// Folder of the VMs' logs, which is made anew.
    pub logs: PathBuf,
    /// How long a VM may take from its start to being ready.
    pub boot_timeout: Duration,
    /// When a VM counts as ready.
    pub readiness: Readiness,
}

impl Options {
    /// The usual ones, with logs in this folder.
    pub fn new(logs: PathBuf) -> Self {
        Self {
            qemu: crate::host::qemu_program(),
            accelerator: Accelerator::choose().0,
            images: Images::find(None),
            logs,
            boot_timeout: Duration::from_secs(30),
            readiness: Readiness::Reported,
        }
    }
}

/// When a VM counts as ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// When [`super::Machine::set_ready`] was called for it.
    Reported,
    /// As soon as its QEMU was spawned: for images that report nothing.
    Spawned,
}

/// Is told how the start goes.
pub trait Progress {
    /// `done` of `total` VMs are ready; `what` is the last one, or what is going on.
    fn step(&self, done: usize, total: usize, what: &str);
}

/// Tells nobody.
impl Progress for () {
    fn step(&self, _: usize, _: usize, _: &str) {}
}

/// Something that happened in a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A VM's QEMU was spawned.
    Started {
        /// Which VM.
        peer: Peer,
        /// Which of its starts, from 1.
        generation: u32,
    },
    /// A VM is ready for work.
    Ready {
        /// Which VM.
        peer: Peer,
        /// Which of its starts.
        generation: u32,
    },
    /// A VM has ended, and everybody was told.
    Died {
        /// Which VM.
        peer: Peer,
        /// Which of its starts.
        generation: u32,
        /// Why.
        death: Death,
        /// The last lines of its console.
        last_lines: Vec<String>,
        /// Whether it will be started again.
        restarts: bool,
    },
    /// All VMs are ready for the first time.
    Up,
    /// The machine did not come up; everything is being ended.
    BootFailed(BootFailure),
    /// All VMs have ended and were reaped: the last event.
    Ended,
}

/// Why a machine did not come up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootFailure {
    /// The VM because of which.
    pub vm: String,
    /// What became of it.
    pub death: Death,
    /// The last lines of its console.
    pub last_lines: Vec<String>,
    /// Where its log is.
    pub log: PathBuf,
}

impl fmt::Display for BootFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.vm, self.death)?;
        if self.last_lines.is_empty() {
            return write!(f, "; it wrote nothing");
        }
        write!(f, "; its last output was (all of it: {}):", self.log.display())?;
        self.last_lines.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// Why a machine cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// QEMU will not do.
    #[error(transparent)]
    Qemu(#[from] QemuError),
    /// What was asked for does not run VMs here.
    #[error(transparent)]
    Accelerator(#[from] AcceleratorError),
    /// An image will not do.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Its regions cannot be made.
    #[error(transparent)]
    Regions(#[from] RegionError),
    /// A port of this host that is to lead into the machine cannot.
    #[error("{address} of this host cannot lead to {node}: {error}; {}", mend_forward(.error))]
    Forward {
        /// Which port, at which address.
        address: SocketAddrV4,
        /// Where it was to lead.
        node: String,
        /// Why it cannot.
        error: io::Error,
    },
    /// The host refuses something.
    #[error("the host refuses what the machine needs: {0}")]
    Host(io::Error),
    /// The client on the launcher's rings cannot be started.
    #[error("the launcher cannot take part in the machine: {0}")]
    Attach(io::Error),
    /// A VM did not come up.
    #[error("the machine did not come up: {0}")]
    Boot(BootFailure),
    /// It was ended while it was starting.
    #[error("the machine was ended while it was starting")]
    Ended,
}

/// What to do about a port of this host that cannot be had.
fn mend_forward(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => "write an address of this host as [vm.net] address",
        io::ErrorKind::PermissionDenied => "forward a port of 1024 or more",
        _ => "end what has this port, or forward another one",
    }
}

/// Why a VM cannot be ended or listened to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KillError {
    /// There is none of this name.
    #[error("this machine has no VM {name:?}; it has {}", known.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// It does not run.
    #[error("{0} does not run")]
    NotRunning(String),
}

/// Why two clusters are not cut off from each other, or that is not ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartitionError {
    /// There is none of this name.
    #[error("this machine has no cluster {name:?}; it has {}", known.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// They are the same.
    #[error("a cluster cannot be cut off from itself; name two")]
    Same,
    /// They share memory.
    #[error(
        "clusters {} and {} share memory, which cannot be cut; declare a virtio-net link between them in the machine file", .0[0], .0[1]
    )]
    Memory([String; 2]),
}

/// What is known of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineStatus {
    /// Its name.
    pub name: String,
    /// The file it was started from.
    pub file: PathBuf,
    /// Process id of its launcher.
    pub launcher: u32,
    /// What runs its VMs' instructions.
    pub accelerator: Accelerator,
    /// Its VMs, by peer id.
    pub vms: Vec<VmStatus>,
}

/// What is known of a VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmStatus {
    /// Its name.
    pub name: String,
    /// Its peer id.
    pub peer: u16,
    /// `node`, or the utility it is an activity of.
    pub role: String,
    /// The name of its cluster.
    pub cluster: String,
    /// `starting`, `ready` or `dead`.
    pub state: String,
    /// Why it is dead.
    pub death: Option<String>,
    /// Which of its starts, from 1.
    pub generation: u32,
    /// Process id of its QEMU, while that runs.
    pub process: Option<u32>,
    /// The processors its cores are pinned to.
    pub processors: Vec<usize>,
    /// Bytes of its memory.
    pub memory: u64,
}

impl VmStatus {
    /// Its memory, to be shown.
    pub fn memory(&self) -> Size {
        Size(self.memory)
    }
}
