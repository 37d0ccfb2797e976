//! What a utility's tables are given from outside: who lives, how to wait.

use kernel::protocol::{Incarnation, Peer};

/// The world around an activity of a utility.
pub trait Environment: Send + Sync {
    /// This activity's own incarnation.
    fn own(&self) -> Incarnation;

    /// Whether this very incarnation lives.
    ///
    /// Must be right about activities of the utility *and* about its clients:
    /// a lock whose owner does not live is taken over, and a request from a
    /// client that does not live is not carried out.
    fn lives(&self, who: Incarnation) -> bool;

    /// Lets some time pass, the more the higher `attempt` (which counts from
    /// 0) is. The only way in which anything here waits.
    fn relax(&self, attempt: u32);
}

/// An incarnation as a word of the region; never 0, as generations count from 1.
pub fn to_word(who: Incarnation) -> u64 {
    u64::from(who.generation) << 32 | u64::from(who.peer.0)
}

/// The incarnation that a word of the region means.
///
/// A spoilt word means somebody who never lived.
pub fn from_word(word: u64) -> Incarnation {
    let generation = if word & 0xffff_0000 == 0 { (word >> 32) as u32 } else { 0 };
    Incarnation { peer: Peer(word as u16), generation }
}
