//! What a VM may take of the thread that answers it: so much at once, and in
//! the long run a share of all time (a token bucket: Turner, "New directions in
//! communications", 1986).
//!
//! Invariant: in any span of time it takes no more than [`AT_ONCE`], the share
//! of that span, and what the last thing took that was allowed.

use std::time::{Duration, Instant};

/// What it may take at once when it has taken nothing for long: some dozens of
/// exchanges with a VM that answers, or two with one that lets its launcher wait.
pub const AT_ONCE: Duration = Duration::from_millis(2);

/// What is left of it.
pub struct Allowance {
    /// One in so many parts of all time.
    share: u32,
    left: Duration,
    /// What was taken beyond what was left.
    owed: Duration,
    /// Until when time has been counted.
    counted: Option<Instant>,
}

impl Allowance {
    /// All of it; in the long run one in `share` parts of the time.
    pub fn new(share: u32) -> Self {
        Self { share: share.max(1), left: AT_ONCE, owed: Duration::ZERO, counted: None }
    }

    /// Whether anything is left.
    pub fn is_left(&mut self, now: Instant) -> bool {
        let before = self.counted.replace(now).unwrap_or(now);
        let due = now.saturating_duration_since(before) / self.share;
        self.left = (self.left + due.saturating_sub(self.owed)).min(AT_ONCE);
        self.owed = self.owed.saturating_sub(due);
        !self.left.is_zero()
    }

    /// Takes this from it.
    pub fn take(&mut self, taken: Duration) {
        self.owed += taken.saturating_sub(self.left);
        self.left = self.left.saturating_sub(taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// However long things take and whenever they are asked for.
        #[test]
        fn nobody_takes_more_than_a_share(asks in prop::collection::vec((0_u64..100_000, 0_u64..2_000_000), 1..400)) {
            const SHARE: u32 = 16;
            let start = Instant::now();
            let mut allowance = Allowance::new(SHARE);
            let (mut now, mut taken) = (start, Duration::ZERO);
            for (wait, length) in asks {
                now += Duration::from_nanos(wait);
                if allowance.is_left(now) {
                    prop_assert!(taken < AT_ONCE + (now - start) / SHARE);
                    let length = Duration::from_nanos(length);
                    (now, taken) = (now + length, taken + length);
                    allowance.take(length);
                }
            }
        }
    }

    #[test]
    fn it_comes_back_with_time() {
        let start = Instant::now();
        let mut allowance = Allowance::new(10);
        assert!(allowance.is_left(start));
        allowance.take(AT_ONCE * 2);
        assert!(!allowance.is_left(start + AT_ONCE * 10));
        assert!(allowance.is_left(start + AT_ONCE * 10 + Duration::from_nanos(10)));
        allowance.take(Duration::from_nanos(1));
        assert!(!allowance.is_left(start + AT_ONCE * 10 + Duration::from_nanos(10)));
        // What was not taken for long does not pile up.
        assert!(allowance.is_left(start + Duration::from_secs(3600)));
        allowance.take(AT_ONCE);
        assert!(!allowance.is_left(start + Duration::from_secs(3600)));
    }
}
