//! A running machine: all its VMs, its regions, its bells.
//!
//! One thread, the *driver*, owns all VMs and does everything that changes one;
//! a [`Machine`] is a handle that sends it requests and reads what it
//! publishes. The driver is also the thread that spawns every QEMU, because
//! QEMUs die with the thread that spawned them: however the launcher ends, no
//! QEMU is left behind.
//!
//! ```text
//!   launch ──► booting ──► running ──► ending ──► ended
//!                 │                      ▲
//!                 └──────────────────────┘
//!            a VM dies or is not ready in time, or shutdown
//! ```
//!
//! Booting is all or nothing: there is no half-started machine.
//!
//! A client of the operating system on the launcher's rings serves
//! [`Machine::pair_regions`] for every peer, waits on [`Machine::own_bell`],
//! rings with [`Machine::bells`], and reports with [`Machine::readiness`]. It is
//! started by the `attach` function given to [`Machine::start`], after the
//! regions are there and before any VM is, and ends when [`Machine::events`]
//! closes: that is also what it sees of a machine that did not come up.

mod driver;
mod last_words;
mod status;

pub use last_words::LastWords;
pub use status::{
    BootFailure, Event, KillError, MachineStatus, Options, PartitionError, Progress, Readiness, StartError,
    VmStatus,
};

use crate::clock::HostClock;
use crate::ethernet::Ethernet;
use crate::host;
use crate::image::Images;
use crate::machine_file::MachineFile;
use crate::placement::{Topology, Wanted};
use crate::regions::Regions;
use crate::symbols::Booted;
use ivshmem::layout::{LifeState, Liveness};
use ivshmem::server::Bells;
use kernel::membership::Membership;
use kernel::protocol::{Incarnation, Peer};
use rustix::event::{EventfdFlags, eventfd};
use std::io::ErrorKind;
use std::net::{SocketAddrV4, TcpListener};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use transport::Windows;
use transport::memory::SharedMemory;

/// A running machine. Clones are the same machine; it ends with
/// [`Machine::shutdown`], or when the last of them is dropped.
#[derive(Clone)]
pub struct Machine {
    handle: Arc<Handle>,
}

/// What handles and the driver share.
struct Shared {
    file: MachineFile,
    images: Images,
    /// What each VM booted, to tell what its addresses are.
    booted: Booted,
    last_words: LastWords,
    options: Options,
    /// Started with the machine.
    clock: HostClock,
    regions: Regions,
    bells: Bells,
    /// Where VMs of some clusters share no memory.
    ethernet: Option<Ethernet>,
    /// Processor of each VM, by peer id - 1.
    processors: Vec<Vec<usize>>,
    /// As the driver published it last, by peer id - 1.
    vms: Mutex<Vec<VmStatus>>,
    /// `None` once the machine has ended.
    subscribers: Mutex<Option<Vec<Sender<Event>>>>,
}

/// Ends the machine when the last clone is gone.
struct Handle {
    shared: Arc<Shared>,
    requests: Sender<Request>,
    /// Rung after each request.
    wake: Arc<OwnedFd>,
    driver: Mutex<Option<JoinHandle<()>>>,
}

/// What the driver can be asked for.
enum Request {
    /// This incarnation of a VM is ready for work.
    SetReady(Incarnation),
    /// End this VM; answered when it has ended.
    Kill(Peer, Sender<()>),
    /// Send the log of this VM and everything that follows.
    Follow(Peer, Sender<String>),
    /// End everything.
    Shutdown,
}

/// Takes a lock; a thread that panicked while it held one leaves plain data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Machine {
    /// Whether a machine could be started, as far as that can be seen before
    /// its images are there.
    ///
    /// # Errors
    /// What [`Machine::start`] would refuse.
    pub fn check(file: &MachineFile, options: &Options) -> Result<(), StartError> {
        options.accelerator.check()?;
        check_forwards(file)?;
        Regions::check(file)?;
        host::check_qemu(&options.qemu)?;
        Ok(())
    }

    /// Starts a machine and returns when every VM is ready for work. If one
    /// dies or is not ready in time, everything is ended and the error says
    /// which and why.
    ///
    /// `attach` starts the client on the launcher's rings; what it returns is
    /// handed back.
    pub fn start<T>(
        file: &MachineFile,
        options: Options,
        progress: &dyn Progress,
        attach: impl FnOnce(&Machine) -> std::io::Result<T>,
    ) -> Result<(Machine, T), StartError> {
        let clock = HostClock::start();
        let images = options.images.clone().for_machine(file);
        images.check_for(file)?;
        options.accelerator.check()?;
        check_forwards(file)?;
        // QEMU takes a while to say its version: meanwhile make the regions.
        let program = options.qemu.clone();
        let version = std::thread::spawn(move || host::check_qemu(&program));
        let regions = Regions::new(file);
        version.join().unwrap_or_else(|_| host::check_qemu(&options.qemu))?;
        let shared = Arc::new(Shared::new(file, images, options, regions?, clock)?);
        let (machine, requests) = Machine::around(shared)?;
        let launcher = Liveness { generation: 1, state: LifeState::Ready };
        machine.membership().set_liveness(Peer::LAUNCHER, launcher);
        let attached = attach(&machine).map_err(|error| match error.kind() {
            ErrorKind::Interrupted => StartError::Ended,
            _ => StartError::Attach(error),
        })?;
        let events = machine.events();
        let driver = driver::spawn(machine.handle.shared.clone(), requests, machine.handle.wake.clone());
        *lock(&machine.handle.driver) = Some(driver.map_err(StartError::Host)?);
        machine.wait_until_up(&events, progress)?;
        Ok((machine, attached))
    }

    /// The handle, before there is a driver.
    fn around(shared: Arc<Shared>) -> Result<(Self, Receiver<Request>), StartError> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let wake = eventfd(0, flags).map_err(|error| StartError::Host(error.into()))?;
        let (requests, receiver) = channel();
        let handle = Handle { shared, requests, wake: Arc::new(wake), driver: Mutex::new(None) };
        Ok((Self { handle: Arc::new(handle) }, receiver))
    }

    fn wait_until_up(&self, events: &Receiver<Event>, progress: &dyn Progress) -> Result<(), StartError> {
        let total = self.handle.shared.file.vms.len();
        let mut ready = 0;
        progress.step(0, total, "starting");
        for event in events {
            match event {
                Event::Ready { peer, .. } => {
                    ready += 1;
                    progress.step(ready, total, self.membership().name(peer));
                }
                Event::Up => return Ok(()),
                Event::BootFailed(failure) => {
                    self.shutdown();
                    return Err(StartError::Boot(failure));
                }
                Event::Ended => break,
                Event::Started { .. } | Event::Died { .. } => {}
            }
        }
        self.shutdown();
        Err(StartError::Ended)
    }

    /// The file that it was started from.
    pub fn file(&self) -> &MachineFile {
        &self.handle.shared.file
    }

    /// Who is in the machine and who lives. Only the driver changes liveness.
    pub fn membership(&self) -> &Membership {
        self.handle.shared.regions.membership()
    }

    /// The number drawn for this start of the machine.
    pub fn generation(&self) -> u64 {
        self.handle.shared.regions.generation()
    }

    /// The launcher's rings with `peer`: the one the launcher writes, the one
    /// it reads. `None` if there is no such VM.
    pub fn pair_regions(&self, peer: Peer) -> Option<Windows> {
        self.handle.shared.regions.own_pair(peer)
    }

    /// The words through which `peer` and the launcher read each other's ticks.
    /// `None` if there is no such VM.
    pub fn exchange_words(&self, peer: Peer) -> Option<SharedMemory> {
        self.handle.shared.regions.exchange_words(peer)
    }

    /// The processors that `peer`'s vCPUs are pinned to.
    pub fn processors(&self, peer: Peer) -> &[usize] {
        let index = usize::from(peer.0).checked_sub(1);
        index.and_then(|index| self.handle.shared.processors.get(index)).map_or(&[], Vec::as_slice)
    }

    /// The host's clocks, since the machine's start.
    pub fn clock(&self) -> &HostClock {
        &self.handle.shared.clock
    }

    /// What each VM booted.
    pub fn booted(&self) -> &Booted {
        &self.handle.shared.booted
    }

    /// What VMs said that died of a fault of their own.
    pub fn last_words(&self) -> &LastWords {
        &self.handle.shared.last_words
    }

    /// Everybody's bells, to ring peers with.
    pub fn bells(&self) -> &Bells {
        &self.handle.shared.bells
    }

    /// Rings `peer`.
    pub fn ring(&self, peer: Peer) {
        self.bells().ring(peer.0);
    }

    /// The launcher's own bell: readable while it rings. VMs ring it when they
    /// wrote to a ring, the driver rings it when liveness changed. Take what
    /// rang back with `bells().silence(0)` before looking for messages.
    pub fn own_bell(&self) -> BorrowedFd<'_> {
        self.bells().eventfd(Peer::LAUNCHER.0).expect("the launcher is a peer of every machine")
    }

    /// Everything that happens to VMs from now on; it closes when the machine has ended.
    pub fn events(&self) -> Receiver<Event> {
        let (sender, receiver) = channel();
        if let Some(subscribers) = lock(&self.handle.shared.subscribers).as_mut() {
            subscribers.push(sender);
        }
        receiver
    }

    /// Says that an incarnation of a VM is ready for work; of one that is not
    /// starting it has no effect.
    pub fn set_ready(&self, who: Incarnation) {
        self.handle.request(Request::SetReady(who));
    }

    /// [`Machine::set_ready`] for whoever must not keep the machine alive.
    pub fn readiness(&self) -> impl Fn(Incarnation) + Send + Sync + 'static {
        let handle = Arc::downgrade(&self.handle);
        move |who| {
            if let Some(handle) = handle.upgrade() {
                handle.request(Request::SetReady(who));
            }
        }
    }

    /// What is known of each VM, by peer id.
    pub fn vms(&self) -> Vec<VmStatus> {
        lock(&self.handle.shared.vms).clone()
    }

    /// What is known of the machine.
    pub fn status(&self) -> MachineStatus {
        let shared = &self.handle.shared;
        MachineStatus {
            name: shared.file.name.clone(),
            file: shared.file.path.clone(),
            launcher: std::process::id(),
            accelerator: shared.options.accelerator,
            vms: self.vms(),
        }
    }

    /// The VM of this name.
    pub fn peer(&self, name: &str) -> Option<Peer> {
        self.file().peers().find(|(_, vm)| vm.name == name).map(|(peer, _)| peer)
    }

    /// Ends a VM at once, as a power cut would; returns when it is dead.
    pub fn kill(&self, name: &str) -> Result<(), KillError> {
        let peer = self.peer(name).ok_or_else(|| self.unknown(name))?;
        let (sender, dead) = channel();
        self.handle.request(Request::Kill(peer, sender));
        // The driver drops the sender without a word if the VM does not run.
        dead.recv().map_err(|_| KillError::NotRunning(name.into()))
    }

    /// All lines of a VM's log, then its lines as they come, until the
    /// receiver is dropped or the machine ends.
    pub fn follow(&self, name: &str) -> Result<Receiver<String>, KillError> {
        let peer = self.peer(name).ok_or_else(|| self.unknown(name))?;
        let (sender, lines) = channel();
        self.handle.request(Request::Follow(peer, sender));
        Ok(lines)
    }

    /// Where a VM's log lies.
    pub fn log(&self, name: &str) -> Result<PathBuf, KillError> {
        self.peer(name).ok_or_else(|| self.unknown(name))?;
        Ok(self.handle.shared.log(name))
    }

    /// Cuts all VMs of two clusters off from each other, or ends that. Messages
    /// between them wait meanwhile.
    pub fn partition(&self, clusters: [&str; 2], cut: bool) -> Result<(), PartitionError> {
        let file = self.file();
        let index = |name: &str| {
            let found = file.clusters.iter().position(|cluster| cluster == name);
            let unknown = || PartitionError::Unknown { name: name.into(), known: file.clusters.clone() };
            found.map(|index| index as u16).ok_or_else(unknown)
        };
        let mut ends = [index(clusters[0])?, index(clusters[1])?];
        ends.sort_unstable();
        if ends[0] == ends[1] {
            return Err(PartitionError::Same);
        }
        let ethernet = self.handle.shared.ethernet.as_ref();
        let linked = ethernet.filter(|_| file.links.iter().any(|link| link.clusters == ends));
        let ethernet = linked.ok_or_else(|| PartitionError::Memory(clusters.map(String::from)))?;
        ethernet.cut(file, ends, cut);
        Ok(())
    }

    fn unknown(&self, name: &str) -> KillError {
        let known = self.file().vms.iter().map(|vm| vm.name.clone()).collect();
        KillError::Unknown { name: name.into(), known }
    }

    /// Ends every VM and returns when all have ended and were reaped.
    pub fn shutdown(&self) {
        self.handle.shutdown();
    }
}

/// Whether the ports of this host that are to lead into the machine are free.
/// QEMU would say no more than that one is not.
fn check_forwards(file: &MachineFile) -> Result<(), StartError> {
    let Some(net) = &file.net else { return Ok(()) };
    for forward in &net.forwards {
        let address = SocketAddrV4::new(net.address, forward.host_port);
        if let Err(error) = TcpListener::bind(address) {
            let node = file.peers().find(|(peer, _)| *peer == forward.node).map(|(_, vm)| vm.name.clone());
            return Err(StartError::Forward { address, node: node.unwrap_or_default(), error });
        }
    }
    Ok(())
}

impl Shared {
    fn new(
        file: &MachineFile,
        images: Images,
        options: Options,
        regions: Regions,
        clock: HostClock,
    ) -> Result<Self, StartError> {
        let bells = Bells::new(file.vms.len() + 1).map_err(|error| StartError::Host(error.into()))?;
        let wanted: Vec<Wanted> = file.vms.iter().map(|vm| (vm.cluster, usize::from(vm.cores))).collect();
        // Nothing stands in the way any more: the logs of an earlier machine go.
        let _ = std::fs::remove_dir_all(&options.logs);
        std::fs::create_dir_all(&options.logs).map_err(StartError::Host)?;
        Ok(Self {
            file: file.clone(),
            images,
            booted: Booted::default(),
            last_words: LastWords::default(),
            options,
            clock,
            regions,
            bells,
            ethernet: Ethernet::start(file).map_err(StartError::Host)?,
            processors: Topology::of_host().place(&wanted),
            vms: Mutex::default(),
            subscribers: Mutex::new(Some(Vec::new())),
        })
    }

    /// Where a VM's log lies.
    fn log(&self, name: &str) -> PathBuf {
        self.options.logs.join(format!("{name}.log"))
    }

    /// Tells everybody who still listens.
    fn publish(&self, event: &Event) {
        if let Some(subscribers) = lock(&self.subscribers).as_mut() {
            subscribers.retain(|subscriber| subscriber.send(event.clone()).is_ok());
        }
    }
}

impl Handle {
    fn request(&self, request: Request) {
        // A driver that has ended takes nothing any more, and nothing is left to do.
        let _ = self.requests.send(request);
        let _ = rustix::io::write(&*self.wake, &1_u64.to_ne_bytes());
    }

    fn shutdown(&self) {
        self.request(Request::Shutdown);
        if let Some(driver) = lock(&self.driver).take() {
            let _ = driver.join();
        }
        // If there never was a driver, nobody else does this.
        *lock(&self.shared.subscribers) = None;
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shutdown();
    }
}
