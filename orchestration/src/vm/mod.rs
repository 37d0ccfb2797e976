//! One VM: its QEMU, its console, its life.
//!
//! ```text
//!                  set_ready
//!   ┌──► Starting ───────────► Ready
//!   │       │                    │
//!   │       │ QEMU ends, or      │ QEMU ends
//!   │       ▼ is not ready in time ▼
//!   └──── Dead(reason) ◄─────────┘
//!    restart = "always": the next generation
//! ```
//!
//! * *Starting*: QEMU has been spawned; messages to the VM wait in its rings.
//! * *Ready*: the VM said that it is ready for work.
//! * *Dead*: QEMU has ended and was reaped. Every way out of a life goes through
//!   the end of the process: killing a VM only asks for it.
//!
//! Each life has a generation, counted from 1. Only the thread of
//! [`crate::machine`] that owns all VMs changes any of this.

pub mod arguments;
pub mod console;
pub mod forwards;
mod process;

pub use process::{Process, pin_vcpus};

use ivshmem::exit::ExitCode;
use ivshmem::layout::LifeState;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

/// Where a VM is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Spawned, not yet ready for work.
    Starting,
    /// Ready for work.
    Ready,
    /// Ended.
    Dead(Death),
}

impl State {
    /// What the liveness table says of it.
    pub fn life(&self) -> LifeState {
        match self {
            Self::Starting => LifeState::Starting,
            Self::Ready => LifeState::Ready,
            Self::Dead(_) => LifeState::Dead,
        }
    }
}

/// Why a VM is dead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Death {
    /// It ended itself because it was asked to or had nothing more to do.
    Shutdown,
    /// Its image panicked.
    Panicked,
    /// A processor exception that no activity owned.
    Fault,
    /// It ran out of memory.
    OutOfMemory,
    /// It refused a region or device.
    Refused,
    /// QEMU ended by itself with this status: its options, or the host, do not suit it.
    Qemu(i32),
    /// QEMU was ended by this signal, from somewhere else.
    Signal(i32),
    /// QEMU could not be spawned.
    NotSpawned(String),
    /// It was not ready in time, and was ended.
    NotReady(Duration),
    /// `kill` was asked for.
    Killed,
    /// The machine was ended.
    MachineEnded,
}

impl Death {
    /// Why a process that ended by itself did.
    pub fn of(status: ExitStatus) -> Self {
        match (status.code().map(|code| (code, ExitCode::from_status(code))), status.signal()) {
            (Some((_, Some(ExitCode::Shutdown))), _) => Self::Shutdown,
            (Some((_, Some(ExitCode::Panic))), _) => Self::Panicked,
            (Some((_, Some(ExitCode::Fault))), _) => Self::Fault,
            (Some((_, Some(ExitCode::OutOfMemory))), _) => Self::OutOfMemory,
            (Some((_, Some(ExitCode::Refused))), _) => Self::Refused,
            (Some((code, None)), _) => Self::Qemu(code),
            (None, signal) => Self::Signal(signal.unwrap_or(0)),
        }
    }
}

impl fmt::Display for Death {
    /// Completes a sentence that starts with the VM's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shutdown => write!(f, "shut down"),
            Self::Panicked => write!(f, "panicked"),
            Self::Fault => write!(f, "died of a processor exception"),
            Self::OutOfMemory => write!(f, "ran out of memory"),
            Self::Refused => write!(f, "refused a region or device it does not know"),
            Self::Qemu(0) => write!(f, "was reset or powered off"),
            Self::Qemu(status) => write!(f, "ended because QEMU failed with status {status}"),
            Self::Signal(signal) => write!(f, "ended because QEMU was ended by signal {signal}"),
            Self::NotSpawned(error) => write!(f, "could not be started: {error}"),
            Self::NotReady(after) => write!(f, "was not ready within {} s", after.as_secs_f32()),
            Self::Killed => write!(f, "was killed"),
            Self::MachineEnded => write!(f, "ended with the machine"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_statuses_are_told_apart() {
        let exit = |code: i32| Death::of(ExitStatus::from_raw(code << 8));
        assert_eq!(exit(0x10 << 1 | 1), Death::Shutdown);
        assert_eq!(exit(0x11 << 1 | 1), Death::Panicked);
        assert_eq!(exit(0x14 << 1 | 1), Death::Refused);
        assert_eq!(exit(1), Death::Qemu(1));
        assert_eq!(exit(0), Death::Qemu(0));
        assert_eq!(Death::of(ExitStatus::from_raw(9)), Death::Signal(9));
    }
}
