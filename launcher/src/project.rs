//! `cyanea new`, `cyanea build`, and `cyanea run` of a crate: a program of the
//! user's own, from nothing to its output.

use crate::arguments::{Build, New, Target};
use crate::client;
use crate::output::{complain, say};
use crate::progress::Shown;
use crate::up::{bring_up, end_on_signals, report_deaths};
use anyhow::{Result, bail};
use orchestration::control;
use orchestration::machine::{Options, StartError};
use orchestration::machine_file::MachineFile;
use orchestration::project::{self, Package, Tree};
use orchestration::session::{Interrupt, Session, SessionError, Stop};
use orchestration::state_directory::{StateDirectory, own_name};
use std::path::{Path, PathBuf};

/// The machine of a crate that has no machine file.
const MACHINE: &str = "[clusters.a]\nnodes = 1\n";
/// The exit code after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

pub fn create(new: &New) -> Result<u8> {
    project::create(&Tree::find()?, &new.folder)?;
    let folder = new.folder.display();
    let path = if new.folder.components().count() > 1 { format!("{folder}") } else { format!("./{folder}") };
    say(format_args!("{folder}: a crate whose program runs on a machine: `cyanea run {path}`"))?;
    Ok(0)
}

pub fn build(build: &Build) -> Result<u8> {
    let tree = Tree::find()?;
    let package = Package::read(&tree, &build.folder, &build.cargo)?;
    for built in project::build(&tree, &package, build.bin.as_deref(), &build.cargo)? {
        say(format_args!("{}: {}", built.name, shown(&built.image).display()))?;
    }
    Ok(0)
}

/// A path as seen from the current folder, if it is below that.
fn shown(path: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).to_owned()
}

/// Whether what is to be run is a crate's folder and no program's name, which
/// has no slash.
pub fn is_folder(program: &str) -> bool {
    program.contains('/') || matches!(program, "." | "..")
}

/// Builds a crate and runs its program on a machine of its own, which ends with
/// it. What would be refused after the build is refused before it.
pub fn run(target: &Target, bin: Option<&str>, run: control::Run) -> Result<u8> {
    // One that the environment names is meant for other commands.
    let of_others = std::env::var("CYANEA_MACHINE").ok();
    if let Some(machine) = target.machine.as_ref().filter(|&machine| Some(machine) != of_others.as_ref()) {
        bail!(
            "a crate is run on a machine of its own, not on {machine}; on that one, run a program that its \
             images carry"
        );
    }
    run.check()?;
    let tree = Tree::find()?;
    let package = Package::read(&tree, Path::new(&run.program), &[])?;
    let binary = package.binary(bin)?;
    // One that calls `node::main` itself carries programs of other names.
    if binary.is_node {
        bail!(
            "{} is a node image with programs of its own choice; `cyanea up` a machine with it, then run them",
            binary.name
        );
    }
    let file = machine(&package, package.image(binary))?;
    let state = StateDirectory::locate()?;
    let options = Options::new(state.folder(&file.name).logs());
    options.images.clone().for_machine(&file).check_utilities(&file)?;
    Session::check(&file, &state, &options)?;
    project::build(&tree, &package, Some(&binary.name), &[])?;
    run_on_own_machine(&file, &state, options, control::Run { program: binary.name.clone(), ..run })
}

fn run_on_own_machine(
    file: &MachineFile,
    state: &StateDirectory,
    options: Options,
    run: control::Run,
) -> Result<u8> {
    let folder = state.folder(&file.name);
    let interrupt = Interrupt::default();
    end_on_signals(interrupt.clone())?;
    let shown = Shown::new();
    let up = bring_up(file, state, options, &shown, &interrupt);
    shown.finish();
    let (session, calibrated) = match up {
        Ok(up) => up,
        Err(error) => {
            // A VM that did not boot says where its log is.
            let is_told = !interrupt.is_triggered();
            if !(is_told && matches!(error, SessionError::Start(StartError::Boot(_)))) {
                let _ = std::fs::remove_dir_all(folder.path());
            }
            return if is_told { Err(error.into()) } else { Ok(INTERRUPTED) };
        }
    };
    if let Some(warning) = calibrated.strip_prefix("; ") {
        complain(warning);
    }
    report_deaths(session.machine());
    let code = client::run_program(&Target { machine: Some(file.name.clone()) }, run);
    let interrupted = interrupt.is_triggered();
    session.end(Stop::Interrupted);
    // Nobody can ask for its logs by a name; what VMs said that died was shown.
    let _ = std::fs::remove_dir_all(folder.path());
    if interrupted { Ok(INTERRUPTED) } else { code }
}

/// The crate's machine, with this image, under a name that nobody else has.
fn machine(package: &Package, image: PathBuf) -> Result<MachineFile> {
    let name = own_name();
    let file = match package.machine_file() {
        Some(path) => MachineFile::load(&path)?,
        None => MachineFile::parse(&package.manifest.with_file_name(project::MACHINE_FILE), MACHINE)?,
    };
    let mut file = file.named(&name).map_err(anyhow::Error::msg)?;
    file.node_image = Some(image);
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_what_has_a_slash() {
        assert!(is_folder(".") && is_folder("./hello") && is_folder("hello/") && is_folder("/x/y"));
        assert!(!is_folder("hello") && !is_folder("wordcount"));
    }
}
