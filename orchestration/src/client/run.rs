//! Runs programs as task forces and takes their output.

use super::{Client, Output};
use kernel::executor::block_on;
use kernel::membership::Utility;
use kernel::messenger::CallError;
use kernel::protocol::tasks::{Program, Refusal, Reply, Request, Response, TaskForce, TaskForceId};
use kernel::protocol::{Malformed, Peer, decode, encode};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;
use thiserror::Error;

/// How often it is asked whether a program's output is still wanted.
const LOOK: Duration = Duration::from_millis(100);

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
    /// It answered something else than was asked.
    #[error("tasks answered something else than was asked")]
    Unexpected,
}

/// A task force that was started from the host.
pub struct Started<'a> {
    client: &'a Client,
    id: TaskForceId,
    stream: u64,
    output: Receiver<Output>,
}

impl Client {
    /// Starts a program on `activities` activities.
    ///
    /// # Errors
    /// See [`RunError`].
    pub fn start(&self, program: Program, activities: u16) -> Result<Started<'_>, RunError> {
        let stream = self.messenger.fresh_request();
        let (taker, output) = channel();
        self.streams.held().insert(stream, taker);
        let request = Request::Create { program, activities, output: Peer::LAUNCHER, stream };
        let mut started = Started { client: self, id: TaskForceId(0), stream, output };
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
        let reply = self.messenger.call_utility(Utility::Tasks, &encode(request)).await?;
        Ok(decode::<Response>(&reply)??)
    }
}

impl Started<'_> {
    /// Its name.
    pub fn id(&self) -> TaskForceId {
        self.id
    }

    /// Hands on what the activities write, in order, until all have ended.
    /// Once `unwanted` says so (it is asked every now and then), the task force
    /// is ended.
    ///
    /// # Errors
    /// See [`RunError`].
    pub fn finish(
        self,
        mut take: impl FnMut(Output),
        unwanted: impl Fn() -> bool,
    ) -> Result<TaskForce, RunError> {
        let (client, id) = (self.client, self.id);
        std::thread::scope(|scope| {
            // The end closes the stream, and with it the loop below.
            let ended = scope.spawn(|| {
                let ended = block_on(client.ask_tasks(&Request::Wait { task_force: id }));
                client.streams.held().remove(&self.stream);
                ended
            });
            let mut killed = false;
            loop {
                match self.output.recv_timeout(LOOK) {
                    Ok(output) => take(output),
                    Err(RecvTimeoutError::Disconnected) => break,
                    Err(RecvTimeoutError::Timeout) => {}
                }
                if !killed && unwanted() {
                    killed = true;
                    // If it ended meanwhile, so much the better.
                    let _ = block_on(client.ask_tasks(&Request::Kill { task_force: id }));
                }
            }
            match ended.join().map_err(|_| RunError::Unexpected)?? {
                Reply::Ended(task_force) => Ok(task_force),
                _ => Err(RunError::Unexpected),
            }
        })
    }
}

impl Drop for Started<'_> {
    fn drop(&mut self) {
        self.client.streams.held().remove(&self.stream);
    }
}
