//! Messengers on threads of the host, over rings in heap memory.

use ivshmem::layout::{LifeState, Liveness, PAIR_BYTES, PAIR_PARTS, Region, RegionKind, pair_windows};
use kernel::executor::block_on;
use kernel::membership::{Description, Membership, PeerDescription, Role, Utility};
use kernel::messenger::{
    CallError, DeadlinePassed, Messenger, NoticeHandler, Outcome, Platform, Refusal, Request, Service,
};
use kernel::pipe::{Admission, MAX_MESSAGE, Pipes, ReceiveError};
use kernel::protocol::monitor::Fault;
use kernel::protocol::{Incarnation, Peer, Pipe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use transport::Body;
use transport::endpoint::{Doorbell, Endpoint, PeerAddress};
use transport::memory::SharedMemory;

/// A latch that stands for a VM's bell.
#[derive(Default)]
struct Bell(Mutex<bool>, Condvar);

impl Bell {
    fn ring(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }
}

#[derive(Clone)]
struct Host {
    bells: Arc<Vec<Bell>>,
    own: usize,
    start: Instant,
    spins: bool,
    /// A program of this VM wants the processor, and never waits.
    busy: bool,
}

impl Platform for Host {
    fn now_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
    fn wall_clock_ns(&self) -> u64 {
        0
    }
    fn wait(&self, deadline_ns: Option<u64>) -> bool {
        let bell = &self.bells[self.own];
        let mut rung = bell.0.lock().unwrap();
        while !*rung {
            let rest = deadline_ns.map_or(60_000_000_000, |deadline| deadline.saturating_sub(self.now_ns()));
            if rest == 0 {
                return false;
            }
            rung = bell.1.wait_timeout(rung, Duration::from_nanos(rest)).unwrap().0;
        }
        std::mem::take(&mut *rung)
    }
    fn rang(&self) -> bool {
        std::mem::take(&mut *self.bells[self.own].0.lock().unwrap())
    }
    fn poke(&self) {
        self.bells[self.own].ring();
    }
    fn may_spin(&self) -> bool {
        self.spins && !self.busy
    }
    fn is_wanted(&self) -> bool {
        self.busy
    }
}

impl Doorbell for Host {
    fn ring(&self, peer: u16) {
        self.bells[usize::from(peer)].ring();
    }
}

/// A machine of messengers: peer 0 and 1 are plain, 2 and 3 are `files`.
struct World {
    membership: Membership,
    bells: Arc<Vec<Bell>>,
    messengers: Vec<Arc<Messenger>>,
    /// In every VM runs a program.
    busy: bool,
}

impl World {
    fn new() -> Self {
        Self::with(false)
    }

    fn with(busy: bool) -> Self {
        let roles =
            [Role::Launcher, Role::Node, Role::Utility(Utility::Files), Role::Utility(Utility::Files)];
        let peers = roles.iter().enumerate();
        let description = Description {
            name: "test".into(),
            ethernets: Vec::new(),
            adds_distance: false,
            clusters: vec!["a".into()],
            peers: peers
                .map(|(id, &role)| PeerDescription { name: format!("peer-{id}"), role, cluster: Some(0) })
                .collect(),
        };
        let (parts, bytes) = Membership::parts(&description);
        let control = Region::format(SharedMemory::heap(bytes), RegionKind::Control, 1, &parts).unwrap();
        let membership = Membership::write(&control, &description).unwrap();
        let mut world = Self {
            membership,
            bells: Arc::new((0..4).map(|_| Bell::default()).collect()),
            messengers: vec![],
            busy,
        };
        for id in 0..4 {
            world.say(id, LifeState::Ready);
        }
        let mut endpoints: Vec<Endpoint> = (0..4)
            .map(|own| {
                let address = PeerAddress { peer: own, generation: 1 };
                Endpoint::new(address, Arc::new(world.host(own.into())))
            })
            .collect();
        for low in 0..4u16 {
            for high in low + 1..4 {
                let pair =
                    Region::format(SharedMemory::heap(PAIR_BYTES), RegionKind::Pair, 1, &PAIR_PARTS).unwrap();
                for (own, peer) in [(low, high), (high, low)] {
                    let windows = pair_windows(&pair, own, peer).unwrap();
                    endpoints[usize::from(own)].attach(peer, windows).unwrap();
                }
            }
        }
        for (own, endpoint) in endpoints.into_iter().enumerate() {
            let who = Incarnation { peer: Peer(own as u16), generation: 1 };
            let host = Arc::new(world.host(own));
            world.messengers.push(Messenger::new(who, world.membership.clone(), endpoint, host));
        }
        world
    }

    fn host(&self, own: usize) -> Host {
        Host { bells: self.bells.clone(), own, start: Instant::now(), spins: own == 1, busy: self.busy }
    }

    fn say(&self, peer: u16, state: LifeState) {
        self.membership.set_liveness(Peer(peer), Liveness { generation: 1, state });
        self.bells.iter().for_each(Bell::ring);
    }

    /// Runs the messengers while `test` runs.
    fn run<T>(&self, test: impl FnOnce(&Self) -> T) -> T {
        std::thread::scope(|scope| {
            for messenger in &self.messengers {
                scope.spawn(|| messenger.run());
            }
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(self)));
            self.messengers.iter().for_each(|messenger| messenger.stop());
            result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// Answers with the request's own body, in two ways.
struct Echo {
    later: bool,
    served: AtomicU64,
}

impl Service for Echo {
    fn serve(self: Arc<Self>, request: Request) -> Outcome {
        self.served.fetch_add(1, Ordering::SeqCst);
        match self.later {
            true => Outcome::Later(Box::pin(async { request.body })),
            false => Outcome::Reply(request.body),
        }
    }
}

/// Never answers, but keeps the ids of what it was asked.
#[derive(Default)]
struct Silent(Mutex<Vec<u64>>);

impl Service for Silent {
    fn serve(self: Arc<Self>, request: Request) -> Outcome {
        self.0.lock().unwrap().push(request.id);
        Outcome::Later(Box::pin(std::future::pending()))
    }
}

/// Answers with the request's id.
struct Id;

impl Service for Id {
    fn serve(self: Arc<Self>, request: Request) -> Outcome {
        Outcome::reply(request.id.to_le_bytes().to_vec())
    }
}

fn first(peer: u16) -> Incarnation {
    Incarnation { peer: Peer(peer), generation: 1 }
}

#[test]
fn calls_of_all_sizes_from_many_threads_are_answered() {
    for later in [false, true] {
        let world = World::new();
        let echo = Arc::new(Echo { later, served: AtomicU64::new(0) });
        world.messengers[1].serve(Pipe::Node, echo.clone());
        world.run(|world| {
            std::thread::scope(|scope| {
                for thread in 0..4u8 {
                    scope.spawn(move || {
                        for size in [0, 1, 32, 33, 500, 20_000, 60_000].repeat(10) {
                            let body = vec![thread; size];
                            let reply = block_on(world.messengers[0].call(first(1), Pipe::Node, &body));
                            assert!(reply.unwrap().into_vec() == body, "size {size}");
                        }
                    });
                }
            });
        });
        assert_eq!(echo.served.load(Ordering::SeqCst), 280);
    }
}

#[test]
fn messages_are_noticed_though_programs_never_wait() {
    let world = World::with(true);
    world.messengers[1].serve(Pipe::Node, Arc::new(Echo { later: true, served: AtomicU64::new(0) }));
    world.run(|world| {
        let longest = Duration::from_millis(6);
        for round in 0..200 {
            // Now the other end is aside, now it sleeps.
            std::thread::sleep(longest * (round % 10) / 10);
            let body = round.to_le_bytes();
            let reply = block_on(world.messengers[0].call(first(1), Pipe::Node, &body));
            assert_eq!(reply.map(Body::into_vec), Ok(body.to_vec()));
        }
    });
}

#[test]
fn many_calls_are_under_way_at_once() {
    let world = World::new();
    world.messengers[1].serve(Pipe::Node, Arc::new(Echo { later: true, served: AtomicU64::new(0) }));
    world.run(|world| {
        let body = vec![7; 10_000];
        let calls = (0..200).map(|_| world.messengers[0].call(first(1), Pipe::Node, &body));
        let replies = block_on(futures_util::future::join_all(calls));
        assert!(replies.into_iter().all(|reply| reply.map(Body::into_vec) == Ok(body.clone())));
    });
}

#[test]
fn a_death_ends_what_was_asked_of_the_dead() {
    let world = World::new();
    let silent = Arc::new(Silent::default());
    world.messengers[1].serve(Pipe::Node, silent.clone());
    world.run(|world| {
        std::thread::scope(|scope| {
            let caller = scope.spawn(|| block_on(world.messengers[0].call(first(1), Pipe::Node, b"?")));
            while silent.0.lock().unwrap().is_empty() {
                std::thread::yield_now();
            }
            world.say(1, LifeState::Dead);
            assert_eq!(caller.join().unwrap(), Err(CallError::PeerDied(Peer(1))));
        });
        let later = block_on(world.messengers[0].call(first(1), Pipe::Node, b"?"));
        assert_eq!(later, Err(CallError::PeerDied(Peer(1))));
    });
}

#[test]
fn a_request_outlives_its_server_under_the_same_id() {
    let world = World::new();
    let silent = Arc::new(Silent::default());
    world.messengers[2].serve(Pipe::Files, silent.clone());
    world.messengers[3].serve(Pipe::Files, Arc::new(Id));
    world.run(|world| {
        std::thread::scope(|scope| {
            let caller = scope.spawn(|| block_on(world.messengers[1].call_utility(Utility::Files, b"?")));
            while silent.0.lock().unwrap().is_empty() {
                std::thread::yield_now();
            }
            world.say(2, LifeState::Dead);
            let id = silent.0.lock().unwrap()[0];
            assert_eq!(caller.join().unwrap().unwrap().into_vec(), id.to_le_bytes());
        });
    });
}

#[test]
fn a_utility_without_a_living_activity_is_an_error() {
    let world = World::new();
    world.say(2, LifeState::Dead);
    world.say(3, LifeState::Dead);
    world.run(|world| {
        let result = block_on(world.messengers[1].call_utility(Utility::Files, b"?"));
        assert_eq!(result, Err(CallError::NoActivity(Utility::Files)));
    });
}

#[test]
fn nobody_waits_at_a_pipe_that_nobody_serves() {
    let world = World::new();
    world.run(|world| {
        let reply = block_on(world.messengers[0].call(first(1), Pipe::Tasks, b"?"));
        assert_eq!(reply, Err(CallError::Refused(Refusal::NoSuchPipe)));
        assert_eq!(world.messengers[1].faults(Peer(0), Fault::Pipe), 1);
    });
}

#[test]
fn a_sleep_ends_at_its_time() {
    let world = World::new();
    world.run(|world| {
        let messenger = &world.messengers[0];
        let until = messenger.now_ns() + 20_000_000;
        block_on(messenger.sleep_until(until));
        assert!(messenger.now_ns() >= until);
    });
}

/// Waits for ever, and says when it is dropped.
struct Guarded(Arc<AtomicU64>);

impl Service for Guarded {
    fn serve(self: Arc<Self>, _: Request) -> Outcome {
        struct Dropped(Arc<AtomicU64>);
        impl Drop for Dropped {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let guard = Dropped(self.0.clone());
        Outcome::WhileAwaited(Box::pin(async move {
            std::future::pending::<()>().await;
            drop(guard);
            Body::default()
        }))
    }
}

#[test]
fn what_is_not_there_in_time_is_taken_back() {
    let world = World::new();
    let ended = Arc::new(AtomicU64::new(0));
    world.messengers[1].serve(Pipe::Node, Arc::new(Guarded(ended.clone())));
    world.run(|world| {
        let caller = &world.messengers[0];
        for _ in 0..3 {
            let deadline = caller.now_ns() + 5_000_000;
            let call = caller.before(deadline, caller.call(first(1), Pipe::Node, b"?"));
            assert_eq!(block_on(call), Err(DeadlinePassed));
            assert!(caller.now_ns() >= deadline);
        }
        while ended.load(Ordering::SeqCst) < 3 {
            std::thread::yield_now();
        }
        // Nobody is left to serve: as many again find room.
        world.messengers[3].serve(Pipe::Node, Arc::new(Id));
        let far = caller.now_ns() + 60_000_000_000;
        let call = caller.before(far, caller.call(first(3), Pipe::Node, b"?"));
        assert!(matches!(block_on(call), Ok(Ok(_))));
    });
}

#[test]
fn more_calls_than_a_peer_serves_at_a_time_wait_for_their_turn() {
    let world = World::new();
    world.messengers[1].serve(Pipe::Node, Arc::new(Echo { later: true, served: AtomicU64::new(0) }));
    world.run(|world| {
        let calls = (0..1000).map(|_| world.messengers[0].call(first(1), Pipe::Node, b"?"));
        let replies = block_on(futures_util::future::join_all(calls));
        assert!(replies.iter().all(Result::is_ok));
        assert!(world.messengers[1].channels().iter().all(|channel| channel.faults.is_empty()));
    });
}

/// Keeps what it was told.
#[derive(Default)]
struct Heard(Mutex<Vec<(Incarnation, u64, Vec<u8>)>>, AtomicU64);

impl NoticeHandler for Heard {
    fn take(&self, from: Incarnation, pipe: u32, word: u64, body: Body) {
        assert_eq!((pipe, self.1.load(Ordering::SeqCst)), (77, 0), "nothing comes after a death");
        self.0.lock().unwrap().push((from, word, body.into_vec()));
    }

    fn died(&self, who: Incarnation) {
        assert_eq!(who, first(0));
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn notices_arrive_in_order_and_before_the_death_of_their_sender() {
    let world = World::new();
    let heard = Arc::new(Heard::default());
    world.messengers[1].on_notice(heard.clone());
    world.run(|world| {
        let body = |word: u64| vec![word as u8; (word * word) as usize];
        for word in 0..200 {
            let body = body(word);
            let parts = [&b"of "[..], &body];
            block_on(world.messengers[0].notify_wait(first(1), 77, word, &parts)).unwrap();
        }
        while heard.0.lock().unwrap().len() < 200 {
            std::thread::yield_now();
        }
        world.say(0, LifeState::Dead);
        while heard.1.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        for (index, (from, word, got)) in heard.0.lock().unwrap().iter().enumerate() {
            assert_eq!((*from, *word), (first(0), index as u64));
            assert_eq!(*got, [b"of ", &body(*word)[..]].concat());
        }
    });
}

/// The pipes of each messenger.
fn pipes(world: &World) -> Vec<Arc<Pipes>> {
    let with_pipes = |messenger: &Arc<Messenger>| {
        let pipes = Pipes::new(messenger.clone());
        messenger.on_notice(pipes.clone());
        pipes
    };
    world.messengers.iter().map(with_pipes).collect()
}

#[test]
fn a_pipe_takes_messages_of_all_sizes_from_all_vms() {
    let world = World::new();
    let pipes = pipes(&world);
    let receiver = pipes[0].create(Box::new(|_| Admission::Holds));
    world.run(|_| {
        std::thread::scope(|scope| {
            let name = receiver.name();
            // Opened before any is closed.
            let senders: Vec<_> =
                pipes.iter().map(|pipes| block_on(pipes.open(name, None)).unwrap()).collect();
            for (vm, sender) in (0u8..).zip(senders) {
                scope.spawn(move || {
                    for size in [0, 1, 31, 500, MAX_MESSAGE - 4].repeat(40) {
                        block_on(sender.send(&vec![vm; size])).unwrap();
                    }
                });
            }
            let mut read = [0; 4];
            while let Ok(message) = block_on(receiver.receive()) {
                let next = &mut read[usize::from(message.origin.vm.peer.0)];
                assert_eq!(message.body.len(), [0, 1, 31, 500, MAX_MESSAGE - 4][*next % 5]);
                assert!(message.body.iter().all(|&byte| u16::from(byte) == message.origin.vm.peer.0));
                *next += 1;
            }
            assert_eq!(read, [200; 4]);
        });
    });
}

#[test]
fn both_ends_of_a_pipe_learn_of_a_death() {
    let world = World::new();
    let pipes = pipes(&world);
    let [near, far] = [0, 1].map(|vm| pipes[vm].create(Box::new(|_| Admission::Holds)));
    world.run(|world| {
        let to_far = block_on(pipes[0].open(far.name(), None)).unwrap();
        let to_near = block_on(pipes[1].open(near.name(), None)).unwrap();
        block_on(to_near.send(b"last")).unwrap();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| {
                loop {
                    if let Err(error) = block_on(to_far.send(&[0; 1000])) {
                        return error;
                    }
                }
            });
            assert_eq!(block_on(near.receive()).unwrap().body, b"last");
            world.say(1, LifeState::Dead);
            assert_eq!(waits.join().unwrap(), kernel::pipe::SendError::PeerDied);
        });
        assert!(matches!(block_on(near.receive()), Err(ReceiveError::SenderDied(_))));
        assert_eq!(block_on(near.receive()).unwrap_err(), ReceiveError::Ended);
    });
}

#[test]
fn what_is_wrong_with_notices_is_counted_with_their_channel() {
    let world = World::new();
    let pipes = Pipes::new(world.messengers[1].clone());
    world.messengers[1].on_notice(pipes);
    world.run(|world| {
        let bad = [0xff; 20];
        block_on(world.messengers[0].notify_wait(first(1), 0, u64::MAX, &[&bad[..]])).unwrap();
        let faults = |peer: u16| {
            let channels = world.messengers[1].channels();
            channels.into_iter().find(|end| end.peer == Peer(peer)).expect("a channel").faults
        };
        while faults(0).is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(faults(0).iter().map(|(_, count)| count).sum::<u64>(), 1, "{:?}", faults(0));
        assert_eq!(faults(2), []);
    });
}

#[test]
fn callers_that_give_up_all_the_time_are_served_all_the_same() {
    let world = World::new();
    let ended = Arc::new(AtomicU64::new(0));
    world.messengers[1].serve(Pipe::Node, Arc::new(Guarded(ended.clone())));
    world.run(|world| {
        let caller = &world.messengers[0];
        for _ in 0..1000 {
            let call = caller.before(0, caller.call(first(1), Pipe::Node, b"?"));
            assert_eq!(block_on(call), Err(DeadlinePassed));
        }
        let call = caller.call(first(1), Pipe::Tasks, b"?");
        assert_eq!(block_on(call), Err(CallError::Refused(Refusal::NoSuchPipe)));
        for (own, peer) in [(0, 1), (1, 0)] {
            for fault in [Fault::Flood, Fault::Reply] {
                assert_eq!(world.messengers[own].faults(Peer(peer), fault), 0, "{fault}");
            }
        }
    });
}

#[test]
fn nobody_goes_on_serving_the_dead() {
    let world = World::new();
    let ended = Arc::new(AtomicU64::new(0));
    let silent = Arc::new(Silent::default());
    world.messengers[1].serve(Pipe::Node, Arc::new(Guarded(ended.clone())));
    world.messengers[1].serve(Pipe::Files, silent.clone());
    world.run(|world| {
        let caller = world.messengers[0].clone();
        let asking = caller.clone();
        caller.spawn(async move {
            let calls = [Pipe::Node, Pipe::Files].map(|pipe| asking.call(first(1), pipe, b"?"));
            futures_util::future::join_all(calls).await;
        });
        while silent.0.lock().unwrap().is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(ended.load(Ordering::SeqCst), 0);
        world.say(0, LifeState::Dead);
        while ended.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
    });
}
