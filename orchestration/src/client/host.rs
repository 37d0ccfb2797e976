//! The host as the messenger sees it: a clock, an eventfd to sleep on, the
//! other peers' eventfds to ring.

use crate::clock::HostClock;
use ivshmem::server::Bells;
use kernel::messenger::Platform;
use kernel::protocol::Peer;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::time::SystemTime;
use transport::endpoint::Doorbell;

/// The host.
#[derive(Clone)]
pub struct Host {
    clock: HostClock,
    bells: Bells,
}

impl Host {
    /// The host with these doorbells and this clock.
    pub fn new(bells: Bells, clock: HostClock) -> Self {
        Self { clock, bells }
    }
}

impl Platform for Host {
    fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    fn wall_clock_ns(&self) -> u64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
    }

    fn wait(&self, deadline_ns: Option<u64>) -> bool {
        let Some(own) = self.bells.eventfd(Peer::LAUNCHER.0) else { return true };
        let timeout = deadline_ns.map(|deadline| {
            let rest = deadline.saturating_sub(self.now_ns());
            Timespec { tv_sec: (rest / 1_000_000_000) as i64, tv_nsec: (rest % 1_000_000_000) as i64 }
        });
        // An interrupted or failed wait is a short one.
        let _ = poll(&mut [PollFd::new(&own, PollFlags::IN)], timeout.as_ref());
        self.bells.silence(Peer::LAUNCHER.0)
    }

    fn rang(&self) -> bool {
        self.bells.silence(Peer::LAUNCHER.0)
    }

    fn poke(&self) {
        self.bells.ring(Peer::LAUNCHER.0);
    }

    fn may_spin(&self) -> bool {
        // The launcher shares its cores with the machine's VMs.
        false
    }
}

impl Doorbell for Host {
    fn ring(&self, peer: u16) {
        self.bells.ring(peer);
    }
}
