//! `docs/guide.md` as a user follows it: its commands in their order, its files
//! where they are shown, and what it shows comes out.
//!
//! In the page, a block `sh` is commands, all in one shell that starts in the
//! repository's folder; a block whose language is followed by a path is that
//! file's content; a block `text` is what the commands before it write to standard
//! output, where `…` stands for anything.

use super::projects::BUILDING;
use std::path::PathBuf;
use std::process::Command;
use tests::command::Running;
use tests::host::Host;
use tests::root;

/// Stands between what blocks write.
const SEPARATOR: char = '\x1e';

/// A part of the page.
#[derive(Debug, PartialEq, Eq)]
enum Block {
    Commands(String),
    File { path: String, content: String },
    Output(String),
}

/// The page's blocks in their order.
fn blocks(page: &str) -> Vec<Block> {
    let (mut blocks, mut lines) = (Vec::new(), page.lines());
    while let Some(line) = lines.next() {
        let Some(head) = line.strip_prefix("```") else { continue };
        let content: String =
            lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
        blocks.push(match head.split_once(' ') {
            Some((_, path)) => Block::File { path: path.into(), content },
            None if head == "sh" => Block::Commands(content),
            None if head == "text" => Block::Output(content),
            None => panic!("a block of {head:?}, which is neither sh, text, nor a file"),
        });
    }
    blocks
}

/// One script of all commands and files, and what each block must write.
fn script(blocks: Vec<Block>) -> (String, Vec<Option<String>>) {
    let (mut script, mut expected) = (String::from("set -eu -o pipefail\n"), Vec::new());
    for block in blocks {
        match block {
            Block::Commands(commands) => {
                script += &format!("{commands}printf '{SEPARATOR}'\n");
                expected.push(None);
            }
            Block::File { path, content } => {
                script += &format!("cat > '{path}' <<'END-OF-FILE'\n{content}END-OF-FILE\n");
            }
            Block::Output(text) => *expected.last_mut().expect("commands come first") = Some(text),
        }
    }
    (script, expected)
}

/// Whether a line is as the page shows it.
fn is_like(line: &str, shown: &str) -> bool {
    let mut parts = shown.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let mut open = false;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        open = part.is_empty();
    }
    open || rest.is_empty()
}

/// Says which line is not as it is shown.
fn compare(written: &str, shown: &str) {
    let (written_lines, shown_lines): (Vec<_>, Vec<_>) = (written.lines().collect(), shown.lines().collect());
    assert_eq!(written_lines.len(), shown_lines.len(), "the guide shows:\n{shown}and this came:\n{written}");
    for (line, shown) in written_lines.iter().zip(shown_lines) {
        assert!(is_like(line.trim_end(), shown), "the guide shows {shown:?}, and this came: {line:?}");
    }
}

/// Where the user's toolchain is, whose home is another one here.
fn kept(variable: &str, folder: &str) -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(folder);
    std::env::var_os(variable).map_or_else(home, PathBuf::from)
}

#[test]
fn the_guide_is_right() {
    let host = Host::new();
    let page = std::fs::read_to_string(root().join("docs/guide.md")).unwrap();
    let (script, expected) = script(blocks(&page));
    let file = host.file("guide.sh", &script);
    let mut shell = Command::new("bash");
    shell.arg(file).current_dir(root());
    shell.env("CARGO_HOME", kept("CARGO_HOME", ".cargo")).env("RUSTUP_HOME", kept("RUSTUP_HOME", ".rustup"));
    shell.env("HOME", host.folder()).env("CYANEA_STATE", host.folder().join("state"));
    // `std` is there already.
    shell.env("CYANEA_GUEST_TARGET_DIR", root().join("target/guest"));
    for variable in ["CYANEA_IMAGES", "CYANEA_MACHINE", "CYANEA_QEMU", "CYANEA_SOURCE", "MAKEFLAGS"] {
        shell.env_remove(variable);
    }
    let ended = Running::start(shell).end_within(BUILDING);
    let _ = host.call(&["down"]);
    println!("{}", ended.err);
    let out = ended.out.clone();
    let written: Vec<&str> = out.split(SEPARATOR).collect();
    for (written, shown) in written.iter().zip(&expected) {
        if let Some(shown) = shown {
            compare(written, shown);
        }
    }
    ended.well();
    assert_eq!(written.len(), expected.len() + 1);
}

#[test]
fn a_page_is_taken_apart_and_compared() {
    let page = "# A\n```sh\necho 1\n```\nand\n```text\n1\n```\n```rust src/main.rs\nfn main() {}\n```\n";
    let file = Block::File { path: "src/main.rs".into(), content: "fn main() {}\n".into() };
    let expected = [Block::Commands("echo 1\n".into()), Block::Output("1\n".into()), file];
    assert_eq!(blocks(page), expected);
    assert!(is_like("8 VMs up in 0.3 s", "8 VMs up in … s") && is_like("a", "…") && is_like("", "…"));
    assert!(is_like("same", "same") && !is_like("same here", "same") && !is_like("x y z", "x … q"));
    assert!(!is_like("8 VMs up in 0.3 s!", "8 VMs up in … s"));
}
