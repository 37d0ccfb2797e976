//! The machine's end of the control socket: a thread accepts, each connection
//! has a thread of its own.

use super::{Reply, Request, ServiceError, Services};
use crate::machine::Machine;
use crate::vm::console;
use rustix::net::{RecvFlags, recv, sockopt::socket_peercred};
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Longest request.
const MAX_REQUEST: u64 = 1 << 20;
/// How often a follower of a silent log is looked after.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// Where the replies to one command go. Clones go to the same command; each
/// reply is sent whole.
#[derive(Clone, Debug)]
pub struct Replies {
    stream: Arc<UnixStream>,
    sending: Arc<Mutex<()>>,
}

impl Replies {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream: Arc::new(stream), sending: Arc::default() }
    }

    /// Sends one, waiting while the client does not read. An error means that
    /// the client is gone.
    pub fn send(&self, reply: &Reply) -> io::Result<()> {
        let mut line = serde_json::to_vec(reply)?;
        line.push(b'\n');
        let _sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        (&*self.stream).write_all(&line)
    }

    /// Says how far something is, in bytes, and whether the client still wants the rest of it.
    pub fn progress(&self, done: u64, total: u64) -> ControlFlow<()> {
        match self.send(&Reply::Progress { done, total }) {
            Ok(()) if !self.is_gone() => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    }

    /// Whether the client has gone away (its user pressed Ctrl-C). Does not wait.
    pub fn is_gone(&self) -> bool {
        matches!(recv(&*self.stream, &mut [0; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT), Ok((_, 0)))
    }
}

impl AsFd for Replies {
    /// Readable, and hung up, once the client is gone: to wait for that along
    /// with other things.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// What connections need.
struct Context {
    machine: Machine,
    services: Arc<dyn Services>,
    down: Box<dyn Fn(Replies) + Send + Sync>,
    closing: AtomicBool,
}

/// Serves a control socket until it is dropped; the socket file goes with it.
pub struct ControlServer {
    path: PathBuf,
    context: Arc<Context>,
    acceptor: Option<JoinHandle<()>>,
}

impl ControlServer {
    /// Serves `path`, where nothing may be. `down` is called when the machine
    /// shall be ended; whoever ends it sends the final reply.
    pub fn start(
        path: &Path,
        machine: Machine,
        services: Arc<dyn Services>,
        down: impl Fn(Replies) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        let closing = AtomicBool::new(false);
        let context = Arc::new(Context { machine, services, down: Box::new(down), closing });
        let shared = context.clone();
        let acceptor =
            std::thread::Builder::new().name("control".into()).spawn(move || accept(&listener, &shared))?;
        Ok(Self { path: path.to_owned(), context, acceptor: Some(acceptor) })
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        self.context.closing.store(true, Ordering::Relaxed);
        // Wakes the acceptor, which then sees that it shall end.
        let woken = UnixStream::connect(&self.path).is_ok();
        let _ = fs::remove_file(&self.path);
        if let Some(acceptor) = self.acceptor.take().filter(|_| woken) {
            let _ = acceptor.join();
        }
    }
}

fn accept(listener: &UnixListener, context: &Arc<Context>) {
    for stream in listener.incoming() {
        if context.closing.load(Ordering::Relaxed) {
            return;
        }
        let Ok(stream) = stream else {
            // Out of descriptors, perhaps: others will be closed.
            std::thread::sleep(Duration::from_millis(10));
            continue;
        };
        let context = context.clone();
        let serve = move || serve(stream, &context);
        let _ = std::thread::Builder::new().name("command".into()).spawn(serve);
    }
}

/// Serves one connection. Errors mean that the client is gone.
fn serve(stream: UnixStream, context: &Context) {
    let same_user = socket_peercred(&stream).is_ok_and(|peer| peer.uid == rustix::process::geteuid());
    let replies = Replies::new(stream);
    if !same_user {
        let _ = replies.send(&Reply::Failed { message: "this machine is another user's".into() });
        return;
    }
    let answer = match read_request(&replies) {
        Ok(None) => return,
        Ok(Some(Request::Down)) => return (context.down)(replies),
        Ok(Some(request)) => answer(&request, context, &replies),
        Err(error) => Err(ServiceError(error)),
    };
    let last = answer.unwrap_or_else(|error| Reply::Failed { message: error.0 });
    let _ = replies.send(&last);
}

/// The request of a connection; `None` if the client only looked whether
/// somebody answers.
fn read_request(replies: &Replies) -> Result<Option<Request>, String> {
    let mut line = String::new();
    let mut reader = BufReader::new((&*replies.stream).take(MAX_REQUEST));
    reader.read_line(&mut line).map_err(|error| format!("the request cannot be read: {error}"))?;
    if line.is_empty() {
        return Ok(None);
    }
    let request = serde_json::from_str(&line);
    request.map(Some).map_err(|error| format!("the launcher does not know this request: {error}"))
}

/// Carries out everything but `Down`; returns the final reply.
fn answer(request: &Request, context: &Context, replies: &Replies) -> Result<Reply, ServiceError> {
    let (machine, services) = (&context.machine, &context.services);
    let send = |reply: Reply| replies.send(&reply).map_err(|_| ServiceError("the client is gone".into()));
    match request {
        Request::Ps => send(Reply::Machine(machine.status()))?,
        Request::Kill { vm } => machine.kill(vm).map_err(|error| ServiceError(error.to_string()))?,
        Request::Partition { clusters } => partition(machine, clusters, true)?,
        Request::Heal { clusters } => partition(machine, clusters, false)?,
        Request::Logs { vm, follow } => logs(machine, vm, *follow, replies)?,
        Request::Run(run) => {
            let outcome = services.run(run, replies)?;
            return Ok(Reply::Exited { code: outcome.code, message: outcome.message });
        }
        Request::Copy { from, to } => services.copy(from, to, replies)?,
        Request::Calibrate => send(Reply::Calibrated(services.calibrate()?))?,
        Request::List { path } => send(Reply::Entries(services.list(path)?))?,
        Request::Channels => send(Reply::Channels(services.channels()))?,
        Request::Clocks => send(Reply::Clocks(services.clocks()))?,
        Request::Down => {}
    }
    Ok(Reply::Done)
}

fn partition(machine: &Machine, [a, b]: &[String; 2], cut: bool) -> Result<(), ServiceError> {
    machine.partition([a, b], cut).map_err(|error| ServiceError(error.to_string()))
}

/// Sends a log, and what follows until the client or the machine goes away.
fn logs(machine: &Machine, vm: &str, follow: bool, replies: &Replies) -> Result<(), ServiceError> {
    let refused = |error: crate::machine::KillError| ServiceError(error.to_string());
    if !follow {
        let text = console::read(&machine.log(vm).map_err(refused)?);
        let sent = text.lines().try_for_each(|line| replies.send(&Reply::Line(line.into())));
        return sent.map_err(|_| ServiceError("the client is gone".into()));
    }
    let lines = machine.follow(vm).map_err(refused)?;
    loop {
        match lines.recv_timeout(LOOK_AFTER) {
            Ok(line) => {
                if replies.send(&Reply::Line(line)).is_err() {
                    return Ok(());
                }
            }
            Err(RecvTimeoutError::Timeout) if !replies.is_gone() => {}
            Err(_) => return Ok(()),
        }
    }
}
