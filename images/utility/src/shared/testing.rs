//! For unit tests: activities that are killed at their n-th store.

use super::environment::Environment;
use kernel::protocol::{Incarnation, Peer};
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// Lets so many stores through and then ends the activity: that store and all
/// later ones do not take place.
pub(crate) struct Fuse {
    left: AtomicI64,
    blown: AtomicBool,
}

struct Killed;

impl Fuse {
    /// A fuse that lets `stores` stores through.
    pub(crate) fn after(stores: i64) -> Arc<Self> {
        Arc::new(Self { left: AtomicI64::new(stores), blown: AtomicBool::new(false) })
    }

    /// Whether the next store takes place; unwinds when it is the first that does not.
    pub(crate) fn burn(&self) -> bool {
        if self.blown.load(SeqCst) {
            return false;
        }
        if self.left.fetch_sub(1, SeqCst) > 0 {
            return true;
        }
        self.blown.store(true, SeqCst);
        resume_unwind(Box::new(Killed))
    }

    /// Stores left.
    pub(crate) fn left(&self) -> i64 {
        self.left.load(SeqCst)
    }
}

/// What `work` returns, or `None` if a fuse ended it.
pub(crate) fn unless_killed<T>(work: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => Some(result),
        Err(reason) if reason.is::<Killed>() => None,
        Err(reason) => resume_unwind(reason),
    }
}

/// Who has died in a test.
#[derive(Clone, Default)]
pub(crate) struct World {
    dead: Arc<Mutex<HashSet<Incarnation>>>,
}

/// One activity's view of a [`World`].
pub(crate) struct Inhabitant {
    own: Incarnation,
    world: World,
}

/// The first incarnation of a peer.
pub(crate) fn first(peer: u16) -> Incarnation {
    Incarnation { peer: Peer(peer), generation: 1 }
}

impl World {
    /// An activity in this world.
    pub(crate) fn activity(&self, peer: u16) -> Arc<dyn Environment> {
        Arc::new(Inhabitant { own: first(peer), world: self.clone() })
    }

    /// From now on it does not live.
    pub(crate) fn bury(&self, who: Incarnation) {
        self.dead.lock().unwrap().insert(who);
    }

    /// Whether it died.
    pub(crate) fn is_dead(&self, who: Incarnation) -> bool {
        self.dead.lock().unwrap().contains(&who)
    }
}

impl Environment for Inhabitant {
    fn own(&self) -> Incarnation {
        self.own
    }

    fn lives(&self, who: Incarnation) -> bool {
        // Everybody else never lived: what a spoilt word may mean.
        who.generation == 1 && who.peer.0 < 200 && !self.world.is_dead(who)
    }

    fn relax(&self, attempt: u32) {
        assert!(attempt < 5_000_000, "waits without end");
        std::thread::yield_now();
    }
}
