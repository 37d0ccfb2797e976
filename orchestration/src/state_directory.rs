//! What running machines keep in the file system: a folder each.
//!
//! ```text
//! $CYANEA_STATE, or $XDG_RUNTIME_DIR/cyanea, or /tmp/cyanea-UID      mode 0700, ours
//! └── NAME/
//!     ├── lock           held (flock) by the running launcher, and by nobody else
//!     ├── control.sock   answers while the machine is up
//!     ├── machine.json   the machine as it was last
//!     └── logs/VM.log    the consoles of its VMs
//! ```
//!
//! The lock alone decides whether a machine of this name runs: the kernel drops
//! it however the launcher ends, so nothing stale blocks the next start. Asking
//! who runs never takes the lock, so it cannot disturb a start.
//!
//! A machine that one process has for itself is called `run-N` after it. Nobody
//! asks for what such a machine left: the next start removes its folder.

use rustix::fs::{FlockOperation, Mode, OFlags, flock, fstat};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be made or read.
    #[error("the state directory {} cannot be used: {error}; set CYANEA_STATE to a folder of yours", path.display())]
    Unusable {
        /// Which folder or file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It belongs to somebody else.
    #[error("the state directory {} is another user's; set CYANEA_STATE to a folder of yours", .0.display())]
    Foreign(PathBuf),
    /// Others may write to it.
    #[error("others may use the state directory {}; run chmod 700 on it", .0.display())]
    Open(PathBuf),
    /// A machine of this name runs.
    #[error(
        "a machine called {name} runs already{launcher}; end it with `cyanea down --machine {name}`, or give this one another name"
    )]
    Running {
        /// Its name.
        name: String,
        /// " (launcher: process N)", if that is known.
        launcher: String,
    },
}

/// What names of machines begin with that one process has for itself.
const OWN: &str = "run-";

/// The name of this process's own machine.
pub fn own_name() -> String {
    format!("{OWN}{}", std::process::id())
}

/// The folder of all machines of this user.
#[derive(Clone, Debug)]
pub struct StateDirectory {
    root: PathBuf,
}

impl StateDirectory {
    /// The usual one, made if it is not there.
    pub fn locate() -> Result<Self, StateError> {
        let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = folder("CYANEA_STATE")
            .or_else(|| folder("XDG_RUNTIME_DIR").map(|folder| folder.join("cyanea")))
            .unwrap_or_else(|| format!("/tmp/cyanea-{}", geteuid().as_raw()).into());
        Self::at(&root)
    }

    /// This one, made if it is not there; refused if others could reach in.
    pub fn at(root: &Path) -> Result<Self, StateError> {
        let unusable = |error| StateError::Unusable { path: root.to_owned(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(unusable)?;
        // Looked at through a descriptor that follows no link put in its place.
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = rustix::fs::open(root, flags, Mode::empty());
        let descriptor: OwnedFd = open.map_err(|error| match root.is_symlink() {
            true => unusable(io::Error::other("it is a symbolic link")),
            false => unusable(error.into()),
        })?;
        let status = fstat(descriptor).map_err(|error| unusable(error.into()))?;
        if status.st_uid != geteuid().as_raw() {
            return Err(StateError::Foreign(root.to_owned()));
        }
        if status.st_mode & 0o077 != 0 {
            return Err(StateError::Open(root.to_owned()));
        }
        let root = fs::canonicalize(root).map_err(unusable)?;
        Ok(Self { root })
    }

    /// Whether a machine's folder could be made and written now: makes one, of a
    /// name that no machine has, and removes it.
    ///
    /// # Errors
    /// [`StateError::Unusable`].
    pub fn probe(&self) -> Result<(), StateError> {
        let folder = self.root.join(format!(".probe-{}", std::process::id()));
        let tried = DirBuilder::new().mode(0o700).create(&folder);
        let tried = tried.and_then(|()| fs::write(folder.join("lock"), "probe"));
        let _ = fs::remove_dir_all(&folder);
        tried.map_err(|error| StateError::Unusable { path: self.root.clone(), error })
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of the machine of this name, there or not.
    pub fn folder(&self, name: &str) -> MachineFolder {
        MachineFolder { name: name.into(), path: self.root.join(name) }
    }

    /// Removes what machines of processes left that are gone, however they ended.
    pub fn sweep(&self) {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        for name in entries.filter_map(|entry| entry.file_name().into_string().ok()) {
            let process = name.strip_prefix(OWN).and_then(|id| id.parse::<u32>().ok());
            let is_left = process.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists());
            let folder = self.folder(&name);
            // A launcher of another process may run it.
            if is_left && folder.take().is_ok_and(|taken| taken.is_some()) {
                let _ = fs::remove_dir_all(folder.path());
            }
        }
    }

    /// Names of the machines that are up.
    pub fn running(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut running: Vec<_> = names.filter(|name| self.folder(name).is_up()).collect();
        running.sort();
        running
    }
}

/// The folder of one machine.
#[derive(Clone, Debug)]
pub struct MachineFolder {
    name: String,
    path: PathBuf,
}

/// Says, while it is held, that the machine of this name runs.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl MachineFolder {
    /// The machine's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.path.join("control.sock")
    }

    /// The folder of the VMs' logs.
    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// The machine as it was last, in JSON.
    pub fn status(&self) -> PathBuf {
        self.path.join("machine.json")
    }

    /// Whether its control socket answers.
    pub fn is_up(&self) -> bool {
        UnixStream::connect(self.socket()).is_ok()
    }

    /// Takes the folder for a machine that is about to start. The logs that an
    /// earlier one of this name left stay until it does.
    pub fn lock(&self) -> Result<Lock, StateError> {
        let unusable = |error| StateError::Unusable { path: self.path.clone(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path).map_err(unusable)?;
        let Some(mut file) = self.take().map_err(unusable)? else {
            let launcher = fs::read_to_string(self.path.join("lock")).unwrap_or_default();
            let known = !launcher.trim().is_empty();
            let launcher =
                if known { format!(" (launcher: process {})", launcher.trim()) } else { String::new() };
            return Err(StateError::Running { name: self.name.clone(), launcher });
        };
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(unusable)?;
        let _ = fs::remove_file(self.socket());
        let _ = fs::remove_file(self.status());
        Ok(Lock { _file: file })
    }

    /// Its lock file, held as long as that is open; `None` if somebody else holds it.
    fn take(&self) -> io::Result<Option<File>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(self.path.join("lock"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes `machine.json`, so that a reader sees the old one or the new one.
    pub fn write_status(&self, status: &impl serde::Serialize) -> io::Result<()> {
        let new = self.path.join("machine.json.new");
        fs::write(&new, serde_json::to_vec_pretty(status)?)?;
        fs::rename(new, self.status())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_name_is_taken_once_and_free_again_when_dropped() {
        let root = tempfile::tempdir().unwrap();
        let state = StateDirectory::at(&root.path().join("state")).unwrap();
        let held = state.folder("m").lock().unwrap();
        let refused = state.folder("m").lock().unwrap_err().to_string();
        let launcher = std::process::id();
        let expected = format!(
            "a machine called m runs already (launcher: process {launcher}); \
             end it with `cyanea down --machine m`, or give this one another name"
        );
        assert_eq!(refused, expected);
        let _other = state.folder("other").lock().unwrap();
        drop(held);
        let _again = state.folder("m").lock().unwrap();
    }

    #[test]
    fn what_an_earlier_machine_left_does_not_block() {
        let root = tempfile::tempdir().unwrap();
        let state = StateDirectory::at(&root.path().join("state")).unwrap();
        let folder = state.folder("m");
        fs::create_dir_all(folder.logs()).unwrap();
        fs::write(folder.path().join("lock"), "999999\n").unwrap();
        fs::write(folder.logs().join("node-a0.log"), "old").unwrap();
        drop(UnixListener::bind(folder.socket()).unwrap());
        assert_eq!(state.running(), [""; 0]);
        let _lock = folder.lock().unwrap();
        assert!(!folder.socket().exists() && folder.logs().join("node-a0.log").exists());
        let _socket = UnixListener::bind(folder.socket()).unwrap();
        assert_eq!(state.running(), ["m"]);
    }

    #[test]
    fn a_folder_that_others_may_use_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("state");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(StateDirectory::at(&path), Err(StateError::Open(_))));
        let link = root.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let sentence = StateDirectory::at(&link).unwrap_err().to_string();
        assert!(
            sentence
                .ends_with("cannot be used: it is a symbolic link; set CYANEA_STATE to a folder of yours")
        );
    }

    #[test]
    fn a_probe_tells_whether_a_machine_could_be_kept_and_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let state = StateDirectory::at(&root.path().join("state")).unwrap();
        state.probe().unwrap();
        assert!(state.root().read_dir().unwrap().next().is_none());
        fs::remove_dir(state.root()).unwrap();
        assert!(matches!(state.probe(), Err(StateError::Unusable { .. })));
    }

    #[test]
    fn what_a_machine_of_a_process_left_is_swept_when_both_are_gone() {
        let root = tempfile::tempdir().unwrap();
        let state = StateDirectory::at(&root.path().join("state")).unwrap();
        // No process has a number as large as this one.
        let (left, runs, own) = ("run-4194305", "run-4194306", own_name());
        for name in [left, runs, &own, "run-x", "other"] {
            drop(state.folder(name).lock().unwrap());
        }
        let held = state.folder(runs).lock().unwrap();
        state.sweep();
        let there = |name: &str| state.folder(name).path().exists();
        assert!(!there(left) && there(runs) && there(&own) && there("run-x") && there("other"));
        drop(held);
        state.sweep();
        assert!(!there(runs));
    }
}
