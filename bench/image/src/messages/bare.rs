//! Round trips without the messenger, in windows of the cluster's pool: what
//! the memory and the doorbell can do, and what rings and endpoints make of it.
//!
//! Every way has windows of its own, one per direction. Whoever polls does so
//! without a `pause`, which under TCG takes half as long as the line's own trip.

use crate::shared::Shared;
use kernel::messenger::Platform;
use kernel::protocol::Peer;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use transport::memory::{LINE, LINE_WORDS, SharedMemory};
use transport::ring::{Epoch, PAYLOAD_BYTES, PAYLOAD_WORDS, Place, Reader, Slot, Writer};
use transport::{Doorbell, Endpoint, Event, HEADER_BYTES, Header, Kind, PeerAddress, Windows};

/// Bytes of each ring, as in a pair region.
const RING_BYTES: usize = ivshmem::layout::RING_BYTES;
/// Bytes of a message's body that make it 64 bytes in the ring.
const BODY_BYTES: usize = PAYLOAD_BYTES - HEADER_BYTES;
const LAST: usize = (LINE_WORDS - 1) * 8;

/// One end of everything.
pub struct Bare {
    other: Peer,
    /// What this end writes and reads.
    lines: [SharedMemory; 2],
    bells: [SharedMemory; 2],
    /// Number of the last line and the last ring of the bell.
    line: u64,
    bell: u64,
    writer: Writer,
    reader: Reader,
    endpoint: Endpoint,
    address: PeerAddress,
    events: Vec<Event>,
}

struct Bell;

impl Doorbell for Bell {
    fn ring(&self, peer: u16) {
        runtime::bell::ring(peer);
    }
}

/// Two windows of `bytes` bytes from `offset` on: what this end writes, what it reads.
fn windows(shared: &Shared, offset: usize, bytes: usize) -> [SharedMemory; 2] {
    let mut both = [shared.window(offset, bytes), shared.window(offset + bytes, bytes)];
    if !shared.leads() {
        both.reverse();
    }
    both
}

impl Bare {
    /// This end, in a machine of so many peers.
    pub fn new(shared: &Shared, other: Peer, peers: u16) -> Self {
        let [out, inward] = windows(shared, 4096, RING_BYTES);
        // Not the first generation: others have used this memory before.
        let epoch = Epoch { writer: 2, reader: 2 };
        let (mut writer, mut reader) =
            (Writer::new(out).expect("large enough"), Reader::new(inward).expect("large enough"));
        writer.synchronise(epoch);
        reader.synchronise(epoch);
        let endpoint = endpoint(shared, other, peers);
        Self {
            other,
            lines: windows(shared, 0, 2 * LINE),
            bells: windows(shared, 1024, 2 * LINE),
            line: 0,
            bell: 0,
            writer,
            reader,
            endpoint,
            address: PeerAddress { peer: other.0, generation: 1 },
            events: Vec::new(),
        }
    }

    fn write_line(&mut self) {
        self.line += 1;
        let [first @ .., last] = self.lines[0].line(0);
        first.iter().for_each(|word| word.store(self.line, Relaxed));
        // SYNC: bench-line, with `await_line`.
        last.store(self.line, Release);
    }

    /// Waits for the other's line of this number and reads all of it.
    fn await_line(&self, number: u64) {
        // SYNC: bench-line, with `write_line`.
        while self.lines[1].word(LAST).load(Acquire) != number {}
        let line: [u64; LINE_WORDS] = self.lines[1].line(0).each_ref().map(|word| word.load(Relaxed));
        black_box(line);
    }

    /// Writes a line and awaits one, so many times.
    pub fn lead_lines(&mut self, trips: u64) {
        for _ in 0..trips {
            self.write_line();
            self.await_line(self.line);
        }
    }

    /// Answers lines.
    pub fn follow_lines(&mut self, trips: u64) {
        for _ in 0..trips {
            self.await_line(self.line + 1);
            self.write_line();
        }
    }

    fn push(&mut self) {
        let slot = Slot { place: Place::WHOLE, used: PAYLOAD_BYTES };
        while self.writer.push(slot, &[1; PAYLOAD_WORDS]).is_err() {}
    }

    /// Awaits a slot, and looks whether the other end sleeps the first time
    /// that there is none: as an endpoint does.
    fn pop(&mut self) {
        let payload = loop {
            if let Some((_, payload)) = self.reader.pop() {
                break payload;
            }
            if self.writer.is_unflushed() | self.reader.is_unflushed() {
                self.ring_if_due();
            }
        };
        black_box(payload);
    }

    #[cold]
    fn ring_if_due(&mut self) {
        if self.writer.bell_due() | self.reader.bell_due() {
            runtime::bell::ring(self.other.0);
        }
    }

    /// Sends a slot and awaits one, so many times.
    pub fn lead_ring(&mut self, trips: u64) {
        for _ in 0..trips {
            self.push();
            self.pop();
        }
    }

    /// Answers slots.
    pub fn follow_ring(&mut self, trips: u64) {
        for _ in 0..trips {
            self.pop();
            self.push();
        }
    }

    fn send(&mut self) {
        let header = Header { kind: Kind::Notice, pipe: 1, request: 0, trace: 0 };
        self.endpoint.send(self.address, header, &[&[1; BODY_BYTES]]).expect("the other end lives");
    }

    fn receive(&mut self) {
        while self.events.is_empty() {
            self.endpoint.poll(0, runtime::bell::rang(), |event| self.events.push(event));
        }
        black_box(&self.events);
        self.events.clear();
    }

    /// Sends a message and awaits one, so many times.
    pub fn lead_endpoint(&mut self, trips: u64) {
        for _ in 0..trips {
            self.send();
            self.receive();
        }
    }

    /// Answers messages.
    pub fn follow_endpoint(&mut self, trips: u64) {
        for _ in 0..trips {
            self.receive();
            self.send();
        }
    }

    fn ring(&mut self) {
        self.bell += 1;
        // SYNC: bench-bell, with `await_ring`.
        self.bells[0].word(0).store(self.bell, Release);
        runtime::bell::ring(self.other.0);
    }

    fn await_ring(&self, number: u64) {
        // SYNC: bench-bell, with `ring`.
        while self.bells[1].word(0).load(Acquire) != number {
            runtime::bell::wait(None);
        }
    }

    /// Forgets what rang until now.
    pub fn drain(&self) {
        runtime::bell::wait(Some(vm::Bare.now_ns()));
    }

    /// Rings and halts, so many times.
    pub fn lead_bell(&mut self, trips: u64) {
        self.drain();
        for _ in 0..trips {
            self.ring();
            self.await_ring(self.bell);
        }
    }

    /// Answers rings.
    pub fn follow_bell(&mut self, trips: u64) {
        for _ in 0..trips {
            self.await_ring(self.bell + 1);
            self.ring();
        }
    }
}

/// An endpoint with a channel to `other` in the pool, and idle ones to all other peers.
fn endpoint(shared: &Shared, other: Peer, peers: u16) -> Endpoint {
    let own = if shared.leads() { 1 } else { 2 };
    let mut endpoint = Endpoint::new(PeerAddress { peer: own, generation: 1 }, Arc::new(Bell));
    for peer in (0..peers).filter(|&peer| peer != own) {
        let [out, inward] = if peer == other.0 {
            windows(shared, 4096 + 2 * RING_BYTES, RING_BYTES)
        } else {
            [SharedMemory::heap(RING_BYTES), SharedMemory::heap(RING_BYTES)]
        };
        endpoint
            .attach(peer, Windows { outgoing: out, incoming: inward, pages: None })
            .expect("a peer of its own, and large enough");
        endpoint.set_peer(peer, Some(1));
    }
    endpoint
}
