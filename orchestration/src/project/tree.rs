//! Cyanea's own sources: the crates that stand under a program in a VM, and the
//! script that knows how to build for one.

use super::ProjectError;
use crate::sys::bind_child;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where this command was built.
const BUILT_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The sources of Cyanea.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    root: PathBuf,
}

/// The part of the tree's own `Cargo.toml` that says which crates are its own.
#[derive(Deserialize)]
struct Workspace {
    workspace: Dependencies,
}

#[derive(Deserialize)]
struct Dependencies {
    dependencies: toml::Table,
}

impl Tree {
    /// Where `$CYANEA_SOURCE` says, else where this command was built.
    ///
    /// # Errors
    /// If they are not there.
    pub fn find() -> Result<Self, ProjectError> {
        let given = std::env::var_os("CYANEA_SOURCE").filter(|folder| !folder.is_empty());
        Self::at(given.map_or_else(|| BUILT_IN.into(), PathBuf::from))
    }

    /// In this folder.
    ///
    /// # Errors
    /// If they are not there.
    pub fn at(folder: PathBuf) -> Result<Self, ProjectError> {
        let Ok(root) = folder.canonicalize() else { return Err(ProjectError::NoTree(folder)) };
        let tree = Self { root };
        let parts = [tree.guest(), tree.node().join("Cargo.toml"), tree.api().join("Cargo.toml")];
        if parts.iter().all(|part| part.is_file()) { Ok(tree) } else { Err(ProjectError::NoTree(tree.root)) }
    }

    /// Their folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The crate `cyanea`.
    pub fn api(&self) -> PathBuf {
        self.root.join("images/api")
    }

    /// The crate `node`.
    pub fn node(&self) -> PathBuf {
        self.root.join("images/node")
    }

    /// Versions of everything that the tree's own images are built with.
    pub fn lock(&self) -> PathBuf {
        self.root.join("Cargo.lock")
    }

    /// The libraries that the linker script takes for the system's.
    ///
    /// # Errors
    /// If they are not told there.
    pub fn libraries(&self) -> Result<BTreeSet<String>, ProjectError> {
        let script = self.read("images/runtime/linker.ld")?;
        let names = script.split("*/lib").skip(1).filter_map(|rest| rest.split_once('-'));
        Ok(names.map(|(name, _)| name.to_string()).collect())
    }

    /// Those of these sources.
    ///
    /// # Errors
    /// If they are not told there.
    pub fn parts(&self) -> Result<BTreeSet<String>, ProjectError> {
        let manifest: Workspace =
            toml::from_str(&self.read("Cargo.toml")?).map_err(|_| ProjectError::NoTree(self.root.clone()))?;
        let used = manifest.workspace.dependencies.into_iter();
        let own = used.filter(|(_, source)| source.get("path").is_some());
        let (names, libraries) = (own.map(|(name, _)| name.replace('-', "_")), self.libraries()?);
        Ok(names.filter(|name| libraries.contains(name)).collect())
    }

    fn read(&self, file: &str) -> Result<String, ProjectError> {
        fs::read_to_string(self.root.join(file)).map_err(|_| ProjectError::NoTree(self.root.clone()))
    }

    /// Whether a file is one of Cyanea's sources, here or in another copy of them.
    pub fn holds(file: &Path) -> bool {
        let real = file.canonicalize().unwrap_or_else(|_| file.to_owned());
        real.ancestors().any(|folder| Self::at(folder.to_owned()).is_ok())
    }

    /// Cargo, as it has to be called for what runs in a VM.
    pub fn guest(&self) -> PathBuf {
        self.root.join("scripts/guest")
    }

    /// The same for a crate in this folder. It is called there, as a user would
    /// call it, so that the crate's own settings (`.cargo/config.toml`) hold
    /// wherever the caller is.
    pub fn cargo(&self, folder: &Path) -> Command {
        let mut cargo = Command::new(self.guest());
        cargo.current_dir(folder).stdin(Stdio::null());
        // Who ends this command does not want what it builds either.
        bind_child(&mut cargo, Vec::new());
        cargo
    }

    /// Looks for what images are built with; what was found, a `KEY=VALUE` a line.
    ///
    /// # Errors
    /// What is missing, and how to get it.
    pub fn toolchain(&self) -> Result<String, ProjectError> {
        let output = Command::new(self.guest()).arg("--print").stdin(Stdio::null()).output();
        let output = output.map_err(|error| ProjectError::NoCompiler(error.to_string()))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        Err(ProjectError::NoCompiler(refusal(&complaint).unwrap_or(&complaint).trim().into()))
    }
}

/// Why [`Tree::guest`] did not even call Cargo, if it did not.
pub(super) fn refusal(complaint: &str) -> Option<&str> {
    complaint.strip_prefix("guest: ").map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_known_by_its_parts() {
        let tree = Tree::at(BUILT_IN.into()).unwrap();
        assert!(tree.lock().is_file() && tree.root().is_absolute());
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_owned(), folder.path().join("nowhere")] {
            let sentence = Tree::at(path.clone()).unwrap_err().to_string();
            assert!(sentence.contains("name their folder with CYANEA_SOURCE"), "{sentence}");
            assert!(sentence.contains(path.to_str().unwrap()), "{sentence}");
        }
    }
}
