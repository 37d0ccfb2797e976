//! The launcher as peer 0 on the rings: an ordinary client of the machine's
//! operating system, which speaks its own messages.
//!
//! * [`files`]: copies trees in and out, lists directories.
//! * [`run`]: runs programs as task forces and takes their output.
//! * [`host`]: the host as the messenger sees it.

pub mod files;
pub mod host;
pub mod run;

use kernel::membership::Membership;
use kernel::messenger::{Messenger, Outcome, Request, Service};
use kernel::protocol::{Incarnation, Peer, Pipe, decode, encode, launcher};
use std::collections::HashMap;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use transport::endpoint::{Endpoint, PeerAddress};
use transport::memory::SharedMemory;

/// What an activity wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Which activity.
    pub index: u16,
    /// 1: standard output, 2: standard error.
    pub fd: u8,
    /// What.
    pub bytes: Vec<u8>,
}

/// A client of the operating system.
pub struct Client {
    messenger: Arc<Messenger>,
    streams: Arc<Streams>,
}

/// Who takes the output of which task force.
#[derive(Default)]
struct Streams(Mutex<HashMap<u64, Sender<Output>>>);

impl Streams {
    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Sender<Output>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves the launcher's pipe.
struct LauncherService {
    streams: Arc<Streams>,
    ready: Box<dyn Fn(Incarnation) + Send + Sync>,
}

impl Service for LauncherService {
    fn serve(self: Arc<Self>, request: Request) -> Outcome {
        match decode(&request.body) {
            Ok(launcher::Request::Ready) => (self.ready)(request.from),
            Ok(launcher::Request::Output { stream, index, fd, bytes }) => {
                if let Some(taker) = self.streams.held().get(&stream) {
                    // A taker that has gone wants no more.
                    let _ = taker.send(Output { index, fd, bytes: bytes.to_vec() });
                }
            }
            Err(_) => {}
        }
        Outcome::Reply(encode::<launcher::Response>(&()))
    }
}

impl Client {
    /// Joins the machine as its launcher. `rings` are, per peer, the ring that
    /// the launcher writes and the one that it reads; `ready` is called when a
    /// VM says that it is ready for work. A thread receives until
    /// [`Client::stop`].
    ///
    /// # Errors
    /// If a ring is spoilt or the thread cannot be started.
    pub fn join(
        membership: Membership,
        rings: impl IntoIterator<Item = (Peer, SharedMemory, SharedMemory)>,
        bells: host::Bells,
        ready: impl Fn(Incarnation) + Send + Sync + 'static,
    ) -> std::io::Result<Arc<Self>> {
        let own = membership.incarnation(Peer::LAUNCHER).ok_or_else(|| std::io::Error::other("no launcher"))?;
        let platform = Arc::new(host::Host::new(bells));
        let address = PeerAddress { peer: own.peer.0, generation: own.generation };
        let mut endpoint = Endpoint::new(address, Box::new(host::Ringer(platform.clone())));
        for (peer, outgoing, incoming) in rings {
            endpoint.attach(peer.0, outgoing, incoming).map_err(|error| std::io::Error::other(error.to_string()))?;
        }
        let messenger = Messenger::new(own, membership, endpoint, platform);
        let streams = Arc::new(Streams::default());
        let service = LauncherService { streams: streams.clone(), ready: Box::new(ready) };
        messenger.serve(Pipe::Launcher, Arc::new(service));
        let receiving = messenger.clone();
        std::thread::Builder::new().name("messenger".into()).spawn(move || receiving.run())?;
        Ok(Arc::new(Self { messenger, streams }))
    }

    /// The messenger under this client.
    pub fn messenger(&self) -> &Arc<Messenger> {
        &self.messenger
    }

    /// Ends the receiving thread.
    pub fn stop(&self) {
        self.messenger.stop();
    }
}
