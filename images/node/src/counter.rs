//! A counter with a descriptor, as `eventfd` of Linux has it: a write adds, a
//! read takes all (or 1, of a semaphore) and waits while there is nothing.

use crate::activity::held;
use kernel::errno::Errno;
use kernel::waiters::Waiters;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

/// A counter.
pub struct Counter {
    value: Mutex<u64>,
    takes_one: bool,
    /// Whether calls answer `AGAIN` instead of waiting.
    pub nonblocking: AtomicBool,
    /// Counts when something may be taken, or added.
    pub changes: Waiters,
}

impl Counter {
    /// A counter with this value, of which a read takes one or all.
    pub fn new(value: u64, takes_one: bool, nonblocking: bool) -> Self {
        let (value, nonblocking) = (Mutex::new(value), AtomicBool::new(nonblocking));
        Self { value, takes_one, nonblocking, changes: Waiters::default() }
    }

    /// Takes what a read takes.
    ///
    /// # Errors
    /// `AGAIN`: there is nothing.
    pub fn take(&self) -> Result<u64, Errno> {
        let taken = {
            let mut value = held(&self.value);
            let taken = if self.takes_one { (*value).min(1) } else { *value };
            *value -= taken;
            taken
        };
        match taken {
            0 => Err(Errno::AGAIN),
            _ => {
                self.changes.wake_all();
                Ok(taken)
            }
        }
    }

    /// Adds.
    ///
    /// # Errors
    /// `AGAIN`: it would be more than it holds. `INVAL`: it never could.
    pub fn add(&self, more: u64) -> Result<(), Errno> {
        if more == u64::MAX {
            return Err(Errno::INVAL);
        }
        {
            let mut value = held(&self.value);
            *value = value.checked_add(more).filter(|&sum| sum < u64::MAX).ok_or(Errno::AGAIN)?;
        }
        self.changes.wake_all();
        Ok(())
    }

    /// Whether something can be taken, and whether 1 can be added.
    pub fn readiness(&self) -> (bool, bool) {
        let value = *held(&self.value);
        (value > 0, value < u64::MAX - 1)
    }
}
