//! Pipes within one process, which is one activity.
//!
//! The mailbox ends when nothing is in it: there are no others who could send.

use super::Host;
use crate::pipe::{Access, Message, NAME_BYTES, OpenError, Origin, ReceiveError, SendError};
use crate::system::{MAILBOX, Pipes};
use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Most bytes of a sending end that may be unread.
const WINDOW: usize = 128 * 1024;

/// The only activity there is.
const SELF: Origin = Origin { task_force: 0, activity: 0 };

#[derive(Default)]
struct Table {
    pipes: HashMap<u64, Pipe>,
    senders: HashMap<u64, Sender>,
    last: u64,
}

#[derive(Default)]
struct Pipe {
    /// Each with the number of the sending end.
    messages: VecDeque<(u64, Vec<u8>)>,
    /// Open sending ends.
    senders: usize,
    /// There has been one.
    opened: bool,
}

struct Sender {
    pipe: u64,
    unread: usize,
}

static TABLE: Mutex<Option<Table>> = Mutex::new(None);
static CHANGED: Condvar = Condvar::new();

/// Looks at the table, or changes it.
fn with<T>(use_it: impl FnOnce(&mut Table) -> T) -> T {
    let result = use_it(locked().get_or_insert_default());
    CHANGED.notify_all();
    result
}

fn locked() -> MutexGuard<'static, Option<Table>> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tries until it succeeds or the timeout has passed; then `None`.
fn until<T>(timeout: Option<Duration>, mut attempt: impl FnMut(&mut Table) -> Option<T>) -> Option<T> {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut table = locked();
    loop {
        if let Some(done) = attempt(table.get_or_insert_default()) {
            CHANGED.notify_all();
            return Some(done);
        }
        let rest = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        table = match rest {
            Some(Duration::ZERO) => return None,
            Some(rest) => CHANGED.wait_timeout(table, rest).unwrap_or_else(PoisonError::into_inner).0,
            None => CHANGED.wait(table).unwrap_or_else(PoisonError::into_inner),
        };
    }
}

/// Puts a message into the mailbox.
pub(super) fn send_to_mailbox(body: &[u8]) {
    with(|table| {
        let mailbox = table.pipes.entry(MAILBOX).or_default();
        mailbox.opened = true;
        mailbox.messages.push_back((0, body.to_vec()));
    });
}

impl Table {
    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// The next message of at most `most` bytes. `None` if it may yet come.
    fn take(&mut self, receiver: u64, most: usize) -> Option<Result<Vec<u8>, ReceiveError>> {
        let Some(pipe) = self.pipes.get_mut(&receiver) else { return Some(Err(ReceiveError::Ended)) };
        match pipe.messages.front() {
            Some((_, body)) if body.len() > most => return Some(Err(ReceiveError::TooSmall(body.len()))),
            None if pipe.opened && pipe.senders == 0 => return Some(Err(ReceiveError::Ended)),
            _ => {}
        }
        let (sender, body) = pipe.messages.pop_front()?;
        if let Some(sender) = self.senders.get_mut(&sender) {
            sender.unread -= body.len();
        }
        Some(Ok(body))
    }

    fn is_ready(&self, receiver: u64) -> bool {
        let pipe = self.pipes.get(&receiver);
        pipe.is_none_or(|pipe| !pipe.messages.is_empty() || (pipe.opened && pipe.senders == 0))
    }

    /// Puts a message into a pipe. `None` if it is full.
    fn put(&mut self, number: u64, body: &[u8]) -> Option<Result<(), SendError>> {
        let Some(sender) = self.senders.get_mut(&number) else { return Some(Err(SendError::Closed)) };
        let Some(pipe) = self.pipes.get_mut(&sender.pipe) else { return Some(Err(SendError::Closed)) };
        if sender.unread > 0 && sender.unread + body.len() > WINDOW {
            return None;
        }
        sender.unread += body.len();
        pipe.messages.push_back((number, body.to_vec()));
        Some(Ok(()))
    }
}

impl Pipes for Host {
    fn create(&self, _: Access) -> u64 {
        with(|table| {
            let number = table.number();
            table.pipes.insert(number, Pipe::default());
            number
        })
    }

    fn name(&self, receiver: u64) -> [u8; NAME_BYTES] {
        let mut name = [0; NAME_BYTES];
        name[..8].copy_from_slice(&receiver.to_le_bytes());
        name
    }

    fn receive(&self, receiver: u64, timeout: Option<Duration>) -> Result<Message, ReceiveError> {
        let taken = until(timeout, |table| table.take(receiver, usize::MAX));
        taken.ok_or(ReceiveError::WouldBlock)?.map(|body| Message { from: SELF, body })
    }

    fn receive_into(
        &self,
        receiver: u64,
        buffer: &mut [u8],
        timeout: Option<Duration>,
    ) -> Result<(Origin, usize), ReceiveError> {
        let taken = until(timeout, |table| table.take(receiver, buffer.len()));
        let body = taken.ok_or(ReceiveError::WouldBlock)??;
        buffer[..body.len()].copy_from_slice(&body);
        Ok((SELF, body.len()))
    }

    fn close_receiver(&self, receiver: u64) {
        with(|table| table.pipes.remove(&receiver));
    }

    fn wait(&self, receivers: &[u64], timeout: Option<Duration>) -> Vec<usize> {
        until(timeout, |table| {
            let ready = (0..receivers.len()).filter(|&index| table.is_ready(receivers[index]));
            Some(ready.collect::<Vec<_>>()).filter(|ready| !ready.is_empty())
        })
        .unwrap_or_default()
    }

    fn open(&self, name: [u8; NAME_BYTES]) -> Result<u64, OpenError> {
        with(|table| {
            let (low, high) = name.split_at(8);
            let pipe = low.try_into().map_or(0, u64::from_le_bytes);
            let known = pipe != MAILBOX && high.iter().all(|&byte| byte == 0);
            let opened = table.pipes.get_mut(&pipe).filter(|_| known).ok_or(OpenError::NoSuchPipe)?;
            opened.senders += 1;
            opened.opened = true;
            let number = table.number();
            table.senders.insert(number, Sender { pipe, unread: 0 });
            Ok(number)
        })
    }

    fn send_through(&self, sender: u64, body: &[u8], wait: bool) -> Result<(), SendError> {
        if body.len() > crate::MAX_MESSAGE {
            return Err(SendError::TooLong);
        }
        let timeout = (!wait).then_some(Duration::ZERO);
        until(timeout, |table| table.put(sender, body)).unwrap_or(Err(SendError::WouldBlock))
    }

    fn close_sender(&self, sender: u64) {
        with(|table| {
            let closed = table.senders.remove(&sender);
            if let Some(pipe) = closed.and_then(|sender| table.pipes.get_mut(&sender.pipe)) {
                pipe.senders -= 1;
            }
        });
    }
}
