//! What whole-machine tests need: the command as a user has it, machines that
//! end with their test, and input whose totals are known.
//!
//! * [`host`]: a folder of state and machine files, and the command on them.
//! * [`command`]: a command under way, and what became of it.
//! * [`machine`]: a machine that is up, and what must be left when it ends.
//! * [`input`]: files from a seed, counted on the host.
//!
//! Everything goes through the built command, `target/release/cyanea`. Every
//! wait has a watchdog ([`PATIENCE`]); what a wait took is asserted nowhere.
#![forbid(unsafe_code)]

pub mod command;
pub mod host;
pub mod input;
pub mod machine;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest that anything is waited for. Far more than it should take.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The workspace's own folder.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A built image (or, below `examples`, an example for the guest).
pub fn image(name: &str) -> PathBuf {
    root().join("target/guest/x86_64-unknown-hermit/release").join(name)
}

/// Waits until `holds`.
///
/// # Panics
/// If it takes longer than [`PATIENCE`].
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether process `id` runs (or waits to be reaped) and is a QEMU.
pub fn is_qemu(id: u32) -> bool {
    std::fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| {
        let program = line.split(|&byte| byte == 0).next().unwrap_or_default();
        program.windows(4).any(|part| part == b"qemu")
    })
}
