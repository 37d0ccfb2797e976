//! How a VM joins its machine: the portable core on the runtime.
//!
//! ```text
//! runtime: control region, rings, card, bell ──> vm::join ──> kernel::Messenger
//!          TSC <── vm::clock, by the launcher's timeline
//! image:   installs its services on the messenger ──> vm::serve: "ready", then serves for ever
//! ```
//! A region that is missing, spoilt or of another layout version ends the VM
//! with a sentence and [`ExitCode::Refused`].
#![forbid(unsafe_code)]

pub mod clock;

use ivshmem::exit::ExitCode;
use ivshmem::layout::{LayoutError, Part, Region, RegionKind, pair_windows};
use kernel::membership::{LinkKind, Membership};
use kernel::messenger::{Messenger, Platform};
use kernel::monitor;
use kernel::protocol::{Incarnation, Peer, Pipe, encode, launcher};
use runtime::thread::Priority;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::SystemTime;
use transport::endpoint::{AttachError, Doorbell, Endpoint, PeerAddress};
use transport::link::delay::{Delay, Delayed};
use transport::link::net::Station;
use transport::link::{Link, RingLink};

/// The runtime as the messenger sees it.
pub struct Bare;

impl Platform for Bare {
    fn now_ns(&self) -> u64 {
        runtime::clock::now_ns()
    }

    fn wall_clock_ns(&self) -> u64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
    }

    fn wait(&self, deadline_ns: Option<u64>) -> bool {
        runtime::bell::wait(deadline_ns)
    }

    fn poke(&self) {
        runtime::bell::poke();
    }

    fn rang(&self) -> bool {
        runtime::bell::rang()
    }

    fn stand_by(&self, deadline_ns: Option<u64>) -> bool {
        runtime::bell::wait_or_stand_in(deadline_ns)
    }

    fn may_spin(&self) -> bool {
        !self.is_wanted()
    }

    fn is_wanted(&self) -> bool {
        runtime::thread::is_wanted()
    }
}

impl Doorbell for Bare {
    fn ring(&self, peer: u16) {
        runtime::bell::ring(peer);
    }
}

/// Joins the machine: opens the control region and every ring of this VM.
pub fn join() -> Arc<Messenger> {
    join_on(Arc::new(Bare))
}

/// The same where the messenger sees something else than the runtime as it
/// is: for measurements that hold it still, say.
pub fn join_on(platform: Arc<dyn Platform>) -> Arc<Messenger> {
    join_or_refuse(platform).unwrap_or_else(|why| refuse(&why))
}

/// Ends this VM with a sentence.
pub fn refuse(why: &str) -> ! {
    eprintln!("{why}");
    runtime::exit::exit(ExitCode::Refused)
}

fn join_or_refuse(platform: Arc<dyn Platform>) -> Result<Arc<Messenger>, String> {
    let control = runtime::regions::control().ok_or("there is no control region")?;
    let spoilt = |error: &dyn std::fmt::Display| format!("control region: {error}");
    let control = Region::open(control, RegionKind::Control).map_err(|error| spoilt(&error))?;
    let membership = Membership::open(&control).map_err(|error| spoilt(&error))?;
    let peer = Peer(runtime::bell::own_peer().ok_or("there is no doorbell")?);
    let own = membership
        .incarnation(peer)
        .ok_or_else(|| format!("the machine does not know this VM, which has peer id {}", peer.0))?;
    let endpoint = endpoint(own, &membership)?;
    Ok(Messenger::new(own, membership, endpoint, platform))
}

/// This VM's end of all its links.
fn endpoint(own: Incarnation, membership: &Membership) -> Result<Endpoint, String> {
    let address = PeerAddress { peer: own.peer.0, generation: own.generation };
    let mut endpoint = Endpoint::new(address, Arc::new(Bare));
    let description = membership.description();
    let (near, far): (Vec<Peer>, Vec<Peer>) = (0..description.peers.len() as u16)
        .map(Peer)
        .filter(|&peer| peer != own.peer)
        .partition(|&peer| description.link(own.peer, peer) == LinkKind::Memory);
    attach_rings(&mut endpoint, own, membership, &near)?;
    if !far.is_empty() {
        attach_ethernet(&mut endpoint, own.peer, membership, &far)?;
    }
    Ok(endpoint)
}

/// Links through the pair regions with these peers.
fn attach_rings(
    endpoint: &mut Endpoint,
    Incarnation { peer: own, generation }: Incarnation,
    membership: &Membership,
    peers: &[Peer],
) -> Result<(), String> {
    for &Peer(peer) in peers {
        let what = format!("pair region with {}", membership.name(Peer(peer)));
        let memory = runtime::regions::pair(peer).ok_or_else(|| format!("there is no {what}"))?;
        let spoilt = |error: LayoutError| format!("{what}: {error}");
        let region = Region::laid_out(memory, RegionKind::Pair).map_err(spoilt)?;
        let windows = pair_windows(&region, own.0, peer).map_err(spoilt)?;
        if Peer(peer) == Peer::LAUNCHER {
            let words = region.part(Part::Exchange).map_err(spoilt)?;
            clock::join(membership, words, generation);
        }
        let attached = match delay(membership, own, Peer(peer)) {
            None => endpoint.attach(peer, windows),
            Some(delay) => RingLink::new(windows, peer, Arc::new(Bare))
                .map_err(AttachError::from)
                .and_then(|link| endpoint.attach_link(peer, Box::new(Delayed::new(link, delay)))),
        };
        attached.map_err(|error| format!("{what}: {error}"))?;
    }
    Ok(())
}

/// What distance adds to messages from this peer, if it adds anything.
fn delay(membership: &Membership, own: Peer, peer: Peer) -> Option<Delay> {
    membership.delay(membership.description().distance(own, peer)?).cloned()
}

/// Links through the network card.
fn attach_ethernet(
    endpoint: &mut Endpoint,
    own: Peer,
    membership: &Membership,
    peers: &[Peer],
) -> Result<(), String> {
    let card = runtime::card::start().ok_or("there is no network card")?;
    let station = Station::new(own.0, Box::new(card), RandomState::new().hash_one(own.0));
    for &Peer(peer) in peers {
        let link = station.link(peer);
        let link: Box<dyn Link> = match delay(membership, own, Peer(peer)) {
            None => Box::new(link),
            Some(delay) => Box::new(Delayed::new(link, delay)),
        };
        endpoint.attach_link(peer, link).map_err(|error| format!("network: {error}"))?;
    }
    Ok(())
}

/// Sets the clock, tells the launcher that this VM is ready, and serves until
/// the machine ends.
pub fn serve(messenger: Arc<Messenger>) -> ! {
    let ready = messenger.clone();
    messenger.spawn(async move {
        let is_good = clock::synchronize(&ready).await;
        if let Some(launcher) = ready.membership().incarnation(Peer::LAUNCHER) {
            // Without a launcher there is no machine, and nobody to tell.
            let _ = ready.call(launcher, Pipe::Launcher, &encode(&launcher::Request::Ready)).await;
        }
        clock::keep(&ready, is_good).await;
    });
    monitor::start(&messenger, clock::status);
    runtime::thread::set_priority(runtime::thread::current(), Priority::High);
    messenger.run();
    runtime::exit::exit(ExitCode::Shutdown)
}
