//! Where the activities of a new task force go.

use kernel::protocol::Incarnation;

/// A node that can take activities.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Which.
    pub node: Incarnation,
    /// Activities that it runs now.
    pub load: usize,
}

/// Nodes for `count` activities: each goes to the node that then has the
/// fewest, the lower peer id first among equals. Empty if there is no node.
pub fn place(count: usize, mut candidates: Vec<Candidate>) -> Vec<Incarnation> {
    let mut places = Vec::with_capacity(count);
    while places.len() < count {
        let Some(best) = candidates.iter_mut().min_by_key(|c| (c.load, c.node)) else { break };
        best.load += 1;
        places.push(best.node);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::protocol::Peer;

    fn node(peer: u16) -> Incarnation {
        Incarnation { peer: Peer(peer), generation: 1 }
    }

    #[test]
    fn idle_nodes_come_first_and_loads_even_out() {
        let candidates = vec![
            Candidate { node: node(1), load: 2 },
            Candidate { node: node(2), load: 0 },
            Candidate { node: node(3), load: 0 },
        ];
        let places = place(6, candidates);
        assert_eq!(places, [node(2), node(3), node(2), node(3), node(1), node(2)]);
    }

    #[test]
    fn without_a_node_there_is_no_place() {
        assert!(place(3, Vec::new()).is_empty());
    }
}
