//! A virtio device on the PCI bus: found, reset, agreed with, given its queues
//! (Virtual I/O Device 1.1, 3.1.1 and 4.1).

use super::pci;
use super::queue::{BUFFERS, Queue};
use crate::memory::paging::{self, Caching};
use crate::processor::{apic, traps};
use core::ops::Range;
use core::ptr::NonNull;
use ivshmem::device::{self, ConfigRegionAccess, DeviceError, EndpointHeader, Windows};
use ivshmem::layout::DeviceAddress;

/// Kinds of configuration structures.
const COMMON: u8 = 1;
const NOTES: u8 = 2;
/// Registers of the common structure.
const DRIVER_FEATURE_SELECT: usize = 8;
const DRIVER_FEATURES: usize = 12;
const STATUS: usize = 20;
const QUEUE_SELECT: usize = 22;
const QUEUE_SIZE: usize = 24;
const QUEUE_VECTOR: usize = 26;
const QUEUE_ENABLE: usize = 28;
const QUEUE_NOTE: usize = 30;
const QUEUE_ADDRESSES: usize = 32;
/// Bytes of the common structure.
const COMMON_BYTES: usize = 56;
/// Bits of the status.
const ACKNOWLEDGED: u8 = 1;
const DRIVER: u8 = 2;
const READY: u8 = 4;
const AGREED: u8 = 8;
/// The one feature that is wanted, in the upper word: version 1.
const VERSION_1: u32 = 1;
/// No vector.
const NONE: u16 = 0xffff;

/// Where the parts of a device are, as physical addresses.
struct Parts {
    common: u64,
    notes: Range<u64>,
    /// Bytes from one queue's register to the next one's.
    step: u32,
    /// Its first MSI-X entry.
    vector: u64,
}

/// A device that is being set up.
pub struct Device {
    common: NonNull<u8>,
    notes: NonNull<u8>,
    notes_bytes: usize,
    step: usize,
}

impl Device {
    /// Finds the device at `address`, resets it, and agrees on features. Its
    /// first vector is the doorbell's. `None` without a device.
    ///
    /// # Errors
    /// One sentence.
    pub fn find(address: DeviceAddress, id: (u16, u16)) -> Result<Option<Self>, &'static str> {
        let found = pci::with_bus(|access, windows| place(&access, address, id, windows));
        let Some(parts) = found.map_err(|error| match error {
            DeviceError::Kind(..) => "another device than a network card is there",
            DeviceError::NoInterrupt => "it cannot interrupt",
            _ => "its registers cannot be placed",
        })?
        else {
            return Ok(None);
        };
        let mut device = map(&parts).ok_or("there is no memory for its page tables")?;
        device.agree()?;
        Ok(Some(device))
    }

    /// A register of the common structure.
    fn register<T>(&self, offset: usize) -> NonNull<T> {
        assert!(offset + size_of::<T>() <= COMMON_BYTES && offset.is_multiple_of(align_of::<T>()));
        // SAFETY: within the structure, which is mapped.
        unsafe { self.common.add(offset).cast() }
    }

    fn write<T>(&mut self, offset: usize, value: T) {
        // SAFETY: a register, mapped for good, uncached.
        unsafe { self.register::<T>(offset).write_volatile(value) };
    }

    fn read<T: Copy>(&self, offset: usize) -> T {
        // SAFETY: as above.
        unsafe { self.register::<T>(offset).read_volatile() }
    }

    fn agree(&mut self) -> Result<(), &'static str> {
        self.write(STATUS, 0_u8);
        self.write(STATUS, ACKNOWLEDGED | DRIVER);
        for (word, features) in [(0_u32, 0), (1, VERSION_1)] {
            self.write(DRIVER_FEATURE_SELECT, word);
            self.write(DRIVER_FEATURES, features);
        }
        self.write(STATUS, ACKNOWLEDGED | DRIVER | AGREED);
        match self.read::<u8>(STATUS) & AGREED {
            0 => Err("it is no virtio device of version 1"),
            _ => Ok(()),
        }
    }

    /// Sets up queue `number`: the device writes its buffers and interrupts if
    /// `incoming`.
    ///
    /// # Errors
    /// One sentence.
    pub fn queue(&mut self, number: u16, incoming: bool) -> Result<Queue, &'static str> {
        self.write(QUEUE_SELECT, number);
        if self.read::<u16>(QUEUE_SIZE) < BUFFERS {
            return Err("it has too few buffers");
        }
        let place = usize::from(self.read::<u16>(QUEUE_NOTE)) * self.step;
        if place + 2 > self.notes_bytes || !place.is_multiple_of(2) {
            return Err("its registers are not where it says");
        }
        // SAFETY: within the mapped registers (checked above).
        let note = unsafe { self.notes.add(place).cast() };
        // SAFETY: the queue's register, as the device says.
        let queue =
            unsafe { Queue::new(number, note, incoming) }.ok_or("there is no memory for its buffers")?;
        self.write(QUEUE_SIZE, BUFFERS);
        self.write(QUEUE_VECTOR, if incoming { 0 } else { NONE });
        for (index, address) in queue.addresses().into_iter().enumerate() {
            self.write(QUEUE_ADDRESSES + 8 * index, address as u32);
            self.write(QUEUE_ADDRESSES + 8 * index + 4, (address >> 32) as u32);
        }
        self.write(QUEUE_ENABLE, 1_u16);
        Ok(queue)
    }

    /// Lets the device begin.
    pub fn start(mut self) {
        self.write(STATUS, ACKNOWLEDGED | DRIVER | AGREED | READY);
    }
}

/// Places everything that is used of the device.
fn place(
    access: &impl ConfigRegionAccess,
    address: DeviceAddress,
    id: (u16, u16),
    windows: &mut Windows,
) -> Result<Option<Parts>, DeviceError> {
    let Some(mut header) = device::endpoint(access, address, id)? else { return Ok(None) };
    let vector = device::place_vectors(access, &header, address, windows)?;
    let (common, _) = structure(access, &header, address, COMMON).ok_or(DeviceError::NoBar(0))?;
    let (notes, step) = structure(access, &header, address, NOTES).ok_or(DeviceError::NoBar(0))?;
    if common.bar != notes.bar {
        return Err(DeviceError::NoBar(notes.bar));
    }
    let bar = device::place(access, &header, address, common.bar, windows)?;
    let within = |part: &Structure| {
        let start = bar.start + u64::from(part.offset);
        let end = start + u64::from(part.bytes);
        (end <= bar.end).then_some(start..end).ok_or(DeviceError::NoBar(part.bar))
    };
    let parts = Parts { common: within(&common)?.start, notes: within(&notes)?, step, vector };
    device::start(access, &mut header);
    Ok(Some(parts))
}

/// Where a configuration structure is.
struct Structure {
    bar: u8,
    offset: u32,
    bytes: u32,
}

/// The first structure of a kind, and the word behind its capability.
fn structure(
    access: &impl ConfigRegionAccess,
    header: &EndpointHeader,
    address: DeviceAddress,
    kind: u8,
) -> Option<(Structure, u32)> {
    let read = |offset| {
        // SAFETY: a register of the device's configuration; reading it does nothing.
        unsafe { access.read(device::pci_address(address), offset) }
    };
    let place = device::vendor_capabilities(access, header).find(|&at| (read(at) >> 24) as u8 == kind)?;
    let word = |index: u16| read(place + 4 * index);
    let least = if kind == COMMON { COMMON_BYTES as u32 } else { 2 };
    let found = Structure { bar: word(1) as u8, offset: word(2), bytes: word(3) };
    (found.bytes >= least).then(|| (found, word(4)))
}

/// Maps a device's registers, and directs its vector to this processor.
fn map(parts: &Parts) -> Option<Device> {
    let notes_bytes = (parts.notes.end - parts.notes.start) as usize;
    let mapped = |start, bytes| {
        // SAFETY: registers of the device that was just placed there.
        let start = unsafe { paging::map(start, bytes, Caching::Uncached) };
        NonNull::new(start.ok()?)
    };
    let (common, notes) = (mapped(parts.common, COMMON_BYTES)?, mapped(parts.notes.start, notes_bytes)?);
    let (target, message) = apic::message(traps::BELL);
    // SAFETY: the first entry of the table; the vector has a gate.
    unsafe { device::direct_vector(mapped(parts.vector, 16)?, target, message) };
    Some(Device { common, notes, notes_bytes, step: parts.step as usize })
}
