//! What runs under std in a VM: boot, memory, interrupts, threads, clock, devices.
