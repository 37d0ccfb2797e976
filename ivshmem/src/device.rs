//! The guest's driver of QEMU's ivshmem devices, as `docs/specs/ivshmem-spec.txt`
//! of QEMU describes them.
//!
//! It reaches the PCI configuration through a trait ([`ConfigRegionAccess`]) and
//! nothing else, so it runs in a test as well. Nobody but the guest places the
//! devices' memory: firmware of QEMU's microvm leaves that undone. A device is
//! placed when it is first wanted, in the [`Windows`] that the machine has.
//!
//! ```text
//! BAR 0   registers (doorbell device): IVPosition at 8, Doorbell at 12
//! BAR 1   MSI-X table (doorbell device)
//! BAR 2   the shared memory
//! ```

use crate::layout::{DeviceAddress, PCI_ID};
use core::fmt;
use core::ops::Range;
use core::ptr::NonNull;
use pci_types::capability::PciCapability;
use pci_types::{Bar, CommandRegister, PciHeader};

pub use pci_types::{ConfigRegionAccess, EndpointHeader, PciAddress};

/// The BAR with the registers.
const REGISTERS: u8 = 0;
/// The BAR with the shared memory.
const MEMORY: u8 = 2;
/// The register that says which peer this VM is.
const IV_POSITION: usize = 8;
/// The register that rings: peer << 16 | vector.
const DOORBELL: usize = 12;

/// Why a device is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceError {
    /// Another kind of device is there; its vendor and device id.
    Kind(u16, u16),
    /// It lacks this BAR.
    NoBar(u8),
    /// The machine's windows have no room for so many bytes.
    NoRoom(u64),
    /// It cannot interrupt: it is not the doorbell kind, or has no vector.
    NoInterrupt,
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(vendor, device) => {
                write!(f, "it is {vendor:04x}:{device:04x}, another device than belongs there")
            }
            Self::NoBar(bar) => write!(f, "it has no BAR {bar}"),
            Self::NoRoom(bytes) => write!(f, "there is no room for its {bytes} bytes of memory"),
            Self::NoInterrupt => write!(f, "it cannot interrupt"),
        }
    }
}

impl core::error::Error for DeviceError {}

/// The physical addresses where the machine lets devices be placed.
#[derive(Clone, Debug)]
pub struct Windows {
    /// Below 4 GiB.
    low: Range<u64>,
    /// Above.
    high: Range<u64>,
}

impl Windows {
    /// Windows of which nothing is taken.
    pub const fn new(low: Range<u64>, high: Range<u64>) -> Self {
        Self { low, high }
    }

    /// Takes `size` bytes, a power of two, aligned to their size.
    fn take(&mut self, size: u64, high: bool) -> Result<u64, DeviceError> {
        let window = if high { &mut self.high } else { &mut self.low };
        // Pages of their own, so that no two devices share one.
        let start = window.start.next_multiple_of(size.max(4096));
        let end =
            start.checked_add(size).filter(|&end| end <= window.end).ok_or(DeviceError::NoRoom(size))?;
        window.start = end;
        Ok(start)
    }
}

/// A PCI address of the one bus there is.
pub fn pci_address(address: DeviceAddress) -> PciAddress {
    PciAddress::new(0, 0, address.slot, address.function)
}

/// The vendor-specific capabilities of a device: where in its configuration each
/// stands.
pub fn vendor_capabilities<'a>(
    access: &'a impl ConfigRegionAccess,
    device: &EndpointHeader,
) -> impl Iterator<Item = u16> + 'a {
    device.capabilities(access).filter_map(|capability| match capability {
        PciCapability::Vendor(place) => Some(place.offset),
        _ => None,
    })
}

/// Vendor and device id of whatever is at `address`; `None` if nothing is.
pub fn identify(access: &impl ConfigRegionAccess, address: DeviceAddress) -> Option<(u16, u16)> {
    let id = PciHeader::new(pci_address(address)).id(access);
    (id.0 != 0xffff).then_some(id)
}

/// Places the shared memory of the device at `address` and lets it answer: the
/// physical addresses of the memory. `None` if there is no device.
pub fn place_memory(
    access: &impl ConfigRegionAccess,
    address: DeviceAddress,
    windows: &mut Windows,
) -> Result<Option<Range<u64>>, DeviceError> {
    let Some(mut device) = endpoint(access, address, PCI_ID)? else { return Ok(None) };
    let memory = place(access, &device, address, MEMORY, windows)?;
    device.update_command(access, |command| command | CommandRegister::MEMORY_ENABLE);
    Ok(Some(memory))
}

/// Where a doorbell device's parts are, as physical addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bell {
    /// Its registers.
    pub registers: Range<u64>,
    /// The first entry of its MSI-X table.
    pub vector: u64,
}

/// Places the registers and the vectors of the doorbell device at `address`,
/// lets it answer and write (an interrupt is a write). `None` if there is no device.
pub fn place_bell(
    access: &impl ConfigRegionAccess,
    address: DeviceAddress,
    windows: &mut Windows,
) -> Result<Option<Bell>, DeviceError> {
    let Some(mut device) = endpoint(access, address, PCI_ID)? else { return Ok(None) };
    let vector = place_vectors(access, &device, address, windows)?;
    let registers = place(access, &device, address, REGISTERS, windows)?;
    start(access, &mut device);
    Ok(Some(Bell { registers, vector }))
}

/// Places the MSI-X table of a device and switches it on: the physical address
/// of its first entry.
pub fn place_vectors(
    access: &impl ConfigRegionAccess,
    device: &EndpointHeader,
    address: DeviceAddress,
    windows: &mut Windows,
) -> Result<u64, DeviceError> {
    let vectors = device.capabilities(access).find_map(|capability| match capability {
        PciCapability::MsiX(vectors) => Some(vectors),
        _ => None,
    });
    let mut vectors = vectors.ok_or(DeviceError::NoInterrupt)?;
    let table = place(access, device, address, vectors.table_bar(), windows)?;
    vectors.set_enabled(true, access);
    Ok(table.start + u64::from(vectors.table_offset()))
}

/// Lets a device whose BARs are placed answer and write (an interrupt is a write).
pub fn start(access: &impl ConfigRegionAccess, device: &mut EndpointHeader) {
    device.update_command(access, |command| {
        command | CommandRegister::MEMORY_ENABLE | CommandRegister::BUS_MASTER_ENABLE
    });
}

/// The device's header, if there is a device and it is of this vendor and kind.
pub fn endpoint(
    access: &impl ConfigRegionAccess,
    address: DeviceAddress,
    id: (u16, u16),
) -> Result<Option<EndpointHeader>, DeviceError> {
    let Some((vendor, device)) = identify(access, address) else { return Ok(None) };
    let wrong = DeviceError::Kind(vendor, device);
    if (vendor, device) != id {
        return Err(wrong);
    }
    EndpointHeader::from_header(PciHeader::new(pci_address(address)), access).map(Some).ok_or(wrong)
}

/// Gives a BAR its place.
pub fn place(
    access: &impl ConfigRegionAccess,
    device: &EndpointHeader,
    address: DeviceAddress,
    bar: u8,
    windows: &mut Windows,
) -> Result<Range<u64>, DeviceError> {
    let (size, wide) = match device.bar(bar, access) {
        Some(Bar::Memory32 { size, .. }) => (u64::from(size), false),
        Some(Bar::Memory64 { size, .. }) => (size, true),
        Some(Bar::Io { .. }) | None => return Err(DeviceError::NoBar(bar)),
    };
    let start = windows.take(size, wide)?;
    let register = 0x10 + 4 * u16::from(bar);
    // SAFETY: the function is there and has this BAR; its memory is not yet
    // decoded, and the window is the device's to use.
    unsafe {
        access.write(pci_address(address), register, start as u32);
        if wide {
            access.write(pci_address(address), register + 4, (start >> 32) as u32);
        }
    }
    Ok(start..start + size)
}

/// The registers of a doorbell device, mapped.
#[derive(Clone, Copy, Debug)]
pub struct Registers(NonNull<u8>);

// SAFETY: the registers may be used from anywhere, each access is one move.
unsafe impl Send for Registers {}
// SAFETY: as above.
unsafe impl Sync for Registers {}

impl Registers {
    /// The registers at `start`.
    ///
    /// # Safety
    /// `start` is where BAR 0 of a doorbell device is mapped, uncached, for good.
    pub const unsafe fn new(start: NonNull<u8>) -> Self {
        Self(start)
    }

    /// Which peer this VM is; `None` if the server never said.
    pub fn own_peer(self) -> Option<u16> {
        // SAFETY: a register of the device, mapped (the contract of `new`).
        let position = unsafe { self.0.add(IV_POSITION).cast::<u32>().read_volatile() };
        u16::try_from(position).ok()
    }

    /// Rings a peer's vector 0. Nothing happens if there is no such peer.
    pub fn ring(self, peer: u16) {
        // SAFETY: a register of the device, mapped (the contract of `new`).
        unsafe { self.0.add(DOORBELL).cast::<u32>().write_volatile(u32::from(peer) << 16) };
    }
}

/// Directs the vector whose MSI-X table entry is mapped at `entry`, and unmasks it.
///
/// # Safety
/// `entry` is such an entry, and `message` written to `target` is an interrupt
/// that the guest takes.
pub unsafe fn direct_vector(entry: NonNull<u8>, target: u64, message: u32) {
    let words = [target as u32, (target >> 32) as u32, message, 0];
    for (index, word) in words.into_iter().enumerate() {
        // SAFETY: the four words of the entry (the caller's promise).
        unsafe { entry.cast::<u32>().add(index).write_volatile(word) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::RefCell;

    /// Configuration space of one ivshmem device, which answers sizing as QEMU's does.
    struct Space {
        words: RefCell<[u32; 64]>,
        memory_bytes: u64,
    }

    const HERE: DeviceAddress = DeviceAddress::CONTROL;

    impl Space {
        fn new(memory_bytes: u64) -> Self {
            let mut words = [0; 64];
            words[0] = u32::from(PCI_ID.1) << 16 | u32::from(PCI_ID.0);
            words[6] = 0xc; // 64 bits, prefetchable
            Self { words: RefCell::new(words), memory_bytes }
        }
    }

    impl ConfigRegionAccess for Space {
        unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
            if address != pci_address(HERE) {
                return u32::MAX;
            }
            self.words.borrow()[usize::from(offset) / 4]
        }

        unsafe fn write(&self, _: PciAddress, offset: u16, value: u32) {
            let mask = !(self.memory_bytes - 1);
            let value = match offset {
                0x18 => value & mask as u32 | 0xc,
                0x1c => value & (mask >> 32) as u32,
                _ => value,
            };
            self.words.borrow_mut()[usize::from(offset) / 4] = value;
        }
    }

    fn windows() -> Windows {
        Windows::new(0xc000_0000..0xe000_0000, 0xc0_0000_1000..0xc1_0000_0000)
    }

    #[test]
    fn memory_is_placed_at_a_multiple_of_its_size_and_answers() {
        let space = Space::new(1 << 20);
        let memory = place_memory(&space, HERE, &mut windows()).unwrap().unwrap();
        assert_eq!(memory, 0xc0_0010_0000..0xc0_0020_0000);
        let words = space.words.borrow();
        assert_eq!((words[6], words[7]), (0x0010_000c, 0xc0));
        assert_eq!(words[1] & 2, 2);
    }

    #[test]
    fn what_is_not_there_is_none_and_what_is_another_is_refused() {
        let space = Space::new(1 << 20);
        assert_eq!(place_memory(&space, DeviceAddress::POOL, &mut windows()), Ok(None));
        assert_eq!(place_bell(&space, HERE, &mut windows()), Err(DeviceError::NoInterrupt));
        space.words.borrow_mut()[0] = 0x1000_1af4;
        assert_eq!(place_memory(&space, HERE, &mut windows()), Err(DeviceError::Kind(0x1af4, 0x1000)));
    }

    #[test]
    fn memory_larger_than_the_window_is_refused() {
        let space = Space::new(1 << 33);
        assert_eq!(place_memory(&space, HERE, &mut windows()), Err(DeviceError::NoRoom(1 << 33)));
    }
}
