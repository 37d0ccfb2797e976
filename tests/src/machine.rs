//! A machine that is up, and what must be left when it ends: nothing.

use crate::command::{Ended, Running, signal_process};
use crate::host::Host;
use crate::{is_qemu, wait_until};
use rustix::process::Signal;
use serde_json::Value;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Two clusters of two nodes, and an activity of each utility in both: 8 VMs.
pub const TWO_CLUSTERS: &str = "[clusters.a]\nnodes = 2\n[clusters.b]\nnodes = 2\n";

/// A VM as `ps --json` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vm {
    /// Its name.
    pub name: String,
    /// `starting`, `ready` or `dead`.
    pub state: String,
    /// Which of its starts.
    pub generation: u64,
    /// Its peer id.
    pub peer: u64,
    /// Its QEMU, while that runs.
    pub process: Option<u32>,
}

/// A machine that is up. When it is dropped, it is ended, and no QEMU of it may
/// be left; if its test has failed, what its VMs said last is shown.
pub struct Machine {
    /// Whose machine it is.
    pub host: Arc<Host>,
    name: String,
    launcher: Option<Running>,
    qemus: Mutex<Vec<u32>>,
}

impl Machine {
    /// Brings up a machine of this description, for a user of its own.
    pub fn up(description: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("m{}", COUNT.fetch_add(1, Ordering::Relaxed));
        Self::up_as(&Arc::new(Host::new()), &name, description)
    }

    /// Brings up a machine of this name.
    pub fn up_as(host: &Arc<Host>, name: &str, description: &str) -> Self {
        Self::up_from(host, name, &host.machine_file(name, description))
    }

    /// Brings up a machine of this description whose nodes boot this image.
    pub fn up_with(node: &str, description: &str) -> Self {
        let (host, name) = (Arc::new(Host::new()), "m");
        Self::up_from(&host, name, &host.machine_file_with(name, description, node))
    }

    fn up_from(host: &Arc<Host>, name: &str, file: &Path) -> Self {
        let mut launcher = host.start(&["up", file.to_str().expect("the path is ours")]);
        launcher.wait_for("VMs up in");
        let machine =
            Self { host: host.clone(), name: name.into(), launcher: Some(launcher), qemus: Mutex::default() };
        assert!(machine.vms().iter().all(|vm| vm.state == "ready"), "{:?}", machine.vms());
        machine
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts a command (its first word) to it.
    pub fn start(&self, words: &[&str]) -> Running {
        self.host.start(&[&[words[0], "--machine", &self.name], &words[1..]].concat())
    }

    /// Calls a command to it and waits for its end.
    pub fn call(&self, words: &[&str]) -> Ended {
        self.start(words).end()
    }

    /// Runs a program; what it wrote, if it ended well.
    pub fn run(&self, activities: usize, words: &[&str]) -> String {
        self.start_program(activities, words).end().well()
    }

    /// Starts a program.
    pub fn start_program(&self, activities: usize, words: &[&str]) -> Running {
        let activities = activities.to_string();
        self.start(&[&["run", "--activities", &activities], words].concat())
    }

    /// Its VMs.
    pub fn vms(&self) -> Vec<Vm> {
        let told: Value = serde_json::from_str(&self.call(&["ps", "--json"]).well()).expect("JSON");
        let vms: Vec<Vm> = told["vms"].as_array().expect("a list of VMs").iter().map(vm).collect();
        let mut qemus = lock(&self.qemus);
        qemus.extend(vms.iter().filter_map(|vm| vm.process));
        qemus.sort_unstable();
        qemus.dedup();
        vms
    }

    /// The VM of this name.
    pub fn vm(&self, name: &str) -> Vm {
        self.vms().into_iter().find(|vm| vm.name == name).unwrap_or_else(|| panic!("no VM {name}"))
    }

    /// Every QEMU that it is known to have had.
    pub fn qemus(&self) -> Vec<u32> {
        self.vms();
        lock(&self.qemus).clone()
    }

    /// A VM's QEMU, to be killed without the launcher's help.
    pub fn qemu(&self, vm: &str) -> u32 {
        self.vm(vm).process.unwrap_or_else(|| panic!("{vm} does not run"))
    }

    /// Waits until the VMs have nothing to do: a fifth of a second in which
    /// none of them used a tenth of that time.
    pub fn wait_until_idle(&self) {
        let used = || self.vms().iter().filter_map(|vm| vm.process).map(ticks).collect::<Vec<_>>();
        wait_until("every VM is idle", || {
            let before = used();
            std::thread::sleep(Duration::from_millis(200));
            before.iter().zip(used()).all(|(before, after)| after - before <= 2)
        });
    }

    /// Kills a VM (SIGKILL to its QEMU) and waits until the launcher knows.
    pub fn kill(&self, vm: &str) {
        signal_process(self.qemu(vm), Signal::KILL);
        wait_until(&format!("{vm} is known to be dead"), || self.vm(vm).state == "dead");
    }

    /// The launcher, to be sent signals.
    pub fn launcher(&self) -> &Running {
        self.launcher.as_ref().expect("it has not been waited for")
    }

    /// Waits until the launcher has ended, however that comes; then no QEMU may be left.
    pub fn end(mut self) -> Ended {
        let ended = self.launcher.take().expect("it is waited for once").end();
        self.leaves_no_qemu();
        ended
    }

    fn leaves_no_qemu(&self) {
        let qemus = lock(&self.qemus);
        wait_until("every QEMU is gone", || !qemus.iter().any(|&id| is_qemu(id)));
    }

    /// What its VMs said last.
    fn last_words(&self) -> String {
        let mut words = String::new();
        let logs = fs::read_dir(self.host.state(&self.name).join("logs"));
        for log in logs.into_iter().flatten().flatten() {
            let text = fs::read_to_string(log.path()).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            for line in &lines[lines.len().saturating_sub(8)..] {
                words += &format!("  {}: {line}\n", log.file_name().to_string_lossy());
            }
        }
        words
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let Some(launcher) = self.launcher.take() else { return };
        if std::thread::panicking() {
            eprintln!("{}: the last lines of its VMs:\n{}", self.name, self.last_words());
            return;
        }
        self.call(&["down"]).well();
        launcher.end().well();
        self.leaves_no_qemu();
    }
}

fn vm(told: &Value) -> Vm {
    let text = |key: &str| told[key].as_str().unwrap_or_default().to_string();
    Vm {
        name: text("name"),
        state: text("state"),
        generation: told["generation"].as_u64().expect("a number"),
        peer: told["peer"].as_u64().expect("a number"),
        process: told["process"].as_u64().map(|id| id as u32),
    }
}

/// Processor time that a process has used, in hundredths of a second.
fn ticks(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name, in parentheses, may hold anything; user and system time come 11 words after the state.
    let numbers: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split(' ').collect();
    numbers.get(12..14).map_or(0, |times| times.iter().filter_map(|time| time.parse::<u64>().ok()).sum())
}

fn lock(qemus: &Mutex<Vec<u32>>) -> MutexGuard<'_, Vec<u32>> {
    qemus.lock().unwrap_or_else(PoisonError::into_inner)
}
