//! What the PVH loader tells: the memory map and the command line.
//!
//! Structures as in Xen's public `arch-x86/hvm/start_info.h`. They lie in low
//! memory, which is unmapped once the image has its own page tables, so
//! [`read`] copies what is needed.

use core::ops::Range;

/// `XEN_HVM_START_MAGIC_VALUE`.
const MAGIC: u32 = 0x336e_c578;
/// `XEN_HVM_MEMMAP_TYPE_RAM`.
const RAM: u32 = 1;
/// Most stretches of memory that are used.
pub const MAX_RAM: usize = 8;
/// Longest command line that is kept; the rest is cut off.
pub const MAX_COMMAND_LINE: usize = 2048;

#[repr(C)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    module_list: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_entries: u32,
    reserved: u32,
}

#[repr(C)]
struct MemoryMapEntry {
    address: u64,
    size: u64,
    kind: u32,
    reserved: u32,
}

#[repr(C)]
struct Module {
    address: u64,
    size: u64,
    command_line: u64,
    reserved: u64,
}

/// What was read.
pub struct BootInfo {
    /// Stretches of usable memory, physical addresses, empty ones last.
    pub ram: [Range<u64>; MAX_RAM],
    /// The command line, without its terminating zero.
    pub command_line: [u8; MAX_COMMAND_LINE],
    /// Its length.
    pub command_line_length: usize,
}

/// Reads the start info at physical `address` into `info`; `false` if there is none.
///
/// A stretch of RAM ends where a boot module (an initrd) lies in it: modules
/// stay untouched.
///
/// # Safety
/// The first GiB of physical memory is mapped one to one, and `address` is what
/// the loader passed in `ebx`.
pub unsafe fn read(address: usize, info: &mut BootInfo) -> bool {
    // SAFETY: the caller's promise; the structure is plain data.
    let start = unsafe { &*(address as *const StartInfo) };
    if start.magic != MAGIC || start.version < 1 || start.memory_map_entries == 0 {
        return false;
    }
    // SAFETY: the loader put so many entries there.
    let map = unsafe {
        core::slice::from_raw_parts(
            start.memory_map as *const MemoryMapEntry,
            start.memory_map_entries as usize,
        )
    };
    let modules: &[Module] = if start.modules == 0 {
        &[]
    } else {
        // SAFETY: as above.
        unsafe { core::slice::from_raw_parts(start.module_list as *const Module, start.modules as usize) }
    };
    let usable = map.iter().filter(|entry| entry.kind == RAM);
    for (slot, entry) in info.ram.iter_mut().zip(usable) {
        let end = entry.address.saturating_add(entry.size);
        let within = |module: &&Module| (entry.address..end).contains(&module.address);
        let end = modules.iter().filter(within).map(|module| module.address).min().unwrap_or(end);
        *slot = entry.address..end;
    }
    if start.command_line != 0 {
        // SAFETY: the loader's string ends with a zero; the copy stops at its capacity.
        info.command_line_length =
            unsafe { copy_string(start.command_line as usize, &mut info.command_line) };
    }
    true
}

/// Copies the zero-terminated string at `address`; its length.
///
/// # Safety
/// The string is mapped up to its zero or as far as `target` is long.
unsafe fn copy_string(address: usize, target: &mut [u8]) -> usize {
    for (length, slot) in target.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *slot = unsafe { *((address + length) as *const u8) };
        if *slot == 0 {
            return length;
        }
    }
    target.len()
}
