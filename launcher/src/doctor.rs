//! `cyanea doctor`: what this host has for building programs and running
//! machines, and what to mend.

use crate::arguments::Doctor;
use crate::output::{put, say};
use anyhow::Result;
use orchestration::host::{self, Accelerator};
use orchestration::image::Images;
use orchestration::machine_file::Size;
use orchestration::placement::Topology;
use orchestration::project::{ProjectError, Tree};
use orchestration::state_directory::StateDirectory;
use serde::Serialize;

/// Memory below which no machine of any size starts.
const LITTLE_MEMORY: Size = Size::mebibytes(512);
/// Open files below which a machine of 16 VMs does not start.
const FEW_FILES: u64 = 512;

/// One thing that was looked at.
#[derive(Serialize)]
struct Finding {
    /// What.
    what: &'static str,
    /// Whether it will do.
    ok: bool,
    /// What was found, or how to mend it.
    found: String,
}

impl Finding {
    fn new<T: ToString, E: ToString>(what: &'static str, result: std::result::Result<T, E>) -> Self {
        match result {
            Ok(found) => Self { what, ok: true, found: found.to_string() },
            Err(mend) => Self { what, ok: false, found: mend.to_string() },
        }
    }
}

/// Exit code 0 if machines can run here and programs can be built, else 1.
pub fn run(doctor: &Doctor) -> Result<u8> {
    let findings = look(doctor);
    if doctor.json {
        say(serde_json::to_string_pretty(&findings)?)?;
    } else {
        let line = |finding: &Finding| {
            let mark = if finding.ok { "ok  " } else { "MEND" };
            format!("{mark}  {:12} {}\n", finding.what, finding.found)
        };
        put(findings.iter().map(line).collect::<String>().as_bytes())?;
    }
    Ok(u8::from(findings.iter().any(|finding| !finding.ok)))
}

fn look(doctor: &Doctor) -> Vec<Finding> {
    let program = host::qemu_program();
    let qemu = host::check_qemu(&program).map(|version| format!("{} {version}", program.display()));
    let (accelerator, why) = Accelerator::choose();
    let topology = Topology::of_host();
    let cores = format!("{} on {} NUMA node(s)", topology.processors(), topology.numa_nodes());
    let images = Images::find(doctor.images.as_deref());
    let present = format!("{}, {}", images.node.display(), images.utility.display());
    vec![
        Finding::new("qemu", qemu),
        Finding::new("accelerator", Ok::<_, String>(format!("{accelerator}: {why}"))),
        Finding::new("processors", Ok::<_, String>(cores)),
        Finding::new("memory", memory()),
        Finding::new("open files", open_files()),
        Finding::new("images", images.check().map(|()| present)),
        Finding::new("programs", programs()),
        Finding::new("state", StateDirectory::locate().map(|state| state.root().display().to_string())),
    ]
}

/// What `cyanea build` builds with.
fn programs() -> std::result::Result<String, ProjectError> {
    let tree = Tree::find()?;
    let found = tree.toolchain()?;
    let compiler = found.lines().find_map(|line| line.strip_prefix("RUSTC=")).unwrap_or_default();
    Ok(format!("built by {compiler}, with the sources in {}", tree.root().display()))
}

fn memory() -> std::result::Result<String, String> {
    match host::available_memory() {
        Some(free) if free < LITTLE_MEMORY => {
            Err(format!("{free} free, too little for most machines; end something else"))
        }
        Some(free) => Ok(format!("{free} free")),
        None => Ok("unknown".into()),
    }
}

fn open_files() -> std::result::Result<String, String> {
    match host::most_open_files() {
        Some(most) if most < FEW_FILES => {
            Err(format!("at most {most}, too few for larger machines; raise the hard limit (ulimit -Hn)"))
        }
        Some(most) => Ok(format!("at most {most}")),
        None => Ok("no limit".into()),
    }
}
