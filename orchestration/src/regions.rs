//! Every region of a machine, made and formatted (design section 5).
//!
//! A region is a memory file: it has no name in any file system, so nothing is
//! left behind however the launcher ends. Its size is sealed. The control
//! region is sealed against new writable mappings once the launcher has its
//! own, so not even a VM's QEMU could write it.
//!
//! Who gets which region is [`Regions::due`], the one place that decides it.

use crate::machine_file::{MachineFile, VmPlan};
use crate::sys;
use ivshmem::layout::{
    BELL_BYTES, DeviceAddress, LayoutError, PAIR_BYTES, PAIR_PARTS, Part, Region, RegionKind, fixed_parts,
    pair_windows,
};
use kernel::membership::{LinkKind, Membership, MembershipError, Role, Utility};
use kernel::protocol::Peer;
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create, open};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use transport::Windows;
use transport::memory::SharedMemory;

/// Why the regions cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum RegionError {
    /// The process may not open as many files as there are regions.
    #[error(
        "this machine needs {needed} open files, the limit of this process is {limit}; raise it with \"ulimit -n {needed}\""
    )]
    TooManyFiles {
        /// Files that the machine needs.
        needed: u64,
        /// Files that the process may open.
        limit: u64,
    },
    /// The host refuses memory.
    #[error("the host gives no shared memory for the machine: {0}; free some memory and start it again")]
    Memory(#[from] io::Error),
    /// The layout does not fit its region.
    #[error("a region cannot be laid out: {0}")]
    Layout(#[from] LayoutError),
    /// The description does not fit its region.
    #[error("the machine's description cannot be written: {0}")]
    Membership(#[from] MembershipError),
}

/// One region: a memory file of a fixed size.
#[derive(Debug)]
pub struct MemoryFile {
    descriptor: OwnedFd,
    bytes: usize,
}

impl MemoryFile {
    /// A fresh one, zeroed.
    fn new(name: &str, bytes: usize) -> io::Result<Self> {
        let descriptor = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&descriptor, bytes as u64)?;
        fcntl_add_seals(&descriptor, SealFlags::SHRINK | SealFlags::GROW)?;
        Ok(Self { descriptor, bytes })
    }

    /// Maps all of it.
    fn map(&self) -> io::Result<SharedMemory> {
        sys::map(self.descriptor.as_fd(), self.bytes)
    }

    /// Bytes in it.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }
}

impl AsFd for MemoryFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// A region as one VM gets it.
#[derive(Clone, Copy, Debug)]
pub struct Due<'a> {
    /// Name of the memory in QEMU's options.
    pub id: DueId,
    /// Where the VM finds it.
    pub address: DeviceAddress,
    /// The memory.
    pub descriptor: BorrowedFd<'a>,
    /// Bytes of it.
    pub bytes: usize,
    /// Whether the VM's writes vanish.
    pub read_only: bool,
}

/// Which region of a VM's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DueId {
    /// The control region.
    Control,
    /// Shared with this peer.
    Pair(Peer),
    /// The VM's utility's.
    Utility,
    /// The VM's cluster's.
    Pool,
}

/// All regions of a machine.
#[derive(Debug)]
pub struct Regions {
    generation: u64,
    control: MemoryFile,
    membership: Membership,
    /// By lower and higher peer id.
    pairs: BTreeMap<(u16, u16), MemoryFile>,
    /// The windows of the launcher's own pair regions, and the words for reading
    /// ticks in them, by the other peer's id.
    own_pairs: BTreeMap<u16, (Windows, SharedMemory)>,
    utilities: Vec<(Utility, MemoryFile)>,
    /// By cluster.
    pools: Vec<MemoryFile>,
    /// By peer id - 1.
    bells: Vec<MemoryFile>,
}

impl Regions {
    /// Whether there can be so many regions.
    ///
    /// # Errors
    /// [`RegionError::TooManyFiles`].
    pub fn check(file: &MachineFile) -> Result<(), RegionError> {
        provide_descriptors(file.vms.len() as u64 + 1, file.clusters.len() as u64)
    }

    /// Makes and formats all regions of the machine.
    pub fn new(file: &MachineFile) -> Result<Self, RegionError> {
        let peers = file.vms.len() as u16 + 1;
        Self::check(file)?;
        let generation = draw_generation()?;
        let (control, membership) = control(file, generation)?;
        let description = membership.description().clone();
        let mut regions = Self {
            generation,
            control,
            membership,
            pairs: BTreeMap::new(),
            own_pairs: BTreeMap::new(),
            utilities: Vec::new(),
            pools: Vec::new(),
            bells: Vec::new(),
        };
        for higher in 1..peers {
            for lower in 0..higher {
                if description.link(Peer(lower), Peer(higher)) == LinkKind::Memory {
                    regions.add_pair(lower, higher)?;
                }
            }
            regions.bells.push(MemoryFile::new("cyanea-bell", BELL_BYTES)?);
        }
        for utility in file.utilities() {
            let bytes = utility_bytes(utility, file);
            let memory = single(RegionKind::Utility, bytes, generation)?;
            regions.utilities.push((utility, memory));
        }
        for _ in &file.clusters {
            let bytes = file.pool.0 as usize;
            regions.pools.push(single(RegionKind::Pool, bytes, generation)?);
        }
        Ok(regions)
    }

    fn add_pair(&mut self, lower: u16, higher: u16) -> Result<(), RegionError> {
        let memory = MemoryFile::new("cyanea-pair", PAIR_BYTES)?;
        let region = Region::format(memory.map()?, RegionKind::Pair, self.generation, &PAIR_PARTS)?;
        if lower == Peer::LAUNCHER.0 {
            let words = region.part(Part::Exchange)?;
            self.own_pairs.insert(higher, (pair_windows(&region, lower, higher)?, words));
        }
        self.pairs.insert((lower, higher), memory);
        Ok(())
    }

    /// The number drawn for this start of the machine.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Who is in the machine and who lives.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// The launcher's windows of its region with `peer`.
    pub fn own_pair(&self, peer: Peer) -> Option<Windows> {
        self.own_pairs.get(&peer.0).map(|(windows, _)| windows.clone())
    }

    /// The words through which `peer` and the launcher read each other's ticks.
    pub fn exchange_words(&self, peer: Peer) -> Option<SharedMemory> {
        self.own_pairs.get(&peer.0).map(|(_, words)| words.clone())
    }

    /// The memory of `peer`'s own doorbell device.
    pub fn bell(&self, peer: Peer) -> Option<BorrowedFd<'_>> {
        self.bells.get(usize::from(peer.0).checked_sub(1)?).map(AsFd::as_fd)
    }

    /// The regions that one VM gets, and no others: control (read-only), the
    /// pairs that it is one of, its utility's tables, its cluster's pool.
    pub fn due(&self, peer: Peer, vm: &VmPlan) -> Vec<Due<'_>> {
        let due = |id, address, memory, read_only| due(id, address, memory, read_only);
        let mut found = vec![due(DueId::Control, DeviceAddress::CONTROL, &self.control, true)];
        if let Role::Utility(own) = vm.role {
            let tables = self.utilities.iter().filter(|(utility, _)| *utility == own);
            found
                .extend(tables.map(|(_, memory)| due(DueId::Utility, DeviceAddress::UTILITY, memory, false)));
        }
        if let Some(pool) = self.pools.get(usize::from(vm.cluster)) {
            found.push(due(DueId::Pool, DeviceAddress::POOL, pool, false));
        }
        for (&(lower, higher), memory) in &self.pairs {
            let other = match peer.0 {
                id if id == lower => higher,
                id if id == higher => lower,
                _ => continue,
            };
            found.push(due(DueId::Pair(Peer(other)), DeviceAddress::pair(other), memory, false));
        }
        found
    }
}

fn due(id: DueId, address: DeviceAddress, memory: &MemoryFile, read_only: bool) -> Due<'_> {
    Due { id, address, descriptor: memory.as_fd(), bytes: memory.len(), read_only }
}

/// The control region, of which VMs only ever get a read-only descriptor.
fn control(file: &MachineFile, generation: u64) -> Result<(MemoryFile, Membership), RegionError> {
    let description = file.description();
    let (parts, bytes) = Membership::parts(&description);
    let memory = MemoryFile::new("cyanea-control", bytes)?;
    let region = Region::format(memory.map()?, RegionKind::Control, generation, &parts)?;
    let membership = Membership::write(&region, &description)?;
    match fcntl_add_seals(&memory, SealFlags::FUTURE_WRITE) {
        // Kernels before 5.1 know no such seal; QEMU still maps it read-only.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => return Err(io::Error::from(error).into()),
    }
    let path = format!("/proc/self/fd/{}", memory.descriptor.as_raw_fd());
    let descriptor = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(io::Error::from)?;
    Ok((MemoryFile { descriptor, bytes }, membership))
}

/// A region that is all one part.
fn single(kind: RegionKind, bytes: usize, generation: u64) -> Result<MemoryFile, RegionError> {
    let name = if kind == RegionKind::Pool { "cyanea-pool" } else { "cyanea-utility" };
    let memory = MemoryFile::new(name, bytes)?;
    Region::format(memory.map()?, kind, generation, &fixed_parts(kind, bytes)?)?;
    Ok(memory)
}

/// Bytes of a utility's region: `files` keeps its data there, `tasks` has
/// tables of a few hundred KiB.
fn utility_bytes(utility: Utility, file: &MachineFile) -> usize {
    match utility {
        Utility::Files => file.files_capacity.0 as usize,
        Utility::Tasks => 4 << 20,
    }
}

/// A random number, never 0.
fn draw_generation() -> io::Result<u64> {
    Ok(random()? | 1 << 63)
}

/// 64 random bits.
pub fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())?;
    Ok(u64::from_le_bytes(bytes))
}

/// Raises the limit of open files as far as this machine needs.
fn provide_descriptors(peers: u64, clusters: u64) -> Result<(), RegionError> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    // Pairs; pools; per VM its bell's memory, bell, socket, log, process, two pipes
    // and the two ends of its port; and some for everything else.
    let needed = peers * (peers - 1) / 2 + clusters + 10 * peers + 128;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let current = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
    if current < needed {
        return Err(RegionError::TooManyFiles { needed, limit: current });
    }
    let raised = Rlimit { current: Some(current), maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).map_err(io::Error::from)?;
    Ok(())
}

#[cfg(test)]
mod tests;
