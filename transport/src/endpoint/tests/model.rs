//! Random sends, polls and restarts against a simple model: a queue each way.
//!
//! What must hold for the messages from one incarnation to another: they arrive
//! in order, none twice, each whole, only at the incarnation they were sent to;
//! all of them while both live, a prefix if one dies; and each incarnation's
//! death is told once, after its messages.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque as Queue;

#[derive(Clone, Debug)]
enum Action {
    /// Peer sends a message with a body of so many bytes.
    Send(u16, usize),
    /// Peer polls once.
    Poll(u16),
    /// Peer dies, and maybe starts again at once.
    Die(u16, bool),
    /// A dead peer starts again.
    Start(u16),
    /// Peer looks at the liveness table.
    Look(u16),
    /// Peer goes to sleep and must have been rung if there is work for it.
    Sleep(u16),
}

fn action() -> impl Strategy<Value = Action> {
    let length = prop_oneof![8 => 0..40_usize, 4 => 0..600_usize, 1 => 0..=MAX_MESSAGE - HEADER_BYTES];
    prop_oneof![
        8 => (0..2_u16, length).prop_map(|(peer, length)| Action::Send(peer, length)),
        8 => (0..2_u16).prop_map(Action::Poll),
        1 => (0..2_u16, any::<bool>()).prop_map(|(peer, again)| Action::Die(peer, again)),
        1 => (0..2_u16).prop_map(Action::Start),
        3 => (0..2_u16).prop_map(Action::Look),
        2 => (0..2_u16).prop_map(Action::Sleep),
    ]
}

/// The body of message number `request`.
fn body(request: u64, length: usize) -> Vec<u8> {
    (0..length).map(|byte| (byte as u64 * 7 + request * 13) as u8).collect()
}

/// A peer: its endpoint while it lives, and what the model says of it.
struct Node {
    endpoint: Option<Endpoint>,
    generation: u32,
    /// The other's incarnation that its endpoint knows.
    knows: Option<u32>,
    /// The highest it ever knew.
    latest: u32,
    /// Incarnations whose end it has yet to hear of, with those it knows.
    unburied: Queue<u32>,
    /// What was sent: from this incarnation, to that one, number, length.
    sent: Queue<(u32, u32, u64, usize)>,
    /// It sleeps: `prepare_sleep` said it may.
    sleeps: bool,
    /// It was rung since its last poll.
    rang: bool,
}

struct World {
    pair: Pair,
    nodes: [Node; 2],
    next: u64,
}

impl World {
    fn new(bytes: usize, has_pages: bool) -> Self {
        let pair = Pair::new(bytes);
        let pair = if has_pages { pair.with_pages(crate::pages::MAX_PAGES) } else { pair };
        let node = |own| Node {
            endpoint: Some(pair.start(own, 1)),
            generation: 1,
            knows: None,
            latest: 0,
            unburied: Queue::new(),
            sent: Queue::new(),
            sleeps: false,
            rang: true,
        };
        let nodes = [node(0), node(1)];
        Self { pair, nodes, next: 0 }
    }

    fn run(&mut self, action: Action) {
        match action {
            Action::Send(peer, length) => self.send(peer, length),
            Action::Poll(peer) => _ = self.poll(peer),
            Action::Look(peer) => self.look(peer),
            Action::Sleep(peer) => self.sleep(peer),
            Action::Die(peer, again) => {
                self.nodes[usize::from(peer)].endpoint = None;
                self.ring_all();
                if again {
                    self.start(peer);
                }
            }
            Action::Start(peer) => {
                if self.nodes[usize::from(peer)].endpoint.is_none() {
                    self.start(peer);
                }
            }
        }
    }

    fn start(&mut self, peer: u16) {
        let node = &mut self.nodes[usize::from(peer)];
        node.generation += 1;
        node.endpoint = Some(self.pair.start(peer, node.generation));
        (node.knows, node.latest, node.sleeps) = (None, 0, false);
        node.unburied.clear();
        self.ring_all();
    }

    /// The launcher rings everyone after it changed the table.
    fn ring_all(&mut self) {
        self.nodes.iter_mut().for_each(|node| (node.sleeps, node.rang) = (false, true));
    }

    fn look(&mut self, peer: u16) {
        let other = &self.nodes[1 - usize::from(peer)];
        let alive = other.endpoint.is_some().then_some(other.generation);
        let node = &mut self.nodes[usize::from(peer)];
        let Some(endpoint) = &mut node.endpoint else { return };
        endpoint.set_peer(1 - peer, alive);
        if node.knows != alive {
            node.unburied.extend(node.knows);
            node.knows = alive;
            node.latest = alive.unwrap_or(node.latest);
        }
        assert_eq!(endpoint.address(1 - peer).map(|address| address.generation), alive);
    }

    fn send(&mut self, peer: u16, length: usize) {
        let node = &mut self.nodes[usize::from(peer)];
        let (Some(endpoint), Some(knows)) = (&mut node.endpoint, node.knows) else { return };
        node.sleeps = false; // who sends is awake
        let body = body(self.next, length);
        let (start, end) = body.split_at(length / 3);
        let sent = endpoint.send(at(1 - peer, knows), header(self.next), &[start, end]);
        if self.next.is_multiple_of(2) {
            endpoint.flush();
        }
        match sent {
            Ok(()) => {
                node.sent.push_back((node.generation, knows, self.next, length));
                self.next += 1;
            }
            Err(error) => assert_eq!(error, SendError::WouldBlock),
        }
        self.wake();
    }

    fn wake(&mut self) {
        for rung in self.pair.bells.take() {
            let node = &mut self.nodes[usize::from(rung)];
            (node.sleeps, node.rang) = (false, true);
        }
    }

    fn sleep(&mut self, peer: u16) {
        if self.nodes[usize::from(peer)].endpoint.is_none() {
            return;
        }
        self.look(peer);
        while self.poll(peer) {}
        let node = &mut self.nodes[usize::from(peer)];
        node.sleeps = node.endpoint.as_mut().is_some_and(Endpoint::prepare_sleep);
        assert!(node.sleeps, "nothing can have come in between");
    }

    fn poll(&mut self, peer: u16) -> bool {
        if self.nodes[usize::from(peer)].sleeps {
            // Who has sent flushes before long.
            self.nodes[1 - usize::from(peer)].endpoint.iter_mut().for_each(Endpoint::flush);
            self.wake();
        }
        let [a, b] = &mut self.nodes;
        let (node, other) = if peer == 0 { (a, b) } else { (b, a) };
        let Some(endpoint) = &mut node.endpoint else { return false };
        let mut events = Vec::new();
        // Of one that sleeps nothing may be missed, looked at with all its eyes.
        let rang = std::mem::take(&mut node.rang) || node.sleeps;
        let moved = endpoint.poll(0, rang, |event| events.push(event));
        assert!(!(moved && node.sleeps), "slept over {events:?}");
        for event in events {
            match event {
                Event::Message { from, header, body: got } => {
                    let expected = node.unburied.front().copied().or(node.knows).unwrap();
                    assert_eq!(from, at(1 - peer, expected));
                    // What was sent to or by others was lost with them, no more.
                    let sent = loop {
                        let sent = other.sent.pop_front().expect("was sent");
                        if (sent.0, sent.1) == (from.generation, node.generation) {
                            break sent;
                        }
                        assert!(sent.0 < from.generation || sent.1 < node.generation, "lost {sent:?}");
                    };
                    assert_eq!(header.request, sent.2);
                    assert_eq!(got.into_vec(), body(sent.2, sent.3));
                }
                Event::PeerDied(who) => {
                    assert_eq!(Some(who.generation), node.unburied.pop_front());
                }
                Event::Malformed { error, .. } => panic!("nobody lies here: {error}"),
            }
        }
        assert!(node.unburied.is_empty(), "a death is told with the next poll");
        self.wake();
        moved
    }

    /// Everybody looks and polls until nothing moves: then nothing that was sent
    /// between those that live is missing.
    fn settle(&mut self) {
        self.look(0);
        self.look(1);
        while self.poll(0) | self.poll(1) {}
        let alive =
            [0, 1].map(|peer| self.nodes[peer].endpoint.as_ref().map(|_| self.nodes[peer].generation));
        if let [Some(zero), Some(one)] = alive {
            for (node, ends) in [(0, (zero, one)), (1, (one, zero))] {
                let lost: Vec<_> =
                    self.nodes[node].sent.iter().filter(|sent| (sent.0, sent.1) == ends).collect();
                assert!(lost.is_empty(), "lost {lost:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn every_run_agrees_with_the_model(
        slots in prop_oneof![Just(1_usize), Just(2), Just(8), Just(256)],
        has_pages: bool,
        actions in proptest::collection::vec(action(), 1..120),
    ) {
        let mut world = World::new((2 + slots) * 64, has_pages);
        world.look(0);
        world.look(1);
        for action in actions {
            world.run(action);
        }
        world.settle();
    }
}
