//! What tests of whole machines need: tiny images, fake QEMUs, patience.
#![allow(dead_code, reason = "not every test file uses all of it")]

use orchestration::image::sample;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest that anything is waited for. Far more than it should take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a tiny image does after it wrote its text.
#[derive(Clone, Copy)]
pub enum Then {
    /// It halts for good.
    Halt,
    /// It ends its VM with this code.
    Exit(u8),
    /// It writes its peer id as one digit, rings the launcher, and halts.
    Ring,
}

/// An image that boots by PVH, writes a text to the serial port and then ends
/// or halts.
pub fn image(text: &str, then: Then) -> Vec<u8> {
    let mut code = vec![0x66, 0xba, 0xf8, 0x03]; // mov dx, 0x3f8
    code.extend(text.bytes().flat_map(|byte| [0xb0, byte, 0xee])); // mov al, byte; out dx, al
    if let Then::Exit(word) = then {
        code.extend([0x66, 0xba, 0xf4, 0x00, 0xb0, word, 0xee]); // mov dx, 0xf4; ...
    }
    if let Then::Ring = then {
        code.extend(ring());
    }
    code.extend([0xfa, 0xf4, 0xeb, 0xfd]); // cli; again: hlt; jmp again
    sample::image(&code)
}

/// Gives the doorbell device (slot 1, function 1) an address, writes its
/// IVPosition as a digit, and rings vector 0 of peer 0.
fn ring() -> Vec<u8> {
    const CONFIGURATION: u32 = 0xe000_0000 + (1 << 15) + (1 << 12);
    const REGISTERS: u32 = 0xc000_0000;
    let store = |address: u32, value: u32| {
        [&[0xc7, 0x05][..], &address.to_le_bytes(), &value.to_le_bytes()].concat() // mov [address], value
    };
    let mut code = store(CONFIGURATION + 0x10, REGISTERS); // BAR0
    code.extend(store(CONFIGURATION + 4, 2)); // memory on
    code.push(0xa1); // mov eax, [IVPosition]
    code.extend((REGISTERS + 8).to_le_bytes());
    code.extend([0x04, b'0', 0x66, 0xba, 0xf8, 0x03, 0xee]); // add al, '0'; mov dx, 0x3f8; out dx, al
    code.extend([0xb0, b'\n', 0xee]); // mov al, newline; out dx, al
    code.extend(store(REGISTERS + 12, 0)); // Doorbell
    code
}

/// A folder with a node and a utility image.
pub fn images(folder: &Path, node: &[u8], utility: &[u8]) -> PathBuf {
    let images = folder.join("images");
    fs::create_dir_all(&images).unwrap();
    fs::write(images.join("node"), node).unwrap();
    fs::write(images.join("utility"), utility).unwrap();
    images
}

/// A folder whose images halt at once.
pub fn idle_images(folder: &Path) -> PathBuf {
    images(folder, &image("node here\n", Then::Halt), &image("utility here\n", Then::Halt))
}

/// A shell script in QEMU's place: `$line` is its whole argument list.
pub fn fake_qemu(folder: &Path, version: &str, body: &str) -> PathBuf {
    let path = folder.join("fake-qemu");
    let version = format!(
        "[ \"$1\" = --version ] && {{ echo 'QEMU emulator version {version}'; exit 0; }}\nline=\"$*\""
    );
    executable(&path, &format!("{version}\n{body}"));
    path
}

/// Writes a shell script.
pub fn executable(path: &Path, body: &str) {
    fs::write(path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Waits until something holds.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process is there (a zombie is not).
pub fn process_exists(id: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let state = status.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}
