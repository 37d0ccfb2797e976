//! Which file each VM boots: the images built beside the launcher, those of
//! another folder, or the user's own; and whether it can.
//!
//! * [`elf`]: what is in such a file.
//! * [`sample`]: the smallest one.

pub mod elf;
pub mod sample;

use crate::machine_file::{MachineFile, Size, VmPlan};
use crate::project::Tree;
use elf::{Shape, Unfit};
use kernel::membership::Role;
use object::read::ReadCache;
use std::fs::File;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

/// Folder of the built images, seen from the folder of the launcher's executable,
/// and from that of the sources.
const BESIDE_LAUNCHER: &str = "../guest/x86_64-unknown-hermit/release";
const BELOW_SOURCES: &str = "target/guest/x86_64-unknown-hermit/release";

/// Why an image is refused.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// It is not there.
    #[error("there is no {kind} image at {}; build the images with `make images`, one of your own with `cyanea build`, or name their folder with --images or CYANEA_IMAGES", path.display())]
    Missing {
        /// `node` or `utility`.
        kind: &'static str,
        /// Where it should be.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("the {kind} image {} cannot be read: {error}", path.display())]
    Unreadable {
        /// `node` or `utility`.
        kind: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// It is something else.
    #[error("the {kind} image {} {unfit}; build images with `make images`, one of your own with `cyanea build`", path.display())]
    Unfit {
        /// `node` or `utility`.
        kind: &'static str,
        /// Which file.
        path: PathBuf,
        /// What.
        unfit: Unfit,
    },
    /// A VM has too little memory for it.
    #[error(
        "the {kind} image {} is too large for {vm}: it wants a VM of {wanted}, and this one has {has}; give it more \
         memory in the machine file ([vm.{table}])",
        path.display()
    )]
    TooLarge {
        /// `node` or `utility`.
        kind: &'static str,
        /// Which file.
        path: PathBuf,
        /// The VM.
        vm: String,
        /// Memory that it must have.
        wanted: Size,
        /// Memory that it has.
        has: Size,
        /// What the machine file calls such VMs.
        table: String,
    },
}

/// The images of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// What nodes boot.
    pub node: PathBuf,
    /// What activities of utilities boot.
    pub utility: PathBuf,
}

impl Images {
    /// Those of one folder.
    pub fn in_folder(folder: &Path) -> Self {
        Self { node: folder.join("node"), utility: folder.join("utility") }
    }

    /// The built ones: in `folder` if that is given, else where
    /// `$CYANEA_IMAGES` says, else beside the launcher's executable, else (if
    /// that is installed elsewhere) below the sources that it was built from.
    pub fn find(folder: Option<&Path>) -> Self {
        if let Some(folder) = folder {
            return Self::in_folder(folder);
        }
        if let Some(folder) = std::env::var_os("CYANEA_IMAGES").filter(|folder| !folder.is_empty()) {
            return Self::in_folder(folder.as_ref());
        }
        let executable = std::env::current_exe().and_then(std::fs::canonicalize).unwrap_or_default();
        let beside = executable.parent().unwrap_or(Path::new(".")).join(BESIDE_LAUNCHER);
        match Tree::find() {
            Ok(tree) if !beside.is_dir() => Self::in_folder(&tree.root().join(BELOW_SOURCES)),
            _ => Self::in_folder(&beside),
        }
    }

    /// These, but where the machine file names images of its own.
    pub fn for_machine(self, file: &MachineFile) -> Self {
        Self {
            node: file.node_image.clone().unwrap_or(self.node),
            utility: file.utility_image.clone().unwrap_or(self.utility),
        }
    }

    /// The one for VMs of this role.
    pub fn of(&self, role: Role) -> &Path {
        match role {
            Role::Utility(_) => &self.utility,
            _ => &self.node,
        }
    }

    /// Refuses what no VM can boot.
    pub fn check(&self) -> Result<(), ImageError> {
        shape("node", &self.node)?;
        shape("utility", &self.utility).map(drop)
    }

    /// Refuses what the VMs of this machine cannot boot.
    pub fn check_for(&self, file: &MachineFile) -> Result<(), ImageError> {
        fits("node", &self.node, file)?;
        self.check_utilities(file)
    }

    /// Refuses those that the machine file names, if they will not do. The others may yet be built.
    pub fn check_named(&self, file: &MachineFile) -> Result<(), ImageError> {
        if file.node_image.is_some() {
            fits("node", &self.node, file)?;
        }
        if file.utility_image.is_some() {
            fits("utility", &self.utility, file)?;
        }
        Ok(())
    }

    /// Refuses what its activities of utilities cannot boot.
    pub fn check_utilities(&self, file: &MachineFile) -> Result<(), ImageError> {
        fits("utility", &self.utility, file)
    }
}

/// Refuses what VMs of this kind cannot boot.
fn fits(kind: &'static str, path: &Path, file: &MachineFile) -> Result<(), ImageError> {
    let wanted = shape(kind, path)?.least_memory();
    let is_small = |vm: &&VmPlan| (vm.role == Role::Node) == (kind == "node") && vm.memory < wanted;
    let Some(vm) = file.vms.iter().find(is_small) else { return Ok(()) };
    let table = match vm.role {
        Role::Utility(utility) => utility.to_string(),
        _ => kind.into(),
    };
    let (path, name) = (path.to_owned(), vm.name.clone());
    Err(ImageError::TooLarge { kind, path, vm: name, wanted, has: vm.memory, table })
}

/// What the image in this file takes.
fn shape(kind: &'static str, path: &Path) -> Result<Shape, ImageError> {
    let unreadable = |error: Error| match error.kind() {
        ErrorKind::NotFound => ImageError::Missing { kind, path: path.to_owned() },
        _ => ImageError::Unreadable { kind, path: path.to_owned(), error },
    };
    // Opening anything but a file may wait for ever.
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err(unreadable(Error::other("it is no ordinary file")));
    }
    let file = ReadCache::new(File::open(path).map_err(unreadable)?);
    Shape::of(&file).map_err(|unfit| ImageError::Unfit { kind, path: path.to_owned(), unfit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_elf_is_refused_and_says_how_to_mend_it() {
        let folder = tempfile::tempdir().unwrap();
        let images = Images::in_folder(folder.path());
        let missing = images.check().unwrap_err().to_string();
        assert!(missing.contains("make images") && missing.contains("no node image"), "{missing}");

        std::fs::write(&images.node, "#!/bin/sh\necho this is a script\n").unwrap();
        assert!(matches!(images.check(), Err(ImageError::Unfit { kind: "node", unfit: Unfit::NoElf, .. })));
        std::fs::write(&images.node, "").unwrap();
        assert!(matches!(images.check(), Err(ImageError::Unfit { .. })));

        let folder = Images { node: folder.path().into(), ..images.clone() };
        assert!(folder.check().unwrap_err().to_string().ends_with("cannot be read: it is no ordinary file"));
        let host = Images { node: "/proc/self/exe".into(), utility: "/proc/self/exe".into() };
        assert!(host.check().unwrap_err().to_string().contains("is a program of another system"));

        std::fs::write(&images.node, sample::image(&[0xf4])).unwrap();
        std::fs::copy(&images.node, &images.utility).unwrap();
        images.check().unwrap();
    }
}
