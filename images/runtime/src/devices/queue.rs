//! A virtio queue whose every descriptor has its buffer, once and for all
//! (Virtual I/O Device 1.1, 2.6: split virtqueues).
//!
//! ```text
//! page: descriptors | available ring          page: used ring
//! buffer 0 | buffer 1 | ...                   a page each
//! ```
//! A buffer belongs to the device from [`Queue::offer`] until [`Queue::take`]
//! returns its number, and to the driver otherwise. The device is QEMU, which
//! could do anything to its guest anyway; what it writes is checked all the same.
//!
//! This module holds `unsafe`: memory that a device reads and writes, in frames
//! of the heap, which is mapped one to one.

use crate::memory::PAGE;
use alloc::alloc::alloc_zeroed;
use core::alloc::Layout;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU16, Ordering, fence};

/// Buffers of a queue.
pub const BUFFERS: u16 = 16;
/// Bytes of a buffer.
pub const BUFFER_BYTES: usize = PAGE;

/// Where the available ring is, behind the descriptors.
const AVAILABLE: usize = BUFFERS as usize * 16;
/// Pages of a queue: two for its rings, and its buffers.
const PAGES: usize = 2 + BUFFERS as usize;
/// The device writes the buffer.
const DEVICE_WRITES: u16 = 2;
/// Flag of the available ring: no interrupts, please. Of the used ring: no notes.
const QUIET: u16 = 1;

/// A queue and its buffers.
pub struct Queue {
    /// [`PAGES`] pages, for good.
    memory: NonNull<u8>,
    /// Where a note makes the device look.
    note: NonNull<u16>,
    number: u16,
    offered: u16,
    taken: u16,
}

// SAFETY: the memory is the queue's own; nothing in it depends on the thread.
unsafe impl Send for Queue {}

impl Queue {
    /// Queue `number` of a device that looks for work when `note` is written;
    /// the device writes its buffers if `incoming`, and never interrupts if
    /// not. `None` if there is no memory for it.
    ///
    /// # Safety
    /// `note` is the notification register of this queue, mapped for good.
    pub unsafe fn new(number: u16, note: NonNull<u16>, incoming: bool) -> Option<Self> {
        let layout = Layout::from_size_align(PAGES * PAGE, PAGE).ok()?;
        // SAFETY: the layout has a size.
        let memory = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        let queue = Self { memory, note, number, offered: 0, taken: 0 };
        for buffer in 0..BUFFERS {
            let flags = if incoming { DEVICE_WRITES } else { 0 };
            let words = [queue.buffer(buffer).as_ptr() as u64, u64::from(flags) << 32 | BUFFER_BYTES as u64];
            // SAFETY: descriptors are 16 bytes each, at the memory's start; the
            // device does not know of them yet.
            unsafe { queue.memory.cast::<[u64; 2]>().add(buffer.into()).write(words) };
        }
        queue.word(AVAILABLE).store(if incoming { 0 } else { QUIET }, Ordering::Relaxed);
        Some(queue)
    }

    /// Physical addresses of the descriptors, the available and the used ring.
    pub fn addresses(&self) -> [u64; 3] {
        [0, AVAILABLE, PAGE].map(|offset| (self.memory.as_ptr() as usize + offset) as u64)
    }

    /// The start of a buffer.
    fn buffer(&self, buffer: u16) -> NonNull<u8> {
        debug_assert!(buffer < BUFFERS);
        // SAFETY: within the memory: the buffers follow the two pages of the rings.
        unsafe { self.memory.add((2 + usize::from(buffer)) * PAGE) }
    }

    /// The content of a buffer that belongs to the driver.
    ///
    /// # Panics
    /// If there is no such buffer.
    pub fn content(&mut self, buffer: u16) -> &mut [u8; BUFFER_BYTES] {
        assert!(buffer < BUFFERS);
        // SAFETY: the buffer is the driver's (the contract of the callers, both
        // in this folder), and borrowed with the queue.
        unsafe { self.buffer(buffer).cast().as_mut() }
    }

    /// A word of the rings. The device may write the used ring at any time.
    fn word(&self, offset: usize) -> &AtomicU16 {
        debug_assert!(offset < 2 * PAGE && offset.is_multiple_of(2));
        // SAFETY: within the two pages, aligned, and only used as atomics.
        unsafe { AtomicU16::from_ptr(self.memory.add(offset).cast().as_ptr()) }
    }

    /// Gives a buffer, of which `length` bytes count, to the device.
    pub fn offer(&mut self, buffer: u16, length: usize) {
        // SAFETY: the length stands in bytes 8 to 11 of the buffer's descriptor,
        // which the device does not look at before it is offered.
        unsafe { self.memory.add(usize::from(buffer) * 16 + 8).cast::<u32>().write(length as u32) };
        let place = AVAILABLE + 4 + 2 * usize::from(self.offered % BUFFERS);
        self.word(place).store(buffer, Ordering::Relaxed);
        self.offered = self.offered.wrapping_add(1);
        // SYNC: virtio-available, with the device.
        self.word(AVAILABLE + 2).store(self.offered, Ordering::Release);
        // SYNC: virtio-note: either the device sees the buffer before it goes to
        // rest, or its wish to be told is seen here.
        fence(Ordering::SeqCst);
        if self.word(PAGE).load(Ordering::Relaxed) & QUIET == 0 {
            // SAFETY: the register (the contract of `new`).
            unsafe { self.note.write_volatile(self.number) };
        }
    }

    /// Whether the device has given a buffer back.
    pub fn has_used(&self) -> bool {
        // SYNC: virtio-used, with the device.
        self.word(PAGE + 2).load(Ordering::Acquire) != self.taken
    }

    /// The next buffer that the device gives back, and how many bytes it wrote.
    pub fn take(&mut self) -> Option<(u16, usize)> {
        if !self.has_used() {
            return None;
        }
        let place = PAGE + 4 + 8 * usize::from(self.taken % BUFFERS);
        self.taken = self.taken.wrapping_add(1);
        let buffer = self.word(place).load(Ordering::Relaxed);
        let written = self.word(place + 4).load(Ordering::Relaxed);
        (buffer < BUFFERS).then_some((buffer, usize::from(written).min(BUFFER_BYTES)))
    }
}
