//! A user's own program: a crate with a `main`, from nothing to the image of a node.
//!
//! * [`skeleton`]: a new crate.
//! * [`package`]: what Cargo says of a crate, and of which binaries it is made.
//! * [`graph`]: what a crate is linked with, and what of it would be taken for the system's.
//! * [`build`]: makes their images.
//! * [`tree`]: Cyanea's own sources, which images are made with.
//!
//! A binary's image is the binary, built for the VMs' target, and the crate
//! `node` under it (see `images/node/src/binary.rs`): the crate needs no change
//! but that dependency.

mod build;
mod graph;
mod package;
mod skeleton;
mod tree;

pub use build::{Built, build};
pub use package::{Binary, Package};
pub use skeleton::create;
pub use tree::Tree;

use std::io;
use std::path::{Path, PathBuf};

/// The machine file of a crate, in its folder.
pub const MACHINE_FILE: &str = "machine.toml";
/// Where a crate's images are, below its target folder.
const IMAGES: &str = "cyanea";

/// Why there is no new crate, or no image of one.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// Cyanea's sources are not where this command was built.
    #[error("the sources of Cyanea, with which images are built, are not in {}; name their folder with CYANEA_SOURCE", .0.display())]
    NoTree(PathBuf),
    /// The name will not do for a crate.
    #[error("a crate cannot be called {name:?}: {reason}")]
    Name {
        /// The name.
        name: String,
        /// Why not.
        reason: String,
    },
    /// Something of that name is there.
    #[error("{} is there already; choose another name, or remove it", .0.display())]
    Exists(PathBuf),
    /// The folder or a file in it cannot be written.
    #[error("{} cannot be written: {error}", path.display())]
    Unwritable {
        /// What.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It is no crate.
    #[error("there is no crate in {}: it has no Cargo.toml; `cyanea new NAME` makes one", .0.display())]
    NoCrate(PathBuf),
    /// Its `Cargo.toml` is of a workspace alone.
    #[error("{} is a workspace and no crate; name the folder of one of its members", .0.display())]
    Workspace(PathBuf),
    /// Cargo refuses its manifest.
    #[error("cargo does not take {}: {reason}", path.display())]
    Manifest {
        /// Which.
        path: PathBuf,
        /// What Cargo says.
        reason: String,
    },
    /// It has only a library.
    #[error("the crate {0} has no binary, so nothing to run: write src/main.rs")]
    NoBinary(String),
    /// It has others.
    #[error("the crate {package} has no binary {wanted:?}; it has {known}", known = known.join(", "))]
    NoSuchBinary {
        /// The crate.
        package: String,
        /// What it was asked for.
        wanted: String,
        /// What it has.
        known: Vec<String>,
    },
    /// It has several.
    #[error("the crate {package} has several binaries ({known}); say which with --bin", known = known.join(", "))]
    Several {
        /// The crate.
        package: String,
        /// What it has.
        known: Vec<String>,
    },
    /// The linker would take a part of it for one of the system.
    #[error(
        "the package {package} ({manifest}) has a library called `{library}`, as a part of the system has, and would be \
         taken for that: all activities of a node would share its statics; give it another name in its \
         Cargo.toml: [lib] name = \"...\"",
        manifest = manifest.display()
    )]
    Mistaken {
        /// The package.
        package: String,
        /// Its manifest.
        manifest: PathBuf,
        /// What its library is called.
        library: String,
    },
    /// Nothing stands under its binaries in a VM.
    #[error(
        "the crate {package} does not depend on `node`, which stands under it in a VM; write to its Cargo.toml: \
         [target.'cfg(target_os = \"hermit\")'.dependencies] node = {{ path = {node:?} }}"
    )]
    NoNode {
        /// The crate.
        package: String,
        /// Where that crate is.
        node: PathBuf,
    },
    /// The compiler for VMs, its linker, or Cargo, is missing.
    #[error("{0}")]
    NoCompiler(String),
    /// Cargo has said why.
    #[error("{0} was not built; why not is said above")]
    Failed(String),
    /// Cargo did well, and it is not there.
    #[error("{name} was not built: cargo made no {}; leave away what is behind `--`", built.display())]
    NotMade {
        /// The binary.
        name: String,
        /// What should be there.
        built: PathBuf,
    },
}

fn unwritable(path: &Path, error: io::Error) -> ProjectError {
    ProjectError::Unwritable { path: path.to_owned(), error }
}
