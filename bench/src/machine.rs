//! Machines in this process, and through the `cyanea` command: what it costs
//! to bring one up, to have one, and to have a larger one.

use crate::Bench;
use crate::bare::{self, Then};
use crate::report::median;
use crate::usage::{self, Memory};
use anyhow::{Context, Result, bail, ensure};
use kernel::protocol::tasks::Program;
use orchestration::client::Client;
use orchestration::image::Images;
use orchestration::machine::{Machine, Options, Readiness};
use orchestration::machine_file::MachineFile;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Runs of what is timed.
const RUNS: usize = 5;
/// How long VMs are left alone before they count as idle.
const SETTLE: Duration = Duration::from_millis(700);
/// How long idle VMs are watched.
const WATCH: Duration = Duration::from_secs(5);

/// A machine in this process, with a client on its rings.
pub struct Up {
    /// The client; it goes first.
    pub client: Client,
    /// The machine.
    pub machine: Machine,
}

impl Up {
    /// Starts a machine of this text, whose nodes boot `node`.
    pub fn start(bench: &Bench, text: &str, node: &str) -> Result<Self> {
        Self::start_file(bench, &MachineFile::parse("bench.toml".as_ref(), text)?, node)
    }

    /// Starts the machine of this file, whose nodes boot `node`.
    pub fn start_file(bench: &Bench, file: &MachineFile, node: &str) -> Result<Self> {
        let images = Images { node: bench.images.join(node), utility: bench.images.join("utility") };
        Self::start_with(bench, file, images, Readiness::Reported)
    }

    fn start_with(bench: &Bench, file: &MachineFile, images: Images, readiness: Readiness) -> Result<Self> {
        let mut options = Options::new(bench.folder.path().join("logs"));
        options.images = images;
        options.readiness = readiness;
        let (machine, client) = Machine::start(file, options, &(), Client::join)?;
        Ok(Self { client, machine })
    }

    /// The processes of its VMs.
    pub fn processes(&self) -> Vec<u32> {
        self.machine.vms().iter().filter_map(|vm| vm.process).collect()
    }

    /// Runs a program on one activity and returns what it wrote.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        self.run_on(1, program, arguments)
    }

    /// Runs a program on so many activities and returns what they wrote.
    pub fn run_on(&self, activities: u16, program: &str, arguments: &[&str]) -> Result<String> {
        let arguments = arguments.iter().map(|&argument| argument.into()).collect();
        let started = self.client.start(Program { name: program.into(), arguments }, activities)?;
        let mut output = Vec::new();
        let task_force = started.finish(|part| output.extend(part.bytes), || false)?.task_force;
        let output = String::from_utf8_lossy(&output).into_owned();
        ensure!(task_force.failure().is_none(), "{program} failed: {output}");
        Ok(output)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.machine.shutdown();
    }
}

/// The numbers in lines `name: number`.
pub fn numbers(output: &str, name: &str) -> Vec<f64> {
    let number = |line: &str| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok();
    output.lines().filter_map(number).collect()
}

/// A machine of so many VMs, four of which are utilities'.
pub fn file_of(vms: usize) -> String {
    let nodes = (vms - 4) / 2;
    format!("name = \"bench\"\n[clusters.a]\nnodes = {nodes}\n[clusters.b]\nnodes = {nodes}\n")
}

/// `cyanea up` to all VMs ready, as whoever types it sees it.
pub fn up(bench: &mut Bench) -> Result<()> {
    let (mut eight, mut many) = (Vec::new(), Vec::new());
    for run in 1..=RUNS {
        bench.say(&format!("cyanea up, 8 and 32 VMs: run {run} of {RUNS}"));
        eight.push(up_once(bench, 8)?);
        many.push(up_once(bench, 32)?);
    }
    bench.report.limit("boot: cyanea up, 8 VMs ready", (median(eight), "s"), 0.5);
    bench.report.limit("boot: cyanea up, 32 VMs ready", (median(many), "s"), 2.0);
    Ok(())
}

fn up_once(bench: &Bench, vms: usize) -> Result<f64> {
    let file = bench.folder.path().join(format!("up-{vms}.toml"));
    std::fs::write(&file, file_of(vms))?;
    let cyanea = |arguments: &[&str]| -> Result<()> {
        let mut command = Command::new(&bench.cyanea);
        command
            .args(arguments)
            .env("CYANEA_STATE", bench.folder.path().join("state"))
            .env("CYANEA_IMAGES", &bench.images);
        let output = command.stdin(Stdio::null()).output().context("the cyanea command cannot be run")?;
        if !output.status.success() {
            bail!("cyanea {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    };
    let start = Instant::now();
    cyanea(&["up", &file.to_string_lossy(), "--detach"])?;
    let spent = start.elapsed();
    cyanea(&["down", "--machine", "bench"])?;
    Ok(spent.as_secs_f64())
}

/// What a machine uses per VM.
struct PerVm {
    /// Processor time from start to ready, in milliseconds.
    boot: f64,
    /// Processor time of this process, as its launcher, meanwhile.
    launcher: f64,
    memory: Memory,
}

/// Starts a machine, and takes stock when it idles.
fn stock(bench: &Bench, vms: usize) -> Result<(PerVm, Up)> {
    let own = std::process::id();
    let before = usage::processor_time(own)?;
    let up = Up::start(bench, &file_of(vms), "node")?;
    let launcher = usage::processor_time(own)?.saturating_sub(before);
    let processes = up.processes();
    let boot: Duration =
        processes.iter().map(|&process| usage::processor_time(process)).sum::<Result<_>>()?;
    std::thread::sleep(SETTLE);
    let memory = memory_per_vm(&processes)?;
    let per_vm = |time: Duration| time.as_secs_f64() * 1e3 / vms as f64;
    Ok((PerVm { boot: per_vm(boot), launcher: per_vm(launcher), memory }, up))
}

fn memory_per_vm(processes: &[u32]) -> Result<Memory> {
    let mut sum = Memory::default();
    for &process in processes {
        let one = usage::memory(process)?;
        sum.all += one.all;
        sum.without_files += one.without_files;
    }
    let count = processes.len() as u64;
    Ok(Memory { all: sum.all / count, without_files: sum.without_files / count })
}

/// The memory of as many bare VMs with the same devices.
fn bare_memory(bench: &Bench, vms: usize) -> Result<Memory> {
    let image: PathBuf = bench.folder.path().join("bare-halt");
    std::fs::write(&image, bare::image(Then::Halt))?;
    let images = Images { node: image.clone(), utility: image };
    let file = MachineFile::parse("bench.toml".as_ref(), &file_of(vms))?;
    let up = Up::start_with(bench, &file, images, Readiness::Spawned)?;
    std::thread::sleep(SETTLE);
    memory_per_vm(&up.processes())
}

/// Memory and processor time of idle machines, and what a larger one costs.
pub fn idle(bench: &mut Bench) -> Result<()> {
    const MIB: f64 = 1024.0 * 1024.0;
    let (mut small, mut large, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    let (mut idle8, mut idle32) = (f64::NAN, f64::NAN);
    for run in 1..=RUNS {
        bench.say(&format!("machines of 8 and 32 VMs: run {run} of {RUNS}"));
        let (stock8, up) = stock(bench, 8)?;
        if run == 1 {
            bench.say("8 idle VMs");
            idle8 = idle_share(&up)?;
        }
        drop(up);
        bare.push(bare_memory(bench, 8)?);
        let (stock32, up) = stock(bench, 32)?;
        if run == 1 {
            bench.say("32 idle VMs");
            idle32 = idle_share(&up)?;
        }
        drop(up);
        small.push(stock8);
        large.push(stock32);
    }
    let of = |list: &[PerVm], what: &dyn Fn(&PerVm) -> f64| median(list.iter().map(what).collect());
    let bare = median(bare.iter().map(|memory| memory.all as f64).collect()) / MIB;
    let all = of(&small, &|vm| vm.memory.all as f64) / MIB;
    let report = &mut bench.report;
    report.compare("memory: PSS of a VM of 8", (all, "MiB"), ("bare QEMU, same devices", bare), None);
    report.limit("memory: PSS of a VM beyond bare QEMU's", (all - bare, "MiB"), 4.0);
    let without = |vm: &PerVm| vm.memory.without_files as f64 / 1024.0;
    let per_peer = |what: &dyn Fn(&PerVm) -> f64| (of(&large, what) - of(&small, what)) / 24.0;
    report.limit("memory: of a VM, per peer (8 to 32 VMs)", (per_peer(&without), "KiB"), 64.0);
    let boot = |vm: &PerVm| vm.boot;
    report.compare(
        "boot: processor time of a VM of 32",
        (of(&large, &boot), "ms"),
        ("of a VM of 8", of(&small, &boot)),
        None,
    );
    report.limit("boot: processor time of a VM, per peer", (per_peer(&boot), "ms"), 1.0);
    let launcher = |vm: &PerVm| vm.launcher;
    report.compare(
        "boot: launcher's time per VM of 32",
        (of(&large, &launcher), "ms"),
        ("per VM of 8", of(&small, &launcher)),
        None,
    );
    report.limit("idle: processor time of 8 VMs and launcher", (idle8, "% core"), 1.0);
    report.limit("idle: processor time of 32 VMs and launcher", (idle32, "% core"), 1.0);
    Ok(())
}

/// Percent of a core that an idle machine and its launcher use.
fn idle_share(up: &Up) -> Result<f64> {
    let processes = up.processes();
    let (start, before) = (Instant::now(), usage::processor_time_of_all(&processes)?);
    std::thread::sleep(WATCH);
    let used = usage::processor_time_of_all(&processes)?.saturating_sub(before);
    Ok(used.as_secs_f64() / start.elapsed().as_secs_f64() * 100.0)
}
