//! The host as the messenger sees it: a clock, an eventfd to sleep on, the
//! other peers' eventfds to ring.

use kernel::messenger::Platform;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use transport::endpoint::Doorbell;

/// The doorbells of a machine, as eventfds by peer id; the launcher's own is
/// the first.
pub type Bells = Vec<Arc<OwnedFd>>;

/// The host.
pub struct Host {
    start: Instant,
    bells: Bells,
}

impl Host {
    /// The host with these doorbells.
    pub fn new(bells: Bells) -> Self {
        Self { start: Instant::now(), bells }
    }

    fn ring(&self, peer: u16) {
        if let Some(bell) = self.bells.get(usize::from(peer)) {
            // An eventfd whose counter is full is rung already.
            let _ = rustix::io::write(bell, &1u64.to_ne_bytes());
        }
    }
}

impl Platform for Host {
    fn now_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    fn wall_clock_ns(&self) -> u64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
    }

    fn wait(&self, deadline_ns: Option<u64>) {
        let Some(own) = self.bells.first() else { return };
        let timeout = deadline_ns.map(|deadline| {
            let rest = deadline.saturating_sub(self.now_ns());
            Timespec { tv_sec: (rest / 1_000_000_000) as i64, tv_nsec: (rest % 1_000_000_000) as i64 }
        });
        let mut polled = [PollFd::new(own, PollFlags::IN)];
        // An interrupted or failed wait is a short one.
        if poll(&mut polled, timeout.as_ref()).is_ok_and(|ready| ready > 0) {
            let _ = rustix::io::read(own, &mut [0; 8]);
        }
    }

    fn poke(&self) {
        self.ring(0);
    }

    fn may_spin(&self) -> bool {
        // The launcher shares its cores with the machine's VMs.
        false
    }
}

/// The host's doorbells, for the endpoint.
pub struct Ringer(pub Arc<Host>);

impl Doorbell for Ringer {
    fn ring(&self, peer: u16) {
        self.0.ring(peer);
    }
}
