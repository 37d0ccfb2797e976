//! Dependencies point one way: the folders are the architecture's diagram, and
//! this holds the diagram to what Cargo knows.

use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;

/// What each part may use of the others, directly.
const MAY_USE: &[(&str, &[&str])] = &[
    ("transport", &[]),
    ("ivshmem", &["transport"]),
    ("cyanea", &[]),
    ("kernel", &["transport", "ivshmem"]),
    ("network", &["transport", "kernel"]),
    ("runtime", &["transport", "ivshmem"]),
    ("vm", &["transport", "ivshmem", "kernel", "runtime"]),
    (
        "node",
        &[
            "cyanea",
            "kernel",
            "network",
            "runtime",
            "vm",
            "transport",
            "ivshmem",
            "distance",
            "webserver",
            "wordcount",
        ],
    ),
    ("utility", &["kernel", "runtime", "vm", "transport", "ivshmem"]),
    ("orchestration", &["kernel", "transport", "ivshmem"]),
    ("launcher", &["orchestration", "kernel"]),
    ("distance", &["cyanea"]),
    ("webserver", &["cyanea"]),
    ("wordcount", &["cyanea"]),
    ("std-suite", &["cyanea"]),
    ("fuzz", &["transport", "ivshmem", "kernel", "utility", "orchestration"]),
    ("bench", &["bench-same", "orchestration", "kernel", "transport"]),
    ("bench-image", &["bench-same", "cyanea", "node", "kernel", "runtime", "vm", "transport", "ivshmem"]),
    ("bench-linux", &["bench-same"]),
    ("bench-same", &[]),
    ("crates-image", &["cyanea", "node"]),
];

/// The workspace's packages, each with those of them that it uses.
fn packages() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let name = |value: &Value| value["name"].as_str().unwrap_or_default().to_string();
    let all: Vec<Value> = list(&metadata["packages"]);
    let names: Vec<String> = all.iter().map(name).collect();
    all.iter()
        .map(|package| {
            let used = list(&package["dependencies"]);
            let used = used.iter().filter(|used| used["kind"].is_null()).map(name);
            (name(package), used.filter(|used| names.contains(used)).collect())
        })
        .collect()
}

#[test]
fn parts_use_only_what_stands_below_them() {
    let mut wrong = Vec::new();
    for (package, used) in packages() {
        let Some((_, may_use)) = MAY_USE.iter().find(|(part, _)| *part == package) else { continue };
        for other in used.iter().filter(|other| !may_use.contains(&other.as_str())) {
            wrong.push(format!("{package} uses {other}"));
        }
    }
    assert!(wrong.is_empty(), "dependencies against the diagram: {wrong:?}");
}

#[test]
fn every_part_of_the_diagram_is_there() {
    let packages = packages();
    for (part, _) in MAY_USE {
        assert!(packages.contains_key(*part), "the workspace has no package {part}");
    }
}
