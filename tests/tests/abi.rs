//! `docs/abi.md` is made from the runtime's source and from `hermit-abi`'s, `docs/std.md` from the
//! suite's table of differences.
//!
//! How functions and their comments are read, `images/runtime/src/abi/mod.rs` says.
//! `CYANEA_WRITE=1 cargo test -p tests --test abi` writes the pages anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std_suite::differences::DIFFERENCES;
use syn::{Attribute, Expr, ForeignItem, Item, Lit, Meta, ReturnType, Signature};
use tests::root;

/// How many arguments a function has, and whether a result.
type Shape = (usize, bool);

/// A function that the runtime defines.
struct Function {
    name: String,
    shape: Shape,
    /// What its comment says before the line on its tests.
    says: String,
    tested: Vec<String>,
}

/// The functions of a file, and what stands at its head.
struct Group {
    name: String,
    head: String,
    functions: Vec<Function>,
}

fn shape(signature: &Signature) -> Shape {
    let result = match &signature.output {
        ReturnType::Default => false,
        ReturnType::Type(_, result) => !matches!(**result, syn::Type::Never(_)),
    };
    (signature.inputs.len(), result)
}

/// The lines of a comment.
fn comment(attributes: &[Attribute]) -> Vec<String> {
    let line = |attribute: &Attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value().trim().to_string()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    };
    attributes.iter().filter_map(line).collect()
}

/// A value of an attribute such as `#[link_name = "..."]`.
fn value(attributes: &[Attribute], name: &str) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident(name) => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    })
}

impl Function {
    fn new(signature: &Signature, attributes: &[Attribute]) -> Self {
        let lines = comment(attributes);
        let tested = lines.iter().find_map(|line| line.strip_prefix("Tested: ")).unwrap_or_default();
        let says: Vec<_> = lines.iter().take_while(|line| !line.is_empty()).map(String::as_str).collect();
        Self {
            name: signature.ident.to_string(),
            shape: shape(signature),
            says: says.join(" "),
            tested: tested.split(", ").filter(|test| !test.is_empty()).map(String::from).collect(),
        }
    }

    fn row(&self) -> String {
        format!("| `{}` | {} | {} |", self.name, self.says.replace('|', "\\|"), self.tested.join(", "))
    }
}

/// The functions of the ABI among a file's items.
fn functions(items: &[Item]) -> Vec<Function> {
    let of = |item: &Item| match item {
        Item::Fn(item) if item.sig.ident.to_string().starts_with("sys_") => {
            Some(Function::new(&item.sig, &item.attrs))
        }
        _ => None,
    };
    items.iter().filter_map(of).collect()
}

fn parse(path: &Path) -> syn::File {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The runtime's side: a group per file.
fn groups() -> Vec<Group> {
    let folder = root().join("images/runtime/src/abi");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let group = |path: &PathBuf| {
        let file = parse(path);
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let name = if name == "mod" { "errors".to_string() } else { name };
        let head = match name.as_str() {
            "errors" => "What the last call of a thread met.".to_string(),
            _ => comment(&file.attrs).join("\n"),
        };
        Group { name, head, functions: functions(&file.items) }
    };
    files.iter().map(group).filter(|group| !group.functions.is_empty()).collect()
}

/// What `hermit-abi` declares, and the version of it that this tree is built with.
fn declared() -> (String, BTreeMap<String, Shape>) {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--filter-platform=x86_64-unknown-hermit"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package =
        packages.iter().find(|package| package["name"] == "hermit-abi").expect("the runtime uses it");
    let text = |key: &str| package[key].as_str().unwrap().to_string();
    let source = PathBuf::from(text("manifest_path")).with_file_name("src/lib.rs");
    let mut all = BTreeMap::new();
    for item in parse(&source).items {
        let Item::ForeignMod(block) = item else { continue };
        for item in block.items {
            let ForeignItem::Fn(function) = item else { continue };
            let name = value(&function.attrs, "link_name").unwrap_or_else(|| function.sig.ident.to_string());
            all.insert(name, shape(&function.sig));
        }
    }
    (text("version"), all)
}

/// Whether there is a test of this name.
fn is_test(name: &str) -> bool {
    match name.split_once("::") {
        Some(("selftest", function)) => {
            let folder = root().join("images/runtime/examples");
            ["selftest.rs", "selftest/abi.rs", "selftest/system.rs"].iter().any(|file| {
                let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
                text.contains(&format!("fn {function}()"))
            })
        }
        Some(("std", program)) => root().join(format!("tests/std/src/programs/{program}.rs")).exists(),
        Some(("crates", program)) => root().join(format!("tests/crates/src/{program}.rs")).exists(),
        _ => false,
    }
}

fn page() -> String {
    let (version, declared) = declared();
    let groups = groups();
    let all: Vec<&Function> = groups.iter().flat_map(|group| &group.functions).collect();
    let mut page = format!(
        "# The Hermit ABI\n\n\
         What stands under `std` in a VM, function by function. This page is made from the runtime's source\n\
         (`CYANEA_WRITE=1 cargo test -p tests --test abi`), and a test holds it to that.\n\n\
         `hermit-abi` {version} declares {} functions; {} are here. A negative result is an error number,\n\
         with Linux's values; what a function does not have answers ENOSYS (38). `selftest` is the runtime alone in one VM, `std` the suite of\n\
         [`tests/std`](../tests/std), `crates` the programs of [`tests/crates`](../tests/crates).\n",
        declared.len(),
        all.len(),
    );
    for group in &groups {
        let head: Vec<&str> = group.head.lines().collect();
        writeln!(page, "\n## {}\n\n{}\n", group.name, head.join("\n")).unwrap();
        page.push_str("| function | what it does | tested by |\n|---|---|---|\n");
        for function in &group.functions {
            writeln!(page, "{}", function.row()).unwrap();
        }
    }
    page
}

#[test]
fn every_function_of_the_abi_is_there_with_its_arguments() {
    let (_, declared) = declared();
    let defined: BTreeMap<_, _> = groups()
        .iter()
        .flat_map(|group| &group.functions)
        .map(|function| (function.name.clone(), function.shape))
        .collect();
    let missing: Vec<_> = declared.iter().filter(|(name, shape)| defined.get(*name) != Some(shape)).collect();
    assert!(missing.is_empty(), "hermit-abi declares what the runtime does not define so: {missing:?}");
    let unknown: Vec<_> = defined.keys().filter(|name| !declared.contains_key(*name)).collect();
    assert!(unknown.is_empty(), "hermit-abi knows nothing of {unknown:?}");
}

#[test]
fn every_function_says_what_it_does_and_who_tests_it() {
    let groups = groups();
    let mut names = BTreeSet::new();
    for function in groups.iter().flat_map(|group| &group.functions) {
        let name = &function.name;
        assert!(names.insert(name), "{name} is there twice");
        assert!(!function.says.is_empty(), "{name} has no comment");
        assert!(!function.tested.is_empty(), "{name} names no test");
        for test in &function.tested {
            assert!(is_test(test), "{name} is said to be tested by {test}, which is not there");
        }
    }
}

fn page_of_std() -> String {
    let mut page = String::from(
        "# What `std` does otherwise on a node\n\n\
         The programs of [`tests/std`](../tests/std) run on the host and on a node, and print the same, but for these\n\
         lines. This page is made from `tests/std/src/differences.rs` (`CYANEA_WRITE=1 cargo test -p tests --test abi`),\n\
         and a test holds that to what the programs print. All of it is the doing of `std`'s Hermit port, whatever stands\n\
         below. Beyond these: `process::id` panics, and a panic cannot be caught.\n\n\
         | program | line | on the host | on a node | why |\n|---|---|---|---|---|\n",
    );
    for one in DIFFERENCES {
        let cells =
            [one.program, one.topic, one.host, one.node, one.why].map(|cell| cell.replace('|', "\\|"));
        let [program, topic, host, node, why] = cells;
        writeln!(page, "| `{program}` | {topic} | `{host}` | `{node}` | {why} |").unwrap();
    }
    page
}

#[test]
fn the_pages_are_what_the_source_says() {
    for (name, page) in [("abi.md", page()), ("std.md", page_of_std())] {
        let path = root().join("docs").join(name);
        if std::env::var_os("CYANEA_WRITE").is_some() {
            fs::write(&path, &page).unwrap();
        }
        let there = fs::read_to_string(&path).unwrap_or_default();
        assert!(there == page, "docs/{name} is out of date: CYANEA_WRITE=1 cargo test -p tests --test abi");
    }
}
