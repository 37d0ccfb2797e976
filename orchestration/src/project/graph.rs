//! What a crate is linked with. The linker script tells the system's libraries
//! from all others by their names alone, and gives activities statics of their
//! own only of the others; so nothing else may have one of these names.

use super::package::Described;
use super::{ProjectError, Tree};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Which packages depend on which, as Cargo has decided it.
#[derive(Deserialize)]
pub(super) struct Graph {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

/// Of what kind a dependency is. A normal one has no name for that.
#[derive(Deserialize)]
struct Kind {
    kind: Option<String>,
}

impl Graph {
    /// Refuses a crate that is linked with a library that has the name of one of
    /// the system's and is none.
    pub(super) fn check(&self, tree: &Tree, packages: &[Described], root: &str) -> Result<(), ProjectError> {
        let (libraries, parts) = (tree.libraries()?, tree.parts()?);
        let is_one = |name: &String, package: &Described| match parts.contains(name) {
            true => Tree::holds(&package.manifest_path),
            // Some version of it; their statics are all alike (docs/programs.md).
            false => package.is_published_as(name),
        };
        let mut named = self.named_like(&libraries, packages, root).into_iter();
        let Some((name, package)) = named.find(|(name, package)| !is_one(name, package)) else {
            return Ok(());
        };
        Err(ProjectError::Mistaken {
            package: package.name.clone(),
            manifest: package.manifest_path.clone(),
            library: name.clone(),
        })
    }

    /// What the crate `root` is linked with, itself included, under one of these names.
    fn named_like<'a>(
        &self,
        names: &BTreeSet<String>,
        packages: &'a [Described],
        root: &str,
    ) -> Vec<(String, &'a Described)> {
        let libraries: BTreeMap<&str, _> = packages
            .iter()
            .filter_map(|package| Some((package.id.as_str(), (package.library()?, package))))
            .collect();
        let linked = self.linked(root, |package| libraries.contains_key(package));
        let linked = linked.into_iter().filter_map(|id| libraries.get(id).cloned());
        linked.filter(|(name, _)| names.contains(name)).collect()
    }

    /// A package and what it is linked with. What has no library is not linked:
    /// macros run in the compiler, and what they need does too.
    fn linked<'a>(&'a self, root: &'a str, is_library: impl Fn(&str) -> bool) -> BTreeSet<&'a str> {
        let nodes: BTreeMap<&str, &Node> = self.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
        let (mut found, mut open) = (BTreeSet::from([root]), vec![root]);
        while let Some(node) = open.pop().and_then(|id| nodes.get(id)) {
            let normal =
                node.deps.iter().filter(|edge| edge.dep_kinds.iter().any(|kind| kind.kind.is_none()));
            open.extend(normal.map(|edge| &*edge.pkg).filter(|id| is_library(id) && found.insert(id)));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `root` is linked with `far` by way of `near`, with its own library, and with
    /// nothing else: not with what runs in the compiler, builds or tests it.
    const PACKAGES: &str = r#"[
        {"id": "root", "name": "root", "targets": [{"name": "vm", "kind": ["lib"]}, {"name": "runtime", "kind": ["bin"]}]},
        {"id": "near", "name": "near", "targets": [{"name": "near", "kind": ["rlib", "staticlib"]}]},
        {"id": "far", "name": "my-net", "targets": [{"name": "net-work", "kind": ["lib"]}]},
        {"id": "macro", "name": "macro", "targets": [{"name": "node", "kind": ["proc-macro"]}]},
        {"id": "of_macro", "name": "kernel", "targets": [{"name": "kernel", "kind": ["lib"]}]},
        {"id": "builds", "name": "kernel", "targets": [{"name": "kernel", "kind": ["lib"]}]},
        {"id": "member", "name": "kernel", "targets": [{"name": "kernel", "kind": ["lib"]}]}
    ]"#;
    const NODES: &str = r#"{"nodes": [
        {"id": "far", "deps": [{"pkg": "near", "dep_kinds": [{"kind": null}]}]},
        {"id": "near", "deps": [{"pkg": "far", "dep_kinds": [{"kind": "dev"}, {"kind": null}]}]},
        {"id": "root", "deps": [
            {"pkg": "near", "dep_kinds": [{"kind": null}]}, {"pkg": "macro", "dep_kinds": [{"kind": null}]},
            {"pkg": "builds", "dep_kinds": [{"kind": "build"}, {"kind": "dev"}]}]},
        {"id": "macro", "deps": [{"pkg": "of_macro", "dep_kinds": [{"kind": null}]}]},
        {"id": "of_macro", "deps": []}, {"id": "builds", "deps": []},
        {"id": "member", "deps": [{"pkg": "root", "dep_kinds": [{"kind": null}]}]}
    ]}"#;

    /// The packages that have one of these library names, from `root` on.
    fn named_like(root: &str, names: &[&str]) -> Vec<(String, String)> {
        let (mut packages, graph): (Vec<serde_json::Value>, Graph) =
            (serde_json::from_str(PACKAGES).unwrap(), serde_json::from_str(NODES).unwrap());
        for package in &mut packages {
            package["manifest_path"] = "/x/Cargo.toml".into();
            package["dependencies"] = serde_json::Value::Array(Vec::new());
        }
        let packages: Vec<Described> = serde_json::from_value(packages.into()).unwrap();
        let names = names.iter().map(|name| name.to_string()).collect();
        let found = graph.named_like(&names, &packages, root);
        found.into_iter().map(|(name, package)| (name, package.name.clone())).collect()
    }

    #[test]
    fn names_count_of_what_is_linked() {
        let pair = |name: &str, package: &str| (name.to_string(), package.to_string());
        assert_eq!(named_like("root", &["net_work"]), [pair("net_work", "my-net")]);
        assert_eq!(named_like("root", &["vm", "near"]), [pair("near", "near"), pair("vm", "root")]);
        assert_eq!(named_like("root", &["kernel", "node", "runtime", "my-net", "root", "macro"]), []);
        assert_eq!(named_like("member", &["kernel"]), [pair("kernel", "kernel")]);
    }

    #[test]
    fn the_systems_own_are_found_and_are_no_mistake() {
        let tree = Tree::at(concat!(env!("CARGO_MANIFEST_DIR"), "/..").into()).unwrap();
        let description = tree.cargo(tree.root()).args(super::super::package::METADATA).output().unwrap();
        let metadata: super::super::package::Metadata = serde_json::from_slice(&description.stdout).unwrap();
        let root = metadata.packages.iter().find(|package| package.name == "node").unwrap();
        metadata.resolve.check(&tree, &metadata.packages, &root.id).unwrap();
        // All of them but what only a utility is made of, and programs, whose statics are theirs.
        let known = tree.parts().unwrap();
        let found = metadata.resolve.named_like(&known, &metadata.packages, &root.id);
        let found: BTreeSet<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        let own = metadata.packages.iter().filter(|package| package.manifest_path.starts_with(tree.root()));
        let own: BTreeMap<&str, &str> = own.map(|package| (&*package.id, &*package.name)).collect();
        let linked = metadata.resolve.linked(&root.id, |package| own.contains_key(package));
        let linked: BTreeSet<&str> = linked.into_iter().map(|id| own[id]).collect();
        assert_eq!(linked.difference(&found).collect::<Vec<_>>(), [&"distance"]);
        assert_eq!(known.iter().filter(|name| !found.contains(&***name)).collect::<Vec<_>>(), ["utility"]);
    }
}
