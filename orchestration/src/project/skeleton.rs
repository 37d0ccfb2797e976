//! A new crate: what is in it, and what it may be called.

use super::{MACHINE_FILE, ProjectError, Tree, unwritable};
use std::path::Path;
use std::{fs, io};

const MANIFEST: &str = include_str!("skeleton/Cargo.toml.in");
const MAIN: &str = include_str!("skeleton/main.rs.in");
const MACHINE: &str = include_str!("skeleton/machine.toml.in");

/// Longest name: what a machine may have as well.
const LONGEST: usize = 48;
/// Names that mean something else to Rust, to Cargo, or to Cyanea's own crates.
const TAKEN: &[&str] = &[
    // Rust's words.
    "abstract",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "struct",
    "super",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
    // Its own crates and Cargo's own folders.
    "alloc",
    "core",
    "proc-macro",
    "proc_macro",
    "std",
    "test",
    "build",
    "deps",
    "examples",
    "incremental",
    // What every image is made of.
    "cyanea",
    "distance",
    "ivshmem",
    "kernel",
    "node",
    "runtime",
    "transport",
    "vm",
];

/// Makes a new crate in `folder`, named like it, whose programs run on a
/// machine of these sources. If that fails, nothing of it is there.
///
/// # Errors
/// If the name will not do, something of that name is there, or it cannot be written.
pub fn create(tree: &Tree, folder: &Path) -> Result<(), ProjectError> {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    check(name)?;
    if folder.symlink_metadata().is_ok() {
        return Err(ProjectError::Exists(folder.to_owned()));
    }
    whole(folder, |fresh| write(tree, name, fresh))
}

/// Makes a folder, with those above it, whose content `fill` writes: all of it or nothing.
fn whole(folder: &Path, fill: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), ProjectError> {
    // Under another name until it is complete. No crate's name begins with a dot.
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let fresh = folder.with_file_name(format!(".{name}.{}", std::process::id()));
    let above = folder.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
    let missing: Vec<&Path> = above.take_while(|above| above.symlink_metadata().is_err()).collect();
    let made =
        fs::create_dir_all(&fresh).and_then(|()| fill(&fresh)).and_then(|()| fs::rename(&fresh, folder));
    made.map_err(|error| {
        let _ = fs::remove_dir_all(&fresh);
        // Those in which somebody else has made something stay.
        missing.iter().for_each(|above| drop(fs::remove_dir(above)));
        unwritable(folder, error)
    })
}

/// Writes what is in a new crate.
fn write(tree: &Tree, name: &str, folder: &Path) -> io::Result<()> {
    fs::create_dir(folder.join("src"))?;
    fs::write(folder.join("Cargo.toml"), manifest(tree, name))?;
    fs::write(folder.join("src/main.rs"), MAIN)?;
    fs::write(folder.join(MACHINE_FILE), MACHINE.replace("@NAME@", name))?;
    fs::write(folder.join(".gitignore"), "/target\n")?;
    // The versions that the system itself is built and tested with; Cargo drops
    // what is not needed. If they are not to be had, Cargo chooses.
    match fs::read(tree.lock()) {
        Ok(lock) => fs::write(folder.join("Cargo.lock"), lock),
        Err(_) => Ok(()),
    }
}

/// The manifest, with the paths of the sources as TOML has them.
fn manifest(tree: &Tree, name: &str) -> String {
    let path = |path: &Path| toml::Value::from(path.to_string_lossy().into_owned()).to_string();
    MANIFEST
        .replace("@NAME@", name)
        .replace("@API@", &path(&tree.api()))
        .replace("@NODE@", &path(&tree.node()))
}

/// Refuses what Cargo would refuse, or what would not work.
fn check(name: &str) -> Result<(), ProjectError> {
    let refused = |reason: &str| Err(ProjectError::Name { name: name.into(), reason: reason.into() });
    let is_fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(is_fit) {
        return refused("a name is made of letters, digits, - and _, and starts with a letter");
    }
    if name.len() > LONGEST {
        return refused("it is too long");
    }
    if TAKEN.contains(&name) {
        return refused("that name is taken");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine_file::{MachineFile, Size};

    fn tree() -> Tree {
        Tree::at(concat!(env!("CARGO_MANIFEST_DIR"), "/..").into()).unwrap()
    }

    #[test]
    fn a_new_crate_is_one_to_cargo_and_its_machine_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("a \"quoted\" folder/hello");
        create(&tree(), &own).unwrap();
        let package = super::super::Package::read(&tree(), &own, &[]).unwrap();
        assert!(package.has_node() && package.binary(None).unwrap().name == "hello");
        let text = fs::read_to_string(package.machine_file().unwrap()).unwrap();
        let file = MachineFile::parse_for(Path::new("machine.toml"), &text, Some(Size(64 << 30))).unwrap();
        assert_eq!(file.name, "hello");
        assert!(file.node_image.unwrap().ends_with("target/cyanea/hello"));
        let again = create(&tree(), &own).unwrap_err().to_string();
        assert!(again.ends_with("hello is there already; choose another name, or remove it"), "{again}");
    }

    #[test]
    fn a_crate_is_there_as_a_whole_or_not_at_all() {
        let place = tempfile::tempdir().unwrap();
        let there = || place.path().read_dir().unwrap().count();
        // So deep that not all of the files can have a path.
        let most = 4095 - place.path().as_os_str().len() - "/hello/Cargo.toml".len();
        let deep = place.path().join(format!("{}/{}", "x/".repeat(most / 2 - 1), &"yy"[..1 + most % 2]));
        let sentence = create(&tree(), &deep.join("hello")).unwrap_err().to_string();
        assert!(sentence.contains("hello cannot be written: "), "{sentence}");
        assert_eq!(there(), 0);
        // A disk that is full in the middle of it.
        let full = |fresh: &Path| write(&tree(), "hello", fresh).and(Err(io::ErrorKind::StorageFull.into()));
        fs::create_dir(place.path().join("kept")).unwrap();
        for folder in ["hello", "kept/a/b/hello"] {
            whole(&place.path().join(folder), full).unwrap_err();
        }
        assert!(there() == 1 && place.path().join("kept").read_dir().unwrap().next().is_none());
    }

    #[test]
    fn names_that_will_not_do_are_refused() {
        for name in ["", "2x", "a b", "a.b", "-x", "über", "x/", "..", "fn", "std", "node", &"x".repeat(49)]
        {
            assert!(check(name).is_err(), "{name:?}");
        }
        for name in ["hello", "hello-world", "h2_o", "Hello"] {
            check(name).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let sentence = create(&tree(), &folder.path().join("fn")).unwrap_err().to_string();
        assert_eq!(sentence, "a crate cannot be called \"fn\": that name is taken");
        assert!(!folder.path().join("fn").exists());
    }
}
