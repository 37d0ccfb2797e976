//! A user's machine file.
//!
//! Checked: what is accepted has as many VMs as a machine may have, each in a
//! cluster of its own machine, under a name of its own, and a description that
//! survives its bytes; what is refused is refused with a place and a reason.

use ivshmem::layout::MAX_PEERS;
use kernel::membership::Description;
use kernel::protocol::{decode, encode};
use orchestration::machine_file::{MachineFile, MachineFileError};
use std::collections::HashSet;
use std::path::Path;

fn check(file: &MachineFile) {
    assert!(!file.vms.is_empty() && file.vms.len() < MAX_PEERS);
    assert!(file.vms.iter().all(|vm| usize::from(vm.cluster) < file.clusters.len()));
    let names: HashSet<_> = file.vms.iter().map(|vm| &vm.name).collect();
    assert_eq!(names.len(), file.vms.len(), "two VMs of one name");
    assert!(!file.name.contains(['/', '\0']) && !matches!(&file.name[..], "" | "." | ".."));
    let description = file.description();
    assert_eq!(decode::<Description>(&encode(&description)), Ok(description));
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match MachineFile::parse(Path::new("machine.toml"), text) {
        Ok(file) => check(&file),
        Err(MachineFileError::Content { place, message, .. }) => {
            assert!(!message.is_empty() && place.line >= 1 && place.column >= 1);
            assert!(place.line <= text.split('\n').count(), "{place} is not in the text");
        }
        Err(error) => panic!("{error}"),
    }
}

/// Inputs to start from.
pub fn seeds() -> Vec<Vec<u8>> {
    let full = "name = \"m\"\n[clusters.a]\nnodes = 2\n[clusters.b]\nnodes = 1\n[utilities]\nfiles = 2\n\
                tasks = 2\n[vm]\nmemory = \"64M\"\nrestart = \"always\"\n[vm.files]\nmemory = \"32M\"\n\
                [files]\ncapacity = \"64M\"\n[pool]\nsize = \"16M\"\n[images]\nnode = \"x\"\n[locality]\n\
                within = 3\nbetween = 9\n";
    ["[clusters.a]\nnodes = 2\n", full].map(|text| text.as_bytes().to_vec()).into()
}
