//! The machine file: what a machine is made of, in TOML, checked.
//!
//! Everything has a default but the clusters. Whatever is wrong is refused
//! with file, line and column, and one sentence that says how to mend it.
//!
//! ```
//! use orchestration::machine_file::MachineFile;
//! let file = MachineFile::parse("small.toml".as_ref(), "[clusters.a]\nnodes = 2").unwrap();
//! assert_eq!(file.name, "small");
//! let names: Vec<_> = file.vms.iter().map(|vm| vm.name.as_str()).collect();
//! assert_eq!(names, ["node-a0", "node-a1", "files-a0", "files-a1", "tasks-a0", "tasks-a1"]);
//! ```

mod check;
mod delay;
mod links;
mod locality;
mod net;
mod raw;
mod size;
#[cfg(test)]
mod tests;

pub use check::check_name;
pub use delay::Delay;
pub use size::Size;

use kernel::membership::{Description, PeerDescription, Role, Utility};
use kernel::protocol::Peer;
use serde::Deserialize;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use transport::ethernet::faults::Faults;

/// Least memory of a VM: an image, its tables and some room to work in.
pub const LEAST_MEMORY: Size = Size::mebibytes(16);
/// Most memory of a VM: it lies below the topmost quarter of what the processor
/// addresses, where devices are, and some address no more than 39 bits.
pub const MOST_MEMORY: Size = Size::mebibytes(256 << 10);
/// Longest machine file: whatever is longer is none, and may never end.
const MOST_TEXT: u64 = 1 << 20;

/// A machine as its file describes it, checked.
#[derive(Clone, Debug)]
pub struct MachineFile {
    /// Where it was read from.
    pub path: PathBuf,
    /// The machine's name; usable as the name of a folder.
    pub name: String,
    /// Names of the clusters, in the file's order.
    pub clusters: Vec<String>,
    /// All VMs; the VM at index i is peer i + 1. Those of one cluster are together.
    pub vms: Vec<VmPlan>,
    /// The region of `files`: a power of two.
    pub files_capacity: Size,
    /// The pool of each cluster: a power of two.
    pub pool: Size,
    /// An image of the user's own for nodes.
    pub node_image: Option<PathBuf>,
    /// An image of the user's own for utilities.
    pub utility_image: Option<PathBuf>,
    /// What distance shall cost; nothing: what it costs on this host.
    pub locality: Option<Locality>,
    /// Clusters between which memory is not coherent.
    pub links: Vec<LinkPlan>,
    /// How nodes reach what is outside of the machine; nothing: not at all.
    pub net: Option<NetPlan>,
}

/// How nodes reach what is outside of the machine, and how they are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetPlan {
    /// The address of this host at which its forwarded ports are.
    pub address: Ipv4Addr,
    /// Ports of this host that lead to nodes.
    pub forwards: Vec<Forward>,
}

/// A TCP port of this host that leads to one of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// This host's port.
    pub host_port: u16,
    /// Which node.
    pub node: Peer,
    /// The node's port.
    pub port: u16,
}

/// A link between two clusters that goes through the machine's Ethernet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkPlan {
    /// Indices of the clusters, the lower first.
    pub clusters: [u16; 2],
    /// What it does to frames.
    pub faults: Faults,
}

/// One VM that a machine file asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmPlan {
    /// Its name: `node-a0`.
    pub name: String,
    /// What it does; never the launcher.
    pub role: Role,
    /// Index of its cluster.
    pub cluster: u16,
    /// Its memory.
    pub memory: Size,
    /// How many cores it has.
    pub cores: u16,
    /// What happens when it dies.
    pub restart: RestartPolicy,
}

/// What happens when a VM dies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RestartPolicy {
    /// It stays dead.
    #[default]
    Never,
    /// It is started again.
    Always,
}

/// Cost of a message relative to a local one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locality {
    /// Within a cluster.
    pub within: u16,
    /// Between clusters.
    pub between: u16,
}

impl Default for Locality {
    /// Those of Cm*.
    fn default() -> Self {
        Self { within: 3, between: 9 }
    }
}

/// Something wrong in the text, and where.
#[derive(Debug)]
struct Problem {
    span: Option<Range<usize>>,
    message: String,
}

/// Why a machine file is refused.
#[derive(Debug, thiserror::Error)]
pub enum MachineFileError {
    /// It cannot be read.
    #[error("{}: cannot read this machine file: {error}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It says something that cannot be.
    #[error("{}:{place}: {message}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// Where in it.
        place: Place,
        /// What is wrong and how to mend it.
        message: String,
    },
}

/// A place in a text, both counted from 1; columns are characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The character in it.
    pub column: usize,
}

impl Place {
    /// Where byte `offset` of `text` is.
    fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self { line: before.matches('\n').count() + 1, column: before[start..].chars().count() + 1 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl MachineFile {
    /// Reads and checks a machine file, against this host's free memory too.
    pub fn load(path: &Path) -> Result<Self, MachineFileError> {
        let text = text(path).map_err(|error| MachineFileError::Read { path: path.to_owned(), error })?;
        Self::parse_for(path, &text, crate::host::available_memory())
    }

    /// The same machine under another name.
    ///
    /// # Errors
    /// One sentence, if a machine cannot be called so.
    pub fn named(self, name: &str) -> Result<Self, String> {
        check::check_name("the machine", name)?;
        Ok(Self { name: name.into(), ..self })
    }

    /// Checks the text of a machine file; `path` names it in errors and is what
    /// its relative paths start from.
    pub fn parse(path: &Path, text: &str) -> Result<Self, MachineFileError> {
        Self::parse_for(path, text, None)
    }

    /// The same on a host with so much free memory, where that is known.
    pub fn parse_for(path: &Path, text: &str, free: Option<Size>) -> Result<Self, MachineFileError> {
        raw::parse(text).and_then(|raw| check::check(path, &raw, free)).map_err(|problem| {
            let place = Place::of(text, problem.span.map_or(0, |span| span.start));
            MachineFileError::Content { path: path.to_owned(), place, message: problem.message }
        })
    }

    /// The machine as its VMs are told of it; the launcher is peer 0.
    pub fn description(&self) -> Description {
        let launcher = PeerDescription { name: "launcher".into(), role: Role::Launcher, cluster: None };
        let vms = self.vms.iter().map(|vm| PeerDescription {
            name: vm.name.clone(),
            role: vm.role,
            cluster: Some(vm.cluster),
        });
        Description {
            name: self.name.clone(),
            clusters: self.clusters.clone(),
            ethernets: self.links.iter().map(|link| link.clusters).collect(),
            adds_distance: self.locality.is_some(),
            peers: std::iter::once(launcher).chain(vms).collect(),
        }
    }

    /// All VMs with their peer ids.
    pub fn peers(&self) -> impl Iterator<Item = (Peer, &VmPlan)> {
        self.vms.iter().enumerate().map(|(index, vm)| (Peer(index as u16 + 1), vm))
    }

    /// The utilities that this machine has.
    pub fn utilities(&self) -> Vec<Utility> {
        let has = |utility| self.vms.iter().any(|vm| vm.role == Role::Utility(utility));
        [Utility::Files, Utility::Tasks].into_iter().filter(|&utility| has(utility)).collect()
    }
}

/// What is in a file, which may be anything.
fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    if File::open(path)?.take(MOST_TEXT + 1).read_to_string(&mut text)? as u64 > MOST_TEXT {
        return Err(io::Error::other(format!("it has more than {}", Size(MOST_TEXT))));
    }
    Ok(text)
}
