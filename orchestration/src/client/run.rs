//! Runs programs as task forces and takes their output.

use super::{Client, Fault, Output, Said};
use crate::regions::random;
use kernel::executor::block_on;
use kernel::membership::Utility;
use kernel::messenger::CallError;
use kernel::protocol::tasks::{Program, Refusal, Reply, Request, Response, TaskForce, TaskForceId};
use kernel::protocol::{Incarnation, Malformed, Peer, decode, encode};
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};
use thiserror::Error;

/// How often it is asked whether a program's output is still wanted.
const LOOK: Duration = Duration::from_millis(100);

/// How long nothing more comes of a line until the part that is there is handed
/// on. A program writes a line in pieces, and a host may stand still in between.
const SILENCE: Duration = Duration::from_secs(1);

/// Pieces of output, of 32 KiB at the most, that wait for a slow terminal
/// before whoever writes has to.
const WAITING: usize = 256;

/// Why a program did not run to its end.
#[derive(Debug, Error)]
pub enum RunError {
    /// `tasks` refused.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The utility cannot be reached.
    #[error("tasks cannot be reached: {0}")]
    Call(#[from] CallError),
    /// It answered nonsense.
    #[error("tasks answered nonsense: {0}")]
    Malformed(#[from] Malformed),
    /// The host has no random numbers.
    #[error("the host has no random numbers: {0}")]
    Host(std::io::Error),
    /// It answered something else than was asked.
    #[error("tasks answered something else than was asked")]
    Unexpected,
}

/// A task force that was started from the host.
pub struct Started<'a> {
    client: &'a Client,
    id: TaskForceId,
    stream: u64,
    output: Receiver<Said>,
    activities: u16,
}

/// A task force whose activities have all ended.
#[derive(Debug)]
pub struct Finished {
    /// How each of them ended.
    pub task_force: TaskForce,
    /// What is reported of those that ended by a fault, by index and by whom.
    pub faults: BTreeMap<(u16, Incarnation), Fault>,
}

impl Client {
    /// Starts a program on `activities` activities.
    ///
    /// # Errors
    /// See [`RunError`].
    pub fn start(&self, program: Program, activities: u16) -> Result<Started<'_>, RunError> {
        // Who does not know the number cannot write to the stream.
        let stream = random().map_err(RunError::Host)?;
        let (taker, output) = sync_channel(WAITING);
        self.streams.held().insert(stream, taker);
        let request = Request::Create { program, activities, output: Peer::LAUNCHER, stream };
        let mut started = Started { client: self, id: TaskForceId(0), stream, output, activities };
        match block_on(self.ask_tasks(&request))? {
            Reply::Created(id) => started.id = id,
            _ => return Err(RunError::Unexpected),
        }
        Ok(started)
    }

    /// The task forces that run now.
    ///
    /// # Errors
    /// See [`RunError`].
    pub fn task_forces(&self) -> Result<Vec<TaskForce>, RunError> {
        match block_on(self.ask_tasks(&Request::List))? {
            Reply::TaskForces(all) => Ok(all),
            _ => Err(RunError::Unexpected),
        }
    }

    async fn ask_tasks(&self, request: &Request) -> Result<Reply, RunError> {
        let body = encode(request);
        let mut reply = match request {
            Request::Create { .. } => self.messenger.call_utility(Utility::Tasks, &body).await?,
            // These may be carried out again, and must not wait for a place:
            // `Wait` has one for as long as a program runs.
            _ => self.messenger.ask_utility(Utility::Tasks, &body).await?,
        };
        Ok(decode::<Response>(reply.bytes())??)
    }
}

impl Started<'_> {
    /// Its name.
    pub fn id(&self) -> TaskForceId {
        self.id
    }

    /// Hands on what the activities write, in order and in whole lines (a part
    /// of a line once nothing follows it for a while), until all have ended. What
    /// a single one writes to its standard output mixes with nothing, and is
    /// handed on as it comes.
    /// Once `unwanted` says so (it is asked every now and then), the task force
    /// is ended.
    ///
    /// # Errors
    /// See [`RunError`].
    pub fn finish(
        self,
        mut take: impl FnMut(Output),
        unwanted: impl Fn() -> bool,
    ) -> Result<Finished, RunError> {
        let (client, id) = (self.client, self.id);
        std::thread::scope(|scope| {
            // The end closes the stream, and with it the loop below.
            let ended = scope.spawn(|| {
                let ended = block_on(client.ask_tasks(&Request::Wait { task_force: id }));
                client.streams.held().remove(&self.stream);
                ended
            });
            let mut killed = false;
            let (mut lines, mut faults) = (Lines::new(self.activities == 1), BTreeMap::new());
            loop {
                match self.output.recv_timeout(LOOK) {
                    // Who says something else than its activities do is no node of ours.
                    Ok(Said::Output(output))
                        if output.index >= self.activities || !matches!(output.fd, 1 | 2) => {}
                    Ok(Said::Output(output)) => {
                        lines.whole(output, Instant::now()).into_iter().for_each(&mut take);
                    }
                    Ok(Said::Fault(index, fault)) => {
                        if index < self.activities {
                            faults.entry((index, fault.from)).or_insert(fault);
                        }
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                    Err(RecvTimeoutError::Timeout) => {}
                }
                lines.silent(Instant::now()).into_iter().for_each(&mut take);
                if !killed && unwanted() {
                    killed = true;
                    // If it ended meanwhile, so much the better.
                    let _ = block_on(client.ask_tasks(&Request::Kill { task_force: id }));
                }
            }
            lines.last().for_each(&mut take);
            match ended.join().map_err(|_| RunError::Unexpected)?? {
                Reply::Ended(task_force) => Ok(Finished { task_force, faults }),
                _ => Err(RunError::Unexpected),
            }
        })
    }
}

/// Longest part of a line that is kept back.
const LONG_LINE: usize = 64 * 1024;

/// Puts lines together again that activities write in pieces, so that those of
/// different activities do not mix.
struct Lines {
    /// There is one activity: nothing can get into its standard output.
    single: bool,
    /// By activity and descriptor, with the time of the last piece.
    parts: BTreeMap<(u16, u8), (Vec<u8>, Instant)>,
}

impl Lines {
    fn new(single: bool) -> Self {
        Self { single, parts: BTreeMap::new() }
    }

    /// The whole lines that there are with this piece.
    fn whole(&mut self, output: Output, now: Instant) -> Option<Output> {
        if self.single && output.fd == 1 {
            return Some(output);
        }
        let Output { index, fd, bytes } = output;
        let (line, last) = self.parts.entry((index, fd)).or_insert_with(|| (Vec::new(), now));
        line.extend_from_slice(&bytes);
        *last = now;
        let end = match line.iter().rposition(|&byte| byte == b'\n') {
            Some(last) => last + 1,
            None if line.len() > LONG_LINE => line.len(),
            None => return None,
        };
        let rest = line.split_off(end);
        Some(Output { index, fd, bytes: std::mem::replace(line, rest) })
    }

    /// Parts of which nothing more came for a while.
    fn silent(&mut self, now: Instant) -> Vec<Output> {
        let is_over =
            |_: &(u16, u8), (_, last): &mut (Vec<u8>, Instant)| now.duration_since(*last) >= SILENCE;
        let parts = self.parts.extract_if(.., is_over).filter(|(_, (bytes, _))| !bytes.is_empty());
        parts.map(|((index, fd), (bytes, _))| Output { index, fd, bytes }).collect()
    }

    /// What is left at the end. What somebody was about to say on standard
    /// error when it was ended becomes a line: more is said there.
    fn last(self) -> impl Iterator<Item = Output> {
        let rest = self.parts.into_iter().filter(|(_, (bytes, _))| !bytes.is_empty());
        rest.map(|((index, fd), (mut bytes, _))| {
            if fd == 2 {
                bytes.push(b'\n');
            }
            Output { index, fd, bytes }
        })
    }
}

impl Drop for Started<'_> {
    fn drop(&mut self) {
        self.client.streams.held().remove(&self.stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(index: u16, text: &str) -> Output {
        Output { index, fd: 1, bytes: text.into() }
    }

    #[test]
    fn pieces_of_lines_wait_for_the_rest() {
        let (mut lines, now) = (Lines::new(false), Instant::now());
        assert_eq!(lines.whole(piece(0, "one "), now), None);
        assert_eq!(lines.whole(piece(1, "two\nand "), now), Some(piece(1, "two\n")));
        assert_eq!(lines.whole(piece(0, "line\n"), now), Some(piece(0, "one line\n")));
        assert_eq!(lines.silent(now + SILENCE / 2), []);
        assert_eq!(lines.whole(piece(2, "or "), now + SILENCE / 2), None);
        assert_eq!(lines.silent(now + SILENCE), [piece(1, "and ")]);
        assert_eq!(lines.silent(now + 2 * SILENCE), [piece(2, "or ")]);
        assert_eq!(lines.whole(Output { index: 0, fd: 2, bytes: b"oh".into() }, now), None);
        let long = "x".repeat(LONG_LINE + 1);
        assert_eq!(lines.whole(piece(0, &long), now), Some(piece(0, &long)));
        assert_eq!(lines.last().collect::<Vec<_>>(), [Output { index: 0, fd: 2, bytes: b"oh\n".into() }]);
    }

    #[test]
    fn what_a_single_activity_prints_waits_for_nothing() {
        let mut lines = Lines::new(true);
        assert_eq!(lines.whole(piece(0, "your name? "), Instant::now()), Some(piece(0, "your name? ")));
        let complaint = Output { index: 0, fd: 2, bytes: b"what".into() };
        assert_eq!(lines.whole(complaint, Instant::now()), None);
    }
}
