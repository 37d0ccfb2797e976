//! What this host has: QEMU, an accelerator, memory.

use crate::machine_file::Size;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

/// Oldest QEMU that is known to do.
pub const LEAST_QEMU: Version = Version { major: 7, minor: 2 };

/// What runs the VMs' instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// The processor itself.
    Kvm,
    /// QEMU's translator.
    Tcg,
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        })
    }
}

impl FromStr for Accelerator {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "kvm" => Ok(Self::Kvm),
            "tcg" => Ok(Self::Tcg),
            _ => Err("write kvm or tcg".into()),
        }
    }
}

impl Accelerator {
    /// The best that works here, and why.
    pub fn choose() -> (Self, String) {
        let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let device = OpenOptions::new().read(true).write(true).open("/dev/kvm");
        Self::choose_from(&processors, device.map(drop))
    }

    /// Refuses one that does not work here; `chosen` is what [`Self::choose`] says.
    ///
    /// # Errors
    /// Why not.
    fn check_with(self, chosen: (Self, String)) -> Result<(), AcceleratorError> {
        match (self, chosen) {
            (Self::Kvm, (Self::Tcg, why)) => Err(AcceleratorError(why)),
            _ => Ok(()),
        }
    }

    /// Refuses one that does not work here.
    ///
    /// # Errors
    /// Why not.
    pub fn check(self) -> Result<(), AcceleratorError> {
        // The list of processors is long on large hosts, and TCG works everywhere.
        if self == Self::Tcg { Ok(()) } else { self.check_with(Self::choose()) }
    }

    /// The device node alone says nothing: a host may have it without hardware
    /// virtualisation, and then VMs stop at the first vector instruction.
    fn choose_from(processors: &str, device: io::Result<()>) -> (Self, String) {
        let flags = processors.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
        let Some(flag) = flags.split_whitespace().find(|flag| matches!(*flag, "vmx" | "svm")) else {
            return (Self::Tcg, "the processor has neither the vmx nor the svm flag".into());
        };
        match device {
            Ok(()) => (Self::Kvm, format!("the processor has the {flag} flag and /dev/kvm opens")),
            Err(error) => (Self::Tcg, format!("the processor has the {flag} flag, but /dev/kvm: {error}")),
        }
    }
}

/// KVM does not work here.
#[derive(Debug, thiserror::Error)]
#[error("KVM does not work on this host: {0}; leave --accel away, or write --accel tcg")]
pub struct AcceleratorError(String);

/// A version of QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Its first number.
    pub major: u32,
    /// Its second number.
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Why this QEMU will not do.
#[derive(Debug, thiserror::Error)]
pub enum QemuError {
    /// There is none.
    #[error(
        "{} was not found; install QEMU {LEAST_QEMU} or newer (Debian, Ubuntu: apt install qemu-system-x86)",
        .0.display()
    )]
    Missing(PathBuf),
    /// It does not run.
    #[error("{} cannot be run: {error}; install QEMU {LEAST_QEMU} or newer", path.display())]
    Broken {
        /// Which program.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It says no version.
    #[error("{} says no version of QEMU; install QEMU {LEAST_QEMU} or newer", .0.display())]
    NoVersion(PathBuf),
    /// It is too old.
    #[error("{} is QEMU {found}, too old; install QEMU {LEAST_QEMU} or newer", path.display())]
    TooOld {
        /// Which program.
        path: PathBuf,
        /// Its version.
        found: Version,
    },
}

/// QEMU's program: `$CYANEA_QEMU`, or `qemu-system-x86_64` on the search path.
pub fn qemu_program() -> PathBuf {
    let given = std::env::var_os("CYANEA_QEMU").filter(|program| !program.is_empty());
    given.map_or_else(|| "qemu-system-x86_64".into(), PathBuf::from)
}

/// Its version, if that is one that will do.
pub fn check_qemu(program: &Path) -> Result<Version, QemuError> {
    let path = || program.to_owned();
    let output =
        Command::new(program).arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output().map_err(
            |error| match error.kind() {
                io::ErrorKind::NotFound => QemuError::Missing(path()),
                _ => QemuError::Broken { path: path(), error },
            },
        )?;
    let found =
        version(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| QemuError::NoVersion(path()))?;
    if found < LEAST_QEMU {
        return Err(QemuError::TooOld { path: path(), found });
    }
    Ok(found)
}

/// The version in "QEMU emulator version 7.2.22 (Debian ...)".
fn version(text: &str) -> Option<Version> {
    let number = text.split_once(" version ")?.1;
    let mut parts = number.split(|c: char| !c.is_ascii_digit());
    Some(Version { major: parts.next()?.parse().ok()?, minor: parts.next()?.parse().ok()? })
}

/// Memory that this host can give away without swapping.
pub fn available_memory() -> Option<Size> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(Size(kibibytes << 10))
}

/// Most files that this process may have open, after raising its own limit.
pub fn most_open_files() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kvm_needs_the_flag_and_the_device() {
        let with = "model name: x\nflags\t\t: fpu vmx sse\n";
        assert_eq!(Accelerator::choose_from(with, Ok(())).0, Accelerator::Kvm);
        let refused = io::Error::from(io::ErrorKind::PermissionDenied);
        assert_eq!(Accelerator::choose_from(with, Err(refused)).0, Accelerator::Tcg);
        let without = || Accelerator::choose_from("flags : fpu sse\n", Ok(()));
        assert_eq!(without().0, Accelerator::Tcg);
        let refused = Accelerator::Kvm.check_with(without()).unwrap_err().to_string();
        assert_eq!(
            refused,
            "KVM does not work on this host: the processor has neither the vmx nor the svm flag; \
             leave --accel away, or write --accel tcg"
        );
        Accelerator::Tcg.check_with(without()).unwrap();
        Accelerator::Kvm.check_with(Accelerator::choose_from(with, Ok(()))).unwrap();
    }

    #[test]
    fn versions_are_read() {
        let debian = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright";
        assert_eq!(version(debian), Some(Version { major: 7, minor: 2 }));
        assert!(version("QEMU emulator version 10.0.0").unwrap() > LEAST_QEMU);
        assert_eq!(version("hello"), None);
    }

    #[test]
    fn a_missing_qemu_is_one_sentence() {
        let error = check_qemu(Path::new("/nonexistent/qemu")).unwrap_err().to_string();
        let expected = "/nonexistent/qemu was not found; install QEMU 7.2 or newer \
                        (Debian, Ubuntu: apt install qemu-system-x86)";
        assert_eq!(error, expected);
        let error = check_qemu(Path::new("/bin/true")).unwrap_err();
        assert!(matches!(error, QemuError::NoVersion(_)));
    }
}
