//! A program that sends one VM every kind of nonsense there is, through the
//! ring alone: its own VM must never have sent anything to that one.

use ivshmem::layout::{Region, RegionKind, pair_windows};
use kernel::membership::Membership;
use kernel::protocol::files::{Handle, MAX_DATA, Request};
use kernel::protocol::tasks::{self, TaskForceId};
use kernel::protocol::{Incarnation, Peer, Pipe, encode};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use transport::Windows;
use transport::link::MAX_MESSAGE;
use transport::memory::LINE;
use transport::ring::{BY_REFERENCE, Epoch, PAYLOAD_BYTES, Place, Slot, Writer, payload};
use transport::wire::{HEADER_BYTES, Header, Kind};

const FIRST: Place = Place { first: true, last: false };
const MIDDLE: Place = Place { first: false, last: false };
const LAST: Place = Place { first: false, last: true };

/// The ring to a VM, without anything that keeps to what it is for.
struct Liar {
    to: Incarnation,
    windows: Windows,
    writer: Writer,
    epochs: [Epoch; 2],
    sent: usize,
}

/// Sends every kind of nonsense to the VM that its argument names, an activity
/// of `files` or `tasks`, and waits for ever.
pub fn nonsense() {
    let name = cyanea::args().into_iter().next().expect("the name of a VM");
    let mut liar = Liar::to(&name);
    match name.starts_with("files") {
        true => liar.tell_files(),
        false => liar.tell_tasks(),
    }
    println!("told {name}");
    loop {
        runtime::bell::ring(liar.to.peer.0);
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Liar {
    fn to(name: &str) -> Self {
        let own = Peer(runtime::bell::own_peer().expect("every VM has a doorbell"));
        let control = runtime::regions::control().expect("every VM has the control region");
        let control = Region::open(control, RegionKind::Control).expect("nobody can spoil it");
        let membership = Membership::open(&control).expect("nobody can spoil it");
        let peers = (0..membership.description().peers.len() as u16).map(Peer);
        let peer = peers.into_iter().find(|&peer| membership.name(peer) == name).expect("a VM of that name");
        let [from, to] = [own, peer].map(|peer| membership.incarnation(peer).expect("it lives"));
        let memory = runtime::regions::pair(peer.0).expect("a region with every peer");
        let region = Region::laid_out(memory, RegionKind::Pair).expect("its size is right");
        let windows = pair_windows(&region, own.0, peer.0).expect("its parts");
        let mut writer = Writer::new(windows.outgoing.clone()).expect("room");
        let there = Epoch { writer: from.generation, reader: to.generation };
        let back = Epoch { writer: to.generation, reader: from.generation };
        writer.synchronise(there);
        Self { to, windows, writer, epochs: [there, back], sent: 0 }
    }

    /// Sends a slot, waiting for room.
    fn slot(&mut self, place: Place, used: usize, bytes: &[u8]) {
        while self.writer.push(Slot { place, used }, &payload(bytes)).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.sent += 1;
        if self.writer.bell_due() {
            runtime::bell::ring(self.to.peer.0);
        }
    }

    /// Sends a message that is in order as far as the ring is concerned.
    fn message(&mut self, kind: Kind, pipe: u32, body: &[u8]) {
        let header = Header { kind, pipe, request: 1 << 40 | self.sent as u64, trace: 0 };
        let bytes = [&header.encode()[..], body].concat();
        let count = bytes.chunks(PAYLOAD_BYTES).count();
        for (number, chunk) in bytes.chunks(PAYLOAD_BYTES).enumerate() {
            self.slot(Place { first: number == 0, last: number + 1 == count }, chunk.len(), chunk);
        }
    }

    fn tell_files(&mut self) {
        self.slot(Place::WHOLE, PAYLOAD_BYTES + 2, &[1; PAYLOAD_BYTES]);
        self.slot(LAST, PAYLOAD_BYTES, &[1; PAYLOAD_BYTES]);
        self.slot(Place::WHOLE, HEADER_BYTES - 1, &[1; PAYLOAD_BYTES]);
        self.slot(Place::WHOLE, HEADER_BYTES, &[9; PAYLOAD_BYTES]);
        self.slot(Place::WHOLE, BY_REFERENCE, &[0xff; PAYLOAD_BYTES]);
        self.slot(FIRST, PAYLOAD_BYTES, &[1; PAYLOAD_BYTES]);
        (0..MAX_MESSAGE / PAYLOAD_BYTES + 1)
            .for_each(|_| self.slot(MIDDLE, PAYLOAD_BYTES, &[1; PAYLOAD_BYTES]));
        self.slot(LAST, PAYLOAD_BYTES, &[1; PAYLOAD_BYTES]);
        self.message(Kind::Request, Pipe::Files as u32, &[0xff; 9]);
        let handle = Handle { inode: 1, generation: 1 };
        let write = encode(&Request::Write { handle, offset: None, data: &[0; MAX_DATA + 1] });
        self.message(Kind::Request, Pipe::Files as u32, &write);
        self.message(Kind::Request, 77, &[]);
        self.message(Kind::Reply, Pipe::Files as u32, &[]);
        self.message(Kind::Notice, Pipe::Files as u32, &[]);
        // It looks at this VM's position once in a ring's length of replies.
        let position = u64::from(self.epochs[1].tag()) << 32 | 0xff_0000;
        for _ in 0..2_000 {
            self.message(Kind::Request, Pipe::Files as u32, &encode(&Request::Space));
            self.windows.incoming.word(0).store(position, Relaxed);
        }
        self.of_another_generation();
    }

    /// A slot just where the next one is due.
    fn of_another_generation(&mut self) {
        let slots = self.writer.slots() as usize;
        let at = (2 + self.sent % slots) * LINE;
        let epoch = Epoch { writer: self.epochs[0].writer + 1, ..self.epochs[0] };
        let header = u64::from(epoch.tag()) << 32 | (self.sent as u64) << 8 | 3;
        self.windows.outgoing.word(at).store(header, Relaxed);
    }

    /// More requests than are served at a time: none of them is answered while
    /// this program runs.
    fn tell_tasks(&mut self) {
        let wait = encode(&tasks::Request::Wait { task_force: TaskForceId(1) });
        (0..300).for_each(|_| self.message(Kind::Request, Pipe::Tasks as u32, &wait));
    }
}
