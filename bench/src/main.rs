//! What Cyanea costs, as ratios to what was measured beside it: `make bench`.
//!
//! `bench CYANEA IMAGES RESULTS [PART...]` measures with this `cyanea` command and
//! this folder of images, prints a line for each thing measured, and writes all
//! of them to RESULTS. A limit that is missed is said and is no failure; only
//! what cannot be measured is one. PARTs are names of parts, by default all.
//!
//! * [`ring`]: the ring between host threads; [`rivals`]: what else there is;
//!   [`threads`]: the two threads.
//! * [`image`]: what an image takes, and what of it.
//! * [`boot`]: one VM to `main`; [`bare`]: the image that it is compared with.
//! * [`machine`]: `up`, memory, idleness, what peers cost.
//! * [`clock`]: how far the clocks of VMs are from each other.
//! * [`sleep`]: how late a sleep ends.
//! * [`messages`]: round trips between VMs.
//! * [`pipes`]: bulk through pipes.
//! * [`distance`]: what messages cost at a distance, of what they shall.
//! * [`talkers`]: many VMs talking at once, and two among many.
//! * [`linux`]: two Linux VMs beside them; only where it is asked for.
//! * [`files`]: reading, copying in, and the death of a server.
//! * [`usage`]: what processes use; [`report`]: lines and JSON.
#![forbid(unsafe_code)]

mod bare;
mod boot;
mod clock;
mod distance;
mod files;
mod image;
mod linux;
mod machine;
mod messages;
mod pipes;
mod report;
mod ring;
mod rivals;
mod sleep;
mod talkers;
mod threads;
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

/// What is measured if nobody says what.
const PARTS: [Part; 13] = [
    ("image", image::sizes),
    ("ring", ring::host_threads),
    ("boot", boot::one_vm),
    ("up", machine::up),
    ("idle", machine::idle),
    ("clock", clock::agreement),
    ("sleep", sleep::lateness),
    ("messages", messages::round_trips),
    ("pipes", pipes::bulk),
    ("distance", distance::ratios),
    ("talkers", talkers::talkers),
    ("peers", talkers::peers),
    ("files", files::files),
];
/// What is measured only if somebody says so.
const ON_DEMAND: [Part; 2] = [("linux", linux::virtual_machines), ("same", linux::same_source)];

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let mut next = |what: &str| arguments.next().with_context(|| format!("{what} is missing"));
    let (cyanea, images, results) =
        (next("the cyanea command")?, next("the folder of images")?, next("the file for results")?);
    let wanted: Vec<String> = arguments.map(|part| part.to_string_lossy().into_owned()).collect();
    let parts = parts(&wanted)?;
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
    for (name, part) in parts {
        part(&mut bench).with_context(|| format!("{name} cannot be measured"))?;
    }
    bench.report.write(&results)?;
    let (limits, missed) = bench.report.limits();
    let kept =
        if limits > 0 { format!("{} of {limits} limits kept; ", limits - missed) } else { String::new() };
    println!("bench: {kept}{}", results.display());
    Ok(())
}

/// The parts of these names, in the order of the tables.
fn parts(wanted: &[String]) -> Result<Vec<Part>> {
    if wanted.is_empty() {
        return Ok(PARTS.to_vec());
    }
    let known: Vec<Part> = PARTS.into_iter().chain(ON_DEMAND).collect();
    if let Some(unknown) = wanted.iter().find(|part| known.iter().all(|(name, _)| name != part)) {
        let known: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        bail!("there is no part {unknown:?}; there are {}", known.join(", "));
    }
    Ok(known.into_iter().filter(|(name, _)| wanted.iter().any(|wanted| wanted == name)).collect())
}
