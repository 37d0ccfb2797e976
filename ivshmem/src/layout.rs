//! What regions there are, where a VM finds each, and what stands where in it
//! (protocol.md L1, L2, L3, L4, L5).
//!
//! Every region but the bell starts with a header page: magic, layout version
//! and kind, generation, size, and a directory of parts. A VM refuses a region
//! whose header it does not know. The *address of the device* says which region
//! it is and, for a pair region, with which peer: QEMU's command line fixes it,
//! so no peer can forge it.
//!
//! A VM reads the header of the control region, which no VM can write: once, at
//! boot, and what it says is checked against the memory's real size. The other
//! regions may hold anything by then, so that a VM that starts again is not kept
//! out by what a peer wrote: the layout version that the control region names
//! fixes where their parts are ([`Region::laid_out`]), and their headers are for
//! whoever looks at a region from outside.
//!
//! ```text
//! word 0      MAGIC
//! word 1      kind << 32 | VERSION
//! word 2      generation of the machine (a number drawn at its start)
//! word 3      size of the region in bytes
//! word 4      number of parts, at most MAX_PARTS
//! word 5...   per part: tag, offset in bytes, length in bytes
//! ```

use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::Ordering::{Relaxed, Release};
use transport::Windows;
use transport::memory::{LINE, SharedMemory, WORD};

/// First word of every region.
pub const MAGIC: u64 = u64::from_le_bytes(*b"CYANEA\0\x01");
/// Version of the layout that this crate reads and writes.
pub const VERSION: u32 = 2;
/// Bytes of the header page; the first part starts here at the earliest.
pub const HEADER_BYTES: usize = 4096;
/// Most parts a region may have.
pub const MAX_PARTS: usize = 16;
/// Most peers a machine may have, the launcher included: two to a PCI function
/// are out of the question, slots 2 to 31 have eight functions each.
pub const MAX_PEERS: usize = 240;
/// Most cores of a VM. One lock guards its scheduler: with more, they would wait
/// for one another there, and another VM is the better way to use a core.
pub const MAX_CORES: usize = 8;
/// Bytes of a pair region: one large page, so that a VM maps it with one entry.
/// Host memory is taken only by what was touched of it.
pub const PAIR_BYTES: usize = 2 << 20;
/// Bytes of each of the two rings in a pair region: 256 slots.
pub const RING_BYTES: usize = 2 * LINE + 256 * LINE;
/// Bytes of the pages that each end of a pair lends: eight of the longest messages.
pub const PAGES_BYTES: usize = transport::pages::window_bytes(64);
/// Bytes of a VM's bell region, which holds nothing: QEMU wants one.
pub const BELL_BYTES: usize = 4096;
/// PCI vendor and device id of QEMU's ivshmem devices.
pub const PCI_ID: (u16, u16) = (0x1af4, 0x1110);

/// What a region is for. The numbers are part of the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum RegionKind {
    /// Machine description and liveness table; the launcher writes, VMs read.
    Control = 1,
    /// A ring each way between two VMs, and pages that each lends the other.
    Pair = 2,
    /// Tables of one utility, mapped by its activities alone.
    Utility = 3,
    /// Pages of one cluster.
    Pool = 4,
}

/// Tags of the parts that a region's directory may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Part {
    /// Control: the machine description, postcard after a length word.
    Description = 1,
    /// Control: the liveness table, one word per peer.
    Liveness = 2,
    /// Pair: the ring that the peer with the lower id writes.
    RingFromLower = 3,
    /// Pair: the ring that the peer with the higher id writes.
    RingFromHigher = 4,
    /// Utility: its tables.
    Tables = 5,
    /// Pool: its pages.
    Pages = 6,
    /// Pair: the pages that the peer with the lower id lends.
    PagesFromLower = 7,
    /// Pair: the pages that the peer with the higher id lends.
    PagesFromHigher = 8,
    /// Control, of a machine with distance: what it adds to messages, one word
    /// of nanoseconds per distance.
    Delays = 9,
}

/// Where on the VM's PCI bus a device is: slot and function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceAddress {
    /// Slot (device number), 0 to 31.
    pub slot: u8,
    /// Function, 0 to 7.
    pub function: u8,
}

impl fmt::Display for DeviceAddress {
    /// In the form that QEMU's `addr=` takes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{:x}", self.slot, self.function)
    }
}

impl DeviceAddress {
    /// The control region.
    pub const CONTROL: Self = Self { slot: 1, function: 0 };
    /// The doorbell device.
    pub const BELL: Self = Self { slot: 1, function: 1 };
    /// The region of the utility that this VM is an activity of.
    pub const UTILITY: Self = Self { slot: 1, function: 2 };
    /// The pool of the VM's cluster.
    pub const POOL: Self = Self { slot: 1, function: 3 };
    /// The network card, of VMs that have peers behind an Ethernet.
    pub const CARD: Self = Self { slot: 1, function: 4 };
    /// The network card that leads out of the machine, of nodes that have one.
    pub const OUTSIDE_CARD: Self = Self { slot: 1, function: 5 };

    /// The pair region shared with `peer`.
    ///
    /// # Panics
    /// If `peer` is not below [`MAX_PEERS`].
    pub const fn pair(peer: u16) -> Self {
        assert!((peer as usize) < MAX_PEERS);
        Self { slot: 2 + (peer / 8) as u8, function: (peer % 8) as u8 }
    }
}

/// Why a region is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// It is smaller than a header page.
    TooSmall,
    /// The first word is not [`MAGIC`].
    Magic,
    /// Its layout version is not [`VERSION`]; this is the version found.
    Version(u32),
    /// It is of another kind; this is the kind found.
    Kind(u32),
    /// It says another size than it has; this is the size it says.
    Size(u64),
    /// Its directory has more than [`MAX_PARTS`] parts, or a part outside of the region.
    Directory,
    /// It has no such part.
    NoPart(Part),
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSmall => write!(f, "the region is smaller than its header"),
            Self::Magic => write!(f, "the region does not start with Cyanea's magic number"),
            Self::Version(found) => {
                write!(f, "the region has layout version {found}, this image knows {VERSION}")
            }
            Self::Kind(found) => write!(f, "the region is of kind {found}, another was expected"),
            Self::Size(found) => write!(f, "the region says that it has {found} bytes, which is not so"),
            Self::Directory => write!(f, "the region's directory is spoilt"),
            Self::NoPart(part) => write!(f, "the region has no part {part:?}"),
        }
    }
}

impl core::error::Error for LayoutError {}

/// A region whose header has been checked: its memory and its parts.
#[derive(Clone, Debug)]
pub struct Region {
    memory: SharedMemory,
    generation: u64,
    parts: Vec<(u64, usize, usize)>,
}

impl Region {
    /// Writes the header of a fresh region and returns it opened.
    ///
    /// `parts` are (tag, offset, length) in bytes, beyond the header page,
    /// multiples of 64 and within the memory.
    pub fn format(
        memory: SharedMemory,
        kind: RegionKind,
        generation: u64,
        parts: &[(Part, usize, usize)],
    ) -> Result<Self, LayoutError> {
        let size = memory.len();
        if size < HEADER_BYTES {
            return Err(LayoutError::TooSmall);
        }
        if parts.len() > MAX_PARTS {
            return Err(LayoutError::Directory);
        }
        let put = |word: usize, value: u64| memory.word(word * WORD).store(value, Relaxed);
        put(1, (kind as u64) << 32 | u64::from(VERSION));
        put(2, generation);
        put(3, size as u64);
        put(4, parts.len() as u64);
        for (index, &(part, offset, length)) in parts.iter().enumerate() {
            put(5 + 3 * index, part as u64);
            put(6 + 3 * index, offset as u64);
            put(7 + 3 * index, length as u64);
        }
        memory.word(0).store(MAGIC, Release);
        Self::open(memory, kind)
    }

    /// Checks the header of a region that somebody else formatted.
    pub fn open(memory: SharedMemory, kind: RegionKind) -> Result<Self, LayoutError> {
        if memory.len() < HEADER_BYTES {
            return Err(LayoutError::TooSmall);
        }
        let get = |word: usize| memory.word(word * WORD).load(Relaxed);
        if get(0) != MAGIC {
            return Err(LayoutError::Magic);
        }
        let (found_kind, version) = ((get(1) >> 32) as u32, get(1) as u32);
        if version != VERSION {
            return Err(LayoutError::Version(version));
        }
        if found_kind != kind as u32 {
            return Err(LayoutError::Kind(found_kind));
        }
        if get(3) != memory.len() as u64 {
            return Err(LayoutError::Size(get(3)));
        }
        let count = get(4);
        if count > MAX_PARTS as u64 {
            return Err(LayoutError::Directory);
        }
        let generation = get(2);
        let mut parts = Vec::with_capacity(count as usize);
        for index in 0..count as usize {
            let tag = get(5 + 3 * index);
            let (offset, length) = (get(6 + 3 * index), get(7 + 3 * index));
            let end = offset.checked_add(length).ok_or(LayoutError::Directory)?;
            if offset < HEADER_BYTES as u64
                || offset % 64 != 0
                || length % 64 != 0
                || end > memory.len() as u64
            {
                return Err(LayoutError::Directory);
            }
            parts.push((tag, offset as usize, length as usize));
        }
        Ok(Self { memory, generation, parts })
    }

    /// A region of a kind that other VMs can write, without a look at what its
    /// header says by now: its parts are where this layout version has them.
    ///
    /// # Errors
    /// If the memory is too small for them.
    pub fn laid_out(memory: SharedMemory, kind: RegionKind) -> Result<Self, LayoutError> {
        let parts = fixed_parts(kind, memory.len())?;
        let generation = memory.word(2 * WORD).load(Relaxed);
        let parts = parts.into_iter().map(|(part, offset, length)| (part as u64, offset, length)).collect();
        Ok(Self { memory, generation, parts })
    }

    /// The number drawn when the machine started.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The window on one part.
    pub fn part(&self, part: Part) -> Result<SharedMemory, LayoutError> {
        self.parts
            .iter()
            .find(|&&(tag, ..)| tag == part as u64)
            .and_then(|&(_, offset, length)| self.memory.window(offset, length))
            .ok_or(LayoutError::NoPart(part))
    }
}

/// The parts of a pair region: a ring each way, pages each way.
pub const PAIR_PARTS: [(Part, usize, usize); 4] = {
    let higher = HEADER_BYTES + RING_BYTES;
    let pages = (higher + RING_BYTES).next_multiple_of(4096);
    [
        (Part::RingFromLower, HEADER_BYTES, RING_BYTES),
        (Part::RingFromHigher, higher, RING_BYTES),
        (Part::PagesFromLower, pages, PAGES_BYTES),
        (Part::PagesFromHigher, pages + PAGES_BYTES, PAGES_BYTES),
    ]
};

/// The windows of a pair region as peer `own` sees them.
pub fn pair_windows(region: &Region, own: u16, peer: u16) -> Result<Windows, LayoutError> {
    let rings = [region.part(Part::RingFromLower)?, region.part(Part::RingFromHigher)?];
    let pages = [region.part(Part::PagesFromLower)?, region.part(Part::PagesFromHigher)?];
    let turned = |mut both: [SharedMemory; 2]| {
        both.rotate_left(usize::from(own > peer));
        both
    };
    let [outgoing, incoming] = turned(rings);
    Ok(Windows { outgoing, incoming, pages: Some(turned(pages)) })
}

/// The parts of a region of `bytes` bytes. Those of the control region are as
/// long as the machine's description, so its directory tells: none here.
///
/// # Errors
/// If the region is too small for them.
pub fn fixed_parts(kind: RegionKind, bytes: usize) -> Result<Vec<(Part, usize, usize)>, LayoutError> {
    let rest = bytes.checked_sub(HEADER_BYTES).ok_or(LayoutError::TooSmall)? & !63;
    match kind {
        RegionKind::Control => Ok(Vec::new()),
        RegionKind::Pair if bytes < PAIR_BYTES => Err(LayoutError::TooSmall),
        RegionKind::Pair => Ok(PAIR_PARTS.to_vec()),
        RegionKind::Utility => Ok(Vec::from([(Part::Tables, HEADER_BYTES, rest)])),
        RegionKind::Pool => Ok(Vec::from([(Part::Pages, HEADER_BYTES, rest)])),
    }
}

/// What the launcher says of a peer, one word of the liveness table:
/// generation << 32 | state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Liveness {
    /// Counts the starts of this VM from 1; 0 before the first.
    pub generation: u32,
    /// Where it is in its life.
    pub state: LifeState,
}

/// Where a VM is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LifeState {
    /// Never started.
    Absent = 0,
    /// Started, not yet ready for work; messages to it wait in its rings.
    Starting = 1,
    /// Ready for work.
    Ready = 2,
    /// Ended, for whatever reason.
    Dead = 3,
}

impl Liveness {
    /// Whether messages may be sent to it.
    pub fn is_alive(self) -> bool {
        matches!(self.state, LifeState::Starting | LifeState::Ready)
    }

    /// As a word of the table.
    pub fn to_word(self) -> u64 {
        u64::from(self.generation) << 32 | self.state as u64
    }

    /// From a word of the table; an unknown state counts as dead.
    pub fn from_word(word: u64) -> Self {
        let state = match word as u8 {
            0 => LifeState::Absent,
            1 => LifeState::Starting,
            2 => LifeState::Ready,
            _ => LifeState::Dead,
        };
        Self { generation: (word >> 32) as u32, state }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_formatted_region_opens_and_gives_its_parts() {
        let memory = SharedMemory::heap(PAIR_BYTES);
        let region = Region::format(memory.clone(), RegionKind::Pair, 7, &PAIR_PARTS).unwrap();
        assert_eq!(region.generation(), 7);
        assert_eq!(region.part(Part::RingFromHigher).unwrap().len(), RING_BYTES);
        assert_eq!(region.part(Part::Tables).unwrap_err(), LayoutError::NoPart(Part::Tables));
        assert_eq!(Region::open(memory, RegionKind::Pool).unwrap_err(), LayoutError::Kind(2));
    }

    #[test]
    fn spoilt_headers_are_refused() {
        for (word, value, error) in [
            (0, 1, LayoutError::Magic),
            (1, 2 << 32 | 9, LayoutError::Version(9)),
            (3, 4096, LayoutError::Size(4096)),
            (4, 17, LayoutError::Directory),
            (6, u64::MAX - 63, LayoutError::Directory),
            (7, PAIR_BYTES as u64, LayoutError::Directory),
            (6, 8, LayoutError::Directory),
        ] {
            let memory = SharedMemory::heap(PAIR_BYTES);
            Region::format(memory.clone(), RegionKind::Pair, 7, &PAIR_PARTS).unwrap();
            memory.word(word * 8).store(value, Relaxed);
            assert_eq!(Region::open(memory, RegionKind::Pair).unwrap_err(), error);
        }
    }

    #[test]
    fn a_region_that_vms_write_needs_no_header() {
        for (kind, part, bytes) in [
            (RegionKind::Pair, Part::RingFromHigher, PAIR_BYTES),
            (RegionKind::Utility, Part::Tables, 8192),
            (RegionKind::Pool, Part::Pages, 8192),
        ] {
            let memory = SharedMemory::heap(bytes);
            Region::format(memory.clone(), kind, 7, &fixed_parts(kind, bytes).unwrap()).unwrap();
            let formatted = Region::open(memory.clone(), kind).unwrap();
            (0..HEADER_BYTES).step_by(WORD).for_each(|at| memory.word(at).store(u64::MAX, Relaxed));
            let spoilt = Region::laid_out(memory, kind).unwrap();
            assert_eq!(spoilt.parts, formatted.parts);
            assert!(spoilt.part(part).is_ok());
            assert_eq!(Region::laid_out(SharedMemory::heap(64), kind).unwrap_err(), LayoutError::TooSmall);
        }
    }

    #[test]
    fn liveness_survives_its_word() {
        for state in [LifeState::Absent, LifeState::Starting, LifeState::Ready, LifeState::Dead] {
            let liveness = Liveness { generation: 0xffff_fff0, state };
            assert_eq!(Liveness::from_word(liveness.to_word()), liveness);
        }
    }

    #[test]
    fn pairs_have_addresses_of_their_own() {
        let mut seen: Vec<_> = (0..MAX_PEERS as u16).map(DeviceAddress::pair).collect();
        seen.dedup();
        assert_eq!(seen.len(), MAX_PEERS);
        assert!(seen.iter().all(|address| (2..32).contains(&address.slot)));
    }
}
