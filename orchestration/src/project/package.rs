//! What Cargo says of a crate.

use super::graph::Graph;
use super::tree::refusal;
use super::{IMAGES, MACHINE_FILE, ProjectError, Tree};
use serde::Deserialize;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A crate with binaries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its `Cargo.toml`.
    pub manifest: PathBuf,
    /// Its binaries.
    pub binaries: Vec<Binary>,
    /// Where what is built of it lies.
    target: PathBuf,
    default_run: Option<String>,
    has_node: bool,
}

/// One of its binaries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binary {
    /// Its name, and that of the program.
    pub name: String,
    /// Whether its `main` calls `node::main` itself, with programs of its choice.
    pub is_node: bool,
}

/// How Cargo is asked.
pub(super) const METADATA: [&str; 4] =
    ["metadata", "--format-version=1", "--filter-platform", "x86_64-unknown-hermit"];
/// Options for Cargo that decide what a crate is linked with, or how that is found out.
const OF_THE_GRAPH: [&str; 5] =
    ["--all-features", "--no-default-features", "--locked", "--offline", "--frozen"];
/// Those of them that are followed by a word, or by `=` and a word.
const OF_THE_GRAPH_WITH_VALUE: [&str; 4] = ["--features", "-F", "--config", "-Z"];

/// The part of `cargo metadata` that is wanted.
#[derive(Deserialize)]
pub(super) struct Metadata {
    pub packages: Vec<Described>,
    pub resolve: Graph,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
pub(super) struct Described {
    pub id: String,
    pub name: String,
    pub manifest_path: PathBuf,
    /// Where it is from; `None` is a folder of somebody's.
    source: Option<String>,
    default_run: Option<String>,
    targets: Vec<Target>,
    dependencies: Vec<Dependency>,
    #[serde(default)]
    metadata: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    rename: Option<String>,
    kind: Option<String>,
}

impl Package {
    /// The crate in a folder, built with `more` for Cargo.
    ///
    /// # Errors
    /// If there is none, it has no binary, nothing to build it with, or a part that
    /// would be taken for one of the system.
    pub fn read(tree: &Tree, folder: &Path, more: &[OsString]) -> Result<Self, ProjectError> {
        let manifest = folder.join("Cargo.toml");
        if !manifest.is_file() {
            return Err(ProjectError::NoCrate(folder.to_owned()));
        }
        let mut cargo = tree.cargo(folder);
        cargo.args(METADATA).args(["--manifest-path", "Cargo.toml"]).args(of_the_graph(more));
        let output = ask(&mut cargo).map_err(|error| ProjectError::NoCompiler(error.to_string()))?;
        if output.status.success() {
            return Self::described(tree, manifest, &output.stdout);
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        Err(match refusal(&complaint) {
            Some(refusal) => ProjectError::NoCompiler(refusal.into()),
            None => ProjectError::Manifest { path: manifest, reason: first_error(&complaint) },
        })
    }

    /// The crate of this manifest, as described by `cargo metadata`.
    fn described(tree: &Tree, manifest: PathBuf, description: &[u8]) -> Result<Self, ProjectError> {
        let mut metadata: Metadata = serde_json::from_slice(description)
            .map_err(|error| ProjectError::Manifest { path: manifest.clone(), reason: error.to_string() })?;
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let wanted = real(&manifest);
        let found = metadata.packages.iter().position(|package| real(&package.manifest_path) == wanted);
        let found =
            found.ok_or_else(|| ProjectError::Workspace(manifest.parent().unwrap_or(&manifest).into()))?;
        metadata.resolve.check(tree, &metadata.packages, &metadata.packages[found].id)?;
        let package = metadata.packages.swap_remove(found).with_target(metadata.target_directory);
        if package.binaries.is_empty() { Err(ProjectError::NoBinary(package.name)) } else { Ok(package) }
    }

    /// The binary of this name; without a name, the one that `cargo run` would run.
    ///
    /// # Errors
    /// If there is none, or it is not clear which is meant.
    pub fn binary(&self, name: Option<&str>) -> Result<&Binary, ProjectError> {
        let names = || self.binaries.iter().map(|binary| binary.name.clone()).collect();
        let Some(name) = name.or(self.default_run.as_deref()) else {
            return match &self.binaries[..] {
                [only] => Ok(only),
                _ => Err(ProjectError::Several { package: self.name.clone(), known: names() }),
            };
        };
        let found = self.binaries.iter().find(|binary| binary.name == name);
        found.ok_or_else(|| ProjectError::NoSuchBinary {
            package: self.name.clone(),
            wanted: name.into(),
            known: names(),
        })
    }

    /// Whether it depends on `node`, by that name.
    pub fn has_node(&self) -> bool {
        self.has_node
    }

    /// Where its `Cargo.toml` lies.
    pub fn folder(&self) -> &Path {
        self.manifest.parent().unwrap_or(&self.manifest)
    }

    /// Where its images lie.
    pub fn images(&self) -> PathBuf {
        self.target.join(IMAGES)
    }

    /// Where the image of a binary lies once it is built.
    pub fn image(&self, binary: &Binary) -> PathBuf {
        self.images().join(&binary.name)
    }

    /// Its machine file, if it has one, which may be one that cannot be read.
    pub fn machine_file(&self) -> Option<PathBuf> {
        Some(self.manifest.with_file_name(MACHINE_FILE)).filter(|file| file.symlink_metadata().is_ok())
    }
}

impl Described {
    /// The name of its library, as the compiler has it, if others can be linked with it.
    pub fn library(&self) -> Option<String> {
        let is_linked = |target: &&Target| target.kind.iter().any(|kind| kind == "lib" || kind == "rlib");
        self.targets.iter().find(is_linked).map(|target| target.name.replace('-', "_"))
    }

    /// Whether it is published, and the library of this name is what it is known for.
    pub fn is_published_as(&self, library: &str) -> bool {
        self.source.is_some() && self.name.replace('-', "_") == library
    }

    fn with_target(self, target: PathBuf) -> Package {
        let own = &self.metadata.unwrap_or_default()["cyanea"]["nodes"];
        let is_node = |name: &str| own.as_array().is_some_and(|own| own.iter().any(|own| own == name));
        let binaries = self.targets.into_iter().filter(|target| target.kind.iter().any(|kind| kind == "bin"));
        let is_it =
            |used: &Dependency| used.kind.is_none() && used.rename.as_deref().unwrap_or(&used.name) == "node";
        Package {
            has_node: self.dependencies.iter().any(is_it),
            binaries: binaries.map(|b| Binary { is_node: is_node(&b.name), name: b.name }).collect(),
            name: self.name,
            manifest: self.manifest_path,
            target,
            default_run: self.default_run,
        }
    }
}

/// What a call of Cargo comes to. What it says of its progress is passed on to
/// standard error meanwhile: there may be much to download.
fn ask(cargo: &mut Command) -> io::Result<Output> {
    let mut child = cargo.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let said = child.stderr.take();
    let listener = std::thread::spawn(move || {
        let mut all = String::new();
        for line in said.into_iter().flat_map(|said| BufReader::new(said).lines().map_while(Result::ok)) {
            // A word and what it is about, indented; so are the causes of an error, below it.
            if line.starts_with(' ') && !all.contains("error") {
                let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
            }
            all += &line;
            all.push('\n');
        }
        all
    });
    let output = child.wait_with_output()?;
    Ok(Output { stderr: listener.join().unwrap_or_default().into_bytes(), ..output })
}

/// What of `more` for `cargo rustc` is for `cargo metadata`, too.
fn of_the_graph(more: &[OsString]) -> Vec<&OsString> {
    let mut words = more.iter().take_while(|word| *word != "--");
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy();
        if OF_THE_GRAPH_WITH_VALUE.contains(&&*text) {
            found.extend(std::iter::once(word).chain(words.next()));
        } else if OF_THE_GRAPH.contains(&&*text)
            || OF_THE_GRAPH_WITH_VALUE.iter().any(|o| text.starts_with(o))
        {
            found.push(word);
        }
    }
    found
}

/// What Cargo complains of, on one line: its first error and what caused it.
fn first_error(complaint: &str) -> String {
    let lines = complaint.lines().map(str::trim).filter(|line| !line.is_empty());
    let said: Vec<&str> = lines.map(|line| line.strip_prefix("error: ").unwrap_or(line)).collect();
    match said.iter().position(|line| *line == "Caused by:") {
        Some(cause) => format!("{}: {}", said[0], said[cause + 1..].join(" ").replace("Caused by: ", "")),
        None => said.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        Tree::at(concat!(env!("CARGO_MANIFEST_DIR"), "/..").into()).unwrap()
    }

    fn described(targets: &str, more: &str) -> Result<Package, ProjectError> {
        let text = format!(
            r#"{{"target_directory": "/x/target", "resolve": {{"nodes": []}}, "packages": [{{"id": "x", "name": "x", "manifest_path": "/x/Cargo.toml",
                "default_run": null, "targets": [{targets}], "dependencies": [{more}],
                "metadata": {{"cyanea": {{"nodes": ["own"]}}}}}}]}}"#
        );
        Package::described(&tree(), "/x/Cargo.toml".into(), text.as_bytes())
    }

    const MAIN: &str = r#"{"name": "x", "kind": ["bin"]}"#;
    const OTHERS: &str = r#"{"name": "l", "kind": ["lib"]}, {"name": "own", "kind": ["bin"]}"#;

    #[test]
    fn binaries_are_told_from_the_rest() {
        let package = described(&format!("{MAIN}, {OTHERS}"), "").unwrap();
        let found: Vec<_> = package.binaries.iter().map(|b| (b.name.as_str(), b.is_node)).collect();
        assert_eq!(found, [("x", false), ("own", true)]);
        assert_eq!(package.images(), Path::new("/x/target/cyanea"));
        assert_eq!(package.binary(Some("own")).unwrap().name, "own");
        let several = package.binary(None).unwrap_err().to_string();
        assert_eq!(several, "the crate x has several binaries (x, own); say which with --bin");
        let none = package.binary(Some("y")).unwrap_err().to_string();
        assert_eq!(none, "the crate x has no binary \"y\"; it has x, own");
        assert_eq!(described(MAIN, "").unwrap().binary(None).unwrap().name, "x");
        assert!(matches!(described("", ""), Err(ProjectError::NoBinary(_))));
    }

    #[test]
    fn the_crate_under_it_is_a_dependency_of_that_name() {
        let on = |name: &str, rename: &str, kind: &str| {
            let dependency = format!(r#"{{"name": "{name}", "rename": {rename}, "kind": {kind}}}"#);
            described(MAIN, &dependency).unwrap().has_node()
        };
        assert!(on("node", "null", "null") && on("cyanea-node", "\"node\"", "null"));
        assert!(
            !on("node", "\"other\"", "null") && !on("node", "null", "\"dev\"") && !on("x", "null", "null")
        );
    }

    #[test]
    fn a_part_with_the_name_of_the_systems_is_one_sentence() {
        let sentence = described(r#"{"name": "network", "kind": ["lib"]}"#, "").unwrap_err().to_string();
        assert_eq!(
            sentence,
            "the package x (/x/Cargo.toml) has a library called `network`, as a part of the system has, and would be \
             taken for that: all activities of a node would share its statics; give it another name in its \
             Cargo.toml: [lib] name = \"...\""
        );
        // So is one of a crate that the system uses, unless it is that crate.
        let mistaken = described(r#"{"name": "object", "kind": ["lib"]}"#, "");
        assert!(matches!(mistaken, Err(ProjectError::Mistaken { library, .. }) if library == "object"));
        let none = described(r#"{"name": "serde_json", "kind": ["lib"]}"#, "");
        assert!(matches!(none, Err(ProjectError::NoBinary(_))));
    }

    #[test]
    fn a_published_crate_is_known_by_its_name() {
        let from = |source: &str, name: &str| {
            let text = format!(
                r#"{{"id": "x", "name": "{name}", "manifest_path": "/x", "default_run": null, "targets": [],
                    "dependencies": [], "source": {source}}}"#
            );
            serde_json::from_str::<Described>(&text).unwrap().is_published_as("pin_utils")
        };
        assert!(from("\"registry+https://x\"", "pin-utils") && from("\"git+https://x\"", "pin_utils"));
        assert!(!from("null", "pin-utils") && !from("\"registry+https://x\"", "other"));
    }

    #[test]
    fn what_decides_the_graph_is_told_from_the_rest() {
        let more = "-v --features a,b --bin=x -Fc --jobs 1 -F d --config=k=1 --locked -- --offline";
        let more: Vec<OsString> = more.split(' ').map(OsString::from).collect();
        let found: Vec<_> = of_the_graph(&more).into_iter().map(|word| word.to_str().unwrap()).collect();
        assert_eq!(found, ["--features", "a,b", "-Fc", "-F", "d", "--config=k=1", "--locked"]);
    }

    #[test]
    fn what_is_no_crate_is_one_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let sentence = || Package::read(&tree(), folder.path(), &[]).unwrap_err().to_string();
        assert!(sentence().contains("it has no Cargo.toml; `cyanea new NAME` makes one"));
        let file = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        std::fs::create_dir_all(folder.path().join("one/src")).unwrap();
        file("one/src/main.rs", "");
        file("one/Cargo.toml", "[package]\nname = \"one\"\nedition = \"2024\"\n");
        file("Cargo.toml", "[workspace]\nmembers = [\"one\"]\nresolver = \"3\"\n");
        assert!(sentence().ends_with("is a workspace and no crate; name the folder of one of its members"));
        file("Cargo.toml", "this is none");
        let refused = sentence();
        assert!(refused.starts_with("cargo does not take ") && !refused.contains('\n'), "{refused}");
    }
}
