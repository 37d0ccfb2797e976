//! Whether a file is an image that a VM can boot, told before any QEMU is
//! started: an ELF64 file for x86-64, at fixed addresses, with the note that
//! names its 32-bit entry point (PVH), whole, and small enough for the VM.
//!
//! The file may be anything: every offset and sum is checked.

use crate::machine_file::Size;
use object::Endianness;
use object::elf::{self, DataEncoding, FileClass, FileHeader64, FileType, Machine, ProgramHeader64};
use object::read::ReadRef;
use object::read::elf::{FileHeader, ProgramHeader};
use std::ops::Range;
use thiserror::Error;

/// Where the image may start: all below stays unmapped.
const LEAST_ADDRESS: u64 = 0x10_0000;
/// The end of the memory that is there from address 0 on, whatever a VM has.
const LOW_MEMORY: u64 = 3 << 30;
/// Bytes beyond the image's end that a VM needs to boot: page tables, the
/// messenger's buffers, first stacks.
pub const ROOM_TO_BOOT: Size = Size::mebibytes(8);

/// The note of the entry point: who defined it, and its number there.
const NOTE_OWNER: &[u8] = b"Xen";
const NOTE_ENTRY: u32 = 18;
/// More than any image has.
const MAX_NOTE: u64 = 4096;

/// Why a file is no image.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unfit {
    /// It does not begin like an ELF file.
    #[error("is no ELF file")]
    NoElf,
    /// It is one for something else.
    #[error("is an ELF file for {0}, and VMs are x86-64")]
    Target(String),
    /// It does not run as it is.
    #[error("is an ELF file, but {0} and no executable at fixed addresses")]
    Kind(&'static str),
    /// It runs elsewhere.
    #[error("is a program of another system, Linux's perhaps: nothing in it says where a VM enters it")]
    NotBootable,
    /// Something is missing at its end.
    #[error("is cut off: it has {has} bytes, and its header speaks of {wanted}")]
    CutOff {
        /// Bytes that there are.
        has: u64,
        /// Bytes that there should be.
        wanted: u64,
    },
    /// What its header says cannot be.
    #[error("is a broken ELF file: {0}")]
    Broken(&'static str),
}

/// An image, as far as booting it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The addresses that it takes in the VM's memory.
    pub addresses: Range<u64>,
    /// Where the VM enters it.
    pub entry: u64,
}

impl Shape {
    /// What is in a file of so many bytes.
    ///
    /// # Errors
    /// See [`Unfit`].
    pub fn of<'data, R: ReadRef<'data>>(file: R) -> Result<Self, Unfit> {
        let header = header(file)?;
        let has = file.len().map_err(|()| Unfit::NoElf)?;
        let end = Endianness::Little;
        let table = u64::from(header.e_phentsize(end)) * u64::from(header.e_phnum(end));
        within(has, header.e_phoff(end), table)?;
        // No VM needs its sections, but a file without its end is not what was built.
        let sections = u64::from(header.e_shentsize(end)) * u64::from(header.e_shnum(end));
        within(has, header.e_shoff(end), sections)?;
        let segments: &[ProgramHeader64<_>] =
            header.program_headers(end, file).map_err(|_| Unfit::Broken("its program headers are none"))?;
        for segment in segments {
            within(has, segment.p_offset(end), segment.p_filesz(end))?;
        }
        let entry = entry(segments, file)?;
        let loaded = || segments.iter().filter(|segment| segment.p_type(end) == elf::PT_LOAD);
        let code = |segment: &&ProgramHeader64<_>| segment.p_flags(end).0 & elf::PF_X.0 != 0;
        let mut all: Option<Range<u64>> = None;
        for segment in loaded() {
            let range = addresses(segment)?;
            all = Some(all.map_or(range.clone(), |all| all.start.min(range.start)..all.end.max(range.end)));
        }
        let addresses = all.ok_or(Unfit::Broken("nothing of it is loaded"))?;
        if !loaded().filter(code).any(|s| self::addresses(s).is_ok_and(|range| range.contains(&entry))) {
            return Err(Unfit::Broken("a VM would enter it where it has no code"));
        }
        Ok(Self { addresses, entry })
    }

    /// Memory that a VM must have to boot it.
    pub fn least_memory(&self) -> Size {
        Size(self.addresses.end.saturating_add(ROOM_TO_BOOT.0).next_multiple_of(1 << 20))
    }
}

/// The header, if it is one of an x86-64 executable.
fn header<'data, R: ReadRef<'data>>(file: R) -> Result<&'data FileHeader64<Endianness>, Unfit> {
    let start = file.read_bytes_at(0, 20).map_err(|()| Unfit::NoElf)?;
    if start[..4] != elf::ELFMAG {
        return Err(Unfit::NoElf);
    }
    let (class, order) = (FileClass(start[4]), DataEncoding(start[5]));
    let half = |at: usize| match order {
        elf::ELFDATA2MSB => u16::from_be_bytes([start[at], start[at + 1]]),
        _ => u16::from_le_bytes([start[at], start[at + 1]]),
    };
    let machine = Machine(half(18));
    if (class, order, machine) != (elf::ELFCLASS64, elf::ELFDATA2LSB, elf::EM_X86_64) {
        return Err(Unfit::Target(target(class, machine)));
    }
    match FileType(half(16)) {
        elf::ET_EXEC => {}
        elf::ET_DYN => return Err(position_independent(file)),
        elf::ET_REL => return Err(Unfit::Kind("an object file")),
        elf::ET_CORE => return Err(Unfit::Kind("a memory dump")),
        _ => return Err(Unfit::Kind("of no known kind")),
    }
    FileHeader64::parse(file).map_err(|_| Unfit::Broken("its header is none"))
}

/// Programs of today's Linux are such; they have a loader, which libraries lack.
fn position_independent<'data, R: ReadRef<'data>>(file: R) -> Unfit {
    let end = Endianness::Little;
    let header = FileHeader64::<Endianness>::parse(file).ok();
    let segments = header.and_then(|header| header.program_headers(end, file).ok());
    match segments.is_some_and(|all| all.iter().any(|segment| segment.p_type(end) == elf::PT_INTERP)) {
        true => Unfit::NotBootable,
        false => Unfit::Kind("a shared library or position-independent"),
    }
}

/// What such a file is for.
fn target(class: FileClass, machine: Machine) -> String {
    let name = match machine {
        elf::EM_X86_64 => "x86-64",
        elf::EM_386 => "32-bit x86",
        elf::EM_AARCH64 => "AArch64",
        elf::EM_ARM => "ARM",
        elf::EM_RISCV => "RISC-V",
        elf::EM_PPC64 => "PowerPC",
        elf::EM_S390 => "s390",
        elf::EM_LOONGARCH => "LoongArch",
        elf::EM_BPF => "BPF",
        _ => return format!("another processor (number {})", machine.0),
    };
    match (machine, class) {
        (elf::EM_X86_64, elf::ELFCLASS32) => "x86-64 with 32-bit addresses".into(),
        (elf::EM_X86_64, _) => "another byte order".into(),
        _ => name.into(),
    }
}

/// Refuses what lies beyond the end of the file.
fn within(has: u64, offset: u64, bytes: u64) -> Result<(), Unfit> {
    match offset.checked_add(bytes) {
        Some(wanted) if wanted <= has => Ok(()),
        Some(wanted) => Err(Unfit::CutOff { has, wanted }),
        None => Err(Unfit::Broken("it has parts at offsets that no file has")),
    }
}

/// Where a segment goes.
fn addresses(segment: &ProgramHeader64<Endianness>) -> Result<Range<u64>, Unfit> {
    let end = Endianness::Little;
    let (start, bytes) = (segment.p_paddr(end), segment.p_memsz(end));
    if segment.p_filesz(end) > bytes {
        return Err(Unfit::Broken("a part of it is larger in the file than in memory"));
    }
    match start.checked_add(bytes) {
        Some(stop) if start >= LEAST_ADDRESS && stop <= LOW_MEMORY => Ok(start..stop),
        _ => Err(Unfit::Broken("a part of it goes where a VM has no memory for it")),
    }
}

/// What the note of the entry point says.
fn entry<'data, R: ReadRef<'data>>(segments: &[ProgramHeader64<Endianness>], file: R) -> Result<u64, Unfit> {
    let end = Endianness::Little;
    for segment in segments.iter().filter(|segment| segment.p_type(end) == elf::PT_NOTE) {
        let bytes = segment.p_filesz(end).min(MAX_NOTE);
        let notes = file.read_bytes_at(segment.p_offset(end), bytes);
        if let Some(entry) = notes.ok().and_then(entry_note) {
            return Ok(entry);
        }
    }
    Err(Unfit::NotBootable)
}

/// The entry point in a list of notes: lengths of name and value, number, then
/// name and value, each padded to four bytes.
fn entry_note(mut notes: &[u8]) -> Option<u64> {
    loop {
        let (head, rest) = notes.split_first_chunk::<12>()?;
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let [name_bytes, value_bytes] = [word(0), word(4)].map(|bytes| bytes as usize);
        let name = rest.get(..name_bytes)?;
        let rest = rest.get(name_bytes.checked_next_multiple_of(4)?..)?;
        let value = rest.get(..value_bytes)?;
        if word(8) == NOTE_ENTRY && name.strip_suffix(b"\0").unwrap_or(name) == NOTE_OWNER {
            // As 32 bits, or as 64 of which the loader takes the lower half.
            let low = value.first_chunk::<4>()?;
            return Some(u32::from_le_bytes(*low).into());
        }
        notes = rest.get(value_bytes.checked_next_multiple_of(4)?..)?;
    }
}

#[cfg(test)]
mod tests;
