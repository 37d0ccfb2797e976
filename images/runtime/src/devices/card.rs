//! Network cards: virtio-net devices. A VM has one for its peers behind an
//! Ethernet, if it has such, and one that leads out of the machine, if that is
//! wanted.
//!
//! A frame that arrives interrupts as the doorbell does: it ends the present or
//! the next [`bell::wait`](super::bell::wait). One that was sent does not: its
//! buffer is taken back when another one is wanted.

use super::queue::{BUFFER_BYTES, BUFFERS, Queue};
use super::regions::refused;
use super::virtio::Device;
use alloc::vec::Vec;
use ivshmem::layout::DeviceAddress;
use transport::ethernet;

/// PCI vendor and device id of a virtio-net device of version 1.
const PCI_ID: (u16, u16) = (0x1af4, 0x1041);
/// Bytes before each frame, of which nothing is used.
const HEADER_BYTES: usize = 12;
/// Numbers of its queues.
const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;

const _: () = assert!(HEADER_BYTES + ethernet::MAX_FRAME <= BUFFER_BYTES);

/// A network card.
pub struct Card {
    receive: Queue,
    transmit: Queue,
    /// Buffers of the transmit queue that are free.
    free: Vec<u16>,
}

/// Starts the network card to the peers. Call it once. `None` if this VM has
/// none, or one that is refused (which is said on the console).
pub fn start() -> Option<Card> {
    start_at(DeviceAddress::CARD)
}

/// The same for the card that leads out of the machine.
pub fn start_outside() -> Option<Card> {
    start_at(DeviceAddress::OUTSIDE_CARD)
}

fn start_at(address: DeviceAddress) -> Option<Card> {
    match find(address) {
        Ok(card) => card,
        Err(why) => {
            refused(address, format_args!("{why}"));
            None
        }
    }
}

fn find(address: DeviceAddress) -> Result<Option<Card>, &'static str> {
    let Some(mut device) = Device::find(address, PCI_ID)? else { return Ok(None) };
    let receive = device.queue(RECEIVE, true)?;
    let transmit = device.queue(TRANSMIT, false)?;
    device.start();
    let mut card = Card { receive, transmit, free: (0..BUFFERS).collect() };
    (0..BUFFERS).for_each(|buffer| card.receive.offer(buffer, BUFFER_BYTES));
    Ok(Some(card))
}

impl Card {
    /// Takes back the buffers of frames that were sent.
    fn reclaim(&mut self) {
        while let Some((buffer, _)) = self.transmit.take() {
            self.free.push(buffer);
        }
    }
}

impl ethernet::Card for Card {
    fn has_frame(&self) -> bool {
        self.receive.has_used()
    }

    fn receive(&mut self, frame: &mut [u8; ethernet::MAX_FRAME]) -> Option<usize> {
        let (buffer, written) = self.receive.take()?;
        let length = written.saturating_sub(HEADER_BYTES).min(frame.len());
        let content = &self.receive.content(buffer)[HEADER_BYTES..];
        frame[..length].copy_from_slice(&content[..length]);
        self.receive.offer(buffer, BUFFER_BYTES);
        Some(length)
    }

    fn can_send(&mut self) -> bool {
        if self.free.is_empty() {
            self.reclaim();
        }
        !self.free.is_empty()
    }

    fn send(&mut self, frame: &[u8]) {
        if !self.can_send() || frame.len() > BUFFER_BYTES - HEADER_BYTES {
            return;
        }
        let Some(buffer) = self.free.pop() else { return };
        self.transmit.content(buffer)[HEADER_BYTES..][..frame.len()].copy_from_slice(frame);
        self.transmit.offer(buffer, HEADER_BYTES + frame.len());
    }
}
