//! One QEMU: spawned with exactly the descriptors it is due, watched through a
//! pidfd, and never outliving the thread that spawned it.

use super::Death;
use crate::sys;
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A QEMU that runs, or has ended and is not yet reaped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pidfd: OwnedFd,
    /// The VM's console and QEMU's own complaints; `None` once at their end.
    outputs: [Option<OwnedFd>; 2],
}

impl Process {
    /// Spawns QEMU. It dies with the calling thread, gets `descriptors` under
    /// their own numbers and no other, and no signals from our terminal.
    pub fn spawn(program: &Path, arguments: &[OsString], descriptors: Vec<RawFd>) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        sys::bind_child(&mut command, descriptors);
        let mut child = command.spawn()?;
        let outputs = [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)];
        let process = Pid::from_raw(child.id() as i32).ok_or(rustix::io::Errno::SRCH)?;
        let pidfd = match pidfd_open(process, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(error.into());
            }
        };
        let process = Self { child, pidfd, outputs };
        for output in process.outputs.iter().flatten() {
            fcntl_setfl(output, OFlags::NONBLOCK)?;
        }
        Ok(process)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks the host to end it at once; that it has is seen through its pidfd.
    pub fn kill(&self) {
        // Fails only if it has ended already.
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Why it ended, if it has; it is then reaped.
    pub fn try_reap(&mut self) -> Option<Death> {
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(Death::of(status)),
            // Somebody else reaped our child: gone all the same.
            Err(_) => Some(Death::Signal(0)),
        }
    }

    /// Readable once it has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Output 0 is the VM's console, 1 is QEMU's own complaints.
    pub fn output(&self, index: usize) -> Option<BorrowedFd<'_>> {
        self.outputs[index].as_ref().map(AsFd::as_fd)
    }

    /// Hands what an output has now to `take`, without waiting.
    pub fn drain(&mut self, index: usize, mut take: impl FnMut(&[u8])) {
        let mut buffer = [0; 4096];
        while let Some(output) = &self.outputs[index] {
            match rustix::io::read(output, &mut buffer[..]) {
                Ok(0) => self.outputs[index] = None,
                Ok(count) => take(&buffer[..count]),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return,
                Err(_) => self.outputs[index] = None,
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

/// Pins the threads that run the vCPUs of QEMU process `id` to processors, one
/// each. `false`: QEMU has not made all of these threads yet.
pub fn pin_vcpus(id: u32, processors: &[usize]) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{id}/task")) else { return false };
    let mut pinned = 0;
    for thread in threads.flatten() {
        let name = std::fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        let Some(&processor) = vcpu(&name).and_then(|vcpu| processors.get(vcpu)) else { continue };
        let thread = thread.file_name().to_str().and_then(|id| id.parse().ok()).and_then(Pid::from_raw);
        let mut set = CpuSet::new();
        if processor < CpuSet::MAX_CPU {
            set.set(processor);
        }
        // A processor that may not be used, or a thread that is gone: the VM
        // runs on as well without.
        let _ = thread.map(|thread| sched_setaffinity(Some(thread), &set));
        pinned += 1;
    }
    pinned == processors.len()
}

/// Which vCPU the thread of this name runs: QEMU calls them `CPU 0/TCG`.
fn vcpu(name: &str) -> Option<usize> {
    name.strip_prefix("CPU ")?.split_once('/')?.0.parse().ok()
}
