//! A folder of state and machine files, and the command on them.

use crate::command::{Ended, Running};
use crate::{image, root};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A user of the command, with a state directory and files of their own.
pub struct Host {
    folder: TempDir,
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// A user who has started nothing yet.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("cyanea-test-").tempdir().expect("a temporary folder");
        Self { folder }
    }

    /// Their current folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What a machine of this name keeps on the host.
    pub fn state(&self, machine: &str) -> PathBuf {
        self.folder.path().join("state").join(machine)
    }

    /// Writes a machine file whose nodes carry the test programs.
    pub fn machine_file(&self, name: &str, text: &str) -> PathBuf {
        self.machine_file_with(name, text, "test-node")
    }

    /// Writes a machine file whose nodes boot this image.
    pub fn machine_file_with(&self, name: &str, text: &str, node: &str) -> PathBuf {
        let images = format!("[images]\nnode = {:?}\n", image(node));
        self.file(&format!("{name}.toml"), &format!("name = \"{name}\"\n{text}{images}"))
    }

    /// Writes a file.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("the folder is ours");
        path
    }

    /// The command, about to be started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(root().join("target/release/cyanea"));
        command.args(arguments).current_dir(self.folder.path());
        command.env("CYANEA_STATE", self.folder.path().join("state"));
        for variable in ["CYANEA_IMAGES", "CYANEA_MACHINE", "CYANEA_QEMU"] {
            command.env_remove(variable);
        }
        command
    }

    /// Starts the command.
    pub fn start(&self, arguments: &[&str]) -> Running {
        Running::start(self.command(arguments))
    }

    /// Calls the command and waits for its end.
    pub fn call(&self, arguments: &[&str]) -> Ended {
        self.start(arguments).end()
    }

    /// Whether nothing here says that a machine runs.
    pub fn is_quiet(&self) -> bool {
        self.call(&["ps"]).err == "cyanea: no machine is up; `cyanea up FILE` starts one\n"
    }
}
