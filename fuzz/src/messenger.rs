//! A messenger whose peers send it any message: headers of every kind, pipes
//! that nobody serves, requests beyond what it takes, replies that nobody waits
//! for, notices to pipes that are there or not, and any slot and word of their
//! rings. What is checked: see [`world`].
//!
//! [`world`]: crate::world

use crate::input::Input;
use crate::world::{self, Script};
use kernel::messenger::Messenger;
use kernel::pipe::{Admission, Carrier, Coroutine, Pipes};
use kernel::protocol::tasks::TaskForceId;
use kernel::protocol::{Incarnation, Pipe};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use transport::SendError;

const PIPES: [Pipe; 4] = [Pipe::Node, Pipe::Files, Pipe::Tasks, Pipe::Launcher];

/// A messenger that its pipes do not keep: it keeps them.
struct Weakly(Incarnation, Weak<Messenger>);

impl Carrier for Weakly {
    fn own(&self) -> Incarnation {
        self.0
    }

    fn notify(&self, to: Incarnation, pipe: u32, word: u64, parts: &[&[u8]]) -> Result<(), SendError> {
        self.1.upgrade().ok_or(SendError::UnknownPeer)?.notify(to, pipe, word, parts)
    }

    fn notify_wait<'a>(
        &'a self,
        to: Incarnation,
        pipe: u32,
        word: u64,
        parts: &'a [&'a [u8]],
    ) -> Pin<Box<dyn Future<Output = Result<(), SendError>> + Send + 'a>> {
        Box::pin(async move {
            let messenger = self.1.upgrade().ok_or(SendError::UnknownPeer)?;
            messenger.notify_wait(to, pipe, word, parts).await
        })
    }

    fn spawn(&self, coroutine: Coroutine) {
        if let Some(messenger) = self.1.upgrade() {
            messenger.spawn(coroutine);
        }
    }
}

fn body(input: &mut Input<'_>) -> Vec<u8> {
    let first = input.byte();
    vec![first % 3; input.length(60_000)]
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let request = |input: &mut Input<'_>| (PIPES[usize::from(input.byte()) % PIPES.len()], body(input));
    world::run(data, Script { request, reply: body, pages: true }, |messenger| {
        let pipes = Pipes::new(Arc::new(Weakly(messenger.own(), Arc::downgrade(messenger))));
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
