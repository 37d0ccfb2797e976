//! Many senders and readers, messages of all sizes, VMs that die at any moment:
//! what is read is what was sent.

use super::anybody;
use super::network::{Network, incarnation};
use crate::executor::lock;
use crate::pipe::{
    Counters, MAX_MESSAGE, OpenError, Origin, PipeName, Pipes, ReceiveError, Receiver, SendError,
};
use crate::protocol::tasks::TaskForceId;
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

const VMS: usize = 4;

/// One sender: where it is, which reader it sends to, and the sizes.
#[derive(Clone, Debug)]
struct Plan {
    vm: usize,
    to: usize,
    sizes: Vec<usize>,
    /// Whether it tries before it waits.
    tries: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Deliver(usize, usize),
    Run(usize),
    Read(usize),
    Kill(usize, usize),
    CloseReader(usize),
}

/// What a sender knows at its end.
#[derive(Clone, Debug, Default)]
struct Told {
    sent: usize,
    open: Option<OpenError>,
    error: Option<SendError>,
    over: bool,
}

fn plan() -> impl Strategy<Value = Plan> {
    let size = prop_oneof![0..100usize, 0..5000usize, Just(MAX_MESSAGE - 8), Just(32usize)];
    (0..VMS, 0..VMS, prop::collection::vec(size, 0..12), any::<bool>())
        .prop_map(|(vm, to, sizes, tries)| Plan { vm, to, sizes, tries })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => (0..VMS, 0..VMS).prop_map(|(from, to)| Step::Deliver(from, to)),
        20 => (0..VMS).prop_map(Step::Run),
        20 => (0..VMS).prop_map(Step::Read),
        1 => (0..VMS, 0..5usize).prop_map(|(vm, kept)| Step::Kill(vm, kept)),
        1 => (0..VMS).prop_map(Step::CloseReader),
    ]
}

/// Sends what is planned; every message says whose it is and which.
async fn send_all(pipes: Arc<Pipes>, name: PipeName, id: u16, plan: Plan, told: Arc<Mutex<Told>>) {
    let sender = match pipes.open(name, Some((TaskForceId(1), id))).await {
        Ok(sender) => sender,
        Err(error) => {
            lock(&told).open = Some(error);
            lock(&told).over = true;
            return;
        }
    };
    for (number, &size) in plan.sizes.iter().enumerate() {
        let mut message = vec![number as u8; size + 4];
        message[..2].copy_from_slice(&id.to_le_bytes());
        message[2..4].copy_from_slice(&(number as u16).to_le_bytes());
        let sent = match plan.tries {
            false => sender.send(&message).await,
            true => try_first(&sender, &message).await,
        };
        match sent {
            Ok(()) => lock(&told).sent += 1,
            Err(error) => {
                lock(&told).error = Some(error);
                break;
            }
        }
    }
    drop(sender);
    lock(&told).over = true;
}

/// Tries first, then waits.
async fn try_first(sender: &crate::pipe::Sender, message: &[u8]) -> Result<(), SendError> {
    match sender.try_send(message) {
        Err(SendError::WouldBlock) => sender.send(message).await,
        result => result,
    }
}

/// A reader, what it has read, by sender, and how that ended.
struct Reader {
    vm: usize,
    end: Option<Receiver>,
    read: HashMap<u16, usize>,
    lost: Vec<Origin>,
    ended: bool,
}

impl Reader {
    /// Reads one message. Checks whose it is, that it is whole, and the next of its sender.
    fn read(&mut self, plans: &[Plan]) -> bool {
        let Some(end) = &self.end else { return false };
        match end.try_receive() {
            Ok(message) => {
                let body = message.body;
                let id = u16::from_le_bytes([body[0], body[1]]);
                let number = usize::from(u16::from_le_bytes([body[2], body[3]]));
                let plan = &plans[usize::from(id)];
                let origin = Origin { vm: incarnation(plan.vm), activity: Some((TaskForceId(1), id)) };
                assert_eq!(message.origin, origin);
                assert!(!self.lost.contains(&origin), "read after its sender was lost");
                assert_eq!(plan.to, self.vm);
                let next = self.read.entry(id).or_default();
                assert_eq!(number, *next, "sender {id}");
                *next += 1;
                assert_eq!(body.len(), plan.sizes[number] + 4);
                assert!(body[4..].iter().all(|&byte| byte == number as u8), "torn");
                true
            }
            Err(ReceiveError::SenderDied(origin)) => {
                assert!(!self.lost.contains(&origin));
                self.lost.push(origin);
                true
            }
            Err(ReceiveError::Ended) => {
                self.ended = true;
                false
            }
            Err(_) => false,
        }
    }
}

fn play(plans: &[Plan], steps: &[Step], capacity: usize) {
    let network = Network::new(VMS, capacity);
    let mut readers: Vec<Reader> = (0..VMS)
        .map(|vm| Reader {
            vm,
            end: Some(network.pipes[vm].create(anybody())),
            read: HashMap::new(),
            lost: vec![],
            ended: false,
        })
        .collect();
    let names: Vec<PipeName> = readers.iter().map(|r| r.end.as_ref().unwrap().name()).collect();
    let told: Vec<Arc<Mutex<Told>>> = plans.iter().map(|_| Arc::default()).collect();
    for ((id, plan), told) in (0..).zip(plans).zip(&told) {
        let pipes = network.pipes[plan.vm].clone();
        network.spawn(plan.vm, send_all(pipes, names[plan.to], id, plan.clone(), told.clone()));
    }
    let mut closed = [false; VMS];
    for step in steps {
        match *step {
            Step::Deliver(from, to) => drop(network.deliver(from, to)),
            Step::Run(vm) => drop(network.run(vm)),
            Step::Read(vm) if network.lives(vm) => drop(readers[vm].read(plans)),
            Step::Read(_) => {}
            Step::Kill(vm, kept) => network.kill(vm, kept),
            Step::CloseReader(vm) if network.lives(vm) => {
                closed[vm] = true;
                readers[vm].end = None;
            }
            Step::CloseReader(_) => {}
        }
    }
    loop {
        network.settle();
        let living = readers.iter_mut().filter(|reader| network.lives(reader.vm));
        if !living.fold(false, |any, reader| reader.read(plans) | any) {
            break;
        }
    }
    check(&network, plans, &readers, &told, &closed);
}

fn check(network: &Network, plans: &[Plan], readers: &[Reader], told: &[Arc<Mutex<Told>>], closed: &[bool]) {
    for ((id, plan), told) in (0..).zip(plans).zip(told) {
        let told = lock(told).clone();
        let read = readers[plan.to].read.get(&id).copied().unwrap_or(0);
        assert!(read <= plan.sizes.len());
        if !network.lives(plan.vm) {
            continue;
        }
        assert!(told.over, "sender {id} waits for ever: {plan:?} {told:?}");
        match (network.lives(plan.to), closed[plan.to]) {
            (true, false) => assert_eq!((told.sent, read), (plan.sizes.len(), plan.sizes.len()), "{id}"),
            (true, true) => assert!(read <= told.sent),
            (false, _) => assert!(read <= plan.sizes.len()),
        }
        let broken = told.open.is_some() || told.error.is_some();
        assert!(!broken || closed[plan.to] || !network.lives(plan.to), "{id}: {told:?}");
    }
    for reader in readers.iter().filter(|reader| network.lives(reader.vm) && reader.end.is_some()) {
        let any = plans.iter().any(|plan| plan.to == reader.vm && network.lives(plan.vm));
        assert!(reader.ended || !any, "a reader waits for senders that are gone");
    }
    for vm in (0..VMS).filter(|&vm| network.lives(vm)) {
        for peer in 0..VMS {
            // Nothing but what came too late.
            let counters = network.pipes[vm].counters(incarnation(peer).peer);
            let too_late = Counters {
                stale: counters.stale,
                no_such_pipe: counters.no_such_pipe,
                ..Counters::default()
            };
            assert_eq!(counters, too_late);
        }
        assert_eq!(network.pipes[vm].ends(), (usize::from(readers[vm].end.is_some()), 0, 0), "{vm}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn what_is_read_is_what_was_sent(
        plans in prop::collection::vec(plan(), 1..10),
        steps in prop::collection::vec(step(), 0..400),
        capacity in prop_oneof![Just(1usize), Just(3), Just(1000)],
    ) {
        play(&plans, &steps, capacity);
    }
}
