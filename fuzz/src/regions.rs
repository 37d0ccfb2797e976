//! The header of a region, and of a control region the description and the
//! liveness table, with any words in them.
//!
//! Checked: what opens has its parts within itself and where the directory of
//! its kind may have them; what is asked about peers has an answer for all.

use crate::input::Input;
use ivshmem::layout::{HEADER_BYTES, MAX_PARTS, Part, Region, RegionKind, fixed_parts};
use kernel::membership::{Description, Distance, Membership, PeerDescription, Role, Utility};
use kernel::protocol::{Incarnation, Peer};
use std::sync::atomic::Ordering::Relaxed;
use transport::link::delay::MOST_DELAY_NS;
use transport::memory::{LINE, SharedMemory, WORD};

const KINDS: [RegionKind; 4] = [RegionKind::Control, RegionKind::Pair, RegionKind::Utility, RegionKind::Pool];
const PARTS: [Part; 7] = [
    Part::Description,
    Part::Liveness,
    Part::RingFromLower,
    Part::RingFromHigher,
    Part::Tables,
    Part::Pages,
    Part::Delays,
];

/// A machine of two VMs.
fn description() -> Description {
    let peer = |name: &str, role| PeerDescription { name: name.into(), role, cluster: Some(0) };
    Description {
        name: "small".into(),
        clusters: vec!["a".into()],
        ethernets: vec![],
        adds_distance: true,
        peers: vec![
            PeerDescription { name: "launcher".into(), role: Role::Launcher, cluster: None },
            peer("node-a0", Role::Node),
            peer("files-a0", Role::Utility(Utility::Files)),
        ],
    }
}

/// A control region as a launcher makes it.
fn control() -> SharedMemory {
    let description = description();
    let (parts, bytes) = Membership::parts(&description);
    let memory = SharedMemory::heap(bytes);
    let region = Region::format(memory.clone(), RegionKind::Control, 7, &parts).expect("room");
    Membership::write(&region, &description).expect("a good description");
    memory
}

/// A pool as a launcher makes it, if small.
fn pool() -> SharedMemory {
    let memory = SharedMemory::heap(HEADER_BYTES + 1024);
    let parts = fixed_parts(RegionKind::Pool, memory.len()).expect("room");
    Region::format(memory.clone(), RegionKind::Pool, 7, &parts).expect("room");
    memory
}

fn open(memory: &SharedMemory, kind: RegionKind) {
    let needs_no_header = Region::laid_out(memory.clone(), kind);
    assert_eq!(needs_no_header.is_ok(), fixed_parts(kind, memory.len()).is_ok());
    let Ok(region) = Region::open(memory.clone(), kind) else { return };
    for part in PARTS {
        if let Ok(window) = region.part(part) {
            assert!(window.len() <= memory.len() - HEADER_BYTES && window.len().is_multiple_of(LINE));
            let words = window.words();
            let _ = words.first().map(|word| word.load(Relaxed));
            let _ = words.last().map(|word| word.load(Relaxed));
        }
    }
    if let Ok(membership) = Membership::open(&region) {
        ask(&membership);
    }
}

fn ask(membership: &Membership) {
    for distance in Distance::ALL {
        let delay = membership.delay(distance);
        assert!(delay.is_none_or(|delay| delay.ns() <= MOST_DELAY_NS));
    }
    let peers = membership.description().peers.len() as u16;
    for peer in (0..=peers).map(Peer).chain([Peer(u16::MAX)]) {
        let liveness = membership.liveness(peer);
        assert!(usize::from(peer.0) < usize::from(peers) || !liveness.is_alive());
        let who = Incarnation { peer, generation: liveness.generation };
        assert_eq!(membership.lives(who), membership.incarnation(peer) == Some(who));
        assert!(!membership.name(peer).is_empty() || peer.0 < peers);
    }
    for utility in [Utility::Files, Utility::Tasks] {
        assert!(membership.nearest(utility, Peer(1)).iter().all(|&peer| membership.is_ready(peer)));
    }
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let memory = match input.byte() % 4 {
        0 => control(),
        1 => pool(),
        2 => SharedMemory::heap(HEADER_BYTES + LINE),
        _ => SharedMemory::heap(input.below(2 * HEADER_BYTES)),
    };
    let words = memory.len() / WORD;
    while !input.is_over() && words > 0 {
        // The words of header and directory, the machine description, any word.
        let word = match input.byte() % 4 {
            0 | 1 => usize::from(input.byte()) % (5 + 3 * MAX_PARTS),
            2 => HEADER_BYTES / WORD + usize::from(input.byte()),
            _ => input.below(words),
        };
        let value = match input.byte() % 4 {
            0 => u64::from(input.byte()),
            1 => u64::from(input.short()),
            _ => input.word(),
        };
        memory.word(word % words * WORD).store(value, Relaxed);
        KINDS.iter().for_each(|&kind| open(&memory, kind));
    }
    KINDS.iter().for_each(|&kind| open(&memory, kind));
}

/// Inputs to start from.
pub fn seeds() -> Vec<Vec<u8>> {
    let magic = ivshmem::layout::MAGIC.to_le_bytes();
    vec![
        vec![0],
        vec![1],
        vec![0, 0, 6, 0, 64, 2, 8, 0, 3],
        [&[2, 0, 0, 3][..], &magic, &[0, 1, 2, 1, 0, 0, 0, 4, 0, 0, 0, 0, 3, 1, 0x40, 0x10]].concat(),
    ]
}
