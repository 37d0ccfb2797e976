//! From the first instruction to `main`.
//!
//! ```text
//! entry      long mode, boot page tables           (assembly)
//! start      memory map and command line copied
//!            console, frames, page tables, GDT/TSS/IDT
//!            APIC, clock
//! others     the other cores, from the trampoline to their idle loops
//! thread 1   std's runtime_entry -> main -> sys_exit
//! ```

mod cores;
pub mod entry;
pub mod start_info;

use crate::exit::{ExitCode, exit};
use crate::memory::{self, frames, paging};
use crate::processor::cores::{CORES, become_core};
use crate::processor::{apic, critical::Locked, descriptors, features};
use crate::threads::scheduler;
use crate::threads::thread::Priority;
use crate::{clock, console};
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::c_char;
use core::sync::atomic::Ordering::Relaxed;
use start_info::{BootInfo, MAX_COMMAND_LINE, MAX_RAM};

/// Bytes of the stack of `main`; frames are mapped on first touch.
const MAIN_STACK: usize = 4 << 20;

static BOOT: Locked<BootInfo> = Locked::new(BootInfo {
    ram: [const { 0..0 }; MAX_RAM],
    command_line: [0; MAX_COMMAND_LINE],
    command_line_length: 0,
});

unsafe extern "C" {
    /// `std`'s entry: sets up arguments and environment, calls `main`, and exits.
    fn runtime_entry(argc: i32, argv: *const *const c_char, env: *const *const c_char) -> !;
}

/// The first Rust code. Interrupts stay off until the first thread runs.
pub(crate) extern "C" fn start(start_info: usize) -> ! {
    become_core(0);
    CORES[0].stack_top.store(&raw const entry::boot_stack_top as usize, Relaxed);
    CORES[0].online.store(true, Relaxed);
    console::initialize();
    // SAFETY: the entry passed on what the loader passed, and mapped the first GiB.
    if !BOOT.with(|boot| unsafe { start_info::read(start_info, boot) }) {
        refuse("the loader passed no memory map (this image wants a PVH loader, QEMU's -kernel)");
    }
    // SAFETY: the first GiB is mapped, and what the loader left there was read.
    unsafe { entry::place_trampoline() };
    memory::choose_routines(features::accelerator() == features::Accelerator::Kvm);
    let ram = BOOT.with(|boot| boot.ram.clone());
    frames::initialize(&ram, paging::end_of_image());
    if paging::initialize(&ram).is_err() {
        refuse("there is not enough memory for the page tables");
    }
    frames::set_first_aside();
    descriptors::initialize();
    if apic::initialize().is_err() {
        refuse("there is not enough memory for the page tables");
    }
    clock::initialize();
    apic::start_timer();
    if cores::start_others().is_err() {
        refuse("there is not enough memory for the stacks of all cores");
    }
    if scheduler::spawn(first_thread, 0, Priority::Normal, MAIN_STACK, None).is_none() {
        refuse("there is not enough memory for the first thread");
    }
    scheduler::start()
}

/// Ends the VM with a sentence.
fn refuse(reason: &str) -> ! {
    console::emergency(format_args!("boot: {reason}"));
    exit(ExitCode::Refused)
}

/// Hands over to `std`. Words of the command line become arguments, but for
/// those that [`parameter`] is asked for. The environment is empty: activities
/// begin with a copy of it, which must own nothing.
extern "C" fn first_thread(_: usize) {
    let words = command_line().split_whitespace().filter(|word| !word.contains('='));
    let (count, arguments) = strings(core::iter::once("cyanea").chain(words));
    let nothing = core::ptr::null();
    // SAFETY: a list of zero-terminated strings with a null at the end, for good, and an empty one.
    unsafe { runtime_entry(count as i32, arguments, &raw const nothing) }
}

/// How many words there are, and a list of them as C has it, which stays for good.
fn strings<'a>(words: impl Iterator<Item = &'a str>) -> (usize, *const *const c_char) {
    // A word cannot hold a zero: the command line ends at its first.
    let words: Vec<CString> = words.filter_map(|word| CString::new(word).ok()).collect();
    let mut list: Vec<*const c_char> = words.into_iter().map(|word| word.into_raw().cast_const()).collect();
    let count = list.len();
    list.push(core::ptr::null());
    (count, list.leak().as_ptr())
}

/// The kernel command line; empty where it is not UTF-8.
pub fn command_line() -> &'static str {
    BOOT.with(|boot| {
        // SAFETY: the boot wrote it once, before the first thread, and nobody ever does again.
        let line: &'static [u8] =
            unsafe { core::slice::from_raw_parts(boot.command_line.as_ptr(), boot.command_line_length) };
        core::str::from_utf8(line).unwrap_or("")
    })
}

/// The value of the first word `name=value` on the command line.
pub fn parameter(name: &str) -> Option<&'static str> {
    command_line().split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}
