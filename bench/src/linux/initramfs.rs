//! The file system that the Linux VMs start from: a cpio archive, in memory,
//! of busybox, the drivers of virtio-net, an `init` and what it runs.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// The drivers, each behind those it needs. A kernel may have some built in.
const DRIVERS: [&str; 8] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "failover",
    "net_failover",
    "virtio_net",
];

/// Its first process: brings the network up and does what the kernel's command
/// line says behind `--`. A VM that nobody ends, ends itself.
const INIT: &str = r#"#!/bin/busybox sh
busybox=/bin/busybox
$busybox mount -t proc proc /proc
$busybox mount -t devtmpfs dev /dev
($busybox sleep 120; $busybox reboot -f) &
for driver in /drivers/*; do $busybox insmod "$driver"; done
$busybox ip link set lo up
$busybox ip address add "$1/24" dev eth0
$busybox ip link set eth0 up
shift
/bench-linux "$@"
$busybox reboot -f
"#;

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// The archive, from the unpacked packages and the program that measures.
pub fn archive(packages: &Path, program: &Path) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for folder in ["bin", "proc", "dev", "drivers"] {
        archive.entry(folder, FOLDER, &[]);
    }
    archive.entry(
        "bin/busybox",
        PROGRAM,
        &read(&super::first_of(packages, &["bin", "usr/bin"], "busybox")?)?,
    );
    archive.entry("bench-linux", PROGRAM, &read(program)?);
    archive.entry("init", PROGRAM, INIT.as_bytes());
    let modules = files_below(&super::modules(packages)?);
    for (number, driver) in DRIVERS.iter().enumerate() {
        let is_it = |path: &&PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.strip_prefix(driver).is_some_and(|rest| rest.starts_with(".ko"))
        };
        if let Some(path) = modules.iter().find(is_it) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            archive.entry(&format!("drivers/{number}-{name}"), PROGRAM, &read(path)?);
        }
    }
    archive.entry("TRAILER!!!", 0, &[]);
    Ok(archive.bytes)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}

/// All files below a folder.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let below = |path: PathBuf| if path.is_dir() { files_below(&path) } else { vec![path] };
    entries.flatten().flat_map(|entry| below(entry.path())).collect()
}

/// A cpio archive in the making, in the form that Linux takes ("newc"): a
/// header of hexadecimal numbers, the name, the content, each padded to 4 bytes.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let (size, name_size) = (content.len() as u32, name.len() as u32 + 1);
        // Inode, mode, owner, group, links, time, size, device (two), node's device (two), name, sum.
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend(b"070701");
        fields.iter().for_each(|field| self.bytes.extend(format!("{field:08x}").bytes()));
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_header_name_and_content_each_padded() {
        let mut archive = Archive::default();
        archive.entry("init", PROGRAM, b"hello");
        let text = String::from_utf8(archive.bytes).unwrap();
        let expected = format!(
            "070701{:08x}{:08x}{:016x}{:08x}{:08x}{:08x}{:032x}{:08x}{:08x}init\0\0hello\0\0\0",
            1, 0o100_755, 0, 1, 0, 5, 0, 5, 0
        );
        assert_eq!(text, expected);
    }
}
