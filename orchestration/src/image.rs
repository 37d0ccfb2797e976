//! Which file each VM boots: the images built beside the launcher, those of
//! another folder, or the user's own.

use crate::machine_file::MachineFile;
use kernel::membership::Role;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Folder of the built images, seen from the folder of the launcher's executable.
const BESIDE_LAUNCHER: &str = "../guest/x86_64-unknown-hermit/release";

/// Why an image is refused.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// It is not there.
    #[error("there is no {kind} image at {}; build the images with `make images`, or name their folder with --images", path.display())]
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
    #[error("{} is no 64-bit x86 ELF file, so no VM can boot it; build the {kind} image with `make images`", path.display())]
    NoElf {
        /// `node` or `utility`.
        kind: &'static str,
        /// Which file.
        path: PathBuf,
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
    /// `$CYANEA_IMAGES` says, else beside the launcher's executable.
    pub fn find(folder: Option<&Path>) -> Self {
        if let Some(folder) = folder {
            return Self::in_folder(folder);
        }
        if let Some(folder) = std::env::var_os("CYANEA_IMAGES").filter(|folder| !folder.is_empty()) {
            return Self::in_folder(folder.as_ref());
        }
        let executable = std::env::current_exe().and_then(std::fs::canonicalize).unwrap_or_default();
        let folder = executable.parent().unwrap_or(Path::new(".")).join(BESIDE_LAUNCHER);
        Self::in_folder(&folder)
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
        check("node", &self.node)?;
        check("utility", &self.utility)
    }
}

/// Refuses a file that is no 64-bit x86 ELF.
fn check(kind: &'static str, path: &Path) -> Result<(), ImageError> {
    let mut header = [0; 20];
    match File::open(path).and_then(|mut file| file.read_exact(&mut header)) {
        Ok(()) if header[..6] == *b"\x7fELF\x02\x01" && header[18..20] == [62, 0] => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(ImageError::Missing { kind, path: path.to_owned() })
        }
        Err(error) if error.kind() != ErrorKind::UnexpectedEof => {
            Err(ImageError::Unreadable { kind, path: path.to_owned(), error })
        }
        _ => Err(ImageError::NoElf { kind, path: path.to_owned() }),
    }
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
        assert!(matches!(images.check(), Err(ImageError::NoElf { kind: "node", .. })));
        std::fs::write(&images.node, "").unwrap();
        assert!(matches!(images.check(), Err(ImageError::NoElf { .. })));

        let elf = Images { node: "/proc/self/exe".into(), utility: "/proc/self/exe".into() };
        elf.check().unwrap();
    }
}
