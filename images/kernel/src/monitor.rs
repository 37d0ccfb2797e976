//! Serves the pipe of the monitor, which every VM does.

use crate::messenger::{Messenger, Outcome, Refusal, Request, Service};
use crate::protocol::{Pipe, decode, encode, monitor};
use std::sync::{Arc, Weak};

struct Monitor {
    messenger: Weak<Messenger>,
    clock: Box<dyn Fn() -> monitor::Clock + Send + Sync>,
}

impl Service for Monitor {
    fn serve(self: Arc<Self>, mut request: Request) -> Outcome {
        let response = match (decode(request.body.bytes()), self.messenger.upgrade()) {
            (Ok(monitor::Request::Channels), Some(messenger)) => {
                monitor::Response::Channels(messenger.channels())
            }
            (Ok(monitor::Request::Clock), _) => monitor::Response::Clock((self.clock)()),
            _ => return Outcome::Refuse(Refusal::Undecodable),
        };
        Outcome::reply(encode(&response))
    }
}

/// Begins to serve. `clock` tells what is known of the clock.
pub fn start(messenger: &Arc<Messenger>, clock: impl Fn() -> monitor::Clock + Send + Sync + 'static) {
    let monitor = Monitor { messenger: Arc::downgrade(messenger), clock: Box::new(clock) };
    messenger.serve(Pipe::Monitor, Arc::new(monitor));
}
