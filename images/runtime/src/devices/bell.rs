//! The doorbell: ring other VMs, and sleep until somebody rings.
//!
//! One word remembers that it rang. Interrupt and [`poke`] set it and wake the
//! sleeper; [`wait`] clears it. Since the word is looked at and the thread put
//! to sleep in one section, no ring is lost. Rings that come while nobody waits
//! are remembered as one.

use super::pci;
use super::regions::refused;
use crate::memory::paging::{self, Caching};
use crate::processor::critical::Locked;
use crate::processor::{apic, traps};
use crate::threads::futex;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};
use ivshmem::device::{self, Bell, Registers};
use ivshmem::layout::DeviceAddress;

/// 1: it rang since the last wait.
static RANG: AtomicU32 = AtomicU32::new(0);

/// The device, once somebody looked for it.
static DEVICE: Locked<Option<Option<Registers>>> = Locked::new(None);

/// Which peer this VM is, as the doorbell's server says; `None` without the device.
pub fn own_peer() -> Option<u16> {
    registers()?.own_peer()
}

/// Rings `peer`. Whether there is such a peer, the device does not say.
pub fn ring(peer: u16) {
    if let Some(registers) = registers() {
        registers.ring(peer);
    }
}

/// Sleeps until somebody rings or pokes, at most until `deadline` (nanoseconds
/// of [`crate::clock`]). `true` at once if that happened since the last wait;
/// `false` if the deadline passed.
pub fn wait(deadline: Option<u64>) -> bool {
    // From the first wait on, the device interrupts.
    let _ = registers();
    loop {
        if took_ring() {
            return true;
        }
        if futex::wait(&RANG, 0, deadline) == Err(futex::NotWoken::TimedOut) {
            return took_ring();
        }
    }
}

/// As [`wait`], but goes on as well, with `false`, when other threads of this VM
/// have run since and a core has nothing to do any more.
pub fn wait_or_stand_in(deadline: Option<u64>) -> bool {
    let _ = registers();
    took_ring() || {
        let _ = futex::wait_or_stand_in(&RANG, 0, deadline);
        took_ring()
    }
}

/// Whether it rang or was poked; from now on it did not.
fn took_ring() -> bool {
    // SYNC: bell-rang, with `note`.
    RANG.swap(0, Ordering::AcqRel) == 1
}

/// Ends the present or the next wait, as a ring would; for this VM's own threads.
pub fn poke() {
    note();
    futex::wake(&RANG, usize::MAX);
}

/// The doorbell's interrupt.
pub(crate) fn on_interrupt() {
    note();
    futex::wake_quietly(&RANG, usize::MAX);
}

/// Whether it rang or was poked since the last wait or the last such question.
pub fn rang() -> bool {
    // SYNC: bell-rang, with `note`. The look spares the swap.
    RANG.load(Ordering::Acquire) == 1 && took_ring()
}

fn note() {
    // SYNC: bell-rang, with `wait`.
    RANG.store(1, Ordering::Release);
}

/// The device's registers; finds and starts the device on the first call.
fn registers() -> Option<Registers> {
    DEVICE.with(|device| *device.get_or_insert_with(start))
}

fn start() -> Option<Registers> {
    let address = DeviceAddress::BELL;
    let bell = match pci::with_bus(|access, windows| device::place_bell(&access, address, windows)) {
        Ok(bell) => bell?,
        Err(error) => {
            refused(address, format_args!("{error}"));
            return None;
        }
    };
    let registers = map(&bell);
    if registers.is_none() {
        refused(address, format_args!("there is no memory for its page tables"));
    }
    registers
}

/// Maps the registers, and directs the vector to this processor.
fn map(bell: &Bell) -> Option<Registers> {
    let bytes = (bell.registers.end - bell.registers.start) as usize;
    // SAFETY: the registers of the device that was just placed there.
    let registers = unsafe { paging::map(bell.registers.start, bytes, Caching::Uncached) };
    // SAFETY: as above, its MSI-X table: an entry has 16 bytes.
    let entry = unsafe { paging::map(bell.vector, 16, Caching::Uncached) };
    let (registers, entry) = (NonNull::new(registers.ok()?)?, NonNull::new(entry.ok()?)?);
    let (target, message) = apic::message(traps::BELL);
    // SAFETY: the first entry of the table; the vector has a gate.
    unsafe { device::direct_vector(entry, target, message) };
    // SAFETY: BAR 0 of a doorbell device, mapped for good.
    Some(unsafe { Registers::new(registers) })
}
