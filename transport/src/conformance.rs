//! What every kind of link is held to, whatever carries its messages.
//!
//! A kind of link is a [`Medium`]: it makes the links of both ends, carries what
//! is under way, and knows what a hostile end can do to it. [`conform`] holds it
//! to each of [`CASES`], from a seed that stands in every failure. A decorator is
//! a medium around a medium.
//!
//! Two ends run in a [`World`] with a clock of its own: an end runs only while
//! it is awake, and sleeps as an endpoint does (arm, fence, look). When both
//! sleep, the clock goes on to the next thing that is due; if nothing is, and
//! messages are missing, a wake-up was lost.
//!
//! - [`heap`]: rings on the heap.
//! - [`ethernet`]: stations on a simulated Ethernet.

mod cases;
pub mod ethernet;
pub mod heap;
mod world;

pub use cases::CASES;
pub use world::World;

use crate::ethernet::faults::Random;
use crate::link::Link;

/// One of the two ends of a link.
pub type End = usize;

/// What carries the messages of a kind of link, between two ends.
pub trait Medium {
    /// A link for an incarnation of an end, as its VM makes it when it boots.
    fn link(&mut self, end: End) -> Box<dyn Link>;

    /// Carries what is due at `now_ns`, and says which ends that wakes.
    fn carry(&mut self, _now_ns: u64) -> [bool; 2] {
        [false; 2]
    }

    /// When there is something to carry.
    fn deadline(&self) -> Option<u64> {
        None
    }

    /// Does something that a hostile VM at `end` can do to what it shares.
    fn spoil(&mut self, end: End, random: &mut Random);

    /// Cuts the ends off from each other, or ends that.
    fn cut(&mut self, _cut: bool) {}

    /// Whether what an end has sent is there for the other one though it dies:
    /// so it is in memory that both have.
    fn keeps(&self) -> bool;
}

/// A case: what is tried, and the trial.
pub type Case = (&'static str, fn(&mut World));

/// Holds a kind of link to every case, with so many seeds from `seed` on.
///
/// # Panics
/// If it fails one; the message says which, and from which seed.
pub fn conform(what: &str, seed: u64, times: u64, make: impl Fn(u64) -> Box<dyn Medium>) {
    for &(title, case) in CASES {
        for seed in seed..seed + times {
            let mut world = World::new(format!("{what}: {title}: seed {seed}"), seed, make(seed));
            case(&mut world);
        }
    }
}
