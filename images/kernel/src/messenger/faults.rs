//! What was wrong with what peers sent, by peer and name, and all else that is
//! known of this VM's channels.

use super::{Messenger, Refusal};
use crate::executor::lock;
use crate::protocol::Peer;
use crate::protocol::monitor::{Channel, Fault};
use transport::ChannelCounters;

/// Counts of faults, by the peer whose they are.
pub(super) struct Faults(Vec<[u64; Fault::ALL.len()]>);

impl Faults {
    pub(super) fn new(peers: usize) -> Self {
        Self(vec![[0; Fault::ALL.len()]; peers])
    }

    pub(super) fn count(&mut self, peer: Peer, fault: Fault) {
        if let Some(counts) = self.0.get_mut(usize::from(peer.0)) {
            counts[fault as usize] += 1;
        }
    }

    fn of(&self, peer: Peer) -> [u64; Fault::ALL.len()] {
        self.0.get(usize::from(peer.0)).copied().unwrap_or_default()
    }
}

impl Refusal {
    /// What was wrong with the request, if it was the request.
    pub(super) fn fault(self) -> Option<Fault> {
        match self {
            Self::NoSuchPipe => Some(Fault::Pipe),
            Self::Undecodable => Some(Fault::Body),
            Self::BeyondLimit => Some(Fault::Limit),
            Self::ReplyTooLong | Self::TakenBack => None,
        }
    }
}

impl Messenger {
    /// What is known of this VM's channels to all of its peers.
    pub fn channels(&self) -> Vec<Channel> {
        let ends: Vec<_> = {
            let core = lock(&self.core);
            let peers = core.endpoint.peers().map(|peer| (Peer(peer), core.endpoint.counters(peer)));
            peers.map(|(peer, counters)| (peer, counters, core.faults.of(peer))).collect()
        };
        let with_notices = |(peer, counters, mut faults): (Peer, _, [u64; Fault::ALL.len()])| {
            // Not under the core's lock: whoever takes notices has locks of its own.
            let notices = self.notices.get().map(|notices| notices.faults(peer)).unwrap_or_default();
            notices.into_iter().for_each(|(fault, count)| faults[fault as usize] += count);
            Some(end(peer, counters?, faults))
        };
        ends.into_iter().filter_map(with_notices).collect()
    }

    /// How often a peer's messages made no sense here, in that way.
    pub fn faults(&self, peer: Peer, fault: Fault) -> u64 {
        let core = lock(&self.core);
        let link = core.endpoint.counters(peer.0).map_or(0, |counters| of_link(&counters, fault));
        core.faults.of(peer)[fault as usize] + link
    }
}

/// Faults that the link counts by itself.
fn of_link(counters: &ChannelCounters, fault: Fault) -> u64 {
    match fault {
        Fault::Position => counters.link.refused_positions,
        Fault::Stale => counters.link.stale,
        _ => 0,
    }
}

fn end(peer: Peer, counters: ChannelCounters, faults: [u64; Fault::ALL.len()]) -> Channel {
    let counts = Fault::ALL.into_iter().zip(faults);
    let counts = counts.map(|(fault, count)| (fault, count + of_link(&counters, fault)));
    Channel {
        peer,
        sent: counters.sent,
        sent_bytes: counters.sent_bytes,
        received: counters.received,
        received_bytes: counters.received_bytes,
        doorbells: counters.doorbells,
        delayed: counters.delayed,
        would_block: counters.would_block,
        dropped: counters.dropped,
        deaths: counters.deaths,
        faults: counts.filter(|&(_, count)| count > 0).collect(),
    }
}
