//! Who measures with whom.

use cyanea::{Distance, Place};

/// The activity that leads, and its partner at each distance: those with the
/// lowest numbers, but the leader has partners at as many distances as can be.
pub fn choose(places: &[Place]) -> (usize, [Option<usize>; 3]) {
    let partners = |leader: usize| {
        Distance::ALL.map(|distance| {
            let mut others = (0..places.len()).filter(|&other| other != leader);
            others.find(|&other| places[leader].distance(places[other]) == distance)
        })
    };
    let mut best = (0, [None; 3]);
    for leader in 0..places.len() {
        let found = partners(leader);
        if found.iter().flatten().count() > best.1.iter().flatten().count() {
            best = (leader, found);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(nodes: &[(usize, usize)]) -> Vec<Place> {
        nodes.iter().map(|&(node, cluster)| Place { node, cluster }).collect()
    }

    #[test]
    fn one_activity_leads_that_has_partners_everywhere() {
        let five = places(&[(1, 0), (2, 0), (5, 1), (6, 1), (1, 0)]);
        assert_eq!(choose(&five), (0, [Some(4), Some(1), Some(2)]));
        let far = places(&[(1, 0), (5, 1), (6, 1), (6, 1)]);
        assert_eq!(choose(&far), (2, [Some(3), Some(1), Some(0)]));
    }

    #[test]
    fn who_is_alone_has_no_partner() {
        assert_eq!(choose(&places(&[(1, 0)])), (0, [None; 3]));
        assert_eq!(choose(&places(&[(1, 0), (2, 0)])), (0, [None, Some(1), None]));
        assert_eq!(choose(&[]), (0, [None; 3]));
    }
}
