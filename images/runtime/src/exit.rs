//! The end of the VM.

use crate::console;
pub use ivshmem::exit::ExitCode;
use x86_64::instructions::{hlt, interrupts, port::Port};

/// Ends the VM with `code`; what the console had gathered goes out first.
pub fn exit(code: ExitCode) -> ! {
    interrupts::disable();
    console::finish();
    // SAFETY: the port of QEMU's isa-debug-exit device; nothing else is there.
    unsafe { Port::<u8>::new(ivshmem::exit::PORT).write(code as u8) };
    // Only without that device does the VM come here.
    loop {
        hlt();
    }
}
