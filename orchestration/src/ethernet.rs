//! The Ethernet of a machine: VMs whose clusters share no memory talk through it.
//!
//! Each VM with such a link has a *port*: a pair of sockets, one end of which its
//! QEMU inherits, so nothing of it is on the host's network. One thread reads
//! the ports, asks the [`Switch`] what becomes of each frame, and writes what is
//! due. It sleeps while nothing is under way. Which VM a frame is from follows
//! from its port, and the switch refuses a frame that says otherwise.
//!
//! A port belongs to a VM through all its lives. What a dead VM does not read
//! any more fills its queue, which is bounded; the next life finds frames of
//! another incarnation in it, and drops them.

use crate::machine_file::MachineFile;
use kernel::membership::LinkKind;
use kernel::protocol::Peer;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;
use transport::ethernet::switch::{Switch, SwitchCounters};
use transport::ethernet::{MAX_FRAME, ends};

/// Frames from one VM that wait for another to take them; so none can take the
/// room of others.
const MOST_WAITING: usize = 32;
/// Frames that are read from a port before the others have a turn.
const FRAMES_PER_TURN: usize = 32;

/// What the thread shares with whoever gives it orders.
struct Shared {
    switch: Mutex<Switch>,
    /// Rung when there is an order.
    wake: OwnedFd,
    stop: AtomicBool,
}

impl Shared {
    fn switch(&self) -> MutexGuard<'_, Switch> {
        self.switch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A machine's Ethernet; its thread ends when it is dropped.
pub struct Ethernet {
    shared: Arc<Shared>,
    /// QEMU's ends, by peer.
    plugs: BTreeMap<u16, OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

/// The switch's end of a port.
struct Port {
    peer: u16,
    socket: OwnedFd,
    /// Frames, each with who sent it.
    waiting: VecDeque<(u16, Vec<u8>)>,
}

impl Ethernet {
    /// The Ethernet of a machine; `None` if it needs none.
    pub fn start(file: &MachineFile) -> io::Result<Option<Self>> {
        let description = file.description();
        let peers = file.peers().map(|(peer, _)| peer);
        let remote =
            |peer: Peer| file.peers().any(|(other, _)| description.link(peer, other) == LinkKind::Ethernet);
        let mut plugs = BTreeMap::new();
        let mut ports = Vec::new();
        for peer in peers.filter(|&peer| remote(peer)) {
            let (plug, socket) =
                socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
            plugs.insert(peer.0, plug);
            ports.push(Port { peer: peer.0, socket, waiting: VecDeque::new() });
        }
        if ports.is_empty() {
            return Ok(None);
        }
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let shared =
            Arc::new(Shared { switch: Mutex::new(switch(file)), wake, stop: AtomicBool::new(false) });
        let runner = Runner { shared: shared.clone(), ports, started: Instant::now() };
        let thread = std::thread::Builder::new().name("ethernet".into()).spawn(move || runner.run())?;
        Ok(Some(Self { shared, plugs, thread: Some(thread) }))
    }

    /// QEMU's end of a VM's port, if it has one.
    pub fn plug(&self, peer: Peer) -> Option<BorrowedFd<'_>> {
        self.plugs.get(&peer.0).map(AsFd::as_fd)
    }

    /// Cuts the lines between the VMs of two clusters, or mends them.
    pub fn cut(&self, file: &MachineFile, clusters: [u16; 2], cut: bool) {
        let mut switch = self.shared.switch();
        for (a, b) in pairs(file, clusters) {
            switch.cut(a, b, cut);
        }
    }

    /// What has become of frames.
    pub fn counters(&self) -> SwitchCounters {
        self.shared.switch().counters()
    }
}

impl Drop for Ethernet {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        let _ = rustix::io::write(&self.shared.wake, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A switch with the lines of the machine's links.
fn switch(file: &MachineFile) -> Switch {
    let mut switch = Switch::default();
    for link in &file.links {
        for (a, b) in pairs(file, link.clusters) {
            switch.join(a, b, link.faults);
        }
    }
    switch
}

/// The peer ids of every two VMs, one of each cluster.
fn pairs(file: &MachineFile, [a, b]: [u16; 2]) -> impl Iterator<Item = (u16, u16)> + '_ {
    let of = move |cluster| file.peers().filter(move |(_, vm)| vm.cluster == cluster).map(|(peer, _)| peer.0);
    of(a).flat_map(move |first| of(b).map(move |second| (first, second)))
}

/// What the thread has.
struct Runner {
    shared: Arc<Shared>,
    ports: Vec<Port>,
    started: Instant,
}

impl Runner {
    fn run(mut self) {
        while !self.shared.stop.load(Ordering::Acquire) {
            let readable = self.wait();
            let mut switch = self.shared.switch();
            for index in readable {
                self.ports[index].read(&mut switch, now_ns(self.started));
            }
            while let Some((to, frame)) = switch.deliver(now_ns(self.started)) {
                if let Some(port) = self.ports.iter_mut().find(|port| port.peer == to) {
                    port.add(frame);
                }
            }
            drop(switch);
            self.ports.iter_mut().for_each(Port::write);
        }
    }

    /// Sleeps until a port can be read, or written where that is wanted, a frame
    /// is due, or there is an order. The ports that can be read.
    fn wait(&self) -> Vec<usize> {
        let mut list = vec![PollFd::new(&self.shared.wake, PollFlags::IN)];
        for port in &self.ports {
            let wanted = if port.waiting.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
            list.push(PollFd::new(&port.socket, wanted));
        }
        let deadline = self.shared.switch().deadline();
        let timeout = deadline.map(|at| {
            let left = at.saturating_sub(now_ns(self.started));
            Timespec { tv_sec: (left / 1_000_000_000) as i64, tv_nsec: (left % 1_000_000_000) as i64 }
        });
        match poll(&mut list, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            // Only a lack of the host's own memory: no reason to spin.
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(10)),
        }
        let readable =
            |(index, port): (usize, &PollFd<'_>)| port.revents().contains(PollFlags::IN).then_some(index);
        let ports = list.iter().skip(1).enumerate().filter_map(readable).collect();
        if list[0].revents().contains(PollFlags::IN) {
            let _ = rustix::io::read(&self.shared.wake, &mut [0; 8][..]);
        }
        ports
    }
}

fn now_ns(started: Instant) -> u64 {
    started.elapsed().as_nanos() as u64
}

impl Port {
    /// Hands the switch what the VM has sent.
    fn read(&self, switch: &mut Switch, now_ns: u64) {
        // One byte more, so that a frame that is too long is seen to be.
        let mut frame = [0; MAX_FRAME + 1];
        for _ in 0..FRAMES_PER_TURN {
            match recv(&self.socket, &mut frame[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) => switch.accept(now_ns, self.peer, &frame[..length]),
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    /// Takes a frame for the VM, if there is room for one more from its sender.
    fn add(&mut self, frame: Vec<u8>) {
        // The switch has let it pass, so it says who sent it.
        let Some((from, _)) = ends(&frame) else { return };
        if self.waiting.iter().filter(|(sender, _)| *sender == from).count() < MOST_WAITING {
            self.waiting.push_back((from, frame));
        }
    }

    /// Hands the VM what waits, as far as it takes it.
    fn write(&mut self) {
        while let Some((_, frame)) = self.waiting.front() {
            match send(&self.socket, frame, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN | Errno::NOBUFS) => return,
                // It was taken, or will never be.
                _ => drop(self.waiting.pop_front()),
            }
        }
    }
}

#[cfg(test)]
mod tests;
