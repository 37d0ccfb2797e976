//! The launcher as peer 0 on the rings: an ordinary client of the machine's
//! operating system, which speaks its own messages.
//!
//! * `calibrate`: measures what messages cost, and sets what distance adds.
//! * `clock`: keeps the machine's time, and answers who asks for the host's ticks.
//! * `fault`: what ended an activity, as people read it.
//! * [`files`]: copies trees in and out, lists directories.
//! * [`run`]: runs programs as task forces and takes their output.
//! * [`host`]: the host as the messenger sees it.
//! * `monitor`: asks all VMs what has passed through their channels.
//! * `services`: what commands ask of it.

mod calibrate;
mod clock;
mod fault;
pub mod files;
pub mod host;
mod monitor;
pub mod run;
mod services;

pub use calibrate::CalibrateError;

use crate::machine::{LastWords, Machine};
use crate::machine_file::Locality;
use crate::symbols::{Booted, Image};
use kernel::messenger::{Messenger, Outcome, Refusal, Request, Service};
use kernel::protocol::fault::Report;
use kernel::protocol::{Incarnation, Peer, Pipe, decode, encode, launcher};
use std::collections::HashMap;
use std::io;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use transport::Body;
use transport::endpoint::{Endpoint, PeerAddress};

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

/// What an activity says on its stream.
enum Said {
    /// It wrote something.
    Output(Output),
    /// It ended by a fault.
    Fault(u16, Fault),
}

/// A fault as a VM reported it.
#[derive(Debug)]
pub struct Fault {
    /// Which VM.
    pub from: Incarnation,
    /// What it says.
    pub report: Report,
    /// What it booted.
    image: Option<Arc<Image>>,
}

/// A client of the operating system.
pub struct Client {
    messenger: Arc<Messenger>,
    streams: Arc<Streams>,
    last_words: LastWords,
    /// What distance shall cost.
    locality: Option<Locality>,
    _timekeeper: clock::Timekeeper,
    /// One calibrates at a time.
    calibrating: Mutex<()>,
}

/// Who takes the output of which task force.
#[derive(Default)]
struct Streams(Mutex<HashMap<u64, SyncSender<Said>>>);

impl Streams {
    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<u64, SyncSender<Said>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives what was said to whoever takes the stream; gives it back while
    /// there is no room. What nobody takes any more is gone.
    fn hand_on(&self, stream: u64, said: Said) -> Option<Said> {
        match self.held().get(&stream)?.try_send(said) {
            Err(TrySendError::Full(said)) => Some(said),
            _ => None,
        }
    }
}

/// How often it is tried again to hand on what a slow terminal did not take.
const RETRY_NS: u64 = 5_000_000;

/// Serves the launcher's pipe.
struct LauncherService {
    messenger: Weak<Messenger>,
    streams: Arc<Streams>,
    booted: Booted,
    ready: Box<dyn Fn(Incarnation) + Send + Sync>,
}

impl Service for LauncherService {
    fn serve(self: Arc<Self>, mut request: Request) -> Outcome {
        match decode(request.body.bytes()) {
            Ok(launcher::Request::Ready) => {
                (self.ready)(request.from);
                Outcome::reply(encode::<launcher::Response>(&()))
            }
            Ok(launcher::Request::Output { bytes, .. }) if bytes.len() > launcher::MAX_OUTPUT => {
                Outcome::Refuse(Refusal::BeyondLimit)
            }
            Ok(launcher::Request::Output { stream, index, fd, bytes }) => {
                self.take(stream, Said::Output(Output { index, fd, bytes: bytes.to_vec() }))
            }
            Ok(launcher::Request::Fault { report, .. }) if !report.is_bounded() => {
                Outcome::Refuse(Refusal::BeyondLimit)
            }
            Ok(launcher::Request::Fault { stream, index, report }) => {
                let image = self.booted.of(request.from.peer);
                self.take(stream, Said::Fault(index, Fault { from: request.from, report, image }))
            }
            Err(_) => Outcome::Refuse(Refusal::Undecodable),
        }
    }
}

impl LauncherService {
    fn take(self: Arc<Self>, stream: u64, said: Said) -> Outcome {
        match self.streams.hand_on(stream, said) {
            None => Outcome::reply(encode::<launcher::Response>(&())),
            Some(said) => Outcome::Later(Box::pin(self.hand_on_later(stream, said))),
        }
    }

    /// Answers when what was said has been taken: so who says it waits.
    async fn hand_on_later(self: Arc<Self>, stream: u64, said: Said) -> Body {
        let mut left = Some(said);
        while let (Some(said), Some(messenger)) = (left.take(), self.messenger.upgrade()) {
            messenger.sleep_until(messenger.now_ns() + RETRY_NS).await;
            left = self.streams.hand_on(stream, said);
        }
        encode::<launcher::Response>(&()).into()
    }
}

impl Client {
    /// Joins a machine as its launcher, before its VMs start. A thread receives
    /// until the client is dropped.
    ///
    /// # Errors
    /// If a ring is spoilt or the thread cannot be started.
    pub fn join(machine: &Machine) -> io::Result<Self> {
        let membership = machine.membership().clone();
        let own = membership.incarnation(Peer::LAUNCHER).ok_or_else(|| io::Error::other("no launcher"))?;
        let host = host::Host::new(machine.bells().clone(), *machine.clock());
        let address = PeerAddress { peer: own.peer.0, generation: own.generation };
        let mut endpoint = Endpoint::new(address, Arc::new(host.clone()));
        for peer in (1..membership.description().peers.len() as u16).map(Peer) {
            let windows =
                machine.pair_regions(peer).ok_or_else(|| io::Error::other("a pair region is missing"))?;
            endpoint.attach(peer.0, windows).map_err(io::Error::other)?;
        }
        let messenger = Messenger::new(own, membership, endpoint, Arc::new(host));
        let streams = Arc::new(Streams::default());
        let ready = machine.readiness();
        let service = LauncherService {
            messenger: Arc::downgrade(&messenger),
            streams: streams.clone(),
            booted: machine.booted().clone(),
            ready: Box::new(ready),
        };
        messenger.serve(Pipe::Launcher, Arc::new(service));
        messenger.serve(Pipe::Clock, Arc::new(clock::ClockService::new(machine)));
        let page = messenger.membership().timeline().clone();
        let _timekeeper = clock::Timekeeper::start(&page, *machine.clock())?;
        kernel::monitor::start(&messenger, move || clock::status(&page));
        let receiving = messenger.clone();
        std::thread::Builder::new().name("messenger".into()).spawn(move || receiving.run())?;
        Ok(Self {
            messenger,
            streams,
            last_words: machine.last_words().clone(),
            locality: machine.file().locality,
            _timekeeper,
            calibrating: Mutex::new(()),
        })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.messenger.stop();
    }
}
