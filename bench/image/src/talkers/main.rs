//! VMs that all talk at once, in pairs: a thread of each calls its partner with
//! 64 bytes, over and over, and answers the partner's calls meanwhile.
//!
//! The first node leads: it lets the first 2, 4, 8, ... nodes talk, in turns.
//! Every VM prints, for each round that it talked in, a line
//! `bench: TALKERS CALLS-A-SECOND MEDIAN-NANOSECONDS` (without the last one if
//! no call of its ended), and `bench: done` at the end.
//!
//! * [`stage`]: who is to do what.
#![forbid(unsafe_code)]

mod stage;

use kernel::executor::block_on;
use kernel::messenger::{Messenger, Outcome, Request, Service};
use kernel::protocol::{Incarnation, Peer, Pipe};
use stage::{Act, Phase, Stage};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes of a body that make a message 64 bytes in the ring.
const BODY_BYTES: usize = 32;
/// How many talk, in the order of a round; those of them that the machine has.
const TALKERS: [u16; 4] = [2, 4, 8, 16];
/// Rounds, of which the first one only warms up.
const ROUNDS: usize = 6;
/// How long calls are counted.
const WINDOW: Duration = Duration::from_millis(250);

/// Answers each call with what it was called with.
struct Null;

impl Service for Null {
    fn serve(self: Arc<Self>, request: Request) -> Outcome {
        Outcome::Reply(request.body)
    }
}

fn main() {
    let messenger = vm::join();
    messenger.serve(Pipe::Node, Arc::new(Null));
    let own = messenger.clone();
    std::thread::Builder::new().spawn(move || take_part(&own)).expect("a thread to talk from");
    vm::serve(messenger)
}

/// Every VM's part.
fn take_part(messenger: &Arc<Messenger>) {
    let peers = messenger.membership().description().peers.len() as u16;
    while !(0..peers).all(|peer| messenger.membership().is_ready(Peer(peer))) {
        std::thread::sleep(Duration::from_millis(1));
    }
    // The launcher is peer 0.
    let own = messenger.own().peer.0 - 1;
    let stage = Arc::new(Stage::open());
    if own == 0 {
        let stage = stage.clone();
        let lead = move || lead(&stage, peers - 1);
        std::thread::Builder::new().spawn(lead).expect("a thread to lead from");
    }
    let Some(partner) = messenger.membership().incarnation(Peer((own ^ 1) + 1)) else {
        vm::refuse("a talker needs a partner")
    };
    while let Some(act) = stage.next(own) {
        if own < act.talkers {
            let line = block_on(talk(messenger, partner, &stage, own));
            if act.round > 0 {
                println!("bench: {} {line}", act.talkers);
            }
        }
        stage.leave(own);
    }
    println!("bench: done");
}

/// Says who talks, act by act.
fn lead(stage: &Stage, vms: u16) {
    for round in 0..ROUNDS {
        for talkers in TALKERS.into_iter().filter(|&talkers| talkers <= vms) {
            stage.begin(Act { round, talkers }, vms);
            stage.set(Phase::Count);
            std::thread::sleep(WINDOW);
            stage.end(vms);
        }
    }
    stage.set(Phase::Done);
}

/// Calls until the act ends; what the calls in its window came to.
async fn talk(messenger: &Messenger, partner: Incarnation, stage: &Stage, own: u16) -> String {
    stage.enter(own);
    let (mut first, mut trips) = (None, Vec::new());
    loop {
        let start = Instant::now();
        match stage.phase() {
            Phase::Talk => {}
            Phase::Count => _ = first.get_or_insert(start),
            Phase::Quiet | Phase::Done => break,
        }
        messenger.call(partner, Pipe::Node, &[0; BODY_BYTES]).await.expect("the partner answers");
        if first.is_some() {
            trips.push(start.elapsed().as_nanos() as u64);
        }
    }
    trips.sort_unstable();
    let seconds = first.map_or(WINDOW, |first| first.elapsed()).as_secs_f64();
    let rate = trips.len() as f64 / seconds;
    let median = trips.get(trips.len() / 2).map_or(String::new(), u64::to_string);
    format!("{rate:.1} {median}")
}
