//! A program that makes its VM hostile: it writes every byte of shared memory
//! that the VM can reach, for ever, and rings everybody's doorbell all the time.
//!
//! What it writes is random or plausible: words that rings hold under the right
//! tags, and whole slots just where a reader looks next, with message headers
//! of all kinds. It takes care of one thing only: what it forges is no request
//! that is in order, for a VM may ask `files` and `tasks` for anything.

use ivshmem::layout::{MAX_PEERS, PAIR_PARTS, Part, Region, RegionKind};
use kernel::membership::Membership;
use kernel::protocol::Peer;
use std::sync::atomic::Ordering::Relaxed;
use transport::memory::{LINE, SharedMemory, WORD};
use transport::ring::{Epoch, PAYLOAD_BYTES};
use transport::wire::{Header, Kind};

/// Writes between two rounds of doorbells.
const WRITES_PER_RING: u32 = 500;
/// Lines of a ring before its slots.
const LINES_BEFORE_SLOTS: usize = 2;

/// Numbers from a seed (xorshift64*, Vigna 2016).
struct Random(u64);

impl Random {
    fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        ((self.number() >> 16) % end as u64) as usize
    }
}

/// A pair region, and with whom it is shared.
struct Pair {
    peer: Peer,
    memory: SharedMemory,
    /// The ring that this VM writes, and the one that it reads.
    rings: [SharedMemory; 2],
}

/// What this VM can reach.
struct Reach {
    own: Peer,
    membership: Membership,
    pairs: Vec<Pair>,
    /// Other memory: the cluster's pool, the control region.
    rest: Vec<SharedMemory>,
    random: Random,
}

/// Says which VM it spoils, and with which seed (its argument), and begins once
/// there is a file `/scribble-SEED`: by then its start has been answered.
pub fn scribbler() {
    let seed = cyanea::args().first().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut reach = Reach::new(seed);
    println!("scribbler: {} writes with seed {seed}", reach.membership.name(reach.own));
    while std::fs::metadata(format!("/scribble-{seed}")).is_err() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    loop {
        (0..WRITES_PER_RING).for_each(|_| reach.write());
        // Peers that there are and peers that there are not.
        let strangers = [MAX_PEERS as u16, u16::MAX];
        let peers = (0..=reach.membership.description().peers.len() as u16).chain(strangers);
        peers.for_each(runtime::bell::ring);
    }
}

impl Reach {
    fn new(seed: u64) -> Self {
        let own = Peer(runtime::bell::own_peer().expect("every VM has a doorbell"));
        let control = runtime::regions::control().expect("every VM has the control region");
        let region = Region::open(control.clone(), RegionKind::Control).expect("nobody can spoil it");
        let membership = Membership::open(&region).expect("nobody can spoil it");
        let peers = (0..membership.description().peers.len() as u16).filter(|&peer| peer != own.0);
        let pairs = peers.map(|peer| Pair::new(own, Peer(peer))).collect();
        let rest = runtime::regions::pool().into_iter().chain([control]).collect();
        Self { own, membership, pairs, rest, random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1) }
    }

    /// Writes something somewhere.
    fn write(&mut self) {
        let (choice, which) = (self.random.below(16), self.random.below(self.pairs.len()));
        match choice {
            0 => self.anything(),
            1..4 => self.word_of_a_ring(which),
            4 | 5 => {
                let pair = &self.pairs[which];
                let offset = self.random.below(pair.memory.len() / WORD) * WORD;
                pair.memory.word(offset).store(self.random.number(), Relaxed);
            }
            _ => self.slot(which),
        }
    }

    /// A random word in the pool or the control region (where it vanishes).
    fn anything(&mut self) {
        let memory = &self.rest[self.random.below(self.rest.len())];
        let offset = self.random.below(memory.len() / WORD) * WORD;
        memory.word(offset).store(self.random.number(), Relaxed);
    }

    /// The epochs of the rings with a peer: the one that this VM writes, the other.
    fn epochs(&self, peer: Peer) -> [Epoch; 2] {
        let [own, other] = [self.own, peer].map(|peer| self.membership.liveness(peer).generation);
        [Epoch { writer: own, reader: other }, Epoch { writer: other, reader: own }]
    }

    /// A position, flag or header that may be right, or once was, or will be.
    fn word_of_a_ring(&mut self, which: usize) {
        let pair = &self.pairs[which];
        let ring = self.random.below(2);
        let mut epoch = self.epochs(pair.peer)[ring];
        if self.random.below(8) == 0 {
            epoch.writer = epoch.writer.wrapping_add(self.random.below(3) as u32).wrapping_sub(1);
        }
        let tag = u64::from(epoch.tag()) << 32;
        let sequence = self.random.below(1 << 12) as u64;
        let ring = &pair.rings[ring];
        let (line, word) = match self.random.below(2) {
            // The reader's and the writer's line, and the slots' headers.
            0 => (self.random.below(LINES_BEFORE_SLOTS), self.random.below(2)),
            _ => (self.random.below(ring.len() / LINE), 0),
        };
        let value = match self.random.below(3) {
            0 => tag | sequence,
            1 => tag | sequence << 8 | self.random.number() & 0xff,
            _ => 0,
        };
        ring.word(line * LINE + word * WORD).store(value, Relaxed);
    }

    /// A slot that the peer may well take, where it looks next or soon.
    fn slot(&mut self, which: usize) {
        let pair = &self.pairs[which];
        let ring = &pair.rings[0];
        let slots = 1 << (ring.len() / LINE - LINES_BEFORE_SLOTS).ilog2();
        // What the reader said of itself, if that was not overwritten.
        let position = ring.word(0).load(Relaxed) as usize;
        let sequence = position.wrapping_add(self.random.below(slots)) & 0xff_ffff;
        let at = (LINES_BEFORE_SLOTS + sequence % slots) * LINE;
        let header = Header {
            kind: [Kind::Request, Kind::Reply, Kind::Notice][self.random.below(3)],
            pipe: self.random.below(9) as u32,
            request: self.random.below(1 << 12) as u64 | (self.random.number() & 1) << 63,
            trace: self.random.number(),
        };
        let mut payload = [0; PAYLOAD_BYTES];
        payload.chunks_mut(WORD).for_each(|word| word.copy_from_slice(&self.random.number().to_le_bytes()));
        let head = header.encode();
        payload[..head.len()].copy_from_slice(&head);
        // No request of any pipe begins with such a number.
        payload[head.len()] |= 0x40;
        ring.copy_in(at + WORD, &payload);
        let tag = u64::from(self.epochs(pair.peer)[0].tag()) << 32;
        // Mostly a whole message, else anything.
        let used = match self.random.below(4) {
            0 => self.random.number() & 0xff,
            _ => (head.len() + self.random.below(PAYLOAD_BYTES - head.len())) as u64 * 4 + 3,
        };
        ring.word(at).store(tag | (sequence as u64) << 8 | used, Relaxed);
    }
}

impl Pair {
    fn new(own: Peer, peer: Peer) -> Self {
        let memory = runtime::regions::pair(peer.0).expect("a region with every peer");
        let ring = |wanted: Part| {
            let (_, offset, length) = PAIR_PARTS[usize::from(wanted == Part::RingFromHigher)];
            memory.window(offset, length).expect("the layout's own place")
        };
        let (lower, higher) = (ring(Part::RingFromLower), ring(Part::RingFromHigher));
        let rings = if own < peer { [lower, higher] } else { [higher, lower] };
        Self { peer, memory, rings }
    }
}
