//! A messenger whose peers send it any message: headers of every kind, pipes
//! that nobody serves, requests beyond what it takes, replies that nobody waits
//! for, notices to pipes that are there or not, and any slot and word of their
//! rings. What is checked: see [`world`].
//!
//! [`world`]: crate::world

use crate::input::Input;
use crate::world::{self, Script};
use kernel::pipe::{Admission, Pipes};
use kernel::protocol::Pipe;
use kernel::protocol::tasks::TaskForceId;

const PIPES: [Pipe; 4] = [Pipe::Node, Pipe::Files, Pipe::Tasks, Pipe::Launcher];

fn body(input: &mut Input<'_>) -> Vec<u8> {
    let first = input.byte();
    vec![first % 3; input.length(60_000)]
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let request = |input: &mut Input<'_>| (PIPES[usize::from(input.byte()) % PIPES.len()], body(input));
    world::run(data, Script { request, reply: body }, |messenger| {
        let pipes = Pipes::new(messenger.clone());
        // The peers' notices may be for it; it lives as long as its pipes do.
        let _ = pipes.create_mailbox((TaskForceId(1), 0), Box::new(|_| Admission::Holds));
        messenger.on_notice(pipes);
    });
}

/// Inputs to start from.
pub fn seeds() -> Vec<Vec<u8>> {
    let ask = [0, 0, 1, 0, 30, 0, 5, 31];
    let call = [21, 0, 1, 0, 9, 31, 8, 2, 0, 7, 0];
    let honest = [24, 6, 40, 24, 0, 3, 31, 31];
    let lie =
        [&[15, 1, 8, 0, 2, 3, 0, 17, 0, 0, 3][..], &[1; 56], &[12, 1, 0, 9, 0, 9, 4, 0, 1, 2, 3, 4]].concat();
    let all = [&ask[..], &honest, &call, &lie, &[19, 20], &honest, &ask, &call].concat();
    vec![ask.into(), [call, [31; 11]].concat(), honest.into(), all]
}
