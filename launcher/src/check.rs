//! `cyanea check`: whether a machine could be started, as far as that can be seen
//! before images are built.

use crate::arguments::Check;
use crate::output::say;
use anyhow::Result;
use orchestration::machine::Options;
use orchestration::machine_file::MachineFile;
use orchestration::session::Session;
use orchestration::state_directory::StateDirectory;

pub fn run(check: &Check) -> Result<u8> {
    let file = MachineFile::load(&check.file)?;
    let state = StateDirectory::locate()?;
    let options = Options::new(state.folder(&file.name).logs());
    options.images.clone().for_machine(&file).check_named(&file)?;
    Session::check(&file, &state, &options)?;
    say(format_args!("{}: {} VMs, which this host can run", file.name, file.vms.len()))?;
    Ok(0)
}
