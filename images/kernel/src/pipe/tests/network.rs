//! VMs without hardware: links that hold few messages, deaths at any moment.

use crate::executor::{Executor, lock};
use crate::pipe::{Body, Carrier, Coroutine, Pipes};
use crate::protocol::{Incarnation, Peer};
use crate::waiters::Waiters;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use transport::SendError;

type Notice = (u32, u64, Body);

/// The links, and who lives.
pub(super) struct Links {
    queues: Mutex<HashMap<(usize, usize), VecDeque<Notice>>>,
    dead: Mutex<Vec<bool>>,
    capacity: usize,
    room: Waiters,
}

struct Vm {
    own: usize,
    links: Arc<Links>,
    executor: Arc<Executor>,
}

pub(super) fn incarnation(vm: usize) -> Incarnation {
    Incarnation { peer: Peer(vm as u16), generation: 1 }
}

impl Carrier for Vm {
    fn own(&self) -> Incarnation {
        incarnation(self.own)
    }

    fn notify(&self, to: Incarnation, pipe: u32, word: u64, parts: &[&[u8]]) -> Result<(), SendError> {
        let peer = usize::from(to.peer.0);
        assert_ne!(peer, self.own, "a VM has no link to itself");
        if to.generation != 1 || lock(&self.links.dead).get(peer) != Some(&false) {
            return Err(SendError::PeerDied);
        }
        let mut queues = lock(&self.links.queues);
        let queue = queues.entry((self.own, peer)).or_default();
        if queue.len() >= self.links.capacity {
            return Err(SendError::WouldBlock);
        }
        queue.push_back((pipe, word, parts.concat().into()));
        Ok(())
    }

    fn notify_wait<'a>(
        &'a self,
        to: Incarnation,
        pipe: u32,
        word: u64,
        parts: &'a [&'a [u8]],
    ) -> Pin<Box<dyn Future<Output = Result<(), SendError>> + Send + 'a>> {
        Box::pin(async move {
            loop {
                let seen = self.links.room.count();
                match self.notify(to, pipe, word, parts) {
                    Err(SendError::WouldBlock) => self.links.room.wait(seen).await,
                    result => return result,
                }
            }
        })
    }

    fn spawn(&self, coroutine: Coroutine) {
        self.executor.spawn(coroutine);
    }
}

/// Some VMs with pipes.
pub(super) struct Network {
    pub(super) links: Arc<Links>,
    pub(super) pipes: Vec<Arc<Pipes>>,
    executors: Vec<Arc<Executor>>,
    /// One that does not listen to what it is sent.
    pub(super) deaf: Option<usize>,
}

impl Network {
    /// So many VMs, whose links hold so many messages each.
    pub(super) fn new(vms: usize, capacity: usize) -> Self {
        let links = Arc::new(Links {
            queues: Mutex::default(),
            dead: Mutex::new(vec![false; vms]),
            capacity,
            room: Waiters::default(),
        });
        let executors: Vec<_> = (0..vms).map(|_| Arc::new(Executor::new(|| {}))).collect();
        let vm = |own| Vm { own, links: links.clone(), executor: Arc::clone(&executors[own]) };
        let pipes = (0..vms).map(|own| Pipes::new(Arc::new(vm(own)))).collect();
        Self { links, pipes, executors, deaf: None }
    }

    pub(super) fn lives(&self, vm: usize) -> bool {
        !lock(&self.links.dead)[vm]
    }

    /// Starts a coroutine in a VM.
    pub(super) fn spawn(&self, vm: usize, coroutine: impl Future<Output = ()> + Send + 'static) {
        self.executors[vm].spawn(coroutine);
    }

    /// Lets a VM's coroutines run, each for one turn.
    pub(super) fn run(&self, vm: usize) -> bool {
        self.lives(vm) && self.executors[vm].run_ready()
    }

    /// Hands on the next message from one VM to another.
    pub(super) fn deliver(&self, from: usize, to: usize) -> bool {
        let next = lock(&self.links.queues).get_mut(&(from, to)).and_then(VecDeque::pop_front);
        let Some((pipe, word, body)) = next else { return false };
        self.links.room.wake_all();
        if self.deaf != Some(to) {
            self.pipes[to].take(incarnation(from), pipe, word, body);
        }
        true
    }

    /// A VM dies when `kept` of its messages to each other VM are complete.
    pub(super) fn kill(&self, vm: usize, kept: usize) {
        if std::mem::replace(&mut lock(&self.links.dead)[vm], true) {
            return;
        }
        for other in (0..self.pipes.len()).filter(|&other| other != vm && self.lives(other)) {
            (0..kept).for_each(|_| {
                self.deliver(vm, other);
            });
            self.pipes[other].died(incarnation(vm));
        }
        lock(&self.links.queues).retain(|&(from, to), _| from != vm && to != vm);
        self.links.room.wake_all();
    }

    /// Lets everything happen that can.
    pub(super) fn settle(&self) {
        let vms = self.pipes.len();
        loop {
            let mut moved = false;
            for vm in 0..vms {
                moved |= self.run(vm);
                for other in 0..vms {
                    while self.deliver(vm, other) {
                        moved = true;
                    }
                }
            }
            if !moved {
                return;
            }
        }
    }
}
