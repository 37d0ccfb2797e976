//! Makes the images of a crate's binaries.

use super::{Binary, Package, ProjectError, Tree, unwritable};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// What the binary alone is compiled with: `node` is part of it though nothing
/// names it, and `std` enters that instead of the binary's `main`.
const BINARY: [&str; 4] = ["-Zunstable-options", "--extern", "force:node", "-Clink-arg=--wrap=main"];

/// An image that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The binary's name, and that of the program.
    pub name: String,
    /// The image.
    pub image: PathBuf,
}

/// Makes the images of all binaries of a crate, or of one of them. `more` is for
/// Cargo. Cargo says on standard error what it does.
///
/// # Errors
/// See [`ProjectError`].
pub fn build(
    tree: &Tree,
    package: &Package,
    only: Option<&str>,
    more: &[OsString],
) -> Result<Vec<Built>, ProjectError> {
    if !package.has_node() {
        return Err(ProjectError::NoNode { package: package.name.clone(), node: tree.node() });
    }
    let chosen = match only {
        Some(name) => vec![package.binary(Some(name))?],
        None => package.binaries.iter().collect(),
    };
    chosen.into_iter().map(|binary| one(tree, package, binary, more)).collect()
}

fn one(tree: &Tree, package: &Package, binary: &Binary, more: &[OsString]) -> Result<Built, ProjectError> {
    let (name, images) = (&binary.name, package.images());
    fs::create_dir_all(&images).map_err(|error| unwritable(&images, error))?;
    // No binary can be called `build`, so no image is.
    let default = || images.join("build");
    let work = std::env::var_os("CYANEA_GUEST_TARGET_DIR").map_or_else(default, PathBuf::from);
    // As seen from here, and not from the crate's folder.
    let work = std::path::absolute(&work).map_err(|error| unwritable(&work, error))?;
    let mut cargo = tree.cargo(package.folder());
    cargo.args(["rustc", "--release", "--bin", name, "--manifest-path"]).arg(&package.manifest).args(more);
    if !binary.is_node {
        cargo.arg("--").args(BINARY);
    }
    cargo.env("CYANEA_GUEST_TARGET_DIR", &work);
    // Optimized across crates, `std` could enter the binary's own `main` all the same, and the linker
    // could not tell the statics of programs from the system's.
    cargo.env("CARGO_PROFILE_RELEASE_LTO", "false");
    if !cargo.status().map_err(|error| ProjectError::NoCompiler(error.to_string()))?.success() {
        return Err(ProjectError::Failed(name.clone()));
    }
    let (built, image) = (work.join("x86_64-unknown-hermit/release").join(name), package.image(binary));
    // Told to do something else, Cargo does that, and well.
    if !built.is_file() {
        return Err(ProjectError::NotMade { name: name.clone(), built });
    }
    place(&built, &image)?;
    Ok(Built { name: name.clone(), image })
}

/// Puts an image where it is easy to name. Running machines keep the one they
/// booted, and whoever else builds the same sees one image or the other.
fn place(from: &Path, to: &Path) -> Result<(), ProjectError> {
    let mut name = OsString::from(".");
    name.extend([to.file_name().unwrap_or_default(), ".".as_ref(), std::process::id().to_string().as_ref()]);
    let fresh = to.with_file_name(name);
    let copied = fs::copy(from, &fresh).and_then(|_| fs::rename(&fresh, to));
    copied.map_err(|error| {
        let _ = fs::remove_file(&fresh);
        unwritable(to, error)
    })
}
