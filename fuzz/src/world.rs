//! A messenger in a machine whose other VMs are the fuzzer's.
//!
//! Everything happens on one thread: when the messenger wants to sleep, the
//! fuzzer takes its next step. When it has none left, an honest peer gets the
//! answers that it is still owed, then all die, then the messenger is stopped.
//!
//! Checked, whatever the others do: the honest peer gets each answer, the right
//! one, once; every call that the messenger's VM made comes to an end.

use crate::input::Input;
use crate::scribble::{Between, Silent, forge, scribble};
use ivshmem::layout::{LifeState, Liveness, Region, RegionKind};
use kernel::membership::{Description, Membership, PeerDescription, Role, Utility};
use kernel::messenger::{Messenger, Outcome, Platform, Request, Service};
use kernel::protocol::{Incarnation, Peer, Pipe};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use transport::endpoint::{Endpoint, Event, PeerAddress};
use transport::link::MAX_MESSAGE;
use transport::memory::SharedMemory;
use transport::ring::Epoch;
use transport::wire::{HEADER_BYTES, Header, Kind};

/// The messenger's VM.
pub const OWN: Peer = Peer(1);
/// The peer that tells no lies.
const HONEST: Peer = Peer(4);
/// What each peer is.
const ROLES: [Role; 5] =
    [Role::Launcher, Role::Utility(Utility::Tasks), Role::Node, Role::Node, Role::Utility(Utility::Tasks)];
/// Slots of a ring.
const SLOTS: usize = 16;
/// Requests of the honest peer that are under way at most.
const OWED: usize = 64;
/// Sleeps after which what is owed must have come.
const PATIENCE: u32 = 20_000;

/// Every kind of message.
const KINDS: [Kind; 5] = [Kind::Request, Kind::Reply, Kind::Notice, Kind::Cancel, Kind::Refuse];

/// What a target adds to the machine.
#[derive(Clone, Copy)]
pub struct Script {
    /// A request that makes sense, more or less.
    pub request: fn(&mut Input<'_>) -> (Pipe, Vec<u8>),
    /// A reply that makes sense, more or less.
    pub reply: fn(&mut Input<'_>) -> Vec<u8>,
    /// Whether some peers lend and borrow pages.
    pub pages: bool,
}

/// Answers with the request's own body, at once or later, as its first byte says.
pub struct Echo;

impl Service for Echo {
    fn serve(self: Arc<Self>, mut request: Request) -> Outcome {
        match request.body.bytes().first() {
            Some(1) => Outcome::Later(Box::pin(async { request.body })),
            Some(2) => Outcome::WhileAwaited(Box::pin(async { request.body })),
            _ => Outcome::Reply(request.body),
        }
    }
}

/// A peer of the messenger: what is between them (the messenger's is end 0),
/// and an endpoint that speaks through it.
struct Other {
    peer: Peer,
    between: Between,
    endpoint: Endpoint,
    generation: u32,
    alive: bool,
    /// Requests of the messenger that wait for an answer.
    asked: Vec<Header>,
}

impl Other {
    fn new(peer: Peer, pages: bool) -> Self {
        let between = Between::new(SLOTS, pages && peer.0.is_multiple_of(2));
        let endpoint = endpoint(peer, 1, &between);
        Self { peer, between, endpoint, generation: 1, alive: true, asked: Vec::new() }
    }

    fn epochs(&self) -> [Epoch; 2] {
        [Epoch { writer: 1, reader: self.generation }, Epoch { writer: self.generation, reader: 1 }]
    }
}

/// An endpoint of a peer that knows the messenger's VM.
fn endpoint(peer: Peer, generation: u32, between: &Between) -> Endpoint {
    let mut endpoint = Endpoint::new(PeerAddress { peer: peer.0, generation }, Arc::new(Silent));
    endpoint.attach(OWN.0, between.windows(1)).expect("a fresh channel");
    endpoint.set_peer(OWN.0, Some(1));
    endpoint
}

/// Where the run is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The fuzzer has steps left.
    Steps,
    /// The honest peer waits for answers; slept so often.
    Owed(u32),
    /// Everybody is dead; slept so often.
    Dead(u32),
}

struct State {
    data: Vec<u8>,
    at: usize,
    script: Script,
    phase: Phase,
    others: Vec<Other>,
    /// What the honest peer asked and was not answered.
    owed: HashMap<u64, Vec<u8>>,
    next_id: u64,
    /// Calls that the messenger's VM made, and those that ended.
    calls: u64,
    ended: Arc<AtomicU64>,
}

/// The machine as the messenger sees it.
struct Machine {
    membership: Membership,
    clock: AtomicU64,
    messenger: OnceLock<Weak<Messenger>>,
    state: Mutex<State>,
}

impl Platform for Machine {
    fn now_ns(&self) -> u64 {
        self.clock.fetch_add(1_000, Relaxed)
    }

    fn wall_clock_ns(&self) -> u64 {
        1
    }

    fn wait(&self, deadline_ns: Option<u64>) -> bool {
        if let Some(deadline) = deadline_ns {
            self.clock.fetch_max(deadline, Relaxed);
        }
        let Some(messenger) = self.messenger.get().and_then(Weak::upgrade) else { return true };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.advance(&self.membership, &messenger) {
            messenger.stop();
        }
        true
    }

    fn poke(&self) {}

    fn may_spin(&self) -> bool {
        false
    }
}

impl State {
    /// Does something; true if there is nothing left to do.
    fn advance(&mut self, membership: &Membership, messenger: &Arc<Messenger>) -> bool {
        match self.phase {
            Phase::Steps => {
                let data = std::mem::take(&mut self.data);
                let mut input = Input::new(&data[self.at..]);
                match input.is_over() {
                    true => self.phase = Phase::Owed(0),
                    false => self.step(&mut input, membership, messenger),
                }
                self.at = data.len() - input.left();
                self.data = data;
            }
            Phase::Owed(slept) => {
                self.hear();
                assert!(slept < PATIENCE, "{} answers never came", self.owed.len());
                self.phase = Phase::Owed(slept + 1);
                if self.owed.is_empty() {
                    self.phase = Phase::Dead(0);
                    (0..self.others.len()).for_each(|other| self.end(other, membership));
                }
            }
            Phase::Dead(slept) => self.phase = Phase::Dead(slept + 1),
        }
        self.phase == Phase::Dead(8)
    }

    fn step(&mut self, input: &mut Input<'_>, membership: &Membership, messenger: &Arc<Messenger>) {
        let choice = input.byte();
        let other = usize::from(choice >> 5) % self.others.len();
        match choice & 31 {
            0..8 => self.ask(other, input),
            8..12 => self.answer(other, input),
            12..15 => self.say_bytes(other, input),
            15 | 16 if self.others[other].peer != HONEST => {
                let this = &self.others[other];
                scribble(input, &this.between, this.epochs());
            }
            17 | 18 if self.others[other].peer != HONEST => {
                let this = &self.others[other];
                forge(input, &this.between, 1, this.epochs()[1]);
            }
            19 if self.others[other].peer != HONEST => self.end(other, membership),
            20 => self.start(other, membership),
            21..24 => self.call(other, input, messenger),
            24..28 => self.ask_honestly(input.length(MAX_MESSAGE - HEADER_BYTES)),
            _ => self.hear(),
        }
    }

    /// A peer asks for something, or sends a notice.
    fn ask(&mut self, other: usize, input: &mut Input<'_>) {
        let (pipe, body) = (self.script.request)(input);
        let kind = if input.byte() == 77 { Kind::Notice } else { Kind::Request };
        self.say(
            other,
            Header { kind, pipe: pipe as u32, request: u64::from(input.byte()), trace: 0 },
            &body,
        );
    }

    /// A peer answers something that it was asked, or not.
    fn answer(&mut self, other: usize, input: &mut Input<'_>) {
        let body = (self.script.reply)(input);
        let asked = &mut self.others[other].asked;
        let header = match asked.len() {
            0 => Header { kind: Kind::Reply, pipe: 1, request: input.word(), trace: 0 },
            count => asked.swap_remove(usize::from(input.byte()) % count),
        };
        self.say(other, Header { kind: Kind::Reply, ..header }, &body);
    }

    /// A peer says anything.
    fn say_bytes(&mut self, other: usize, input: &mut Input<'_>) {
        let kind = KINDS[usize::from(input.byte()) % KINDS.len()];
        let pipe = if input.byte() < 128 { u32::from(input.byte()) } else { input.word() as u32 };
        let request = if input.byte() < 128 { u64::from(input.byte()) } else { input.word() };
        let body = input.string();
        self.say(other, Header { kind, pipe, request, trace: 0 }, body);
    }

    /// Sends as a hostile peer. The honest one does not lend its name.
    fn say(&mut self, other: usize, header: Header, body: &[u8]) {
        let this = &mut self.others[other];
        if this.peer != HONEST && this.alive {
            let _ = this.endpoint.send(PeerAddress { peer: OWN.0, generation: 1 }, header, &[body]);
        }
    }

    /// The honest peer asks for an echo.
    fn ask_honestly(&mut self, length: usize) {
        let Some(this) = self.others.iter_mut().find(|other| other.peer == HONEST) else { return };
        if self.owed.len() == OWED {
            return;
        }
        self.next_id += 1;
        let (id, body) = (self.next_id, vec![self.next_id as u8 % 3; length]);
        let header = Header { kind: Kind::Request, pipe: Pipe::Node as u32, request: id, trace: 0 };
        if this.endpoint.send(PeerAddress { peer: OWN.0, generation: 1 }, header, &[&body]).is_ok() {
            self.owed.insert(id, body);
        }
    }

    /// All peers take what the messenger sent them.
    fn hear(&mut self) {
        for other in self.others.iter_mut().filter(|other| other.alive) {
            let mut events = Vec::new();
            other.endpoint.poll(0, true, |event| events.push(event));
            for event in events {
                match event {
                    Event::Message { header, .. } if header.kind == Kind::Request => other.asked.push(header),
                    Event::Message { header, body, .. } if other.peer == HONEST => {
                        assert_eq!(header.kind, Kind::Reply);
                        assert_eq!(self.owed.remove(&header.request), Some(body.into_vec()), "{header:?}");
                    }
                    _ => assert_ne!(other.peer, HONEST, "{event:?}"),
                }
            }
        }
    }

    /// The messenger's VM asks a peer for something.
    fn call(&mut self, other: usize, input: &mut Input<'_>, messenger: &Arc<Messenger>) {
        let this = &self.others[other];
        let to = Incarnation { peer: this.peer, generation: this.generation };
        let (pipe, body) = (self.script.request)(input);
        let (caller, ended) = (Arc::downgrade(messenger), self.ended.clone());
        self.calls += 1;
        messenger.spawn(async move {
            if let Some(messenger) = caller.upgrade() {
                let _ = messenger.call(to, pipe, &body).await;
            }
            ended.fetch_add(1, Relaxed);
        });
    }

    /// A peer dies.
    fn end(&mut self, other: usize, membership: &Membership) {
        let this = &mut self.others[other];
        (this.alive, this.asked) = (false, Vec::new());
        membership.set_liveness(this.peer, Liveness { generation: this.generation, state: LifeState::Dead });
    }

    /// A dead peer starts again.
    fn start(&mut self, other: usize, membership: &Membership) {
        let this = &mut self.others[other];
        if this.alive {
            return;
        }
        this.generation += 1;
        this.endpoint = endpoint(this.peer, this.generation, &this.between);
        this.alive = true;
        membership.set_liveness(this.peer, Liveness { generation: this.generation, state: LifeState::Ready });
    }
}

/// The control region's content for this machine.
fn membership() -> Membership {
    let peers = ROLES.iter().zip(0..).map(|(&role, id)| {
        let cluster = (role != Role::Launcher).then_some(0);
        PeerDescription { name: format!("peer-{id}"), role, cluster }
    });
    let description = Description {
        name: "fuzz".into(),
        clusters: vec!["a".into()],
        ethernets: vec![],
        adds_distance: false,
        peers: peers.collect(),
    };
    let (parts, bytes) = Membership::parts(&description);
    let region = Region::format(SharedMemory::heap(bytes), RegionKind::Control, 1, &parts).expect("room");
    let membership = Membership::write(&region, &description).expect("a good description");
    for peer in (0..ROLES.len() as u16).map(Peer) {
        membership.set_liveness(peer, Liveness { generation: 1, state: LifeState::Ready });
    }
    membership
}

/// Runs a messenger that serves what `prepare` makes it serve (and an echo at
/// [`Pipe::Node`], for the honest peer) among peers that do what `data` says.
pub fn run(data: &[u8], script: Script, prepare: impl FnOnce(&Arc<Messenger>)) {
    let membership = membership();
    let others = (0..ROLES.len() as u16).map(Peer).filter(|&peer| peer != OWN);
    let others = others.map(|peer| Other::new(peer, script.pages));
    let state = State {
        data: data.to_vec(),
        at: 0,
        script,
        phase: Phase::Steps,
        others: others.collect(),
        owed: HashMap::new(),
        next_id: 0,
        calls: 0,
        ended: Arc::default(),
    };
    let mut endpoint = Endpoint::new(PeerAddress { peer: OWN.0, generation: 1 }, Arc::new(Silent));
    for other in &state.others {
        endpoint.attach(other.peer.0, other.between.windows(0)).expect("a fresh channel");
    }
    let machine = Arc::new(Machine {
        membership: membership.clone(),
        clock: AtomicU64::new(0),
        messenger: OnceLock::new(),
        state: Mutex::new(state),
    });
    let own = Incarnation { peer: OWN, generation: 1 };
    let messenger = Messenger::new(own, membership, endpoint, machine.clone());
    let _ = machine.messenger.set(Arc::downgrade(&messenger));
    messenger.serve(Pipe::Node, Arc::new(Echo));
    prepare(&messenger);
    messenger.run();
    let mut state = machine.state.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(state.ended.load(Relaxed), state.calls, "every call ends");
    // A service may hold the messenger that holds it, and this machine with it.
    (state.others, state.data) = Default::default();
}
