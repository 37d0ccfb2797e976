//! The word with which a VM ends, as QEMU's `isa-debug-exit` device hands it
//! from the guest to the launcher.
//!
//! The guest writes the code to the device's port; QEMU ends with the exit
//! status `code << 1 | 1`. QEMU's own failures end it with status 1, so 0 is
//! no code of ours.

/// I/O port of the `isa-debug-exit` device.
pub const PORT: u16 = 0xf4;

/// Why a VM ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// It was asked to, or had nothing more to do.
    Shutdown = 0x10,
    /// The image panicked.
    Panic = 0x11,
    /// A processor exception that no activity owned.
    Fault = 0x12,
    /// It ran out of memory.
    OutOfMemory = 0x13,
    /// It refused a region or device that it does not know.
    Refused = 0x14,
}

impl ExitCode {
    /// From QEMU's exit status; `None` if the status is not a guest's.
    pub fn from_status(status: i32) -> Option<Self> {
        [Self::Shutdown, Self::Panic, Self::Fault, Self::OutOfMemory, Self::Refused]
            .into_iter()
            .find(|&code| status == ((code as i32) << 1 | 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qemu_failures_are_no_exit_codes() {
        assert_eq!(ExitCode::from_status(1), None);
        assert_eq!(ExitCode::from_status(0x10 << 1 | 1), Some(ExitCode::Shutdown));
    }
}
