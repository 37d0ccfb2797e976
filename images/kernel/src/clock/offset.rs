//! What rounds with the launcher tell of a VM's offset: the host's ticks less its own
//! (protocol.md C5).
//!
//! A round is three readings in this order: the VM's ticks, the host's, the VM's
//! again. The host's were read at a tick of the VM between its two, whatever
//! took how long (Cristian, "Probabilistic clock synchronization", 1989). So each
//! round gives an interval that holds the offset, and so does what all intervals
//! have in common (Marzullo and Owicki, 1983): a round that was stalled on its
//! way is only of no use. Since the offset is constant, no interval grows old.

/// One round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// The VM's ticks before the host's were read.
    pub sent: u64,
    /// The host's ticks.
    pub host: u64,
    /// The VM's ticks after that.
    pub received: u64,
}

/// An interval that holds the offset, ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    low: i64,
    high: i64,
}

impl Bounds {
    /// What a round tells; nothing if its readings are not in order.
    pub fn of(round: &Round) -> Option<Self> {
        let low = round.host.wrapping_sub(round.received) as i64;
        let high = round.host.wrapping_sub(round.sent) as i64;
        (low <= high).then_some(Self { low, high })
    }

    /// What both tell, if they do not contradict each other.
    pub fn and(self, other: Self) -> Option<Self> {
        let both = Self { low: self.low.max(other.low), high: self.high.min(other.high) };
        (both.low <= both.high).then_some(both)
    }

    /// Its lower end.
    pub fn low(self) -> i64 {
        self.low
    }

    /// Its upper end.
    pub fn high(self) -> i64 {
        self.high
    }

    /// How wide the interval is, in ticks.
    pub fn width(self) -> u64 {
        self.high.abs_diff(self.low)
    }

    /// Its middle: nothing in it is further away than half of its width.
    pub fn middle(self) -> i64 {
        self.low + (self.width() / 2) as i64
    }

    /// Whether it holds this offset.
    pub fn holds(self, offset: i64) -> bool {
        (self.low..=self.high).contains(&offset)
    }
}

/// What is known of an offset.
#[derive(Clone, Copy, Debug, Default)]
pub struct Offset {
    bounds: Option<Bounds>,
    era: u64,
    rounds: u64,
    contradictions: u64,
}

impl Offset {
    /// Takes the rounds of one exchange, which was in this era. Whether they
    /// contradict what was known in it: then the VM's ticks stood still or
    /// jumped (it was stopped, its host slept), and the new ones count.
    pub fn take(&mut self, era: u64, rounds: &[Round]) -> bool {
        self.rounds += rounds.len() as u64;
        let of_rounds = rounds.iter().filter_map(Bounds::of);
        let Some(new) = of_rounds.reduce(|known, new| known.and(new).unwrap_or(new)) else { return false };
        let known = self.bounds.filter(|_| self.era == era);
        let both = known.map_or(Some(new), |known| known.and(new));
        self.contradictions += u64::from(both.is_none());
        (self.bounds, self.era) = (Some(both.unwrap_or(new)), era);
        both.is_none()
    }

    /// An interval that holds the offset, if there was a round.
    pub fn bounds(&self) -> Option<Bounds> {
        self.bounds
    }

    /// Of which era that is.
    pub fn era(&self) -> u64 {
        self.era
    }

    /// How many rounds there were.
    pub fn rounds(&self) -> u64 {
        self.rounds
    }

    /// How often an exchange contradicted those before.
    pub fn contradictions(&self) -> u64 {
        self.contradictions
    }
}
