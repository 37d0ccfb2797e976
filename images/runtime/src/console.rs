//! The console: COM1, for people and for the launcher that keeps the log.
//!
//! Whole lines are written: a line is gathered (one gatherer for standard
//! output, one for standard error) and goes out at its newline, when it is
//! full, or when the VM ends. So lines of different threads never mix.
//! [`emergency`] takes no lock and works in a panic, in a fault and in an
//! interrupt; of several cores, one sends at a time ([`Turn`]).

use crate::processor::cores;
use crate::threads::sync::Mutex;
use core::fmt::{self, Write};
use core::sync::atomic::AtomicBool;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use x86_64::instructions::{interrupts, port::Port};

/// COM1's first register.
const COM1: u16 = 0x3f8;
/// Bytes that the device takes at once when its line status says "empty".
const FIFO: usize = 16;
/// Longest line that goes out in one piece.
const LINE: usize = 512;

struct Gatherer {
    line: [u8; LINE],
    length: usize,
}

impl Gatherer {
    const fn new() -> Self {
        Self { line: [0; LINE], length: 0 }
    }

    fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.line[self.length] = byte;
            self.length += 1;
            if byte == b'\n' || self.length == LINE {
                self.flush();
            }
        }
    }

    fn flush(&mut self) {
        let _turn = Turn::take();
        send(&self.line[..self.length]);
        self.length = 0;
    }
}

/// Standard output's and standard error's line.
static LINES: Mutex<[Gatherer; 2]> = Mutex::new([const { Gatherer::new() }; 2]);
/// Set when the VM is ending: everything goes out at once.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Looks at whose turn it is before one sends all the same: the other core may
/// have been put away by the host, or hold the turn in a fault of its own.
const LOOKS: u32 = 1 << 20;
/// A core sends.
static SENDING: AtomicBool = AtomicBool::new(false);

/// The turn to send, where there are several cores. It is no lock: nobody waits for it for ever.
struct Turn {
    taken: bool,
}

impl Turn {
    fn take() -> Self {
        let free = |_| {
            core::hint::spin_loop();
            !SENDING.swap(true, Acquire)
        };
        Self { taken: cores::many() && (0..LOOKS).any(free) }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.taken {
            SENDING.store(false, Release);
        }
    }
}

/// Switches the device's FIFO on.
pub fn initialize() {
    // SAFETY: COM1's FIFO control register; without the device, the write goes nowhere.
    unsafe { Port::<u8>::new(COM1 + 2).write(0x07) };
}

/// Sends bytes to the device, waiting for it where it is slow.
fn send(bytes: &[u8]) {
    let mut data = Port::<u8>::new(COM1);
    let mut status = Port::<u8>::new(COM1 + 5);
    for chunk in bytes.chunks(FIFO) {
        // SAFETY: COM1's registers. An absent device reads as "empty".
        while unsafe { status.read() } & 0x20 == 0 {
            core::hint::spin_loop();
        }
        for &byte in chunk {
            // SAFETY: as above.
            unsafe { data.write(byte) };
        }
    }
}

/// Writes bytes to the console as the OS itself: standard error's gatherer if
/// `error`, else standard output's.
pub fn write(error: bool, bytes: &[u8]) {
    if ENDING.load(Relaxed) || !interrupts::are_enabled() {
        let _turn = Turn::take();
        send(bytes);
    } else {
        LINES.with(|lines| lines[usize::from(error)].push(bytes));
    }
}

/// Writes `message` and a newline at once, whatever state the VM is in.
pub fn emergency(message: fmt::Arguments<'_>) {
    struct Raw;
    impl Write for Raw {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            send(text.as_bytes());
            Ok(())
        }
    }
    let _turn = Turn::take();
    // Raw never fails.
    let _ = Raw.write_fmt(message);
    send(b"\n");
}

/// Sends what was gathered; from here on nothing is gathered. For the VM's end.
pub fn finish() {
    if ENDING.swap(true, Relaxed) {
        return;
    }
    let send_rest = |lines: &mut [Gatherer; 2]| {
        for line in lines.iter_mut().filter(|line| line.length > 0) {
            line.push(b"\n");
        }
    };
    // A thread of this core that has it will not run again; one of another core is done soon.
    let looks = if cores::many() { LOOKS } else { 1 };
    let _ = (0..looks).any(|_| {
        core::hint::spin_loop();
        LINES.try_with(send_rest).is_some()
    });
}
