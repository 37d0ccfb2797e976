//! Who is in the machine, what each is, and who lives.
//!
//! The launcher writes both into the control region: the *description*, once,
//! and the *liveness table*, whenever a VM starts, is ready or dies. VMs can
//! only read it. Within one host this is a perfect failure detector.
//!
//! It also keeps the machine's time there ([`crate::clock`]).
//!
//! In a machine with distance the launcher also writes what each distance adds
//! to a message. It does so whenever it calibrates; links follow at once.

use crate::clock::page::{PAGE_BYTES, Page};
use crate::protocol::{Incarnation, Malformed, Peer, Pipe, decode, encode};
use core::sync::atomic::Ordering::{Acquire, Release};
use ivshmem::layout::{LayoutError, LifeState, Liveness, Part, Region};
use serde::{Deserialize, Serialize};
use std::fmt;
use transport::link::delay::Delay;
use transport::memory::{LINE, SharedMemory, WORD};

/// What a peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// The launcher on the host: peer 0.
    Launcher,
    /// Runs user activities.
    Node,
    /// An activity of a utility.
    Utility(Utility),
}

/// The utilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Utility {
    /// The file system.
    Files,
    /// Task forces.
    Tasks,
}

impl Utility {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::Files, Self::Tasks];

    /// The pipe that its activities serve.
    pub fn pipe(self) -> Pipe {
        match self {
            Self::Files => Pipe::Files,
            Self::Tasks => Pipe::Tasks,
        }
    }
}

impl fmt::Display for Utility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Files => "files",
            Self::Tasks => "tasks",
        })
    }
}

/// One peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerDescription {
    /// Its name, as people see it: `node-a0`, `files-b0`.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// Index of its cluster in [`Description::clusters`]; the launcher is in none.
    pub cluster: Option<u16>,
}

/// How far two VMs, or what runs on them, are from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Distance {
    /// In one VM.
    Local,
    /// In one cluster.
    Within,
    /// In two clusters.
    Between,
}

impl Distance {
    /// All of them, the nearest first, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Local, Self::Within, Self::Between];
}

impl fmt::Display for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Within => "within",
            Self::Between => "between",
        })
    }
}

/// What carries messages between two peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// Rings in a region that both have.
    Memory,
    /// An Ethernet.
    Ethernet,
}

/// The machine as its file describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The machine's name.
    pub name: String,
    /// Names of its clusters.
    pub clusters: Vec<String>,
    /// Pairs of clusters whose VMs share no memory but a utility's tables.
    pub ethernets: Vec<[u16; 2]>,
    /// Whether distance is added to messages.
    pub adds_distance: bool,
    /// All peers by id; the launcher is the first.
    pub peers: Vec<PeerDescription>,
}

impl Description {
    fn cluster(&self, peer: Peer) -> Option<u16> {
        self.peers.get(usize::from(peer.0))?.cluster
    }

    /// How far two peers are from each other. The launcher is nowhere.
    pub fn distance(&self, a: Peer, b: Peer) -> Option<Distance> {
        let (here, there) = (self.cluster(a)?, self.cluster(b)?);
        Some(match here == there {
            true if a == b => Distance::Local,
            true => Distance::Within,
            false => Distance::Between,
        })
    }

    /// What carries messages between two peers. The launcher shares memory with all.
    pub fn link(&self, a: Peer, b: Peer) -> LinkKind {
        let joined = |&[c, d]: &[u16; 2]| [(c, d), (d, c)].map(|(c, d)| (Some(c), Some(d)));
        let ends = (self.cluster(a), self.cluster(b));
        match self.ethernets.iter().any(|pair| joined(pair).contains(&ends)) {
            true => LinkKind::Ethernet,
            false => LinkKind::Memory,
        }
    }
}

/// Why a control region is refused.
#[derive(Debug)]
pub enum MembershipError {
    /// Its layout.
    Layout(LayoutError),
    /// Its description does not decode.
    Description(Malformed),
}

impl fmt::Display for MembershipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout(error) => error.fmt(f),
            Self::Description(error) => write!(f, "machine description: {error}"),
        }
    }
}

impl std::error::Error for MembershipError {}

impl From<LayoutError> for MembershipError {
    fn from(error: LayoutError) -> Self {
        Self::Layout(error)
    }
}

/// The control region, opened.
#[derive(Clone, Debug)]
pub struct Membership {
    description: Description,
    table: SharedMemory,
    timeline: Page,
    /// By distance, in a machine that adds any.
    delays: Option<[Delay; 3]>,
}

impl Membership {
    /// The parts that a control region for this machine needs, and its size.
    pub fn parts(description: &Description) -> (Vec<(Part, usize, usize)>, usize) {
        let table = (description.peers.len() * WORD).next_multiple_of(LINE);
        let text = (WORD + encode(description).len()).next_multiple_of(LINE);
        let delays = description.adds_distance.then_some((Part::Delays, LINE));
        let mut end = ivshmem::layout::HEADER_BYTES;
        let sizes = [(Part::Liveness, table), (Part::Timeline, PAGE_BYTES), (Part::Description, text)];
        let sizes = sizes.into_iter().chain(delays);
        let parts = sizes
            .map(|(part, bytes)| {
                end += bytes;
                (part, end - bytes, bytes)
            })
            .collect();
        (parts, end.next_power_of_two())
    }

    /// Writes the description into a fresh control region. For the launcher.
    pub fn write(region: &Region, description: &Description) -> Result<Self, MembershipError> {
        let text = encode(description);
        let part = region.part(Part::Description)?;
        part.copy_in(WORD, &text);
        part.word(0).store(text.len() as u64, Release);
        Self::open(region)
    }

    /// Reads the control region.
    pub fn open(region: &Region) -> Result<Self, MembershipError> {
        let part = region.part(Part::Description)?;
        let room = part.len().checked_sub(WORD).ok_or(LayoutError::Directory)?;
        let length = part.word(0).load(Acquire) as usize;
        if length > room {
            return Err(MembershipError::Description(Malformed));
        }
        let mut text = vec![0; length];
        part.copy_out(WORD, &mut text);
        let description: Description = decode(&text).map_err(MembershipError::Description)?;
        let table = region.part(Part::Liveness)?;
        if table.len() < description.peers.len() * WORD {
            return Err(LayoutError::Directory.into());
        }
        let timeline = Page::new(region.part(Part::Timeline)?).ok_or(LayoutError::Directory)?;
        let delays = description.adds_distance.then(|| delays(region)).transpose()?;
        Ok(Self { description, table, timeline, delays })
    }

    /// What the machine is.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// What the launcher says of `peer`; a peer that is not described is absent.
    pub fn liveness(&self, peer: Peer) -> Liveness {
        if usize::from(peer.0) >= self.description.peers.len() {
            return Liveness { generation: 0, state: LifeState::Absent };
        }
        // SYNC: liveness
        Liveness::from_word(self.table.word(usize::from(peer.0) * WORD).load(Acquire))
    }

    /// Says something of `peer`. For the launcher: in a VM the store vanishes.
    pub fn set_liveness(&self, peer: Peer, liveness: Liveness) {
        // SYNC: liveness
        self.table.word(usize::from(peer.0) * WORD).store(liveness.to_word(), Release);
    }

    /// The machine's time, as the launcher keeps it.
    pub fn timeline(&self) -> &Page {
        &self.timeline
    }

    /// What this distance adds to each message, in a machine that adds any. The
    /// launcher sets it.
    pub fn delay(&self, distance: Distance) -> Option<&Delay> {
        self.delays.as_ref().map(|delays| &delays[distance as usize])
    }

    /// Whether this very incarnation lives.
    pub fn lives(&self, who: Incarnation) -> bool {
        let now = self.liveness(who.peer);
        now.is_alive() && now.generation == who.generation
    }

    /// Whether `peer` is ready for work.
    pub fn is_ready(&self, peer: Peer) -> bool {
        self.liveness(peer).state == LifeState::Ready
    }

    /// The current incarnation of `peer`, if it lives.
    pub fn incarnation(&self, peer: Peer) -> Option<Incarnation> {
        let now = self.liveness(peer);
        now.is_alive().then_some(Incarnation { peer, generation: now.generation })
    }

    /// Name of a peer, for people.
    pub fn name(&self, peer: Peer) -> &str {
        self.description.peers.get(usize::from(peer.0)).map_or("an unknown VM", |peer| &peer.name)
    }

    /// All peers with this role.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = Peer> + '_ {
        let peers = self.description.peers.iter().enumerate();
        peers.filter(move |(_, peer)| peer.role == role).map(|(id, _)| Peer(id as u16))
    }

    /// The living activities of a utility, those in `own`'s cluster first.
    pub fn nearest(&self, utility: Utility, own: Peer) -> Vec<Peer> {
        let cluster = |peer: Peer| self.description.cluster(peer);
        let mut found: Vec<Peer> =
            self.with_role(Role::Utility(utility)).filter(|&peer| self.is_ready(peer)).collect();
        found.sort_by_key(|&peer| cluster(peer) != cluster(own));
        found
    }
}

/// The delays of a control region, by distance.
fn delays(region: &Region) -> Result<[Delay; 3], LayoutError> {
    let part = region.part(Part::Delays)?;
    let at = |distance| {
        let word = part.window(distance as usize * WORD, WORD).and_then(Delay::at);
        word.ok_or(LayoutError::Directory)
    };
    let [local, within, between] = Distance::ALL.map(at);
    Ok([local?, within?, between?])
}
