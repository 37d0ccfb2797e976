//! Trees of files go into a machine and come out again as they were.

use serde_json::Value;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use tests::input::{Random, tree};
use tests::machine::{Machine, TWO_CLUSTERS};

/// Writes a tree with whatever a tree may have.
fn odd_tree(folder: &Path, random: &mut Random) {
    let deep = folder.join("a/b/c/d/e/f/g");
    fs::create_dir_all(&deep).unwrap();
    fs::create_dir_all(folder.join("empty directory/another")).unwrap();
    let sizes = [0, 1, 511, 512, 513, 4095, 4096, 4097, 57_343, 57_344, 65_536, 100_003, 5_000_000];
    for size in sizes {
        fs::write(folder.join(format!("size-{size}")), random.bytes(size)).unwrap();
    }
    for name in
        ["with space", "ünïcödé ∀", "-rf", "*?[x]", "new\nline", "quote'\"", ".hidden", "...", "back\\slash"]
    {
        fs::write(deep.join(name), name).unwrap();
    }
    fs::write(folder.join("x".repeat(200)), "a long name").unwrap();
    fs::write(folder.join(std::ffi::OsStr::from_bytes(b"not\xffutf8")), "no text").unwrap();
    for many in 0..300 {
        fs::write(folder.join("a/b").join(format!("many-{many}")), many.to_string()).unwrap();
    }
}

#[test]
fn a_tree_comes_out_as_it_went_in() {
    let machine = Machine::up(TWO_CLUSTERS);
    let folder = machine.host.folder();
    odd_tree(&folder.join("tree"), &mut Random::seeded());
    let expected = tree(&folder.join("tree"));
    let files = expected.iter().filter(|(_, content)| content.is_some()).count();
    let directories = expected.len() - files + 1;
    let bytes: usize = expected.iter().filter_map(|(_, content)| content.as_ref()).map(Vec::len).sum();
    let copied = format!("copied {files} files, {bytes} bytes, {directories} directories\n");
    assert_eq!(machine.call(&["cp", "host:tree", "/tree"]).well(), copied);
    assert_eq!(machine.call(&["cp", "/tree", "host:back"]).well(), copied);
    assert!(tree(&folder.join("back")) == expected);
    // Onto what exists: into the directory, as `cp -r` does; and a file replaces a file.
    machine.call(&["cp", "host:tree/size-513", "/tree/size-0"]).well();
    machine.call(&["cp", "/tree/size-0", "host:back"]).well();
    assert_eq!(
        fs::read(folder.join("back/size-0")).unwrap(),
        fs::read(folder.join("tree/size-513")).unwrap()
    );
    machine.call(&["cp", "host:tree", "/tree"]).well();
    machine.call(&["cp", "/tree/tree", "host:inner"]).well();
    assert!(tree(&folder.join("inner")) == expected);
}

#[test]
fn a_listing_says_what_is_there() {
    let machine = Machine::up(TWO_CLUSTERS);
    let folder = machine.host.folder();
    fs::create_dir_all(folder.join("tree/inner")).unwrap();
    fs::write(folder.join("tree/file"), "seven!!").unwrap();
    machine.call(&["cp", "host:tree", "/tree"]).well();
    let told: Value = serde_json::from_str(&machine.call(&["ls", "--json", "/tree"]).well()).unwrap();
    let told: Vec<_> = told
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["name"].as_str().unwrap(), entry["directory"].as_bool().unwrap()))
        .collect();
    assert_eq!(told, [("file", false), ("inner", true)]);
    let shown = machine.call(&["ls", "/tree"]).well();
    assert!(shown.contains("7  file\n") && shown.contains("  inner/\n"), "{shown}");
    assert!(machine.call(&["ls", "tree/file"]).well().contains("7  "));
}

#[test]
fn copies_that_cannot_be_are_a_sentence() {
    let machine = Machine::up(TWO_CLUSTERS);
    fs::write(machine.host.folder().join("file"), "x").unwrap();
    for (words, expected) in [
        (["cp", "host:absent", "/x"], "host:"),
        (["cp", "/absent", "host:x"], "/absent: no such file or directory"),
        (["cp", "host:file", "/absent/x"], "/absent/x: no such file or directory"),
        (["cp", "host:file", "host:x"], "both sides are on the host"),
        (["cp", "/file", "/x"], "both sides are in the machine"),
        (["ls", "--json", "/absent"], "/absent: no such file or directory"),
    ] {
        let sentence = machine.call(&words).sentence();
        println!("{sentence}");
        assert!(sentence.starts_with(expected), "{words:?}: {sentence}");
    }
    assert_eq!(machine.call(&["ls", "--json", "/"]).well(), "[]\n");
}

#[test]
fn links_of_the_machine_are_shown_and_those_to_files_copied_as_files() {
    let machine = Machine::up(TWO_CLUSTERS);
    machine.run(1, &["links", "/links"]);
    let shown = machine.call(&["ls", "/links"]).well();
    for line in [
        "  file\n",
        "  inner/\n",
        "4  near -> file\n",
        "  to inner -> /links/inner\n",
        "  circle -> circle\n",
    ] {
        assert!(shown.contains(line), "{line:?} in {shown}");
    }
    let told: Value = serde_json::from_str(&machine.call(&["ls", "--json", "/links"]).well()).unwrap();
    let links: Vec<_> = told.as_array().unwrap().iter().filter_map(|entry| entry["link"].as_str()).collect();
    assert_eq!(links, ["circle", "file", "/links/inner"]);
    let said = machine.call(&["cp", "/links", "host:back"]).well();
    assert!(said.starts_with("copied 2 files, 14 bytes, 2 directories; passed over 2 "), "{said}");
    let back = machine.host.folder().join("back");
    assert_eq!(fs::read_to_string(back.join("near")).unwrap(), "content");
    assert!(!fs::symlink_metadata(back.join("near")).unwrap().is_symlink());
    // Through a link, into what it leads to.
    machine.call(&["cp", "host:back/near", "/links/to inner"]).well();
    machine.call(&["cp", "/links/inner/near", "host:again"]).well();
    assert_eq!(fs::read_to_string(machine.host.folder().join("again")).unwrap(), "content");
}

#[test]
fn what_removes_a_tree_follows_no_link_that_takes_a_directorys_place() {
    let machine = Machine::up(TWO_CLUSTERS);
    assert_eq!(machine.run(2, &["tree-and-link"]), "kept\n");
}
