//! One of the two Linux VMs: its QEMU, and what it says on its console.
//!
//! It is a `q35`, not the microvm that Cyanea's VMs are: a microvm has no clock
//! to calibrate the processor's time stamp counter by but the PIT, and under TCG
//! on shared processors Linux fails at that now and then and stops for good.
//! `tsc=reliable` lets it keep that counter as its clock, the fastest it has.

use crate::Bench;
use anyhow::{Context, Result, bail};
use orchestration::vm::{Process, pin_vcpus};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::ffi::OsString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest that a VM may take to say all.
const PATIENCE: Duration = Duration::from_secs(90);
/// Longest that QEMU may take to have the thread that is pinned.
const PINNING: Duration = Duration::from_secs(5);
/// Memory: enough for kernel and initramfs.
const MEMORY: &str = "256M";

/// What is the same for both.
pub struct Boot<'a> {
    /// The kernel's image.
    pub kernel: &'a Path,
    /// The initramfs.
    pub initramfs: &'a Path,
}

/// A VM that runs; it ends with this value.
pub struct Vm {
    process: Process,
    start: Instant,
    said: Vec<u8>,
}

impl Vm {
    /// Starts a VM whose network is `link` and whose `init` gets `arguments`:
    /// its own address, then what to run.
    pub fn start(
        bench: &Bench,
        boot: &Boot<'_>,
        link: &OwnedFd,
        (number, processor): (usize, usize),
        arguments: &str,
    ) -> Result<Self> {
        let start = Instant::now();
        let line = format!("console=ttyS0 quiet loglevel=1 panic=-1 tsc=reliable -- {arguments}");
        let options = [
            format!("-nodefaults -no-user-config -no-reboot -name linux-{number},debug-threads=on -M q35"),
            format!("-accel {} -cpu max -smp 1,maxcpus=2 -m {MEMORY}", accelerator(bench)),
            "-display none -chardev stdio,id=console,signal=off -serial chardev:console".into(),
            format!("-netdev socket,id=link,fd={}", link.as_raw_fd()),
            format!("-device virtio-net-pci,netdev=link,romfile=,mac=52:54:00:00:00:{number:02x}"),
        ];
        let mut list: Vec<OsString> =
            options.iter().flat_map(|part| part.split(' ')).map(OsString::from).collect();
        list.extend(["-kernel".into(), boot.kernel.into(), "-initrd".into(), boot.initramfs.into()]);
        list.extend(["-append".into(), line.into()]);
        let process = Process::spawn(&bench.qemu, &list, vec![link.as_raw_fd()])
            .with_context(|| format!("{} cannot be started", bench.qemu.display()))?;
        while !pin_vcpus(process.id(), &[processor]) && start.elapsed() < PINNING {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Self { process, start, said: Vec::new() })
    }

    /// Waits until it has said `line`; how long that is from its start.
    pub fn await_line(&mut self, line: &str) -> Result<Duration> {
        while !self.text().lines().any(|said| said.trim_end() == line) {
            let left = PATIENCE.saturating_sub(self.start.elapsed());
            if left.is_zero() {
                bail!(
                    "a Linux VM did not say \"{line}\" in {} s; it said: {}",
                    PATIENCE.as_secs(),
                    self.text()
                );
            }
            let Some(output) = self.process.output(0) else {
                bail!(
                    "a Linux VM ended before it said \"{line}\"; it said: {}{}",
                    self.text(),
                    self.complaint()
                );
            };
            let timeout = Timespec::try_from(left)?;
            let mut readable = [PollFd::from_borrowed_fd(output, PollFlags::IN)];
            poll(&mut readable, Some(&timeout))?;
            let said = &mut self.said;
            self.process.drain(0, |bytes| said.extend(bytes));
        }
        Ok(self.start.elapsed())
    }

    /// All that it has said.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.said).into_owned()
    }

    /// What QEMU itself says.
    fn complaint(&mut self) -> String {
        let mut complaint = Vec::new();
        self.process.drain(1, |bytes| complaint.extend(bytes));
        String::from_utf8_lossy(&complaint).into_owned()
    }
}

/// As Cyanea's, but with room for a whole kernel's translated code.
fn accelerator(bench: &Bench) -> &'static str {
    match bench.accelerator {
        orchestration::host::Accelerator::Kvm => "kvm",
        orchestration::host::Accelerator::Tcg => "tcg,thread=multi",
    }
}
