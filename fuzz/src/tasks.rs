//! `tasks` under hostile requests, with nodes and siblings that answer anything,
//! and with hostile words in its table. What is checked: see [`world`].
//!
//! [`world`]: crate::world

use crate::input::Input;
use crate::world::{self, OWN, Script};
use kernel::membership::Membership;
use kernel::protocol::tasks::{End, Program, Request, TaskForceId};
use kernel::protocol::{Incarnation, Peer, Pipe, encode, node, tasks};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use transport::memory::{SharedMemory, WORD};
use utility::shared::environment::Environment;
use utility::tasks::service::Tasks;
use utility::tasks::table::{TABLE_BYTES, Table};

/// What the activity knows of the machine.
struct World(Membership);

impl Environment for World {
    fn own(&self) -> Incarnation {
        Incarnation { peer: OWN, generation: 1 }
    }

    fn lives(&self, who: Incarnation) -> bool {
        self.0.lives(who)
    }

    fn relax(&self, attempt: u32) {
        assert!(attempt < 100_000, "the activity waits without end");
    }
}

fn program(input: &mut Input<'_>) -> Program {
    let arguments = (0..input.byte() % 4).map(|_| "x".repeat(input.length(9_000))).collect();
    Program { name: "echo".into(), arguments }
}

fn request(input: &mut Input<'_>) -> (Pipe, Vec<u8>) {
    let choice = input.byte();
    let task_force = TaskForceId(u64::from(input.byte() % 8));
    let index = u16::from(input.byte() % 80);
    let request = match choice % 8 {
        0..3 => Request::Create { program: program(input), activities: index, output: Peer(0), stream: 1 },
        3 => Request::Wait { task_force },
        4 => Request::Kill { task_force },
        5 => Request::List,
        6 => {
            Request::ActivityEnded { task_force, index: index % 4, end: End::Exited(i32::from(choice >> 3)) }
        }
        _ => return (Pipe::Tasks, input.string().to_vec()),
    };
    (Pipe::Tasks, encode(&request))
}

fn reply(input: &mut Input<'_>) -> Vec<u8> {
    match input.byte() % 6 {
        0..3 => encode(&node::Response::Ok(())),
        3 => encode(&node::Response::Err(node::Refusal::Ended)),
        4 => encode(&tasks::Response::Ok(tasks::Reply::Done)),
        _ => input.string().to_vec(),
    }
}

thread_local! {
    /// The memory of the table, used by one run after the other: a service and
    /// its messenger hold each other, so what they hold is never freed.
    static MEMORY: SharedMemory = SharedMemory::heap(TABLE_BYTES);
}

/// The memory of the table, all zeros.
fn memory() -> SharedMemory {
    let memory = MEMORY.with(SharedMemory::clone);
    memory.words().iter().for_each(|word| word.store(0, Relaxed));
    memory
}

/// Runs one input (without pages: what is never freed must be little): some words of the table, then what the peers do.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let memory = memory();
    for _ in 0..input.byte() % 8 {
        let (at, value) = (input.word() as usize, input.word());
        // A lock that a living activity holds would be waited for.
        if value >> 32 != 1 {
            memory.word(at % TABLE_BYTES / WORD * WORD).store(value, Relaxed);
        }
    }
    let rest = input.bytes(usize::MAX);
    world::run(rest, Script { request, reply, pages: false }, |messenger| {
        let world = Arc::new(World(messenger.membership().clone()));
        let table = Table::attach(memory, world).expect("room for the table");
        Tasks::start(messenger.clone(), table);
    });
}

/// Inputs to start from.
pub fn seeds() -> Vec<Vec<u8>> {
    let create = [0, 0, 0, 3, 1, 0, 9, 0, 5, 31, 31];
    let answers = [40, 0, 0, 72, 0, 0, 40, 0, 0, 31];
    let wait = [0, 3, 1, 0, 0, 6, 31];
    let ended = [32, 6, 1, 0, 0, 7, 64, 6, 1, 1, 0, 8, 31, 31];
    let kill = [0, 4, 1, 0, 0, 9, 31];
    let all = [&[0][..], &create, &answers, &wait, &ended, &[51, 52], &create, &kill, &answers].concat();
    let spoilt = [&[1, 64, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0][..], &all[1..]].concat();
    vec![all, spoilt]
}
