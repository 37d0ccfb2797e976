//! Serves the pipe of the monitor, which every VM does.

use crate::messenger::{Messenger, Outcome, Refusal, Request, Service};
use crate::protocol::{Pipe, decode, encode, monitor};
use std::sync::{Arc, Weak};

struct Monitor(Weak<Messenger>);

impl Service for Monitor {
    fn serve(self: Arc<Self>, mut request: Request) -> Outcome {
        match (decode(request.body.bytes()), self.0.upgrade()) {
            (Ok(monitor::Request::Channels), Some(messenger)) => {
                Outcome::reply(encode(&messenger.channels()))
            }
            _ => Outcome::Refuse(Refusal::Undecodable),
        }
    }
}

/// Begins to serve.
pub fn start(messenger: &Arc<Messenger>) {
    messenger.serve(Pipe::Monitor, Arc::new(Monitor(Arc::downgrade(messenger))));
}
