//! Two Linux VMs over virtio-net, the peer that a user would otherwise build,
//! against Cyanea's VMs: on the same QEMU and accelerator, one vCPU each on a
//! processor of its own, in turns with Cyanea's machine.
//!
//! `$BENCH_LINUX` names the folder of what the VMs are made of, which
//! `scripts/bench-linux` fills: `packages` with Debian's kernel and busybox,
//! unpacked, and the program `bench-linux`.
//!
//! * [`initramfs`]: what the VMs start from.
//! * [`vm`]: one of them.
//! * [`same`]: loops and threads in one of them, and on a node.

mod initramfs;
mod same;
mod vm;

use crate::Bench;
use crate::boot;
use crate::machine::numbers;
use crate::messages::{self, Found};
use crate::pipes;
use crate::report::median;
use anyhow::{Context, Result, ensure};
use orchestration::placement::Topology;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use vm::{Boot, Vm};

/// Turns: in each, Cyanea's machine and the two Linux VMs are started anew.
const TURNS: usize = 5;
/// Rounds that the Linux VMs measure in each.
const ROUNDS: usize = 3;
/// Rounds that Cyanea's VMs measure in each.
const CYANEA_ROUNDS: usize = 5;
/// Bytes of a bulk, as the program in the VMs has it.
const BULK_BYTES: f64 = (8 << 20) as f64;

/// What two Linux VMs found, over all turns.
#[derive(Default)]
struct Linux {
    output: String,
    /// Milliseconds from the start of QEMU to the program.
    boot: Vec<f64>,
}

impl Linux {
    /// Nanoseconds that something took.
    fn of(&self, name: &str) -> f64 {
        median(numbers(&self.output, name))
    }

    /// Megabytes a second at which something moved a bulk.
    fn speed(&self, name: &str) -> f64 {
        BULK_BYTES * 1e3 / self.of(name)
    }
}

/// What the VMs start from.
struct Files {
    kernel: PathBuf,
    initramfs: PathBuf,
}

impl Files {
    fn prepare(bench: &Bench) -> Result<Self> {
        let folder = std::env::var_os("BENCH_LINUX").map(PathBuf::from);
        let folder = folder.context("BENCH_LINUX names no folder; start scripts/bench-linux instead")?;
        let packages = folder.join("packages");
        let kernel = first_of(&packages, &["boot"], "vmlinuz")?;
        let initramfs = bench.folder.path().join("initramfs");
        std::fs::write(&initramfs, initramfs::archive(&packages, &folder.join("bench-linux"))?)?;
        Ok(Self { kernel, initramfs })
    }

    fn boot(&self) -> Boot<'_> {
        Boot { kernel: &self.kernel, initramfs: &self.initramfs }
    }
}

/// Measures both.
pub fn virtual_machines(bench: &mut Bench) -> Result<()> {
    let files = Files::prepare(bench)?;
    let (mut linux, mut cyanea) = (Linux::default(), Found::default());
    let (mut main, mut bulk) = (Vec::new(), Vec::new());
    for turn in 1..=TURNS {
        bench.say(&format!("two VMs of Cyanea, two Linux VMs: {turn} of {TURNS}"));
        cyanea.extend(messages::measure(bench, &messages::machine()?, CYANEA_ROUNDS)?);
        main.push(boot::until_main(bench)?);
        bulk.extend(pipes::measure(bench, CYANEA_ROUNDS)?.pipe);
        pair(bench, &files.boot(), &mut linux)?;
    }
    report(bench, &cyanea, (median(main), median(bulk)), &linux);
    Ok(())
}

/// The same source in a VM of each.
pub fn same_source(bench: &mut Bench) -> Result<()> {
    let files = Files::prepare(bench)?;
    same::measure(bench, &files.boot())
}

/// Starts both Linux VMs and takes down what they measure.
fn pair(bench: &Bench, boot: &Boot<'_>, linux: &mut Linux) -> Result<()> {
    let (near, far) = UnixStream::pair()?;
    let processors = Topology::of_host().place(&[(0, 1), (0, 1)]).concat();
    let start = |number: usize, link: UnixStream, arguments: &str| {
        Vm::start(bench, boot, &OwnedFd::from(link), (number, processors[number]), arguments)
    };
    let _follower = start(1, far, "10.0.0.2 follow 10.0.0.2:7000")?;
    let mut leader = start(0, near, &format!("10.0.0.1 lead 10.0.0.2:7000 {ROUNDS}"))?;
    linux.boot.push(leader.await_line("running: 0")?.as_secs_f64() * 1e3);
    leader.await_line("done: 0")?;
    let text = leader.text();
    ensure!(numbers(&text, "tcp-trip").len() == ROUNDS, "the Linux VMs said not all: {text}");
    linux.output.push_str(&text);
    Ok(())
}

/// What is compared with what.
/// `main` in milliseconds, `bulk` in megabytes a second.
fn report(bench: &mut Bench, cyanea: &Found, (main, bulk): (f64, f64), linux: &Linux) {
    let trip = ("two Linux VMs, TCP over virtio-net", linux.of("tcp-trip"));
    let local = ("one Linux VM, Unix socket", linux.of("unix-trip"));
    let report = &mut bench.report;
    let ways = [
        ("64-byte round trip: endpoint, polling", "endpoint"),
        ("64-byte round trip: null RPC, coroutines", "call"),
        ("64-byte round trip: null RPC, program's thread", "thread-call"),
        ("64-byte round trip: null RPC, both asleep", "asleep"),
    ];
    for (name, way) in ways {
        report.compare(name, (cyanea.of(way), "ns"), trip, None);
    }
    let rpc = (cyanea.of("thread-call"), "ns");
    report.compare("null RPC between VMs, program's thread", rpc, local, None);
    let started = ("Linux: to the first user program", median(linux.boot.clone()));
    report.compare("boot: start of QEMU to main", (main, "ms"), started, None);
    let tcp = ("two Linux VMs, TCP over virtio-net", linux.speed("tcp-bulk"));
    report.compare("bulk: pipe between two VMs", (bulk, "MB/s"), tcp, None);
    let copy = ("copy in the same Linux VM", linux.speed("copy"));
    report.compare("bulk: two Linux VMs, TCP over virtio-net", (linux.speed("tcp-bulk"), "MB/s"), copy, None);
}

/// The first file of a folder of the packages whose name starts so.
fn first_of(packages: &Path, folders: &[&str], start: &str) -> Result<PathBuf> {
    let entries = folders.iter().filter_map(|folder| std::fs::read_dir(packages.join(folder)).ok());
    let mut found = entries
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start)));
    found.next().with_context(|| format!("there is no {start} in {}", packages.display()))
}

/// The folder of the kernel's modules.
fn modules(packages: &Path) -> Result<PathBuf> {
    first_of(packages, &["lib/modules", "usr/lib/modules"], "")
}
