//! What pipes and those who send to them are called.

use crate::protocol::Incarnation;
use crate::protocol::tasks::TaskForceId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Names a pipe across the machine, until its reading end is closed or its VM
/// dies. A name that is no longer true names nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PipeName {
    /// The VM, in the life of it, where the reading end is.
    pub home: Incarnation,
    /// Which of its pipes.
    pub number: u32,
    /// Which of the pipes that had this number.
    pub generation: u32,
}

/// Bytes of a name.
pub const NAME_BYTES: usize = 16;

impl PipeName {
    /// As bytes: what programs send each other.
    pub fn to_bytes(self) -> [u8; NAME_BYTES] {
        let mut bytes = [0; NAME_BYTES];
        bytes[..2].copy_from_slice(&self.home.peer.0.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.home.generation.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.number.to_le_bytes());
        bytes[12..].copy_from_slice(&self.generation.to_le_bytes());
        bytes
    }

    /// From bytes, which may be anything: then they name no pipe.
    pub fn from_bytes(bytes: &[u8; NAME_BYTES]) -> Self {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let peer = crate::protocol::Peer(u16::from_le_bytes([bytes[0], bytes[1]]));
        let home = Incarnation { peer, generation: word(4) };
        Self { home, number: word(8), generation: word(12) }
    }
}

/// An activity: its task force and its index there.
pub type Activity = (TaskForceId, u16);

/// Where a message came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The VM: known from the ring.
    pub vm: Incarnation,
    /// The activity, for which that VM vouches; `None` for the VM's own work.
    pub activity: Option<Activity>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.activity {
            Some((_, index)) => write!(f, "activity {index} on {}", self.vm.peer),
            None => write!(f, "{}", self.vm.peer),
        }
    }
}

/// What a sending end is opened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// A pipe of the home VM, by number and generation.
    Pipe(u32, u32),
    /// The mailbox of an activity there.
    Mailbox(TaskForceId, u16),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Peer;

    #[test]
    fn a_name_survives_its_bytes() {
        let home = Incarnation { peer: Peer(513), generation: 0xdead_beef };
        let name = PipeName { home, number: 7, generation: u32::MAX };
        assert_eq!(PipeName::from_bytes(&name.to_bytes()), name);
    }
}
