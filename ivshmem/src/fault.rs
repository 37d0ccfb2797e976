//! What went wrong in a VM, in words that the guest and the launcher share: the
//! kinds of faults, and the addresses that led to one.
//!
//! A backtrace is taken in the guest ([`Backtrace::walk`]) and means something
//! only to whoever has the image's symbols, the launcher. On the console it is
//! one line, `backtrace: 0x203e41 0x2041aa`, below which the launcher writes
//! what the addresses stand for.

mod backtrace;

pub use backtrace::{Backtrace, GAP, MOST_FRAMES};

use core::fmt;
use serde::{Deserialize, Serialize};

/// Addresses below this one are offsets from a null pointer.
const NULL_AREA: u64 = 64 * 1024;

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Memory was used where nothing is, or as it may not be used.
    Access {
        /// How it was used.
        access: Access,
        /// Where.
        address: u64,
        /// What is there.
        place: Place,
    },
    /// A division by zero, or one whose quotient has no room.
    Divide,
    /// Bytes that are no instruction, or `ud2`, with which compiled code stops.
    Instruction,
    /// An access that is not to a page: by an address that none can have, or
    /// one that is not aligned as the instruction wants.
    Protection,
    /// An access that is not aligned, where that is checked.
    Alignment,
    /// An exception of x87, MMX or SSE that was not masked.
    FloatingPoint,
    /// Another exception of the processor, by its vector.
    Exception(u8),
    /// A panic.
    Panic,
    /// `std::process::abort`.
    Abort,
    /// An allocation of so many bytes failed (0: it is not known of how many).
    OutOfMemory(u64),
    /// All threads wait for one another.
    Deadlock,
}

/// How memory was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Access {
    Read,
    Write,
    Execute,
}

/// What is at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// Nothing.
    Nothing,
    /// The guard page below a thread's stack.
    StackGuard,
    /// Memory that is not for this: code is not written, data not executed.
    Protected,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "reading",
            Self::Write => "writing",
            Self::Execute => "executing",
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Access { access, address, place } => {
                let what = match place {
                    Place::Nothing if *address < NULL_AREA => "null pointer",
                    Place::Nothing => "wild pointer",
                    Place::StackGuard => "stack overflow",
                    Place::Protected => "protected memory",
                };
                write!(f, "{what}: {access} {address:#x}")
            }
            Self::Divide => f.write_str("divide error"),
            Self::Instruction => f.write_str("invalid instruction"),
            Self::Protection => f.write_str("general protection: an impossible or misaligned address"),
            Self::Alignment => f.write_str("misaligned access"),
            Self::FloatingPoint => f.write_str("floating-point exception"),
            Self::Exception(vector) => match NAMES.get(usize::from(*vector)) {
                Some(name) => f.write_str(name),
                None => write!(f, "exception {vector}"),
            },
            Self::Panic => f.write_str("panicked"),
            Self::Abort => f.write_str("aborted"),
            Self::OutOfMemory(0) => f.write_str("out of memory"),
            Self::OutOfMemory(bytes) => write!(f, "out of memory: asking for {bytes} bytes"),
            Self::Deadlock => f.write_str("deadlock: all threads wait for one another"),
        }
    }
}

impl Kind {
    /// The kind of a processor's exception that is no page fault.
    pub const fn of_exception(vector: u8) -> Self {
        match vector {
            0 => Self::Divide,
            6 => Self::Instruction,
            12 | 13 => Self::Protection,
            16 | 19 => Self::FloatingPoint,
            17 => Self::Alignment,
            other => Self::Exception(other),
        }
    }

    /// The exit code that a host's shell shows for a process that ends so.
    pub const fn exit_code(self) -> u8 {
        const SIGNAL: u8 = 128;
        match self {
            Self::Access { .. } | Self::Protection => SIGNAL + 11,
            Self::Divide | Self::FloatingPoint => SIGNAL + 8,
            Self::Instruction => SIGNAL + 4,
            Self::Alignment => SIGNAL + 7,
            Self::Exception(_) => SIGNAL + 5,
            Self::Panic => 101,
            Self::Abort | Self::OutOfMemory(_) => SIGNAL + 6,
            // A process of a host would wait for ever.
            Self::Deadlock => 1,
        }
    }
}

/// The names of the exceptions, by vector.
const NAMES: [&str; 32] = [
    "divide error",
    "debug exception",
    "non-maskable interrupt",
    "breakpoint",
    "overflow",
    "bound range exceeded",
    "invalid opcode",
    "device not available",
    "double fault",
    "coprocessor segment overrun",
    "invalid TSS",
    "segment not present",
    "stack-segment fault",
    "general protection fault",
    "page fault",
    "reserved exception 15",
    "x87 floating-point exception",
    "alignment check",
    "machine check",
    "SIMD floating-point exception",
    "virtualization exception",
    "control protection exception",
    "reserved exception 22",
    "reserved exception 23",
    "reserved exception 24",
    "reserved exception 25",
    "reserved exception 26",
    "reserved exception 27",
    "hypervisor injection exception",
    "VMM communication exception",
    "security exception",
    "reserved exception 31",
];

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn an_access_says_what_is_there() {
        let access = |address, place| Kind::Access { access: Access::Read, address, place }.to_string();
        assert_eq!(access(0x10, Place::Nothing), "null pointer: reading 0x10");
        assert_eq!(access(0x10_0000_0000, Place::Nothing), "wild pointer: reading 0x1000000000");
        assert_eq!(access(0x7000_0000_0ff8, Place::StackGuard), "stack overflow: reading 0x700000000ff8");
        assert_eq!(access(0x20_0000, Place::Protected), "protected memory: reading 0x200000");
    }

    #[test]
    fn exceptions_have_their_kinds() {
        assert_eq!(Kind::of_exception(0), Kind::Divide);
        assert_eq!(Kind::of_exception(3).to_string(), "breakpoint");
        assert_eq!(Kind::Exception(200).to_string(), "exception 200");
    }
}
