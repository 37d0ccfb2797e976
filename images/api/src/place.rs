//! Where activities are, and how far from each other.

use std::fmt;

/// Where an activity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Its node, by number in the machine.
    pub node: usize,
    /// The node's cluster, by number in the machine.
    pub cluster: usize,
}

impl Place {
    /// How far another place is.
    pub fn distance(self, other: Self) -> Distance {
        match self.cluster == other.cluster {
            true if self.node == other.node => Distance::Local,
            true => Distance::Within,
            false => Distance::Between,
        }
    }
}

/// How far two activities are from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Distance {
    /// On one node.
    Local,
    /// On two nodes of one cluster.
    Within,
    /// In two clusters.
    Between,
}

impl Distance {
    /// All of them, the nearest first.
    pub const ALL: [Self; 3] = [Self::Local, Self::Within, Self::Between];
}

impl fmt::Display for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Local => "local",
            Self::Within => "within",
            Self::Between => "between",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_local_within_or_between() {
        let place = |node, cluster| Place { node, cluster };
        assert_eq!(place(1, 0).distance(place(1, 0)), Distance::Local);
        assert_eq!(place(1, 0).distance(place(2, 0)), Distance::Within);
        assert_eq!(place(1, 0).distance(place(5, 1)), Distance::Between);
    }
}
