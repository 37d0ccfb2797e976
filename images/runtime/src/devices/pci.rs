//! The PCI bus of a QEMU microvm: configuration through ECAM, and where devices may be placed.

use crate::memory::paging::{self, Caching};
use crate::processor::critical::Locked;
use crate::processor::features;
use core::ptr::NonNull;
use ivshmem::device::{ConfigRegionAccess, PciAddress, Windows};

/// Where the configuration space is in physical memory.
const ECAM: u64 = 0xe000_0000;
/// Bytes of the configuration space of one bus.
const BUS_BYTES: usize = 1 << 20;
/// The window below 4 GiB.
const LOW: core::ops::Range<u64> = 0xc000_0000..ECAM;

/// The configuration space of bus 0, mapped.
#[derive(Clone, Copy)]
struct Ecam(NonNull<u8>);

// SAFETY: device registers; the bus is behind a lock.
unsafe impl Send for Ecam {}

impl Ecam {
    fn register(self, address: PciAddress, offset: u16) -> NonNull<u32> {
        assert!(address.segment() == 0 && address.bus() == 0 && offset < 4096);
        let function = usize::from(address.device()) << 3 | usize::from(address.function());
        // SAFETY: within the space of one bus: 32 devices of 8 functions of 4096 bytes.
        unsafe { self.0.add(function << 12 | usize::from(offset)).cast() }
    }
}

impl ConfigRegionAccess for Ecam {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        // SAFETY: a register of the mapped configuration space.
        unsafe { self.register(address, offset).read_volatile() }
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        // SAFETY: as above; the trait's caller answers for the value.
        unsafe { self.register(address, offset).write_volatile(value) };
    }
}

/// The bus, once somebody wanted it.
static BUS: Locked<Option<(Ecam, Windows)>> = Locked::new(None);

/// Runs `f` on the bus's configuration and the room that is left for devices.
///
/// # Panics
/// If there is no memory for the page tables of the configuration space.
pub fn with_bus<R>(f: impl FnOnce(&dyn ConfigRegionAccess, &mut Windows) -> R) -> R {
    BUS.with(|bus| {
        let (ecam, windows) = bus.get_or_insert_with(|| {
            // SAFETY: the configuration space of QEMU's microvm.
            let start = unsafe { paging::map(ECAM, BUS_BYTES, Caching::Uncached) };
            let start = start.ok().and_then(NonNull::new).expect("no memory to map the PCI bus");
            // QEMU puts the window above 4 GiB in the topmost quarter of the address space.
            let end = 1u64 << features::physical_address_bits();
            (Ecam(start), Windows::new(LOW, end / 4 * 3..end))
        });
        f(ecam, windows)
    })
}
