//! What Cyanea costs, as ratios to what was measured beside it: `make bench`.
//!
//! `bench CYANEA IMAGES RESULTS [PART...]` measures with this `cyanea` command and
//! this folder of images, prints a line for each thing measured, and writes all
//! of them to RESULTS. A limit that is missed is said and is no failure; only
//! what cannot be measured is one. PARTs are names of parts, by default all.
//!
//! * [`ring`]: the ring between host threads.
//! * [`boot`]: one VM to `main`; [`bare`]: the image that it is compared with.
//! * [`machine`]: `up`, memory, idleness, what peers cost.
//! * [`messages`]: round trips between VMs.
//! * [`pipes`]: bulk through pipes.
//! * [`files`]: reading, copying in, and the death of a server.
//! * [`usage`]: what processes use; [`report`]: lines and JSON.
#![forbid(unsafe_code)]

mod bare;
mod boot;
mod files;
mod machine;
mod messages;
mod pipes;
mod report;
mod ring;
mod usage;

use anyhow::{Context, Result, bail};
use orchestration::host::{self, Accelerator};
use report::Report;
use std::path::PathBuf;
use std::time::Instant;

/// What all measurements need.
pub struct Bench {
    cyanea: PathBuf,
    images: PathBuf,
    qemu: PathBuf,
    accelerator: Accelerator,
    /// For everything that is made on the way.
    folder: tempfile::TempDir,
    report: Report,
    start: Instant,
}

impl Bench {
    /// Says what is going on.
    fn say(&self, what: &str) {
        eprintln!("bench: {:5.1} s  {what}", self.start.elapsed().as_secs_f64());
    }

    /// The accelerator as QEMU's option has it, with the launcher's settings.
    fn accelerator(&self) -> &'static str {
        match self.accelerator {
            Accelerator::Kvm => "kvm",
            Accelerator::Tcg => "tcg,thread=multi,tb-size=8",
        }
    }
}

type Part = (&'static str, fn(&mut Bench) -> Result<()>);

const PARTS: [Part; 7] = [
    ("ring", ring::host_threads),
    ("boot", boot::one_vm),
    ("up", machine::up),
    ("idle", machine::idle),
    ("messages", messages::round_trips),
    ("pipes", pipes::bulk),
    ("files", files::files),
];

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let mut next = |what: &str| arguments.next().with_context(|| format!("{what} is missing"));
    let (cyanea, images, results) =
        (next("the cyanea command")?, next("the folder of images")?, next("the file for results")?);
    let wanted: Vec<String> = arguments.map(|part| part.to_string_lossy().into_owned()).collect();
    if let Some(unknown) = wanted.iter().find(|part| PARTS.iter().all(|(name, _)| name != part)) {
        let known: Vec<&str> = PARTS.iter().map(|(name, _)| *name).collect();
        bail!("there is no part {unknown:?}; there are {}", known.join(", "));
    }
    let qemu = host::qemu_program();
    host::check_qemu(&qemu)?;
    let mut bench = Bench {
        cyanea,
        images,
        qemu,
        accelerator: Accelerator::choose().0,
        folder: tempfile::tempdir().context("there is no place for temporary files")?,
        report: Report::default(),
        start: Instant::now(),
    };
    println!("{}", report::header());
    for (name, part) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            part(&mut bench).with_context(|| format!("{name} cannot be measured"))?;
        }
    }
    bench.report.write(&results)?;
    let (limits, missed) = bench.report.limits();
    println!("bench: {} of {limits} limits kept; {}", limits - missed, results.display());
    Ok(())
}
