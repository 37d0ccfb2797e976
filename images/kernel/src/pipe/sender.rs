//! The sending end of a pipe.
//!
//! It may send what it has credit for; who waits for credit waits in line, so
//! that a long message is not held up by short ones for ever. Credit that is
//! taken for a message that then is not sent is put back: no message is half
//! sent, whenever the future that sends it is given up.

use super::MAX_MESSAGE;
use super::pipes::Pipes;
use super::receiver::cost;
use super::wire::{self, Kind, Refusal, Slot};
use crate::executor::lock;
use crate::protocol::Incarnation;
use crate::waiters::Waiters;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// As much as the pipe takes of this sender is unread.
    WouldBlock,
    /// The message has more than [`MAX_MESSAGE`] bytes.
    TooLong,
    /// The reading end was closed.
    Closed,
    /// The pipe's VM died. What was sent and not read is lost.
    PeerDied,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WouldBlock => write!(f, "the pipe is full"),
            Self::TooLong => write!(f, "the message has more than {MAX_MESSAGE} bytes"),
            Self::Closed => write!(f, "the reading end of the pipe is closed"),
            Self::PeerDied => write!(f, "the pipe's VM died"),
        }
    }
}

impl std::error::Error for SendError {}

/// Why no sending end was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// There is no such pipe, or no longer.
    NoSuchPipe,
    /// The pipe is not for this sender.
    NotAllowed,
    /// The pipe has too many sending ends, or too many of this sender's.
    TooMany,
    /// The pipe's VM is dead.
    PeerDied,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchPipe => "there is no such pipe, or it has been closed",
            Self::NotAllowed => "the pipe is not open to this sender",
            Self::TooMany => "the pipe has too many sending ends; close or share some",
            Self::PeerDied => "the pipe's VM is dead",
        })
    }
}

impl std::error::Error for OpenError {}

impl From<Refusal> for OpenError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoSuchPipe => Self::NoSuchPipe,
            Refusal::NotAllowed => Self::NotAllowed,
            Refusal::TooMany => Self::TooMany,
        }
    }
}

/// A sending end, at the sender's VM.
pub(super) struct Outlet {
    /// The pipe's VM.
    pub(super) home: Incarnation,
    state: Mutex<State>,
    /// Who waits for credit, by number.
    line: Mutex<VecDeque<u64>>,
    changes: Waiters,
}

#[derive(Clone, Copy)]
enum State {
    /// Asked for.
    Opening,
    /// Refused.
    Refused(OpenError),
    /// What the pipe's VM keeps of it, and the credit.
    Open(Slot, u32),
    /// Nothing more can be sent.
    Over(SendError),
}

impl Outlet {
    pub(super) fn new(home: Incarnation) -> Arc<Self> {
        let (line, changes) = Default::default();
        Arc::new(Self { home, state: Mutex::new(State::Opening), line, changes })
    }

    /// Changes the state; returns what it was.
    fn change(&self, next: impl FnOnce(State) -> State) -> State {
        let before = {
            let mut state = lock(&self.state);
            let before = *state;
            *state = next(before);
            before
        };
        self.changes.wake_all();
        before
    }

    /// It is there; `false` if nobody wants it any more.
    pub(super) fn opened(&self, inlet: Slot, window: u32) -> bool {
        let before = self.change(|state| match state {
            State::Opening => State::Open(inlet, window),
            other => other,
        });
        matches!(before, State::Opening)
    }

    pub(super) fn refused(&self, why: Refusal) {
        self.change(|state| match state {
            State::Opening => State::Refused(why.into()),
            other => other,
        });
    }

    pub(super) fn credit(&self, bytes: u32) {
        self.change(|state| match state {
            State::Open(inlet, credit) => State::Open(inlet, credit.saturating_add(bytes)),
            other => other,
        });
    }

    /// The reading end was closed (if it was open), or its VM died.
    pub(super) fn over(&self, why: SendError) {
        self.change(|state| match state {
            State::Opening if why == SendError::PeerDied => State::Refused(OpenError::PeerDied),
            State::Opening => State::Refused(OpenError::NoSuchPipe),
            State::Open(..) => State::Over(why),
            other => other,
        });
    }

    /// Takes credit for a message: where it goes. Only who is first in line may,
    /// or who is in none if there is none.
    fn take_credit(&self, cost: u32, place: Option<&Place<'_>>) -> Result<Slot, SendError> {
        let is_turn = lock(&self.line).front().copied() == place.map(|place| place.number);
        match &mut *lock(&self.state) {
            State::Open(inlet, credit) if is_turn && *credit >= cost => {
                *credit -= cost;
                Ok(*inlet)
            }
            State::Opening | State::Open(..) => Err(SendError::WouldBlock),
            State::Refused(_) => Err(SendError::Closed),
            State::Over(why) => Err(*why),
        }
    }

    fn queue_up(&self) -> Place<'_> {
        let mut line = lock(&self.line);
        let number = line.back().map_or(0, |last| last + 1);
        line.push_back(number);
        Place { outlet: self, number }
    }

    /// Waits for credit, in line, and takes it.
    async fn credit_in_turn(&self, cost: u32) -> Result<Slot, SendError> {
        let place = self.queue_up();
        loop {
            let seen = self.changes.count();
            match self.take_credit(cost, Some(&place)) {
                Err(SendError::WouldBlock) => self.changes.wait(seen).await,
                result => return result,
            }
        }
    }

    /// Waits until it is open or refused.
    pub(super) async fn settled(&self) -> Result<(), OpenError> {
        loop {
            let seen = self.changes.count();
            match *lock(&self.state) {
                State::Opening => {}
                State::Refused(why) => return Err(why),
                State::Open(..) | State::Over(_) => return Ok(()),
            }
            self.changes.wait(seen).await;
        }
    }

    /// Closes it: what the pipe's VM keeps of it, if that is to be told.
    pub(super) fn close(&self) -> Option<Slot> {
        match self.change(|_| State::Over(SendError::Closed)) {
            State::Open(inlet, _) => Some(inlet),
            _ => None,
        }
    }
}

/// A sending end of a pipe. When it is dropped, it is closed.
pub struct Sender {
    pub(super) pipes: Arc<Pipes>,
    pub(super) outlet: Arc<Outlet>,
    pub(super) slot: Slot,
}

/// A place in the line of those who wait for credit; left when dropped.
struct Place<'a> {
    outlet: &'a Outlet,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        lock(&self.outlet.line).retain(|&number| number != self.number);
        self.outlet.changes.wake_all();
    }
}

/// Credit that goes back unless the message was sent.
struct Refund<'a> {
    outlet: &'a Outlet,
    cost: u32,
}

impl Drop for Refund<'_> {
    fn drop(&mut self) {
        self.outlet.credit(self.cost);
    }
}

impl Sender {
    /// The pipe's VM.
    pub fn home(&self) -> Incarnation {
        self.outlet.home
    }

    /// Sends a message, waiting while the pipe is full for this sender.
    ///
    /// # Errors
    /// See [`SendError`]; never `WouldBlock`.
    pub async fn send(&self, message: &[u8]) -> Result<(), SendError> {
        match self.try_send(message) {
            Err(SendError::WouldBlock) => {}
            sent => return sent,
        }
        let cost = cost(message.len());
        let inlet = self.outlet.credit_in_turn(cost).await?;
        self.send_when_there_is_room(inlet, message, cost).await
    }

    /// Sends a message if that can be done at once.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn try_send(&self, message: &[u8]) -> Result<(), SendError> {
        if message.len() > MAX_MESSAGE {
            return Err(SendError::TooLong);
        }
        let cost = cost(message.len());
        let inlet = self.outlet.take_credit(cost, None)?;
        let refund = Refund { outlet: &self.outlet, cost };
        self.pipes.carry(self.outlet.home, inlet, Kind::Data, 0, message).map_err(error)?;
        std::mem::forget(refund);
        Ok(())
    }

    async fn send_when_there_is_room(&self, inlet: Slot, message: &[u8], cost: u32) -> Result<(), SendError> {
        let refund = Refund { outlet: &self.outlet, cost };
        let word = wire::word(Kind::Data, 0, inlet.generation);
        self.pipes.carry_wait(self.outlet.home, inlet.index, word, message).await.map_err(error)?;
        std::mem::forget(refund);
        Ok(())
    }
}

fn error(why: transport::SendError) -> SendError {
    match why {
        transport::SendError::WouldBlock => SendError::WouldBlock,
        transport::SendError::TooLong => SendError::TooLong,
        transport::SendError::PeerDied | transport::SendError::UnknownPeer => SendError::PeerDied,
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.pipes.close_end(self.slot, &self.outlet);
    }
}
