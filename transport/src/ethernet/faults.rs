//! What becomes of the n-th frame from one VM to another: a function of a seed,
//! so that a run can be repeated as far as its frames repeat.

/// What a line between two VMs does to frames.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// How long each frame takes, in nanoseconds.
    pub delay_ns: u64,
    /// Share of frames that are lost.
    pub loss: f64,
    /// Share of frames that arrive twice.
    pub duplicate: f64,
    /// Share of frames that are held back while later ones pass.
    pub reorder: f64,
    /// What the choices are drawn from.
    pub seed: u64,
}

/// A frame that is held back waits one to three times so long, or the line's
/// delay if that is longer.
const HOLD_NS: u64 = 1_000_000;

/// The delay of each copy of a frame that arrives; none: it is lost.
pub type Fate = [Option<u64>; 2];

impl Faults {
    /// What becomes of frame `number` from peer `from` to peer `to`.
    pub fn fate(&self, from: u16, to: u16, number: u64) -> Fate {
        let ends = u64::from(from) << 16 | u64::from(to);
        let mut random = Random::new(self.seed ^ mixed(ends) ^ mixed(number ^ 1 << 63));
        // All are drawn always: one fault does not change where another strikes.
        let [lost, twice, held] =
            [self.loss, self.duplicate, self.reorder].map(|share| random.happens(share));
        let hold = HOLD_NS.max(self.delay_ns) * (1 + random.next() % 3);
        if lost {
            return [None, None];
        }
        let first = self.delay_ns + if held { hold } else { 0 };
        [Some(first), twice.then_some(self.delay_ns)]
    }
}

/// Numbers from a seed: SplitMix64 (Steele, Lea, Flood: Fast Splittable
/// Pseudorandom Number Generators, 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    #[allow(clippy::should_implement_trait, reason = "there is no end of numbers")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// The next number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Whether something of this probability happens.
    pub fn happens(&mut self, probability: f64) -> bool {
        const STEPS: f64 = (1_u64 << 53) as f64;
        ((self.next() >> 11) as f64) < probability * STEPS
    }
}

const fn mixed(number: u64) -> u64 {
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(faults: Faults, of: impl Fn(Fate) -> bool) -> usize {
        (0..10_000).filter(|&number| of(faults.fate(1, 2, number))).count()
    }

    #[test]
    fn without_faults_every_frame_arrives_once_and_in_time() {
        let faults = Faults { delay_ns: 5, ..Faults::default() };
        assert_eq!(count(faults, |fate| fate == [Some(5), None]), 10_000);
    }

    #[test]
    fn each_fault_strikes_as_often_as_it_is_said_to() {
        let faults = Faults { delay_ns: 7, loss: 0.1, duplicate: 0.2, reorder: 0.3, seed: 42 };
        let about = |count: usize, share: f64| (share * 10_000.0 - count as f64).abs() < 200.0;
        assert!(about(count(faults, |fate| fate == [None, None]), 0.1));
        assert!(about(count(faults, |fate| fate[1].is_some()), 0.9 * 0.2));
        assert!(about(count(faults, |fate| fate[0].is_some_and(|delay| delay > 7)), 0.9 * 0.3));
    }

    #[test]
    fn the_same_seed_gives_the_same_and_another_another() {
        let faults = Faults { loss: 0.5, ..Faults::default() };
        let all = |faults: Faults, from| (0..64).map(|n| faults.fate(from, 2, n)).collect::<Vec<_>>();
        assert_eq!(all(faults, 1), all(faults, 1));
        assert_ne!(all(faults, 1), all(faults, 3));
        assert_ne!(all(faults, 1), all(Faults { seed: 1, ..faults }, 1));
    }
}
