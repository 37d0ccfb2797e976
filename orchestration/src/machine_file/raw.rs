//! A machine file as it is written: the shape of the TOML, defaults, and where
//! each value stands. Whether the values make sense is `check`'s business.

use super::size::Size;
use super::{Delay, Problem, RestartPolicy};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use toml::Spanned;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    pub name: Option<Spanned<String>>,
    #[serde(default)]
    pub clusters: BTreeMap<Spanned<String>, Cluster>,
    #[serde(default)]
    pub utilities: Utilities,
    #[serde(default)]
    pub vm: Vm,
    #[serde(default)]
    pub files: Files,
    #[serde(default)]
    pub pool: Pool,
    #[serde(default)]
    pub images: Images,
    #[serde(default)]
    pub locality: Option<Locality>,
    #[serde(default)]
    pub links: Vec<Link>,
}

/// `[[links]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    pub between: Spanned<Vec<Spanned<String>>>,
    #[expect(dead_code, reason = "there is one kind; a reader of the file wants to see it")]
    pub kind: LinkKind,
    pub delay: Option<Spanned<Delay>>,
    pub loss: Option<Spanned<f64>>,
    pub duplicate: Option<Spanned<f64>>,
    pub reorder: Option<Spanned<f64>>,
    pub seed: Option<u64>,
}

/// What a link is made of.
#[derive(Deserialize)]
pub enum LinkKind {
    #[serde(rename = "virtio-net")]
    VirtioNet,
}

/// `[clusters.NAME]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    pub nodes: Option<Spanned<u16>>,
}

/// `[utilities]`: activities of each.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Utilities {
    pub files: Option<Spanned<u16>>,
    pub tasks: Option<Spanned<u16>>,
}

/// `[vm]`, and what some VMs have otherwise.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Vm {
    pub memory: Option<Spanned<Size>>,
    pub cores: Option<Spanned<u16>>,
    pub restart: Option<RestartPolicy>,
    #[serde(default)]
    pub node: VmOverride,
    #[serde(default)]
    pub files: VmOverride,
    #[serde(default)]
    pub tasks: VmOverride,
    pub net: Option<Net>,
}

/// `[vm.net]`: that it is there says something.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Net {
    pub address: Option<Spanned<String>>,
    #[serde(default)]
    pub forward: Vec<Spanned<String>>,
}

/// `[vm.node]` and the like.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct VmOverride {
    pub memory: Option<Spanned<Size>>,
    pub cores: Option<Spanned<u16>>,
    pub restart: Option<RestartPolicy>,
}

/// `[files]`.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Files {
    pub capacity: Option<Spanned<Size>>,
}

/// `[pool]`.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    pub size: Option<Spanned<Size>>,
}

/// `[locality]`: that it is there says something.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Locality {
    pub within: Option<Spanned<u16>>,
    pub between: Option<Spanned<u16>>,
}

/// `[images]`.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Images {
    pub node: Option<Spanned<PathBuf>>,
    pub utility: Option<Spanned<PathBuf>>,
}

/// Reads the text; the first thing wrong is reported with how to mend it.
pub fn parse(text: &str) -> Result<Raw, Problem> {
    toml::from_str(text).map_err(|error| Problem {
        span: error.span(),
        message: mend(error.message(), error.span().and_then(|span| text.get(span)).unwrap_or_default()),
    })
}

/// The TOML reader's message as a sentence that says how to mend it.
fn mend(message: &str, found: &str) -> String {
    let message = message.trim().replace('\n', ", ");
    if let Some((unknown, known)) = message.strip_prefix("unknown field ").and_then(|m| m.split_once(", ")) {
        let known = known.replace("expected one of ", "").replace("expected ", "");
        return format!("there is no key {unknown} here; write one of {known}, or remove it");
    }
    if let Some((unknown, known)) = message.strip_prefix("unknown variant ").and_then(|m| m.split_once(", "))
    {
        let known = known.replace("expected one of ", "").replace("expected ", "");
        return format!("{unknown} is no choice here; write one of {known}");
    }
    if let Some(missing) = message.strip_prefix("missing field ") {
        return format!("the key {missing} is missing here; write it");
    }
    if message.contains("duplicate key") {
        return format!("the name `{found}` is given twice; rename or remove one of them");
    }
    for (prefix, what) in [("invalid type: ", "is of the wrong type"), ("invalid value: ", "cannot be used")]
    {
        if let Some((found, expected)) =
            message.strip_prefix(prefix).and_then(|m| m.split_once(", expected "))
        {
            return format!("{} {what}; write {}", unquote(found), plain_type(expected));
        }
    }
    format!("this is no valid TOML: {message}")
}

/// A reader's "integer `5`" without the backquotes.
fn unquote(found: &str) -> String {
    found.replace('`', "")
}

/// The name of a Rust type as people say it.
fn plain_type(expected: &str) -> String {
    match expected {
        "u16" | "u32" | "u64" => "a whole number, 0 or more".into(),
        "f64" => "a number".into(),
        "a sequence" => "a list".into(),
        "a string" | "path string" => "a string in quotes".into(),
        _ if expected.starts_with("struct ") || expected == "a map" => "a table".into(),
        other => other.into(),
    }
}

/// The span of a value, if it was written at all.
pub fn span<T>(value: &Option<Spanned<T>>) -> Option<Range<usize>> {
    value.as_ref().map(Spanned::span)
}

/// A value, or what holds when it was not written.
pub fn value_or<T: Copy>(value: &Option<Spanned<T>>, default: T) -> T {
    value.as_ref().map_or(default, |value| *value.get_ref())
}
