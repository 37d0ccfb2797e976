//! What CPUID says about the processor and the hypervisor.

use core::arch::x86_64::{__cpuid, __cpuid_count};

/// Under what the VM runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// QEMU's emulator.
    Tcg,
    /// Linux's KVM.
    Kvm,
    /// Another one, or none.
    Unknown,
}

/// The accelerator, by the hypervisor leaf's signature.
pub fn accelerator() -> Accelerator {
    if __cpuid(1).ecx & 1 << 31 == 0 {
        return Accelerator::Unknown;
    }
    let leaf = __cpuid(0x4000_0000);
    let mut name = [0; 12];
    for (chunk, word) in name.chunks_mut(4).zip([leaf.ebx, leaf.ecx, leaf.edx]) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    match &name {
        b"TCGTCGTCGTCG" => Accelerator::Tcg,
        b"KVMKVMKVM\0\0\0" => Accelerator::Kvm,
        _ => Accelerator::Unknown,
    }
}

/// Whether the local APIC can be reached through model-specific registers.
pub fn has_x2apic() -> bool {
    __cpuid(1).ecx & 1 << 21 != 0
}

/// Whether the local APIC's timer can be given a TSC deadline.
pub fn has_tsc_deadline() -> bool {
    __cpuid(1).ecx & 1 << 24 != 0
}

/// Whether RDRAND is there.
pub fn has_rdrand() -> bool {
    __cpuid(1).ecx & 1 << 30 != 0
}

/// Whether RDSEED is there.
pub fn has_rdseed() -> bool {
    __cpuid(0).eax >= 7 && __cpuid_count(7, 0).ebx & 1 << 18 != 0
}

/// Bits of a physical address.
pub fn physical_address_bits() -> u32 {
    if __cpuid(0x8000_0000).eax < 0x8000_0008 { 36 } else { __cpuid(0x8000_0008).eax & 0xff }
}

/// The TSC's frequency in hertz, where the processor or the hypervisor says it:
/// leaf 0x15 (crystal times ratio) or 0x40000010 (kilohertz, as VMware began and KVM follows).
pub fn tsc_frequency() -> Option<u64> {
    if __cpuid(0).eax >= 0x15 {
        let leaf = __cpuid(0x15);
        if leaf.eax != 0 && leaf.ebx != 0 && leaf.ecx != 0 {
            return Some(u64::from(leaf.ecx) * u64::from(leaf.ebx) / u64::from(leaf.eax));
        }
    }
    let hypervisor = __cpuid(1).ecx & 1 << 31 != 0 && __cpuid(0x4000_0000).eax >= 0x4000_0010;
    let kilohertz = if hypervisor { __cpuid(0x4000_0010).eax } else { 0 };
    (kilohertz != 0).then_some(u64::from(kilohertz) * 1000)
}
