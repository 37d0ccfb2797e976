//! What needs `unsafe`: mapping memory that VMs share, reading the processor's
//! ticks, and what a child process does between `fork` and `exec`. Nothing else in
//! this crate does.
#![allow(unsafe_code)]

use rustix::io::FdFlags;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};
use std::ffi::c_void;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr::NonNull;
use std::sync::Arc;
use transport::memory::SharedMemory;

/// A mapping of ours, unmapped when dropped.
struct Mapping {
    start: NonNull<c_void>,
    bytes: usize,
}

// SAFETY: the mapping is only an address range; what is in it is accessed
// through SharedMemory's atomics alone.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `map` and no window on it is left,
        // since every window holds this mapping.
        let _ = unsafe { munmap(self.start.as_ptr(), self.bytes) };
    }
}

/// Maps the first `bytes` bytes of a memory file that cannot shrink (its seals
/// say so), shared and writable; unmapped with the last window on it.
pub fn map(file: BorrowedFd<'_>, bytes: usize) -> io::Result<SharedMemory> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a fresh mapping at an address of the kernel's choosing.
    let start = unsafe { mmap(std::ptr::null_mut(), bytes, protection, MapFlags::SHARED, file, 0) }?;
    let start = NonNull::new(start).ok_or_else(|| io::Error::other("memory was mapped at address 0"))?;
    let mapping = Arc::new(Mapping { start, bytes });
    // SAFETY: pages are aligned to more than 64 bytes, the callers' sizes are
    // whole pages, the mapping lives until the last window is dropped, and its
    // file is sealed against shrinking, so every page of it stays there.
    Ok(unsafe { SharedMemory::new(start.cast(), bytes, Some(mapping)) })
}

/// The processor's ticks, of which those of the VMs are made, after everything before it.
#[cfg(target_arch = "x86_64")]
pub fn ticks() -> u64 {
    use std::arch::x86_64::{_mm_lfence, _rdtsc};
    // SAFETY: Linux on x86-64 lets everybody read the TSC.
    unsafe {
        _mm_lfence();
        _rdtsc()
    }
}

/// What QEMU takes for ticks where the processor's are not x86's.
#[cfg(not(target_arch = "x86_64"))]
pub fn ticks() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Makes `command` inherit `descriptors` under the same numbers, and be killed
/// at once when the thread that spawns it ends, however that ends.
pub fn bind_child(command: &mut Command, descriptors: Vec<RawFd>) {
    let parent = getpid();
    // SAFETY: between fork and exec only system calls are made, on memory that
    // was allocated before: nothing allocates and nothing takes a lock.
    unsafe { command.pre_exec(move || prepare_child(parent, &descriptors)) };
}

/// Runs in the child, between `fork` and `exec`.
fn prepare_child(parent: Pid, descriptors: &[RawFd]) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() != Some(parent) {
        // The parent died before the line above.
        return Err(rustix::io::Errno::SRCH.into());
    }
    for &descriptor in descriptors {
        // SAFETY: the spawner keeps these descriptors open until the child runs.
        let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
        rustix::io::fcntl_setfd(descriptor, FdFlags::empty())?;
    }
    Ok(())
}
