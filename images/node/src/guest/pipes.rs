//! The calls of programs that are about pipes.

use super::Node;
use crate::activity::Activity;
use cyanea::pipe::{Access, Message, NAME_BYTES, OpenError, Origin, ReceiveError, SendError};
use cyanea::{Error, Pipes};
use futures_util::future::{Either, select};
use kernel::executor::block_on;
use kernel::membership::{Distance, Role};
use kernel::pipe::{self, Event, PipeName, Receiver, Sender, Target, wait_any};
use kernel::protocol::{Incarnation, Peer};
use runtime::thread::handed_over;
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use transport::link::delay::Delay;

/// How long until an activity that is not there yet is looked for again.
const RETRY_NS: u64 = 1_000_000;

/// The last part of a local message's time, in which its sender watches the clock.
const WATCHED_NS: u64 = 100_000;

impl Node {
    /// Ends when the timeout has passed.
    pub(super) async fn timer(&self, timeout: Option<Duration>) {
        let messenger = &self.activities.messenger;
        match timeout.map(|timeout| u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX)) {
            Some(timeout) => messenger.sleep_until(messenger.now_ns().saturating_add(timeout)).await,
            None => pending().await,
        }
    }

    /// Waits for a future on the calling thread; `None` if the activity is to
    /// end before it does.
    pub(super) fn unless_stopped<T>(
        &self,
        activity: &Activity,
        future: impl Future<Output = T>,
    ) -> Option<T> {
        let (future, stopped) = (pin!(future), pin!(activity.until_stopped()));
        match block_on(select(future, stopped)) {
            Either::Left((result, _)) => Some(result),
            Either::Right(_) => None,
        }
    }

    /// Reads from a pipe of the caller's, waiting until that works.
    fn read<T>(
        &self,
        receiver: u64,
        timeout: Option<Duration>,
        mut attempt: impl FnMut(&Receiver) -> Result<T, pipe::ReceiveError>,
    ) -> Result<T, ReceiveError> {
        self.for_program(|activity| {
            let receiver = activity.ends.receiver(receiver).ok_or(ReceiveError::Ended)?;
            match attempt(&receiver) {
                Err(pipe::ReceiveError::WouldBlock) if timeout != Some(Duration::ZERO) => {}
                result => return result.map_err(receive_error),
            }
            let wait = async {
                let mut timer = pin!(self.timer(timeout));
                loop {
                    let events: [&dyn Event; 2] = [&*receiver, &**activity];
                    let ready = wait_any(&events, timer.as_mut()).await;
                    match attempt(&receiver) {
                        Err(pipe::ReceiveError::WouldBlock) if ready == [0] => {}
                        result => return result,
                    }
                }
            };
            block_on(wait).map_err(receive_error)
        })
    }

    /// Sends to the mailbox of an activity of the caller's task force.
    pub(super) fn send_to_member(&self, to: usize, body: &[u8]) -> Result<(), Error> {
        self.for_program(|activity| {
            let sender = match activity.ends.to_member(to) {
                Some(sender) => sender,
                None => {
                    let opened = self.unless_stopped(activity, self.open_to_member(activity, to));
                    opened.unwrap_or(Err(Error::Ended))?
                }
            };
            match self.send_or_wait(activity, &sender, body) {
                Ok(()) => Ok(()),
                Err(SendError::TooLong) => Err(Error::TooLong),
                Err(_) => Err(Error::Ended),
            }
        })
    }

    /// Opens a sending end to a member's mailbox. The member may not have been
    /// started yet.
    async fn open_to_member(&self, activity: &Activity, to: usize) -> Result<Arc<Sender>, Error> {
        let &node = activity.placement.members.get(to).ok_or(Error::NoSuchActivity)?;
        let (task_force, _) = activity.placement.key;
        let messenger = &self.activities.messenger;
        let target = Target::Mailbox(task_force, to as u16);
        loop {
            let own = Some(activity.placement.key);
            match self.activities.pipes.open_at(node, target, own).await {
                Ok(sender) => return Ok(activity.ends.keep_to_member(to, sender)),
                Err(pipe::OpenError::NoSuchPipe | pipe::OpenError::TooMany) if !activity.has_ended(to) => {
                    messenger.sleep_until(messenger.now_ns() + RETRY_NS).await;
                }
                Err(_) => return Err(Error::Ended),
            }
        }
    }

    fn is_node(&self, peer: Peer) -> bool {
        let peers = &self.activities.messenger.membership().description().peers;
        peers.get(usize::from(peer.0)).is_some_and(|peer| peer.role == Role::Node)
    }

    /// Lets a message to an activity of this node take its time, in a machine
    /// whose distances do: no link does that.
    ///
    /// The sender spends it, and for the last part of a longer time it watches
    /// the clock, for no sleep ends so exactly; others run meanwhile.
    fn travel(&self, activity: &Activity, to: Incarnation) {
        let messenger = &self.activities.messenger;
        let delay = messenger.membership().delay(Distance::Local).filter(|_| to == messenger.own());
        let Some(delay_ns) = delay.map(Delay::ns).filter(|&ns| ns > 0) else { return };
        let arrival_ns = messenger.now_ns() + delay_ns;
        if delay_ns > WATCHED_NS {
            self.unless_stopped(activity, messenger.sleep_until(arrival_ns - WATCHED_NS));
        }
        while messenger.now_ns() < arrival_ns {
            std::thread::yield_now();
        }
    }

    fn send_or_wait(&self, activity: &Activity, sender: &Sender, body: &[u8]) -> Result<(), SendError> {
        self.travel(activity, sender.home());
        let sent = match sender.try_send(body) {
            Err(pipe::SendError::WouldBlock) => {
                self.unless_stopped(activity, sender.send(body)).unwrap_or(Err(pipe::SendError::Closed))
            }
            sent => sent,
        };
        sent.map_err(send_error)
    }
}

impl Pipes for Node {
    fn create(&self, access: Access) -> u64 {
        self.for_program(|activity| activity.ends.create(&self.activities.pipes, access))
    }

    fn name(&self, receiver: u64) -> [u8; NAME_BYTES] {
        self.for_program(|activity| {
            let receiver = activity.ends.receiver(receiver);
            receiver.map_or([0; NAME_BYTES], |receiver| receiver.name().to_bytes())
        })
    }

    fn receive(&self, receiver: u64, timeout: Option<Duration>) -> Result<Message, ReceiveError> {
        let receive = |receiver: &Receiver| {
            let pipe::Message { origin, body } = receiver.try_receive()?;
            Ok(Message { from: from(origin), body: handed_over(&body) })
        };
        self.read(receiver, timeout, receive)
    }

    fn receive_into(
        &self,
        receiver: u64,
        buffer: &mut [u8],
        timeout: Option<Duration>,
    ) -> Result<(Origin, usize), ReceiveError> {
        let (origin, bytes) = self.read(receiver, timeout, |end| end.try_receive_into(buffer))?;
        Ok((from(origin), bytes))
    }

    fn close_receiver(&self, receiver: u64) {
        self.for_program(|activity| activity.ends.close_receiver(receiver));
    }

    fn wait(&self, receivers: &[u64], timeout: Option<Duration>) -> Vec<usize> {
        self.for_program(|activity| {
            let ends: Vec<_> = receivers.iter().map(|&receiver| activity.ends.receiver(receiver)).collect();
            // The last event is the activity's own end, for which ends of it are closed.
            let events: Vec<&dyn Event> =
                ends.iter().map(|end| end.as_deref().map_or(&**activity as &dyn Event, |end| end)).collect();
            let events = [events, vec![&**activity]].concat();
            let mut ready = block_on(wait_any(&events, self.timer(timeout)));
            ready.retain(|&index| index < receivers.len());
            handed_over(&ready)
        })
    }

    fn open(&self, name: [u8; NAME_BYTES]) -> Result<u64, OpenError> {
        self.for_program(|activity| {
            let (name, own) = (PipeName::from_bytes(&name), Some(activity.placement.key));
            // Nobody else has pipes of programs, nor answers.
            if !self.is_node(name.home.peer) {
                return Err(OpenError::NoSuchPipe);
            }
            let opening = self.activities.pipes.open(name, own);
            let opened = self.unless_stopped(activity, opening).unwrap_or(Err(pipe::OpenError::NoSuchPipe));
            opened.map(|sender| activity.ends.keep(sender)).map_err(open_error)
        })
    }

    fn send_through(&self, sender: u64, body: &[u8], wait: bool) -> Result<(), SendError> {
        self.for_program(|activity| {
            let sender = activity.ends.sender(sender).ok_or(SendError::Closed)?;
            match wait {
                true => self.send_or_wait(activity, &sender, body),
                false => {
                    self.travel(activity, sender.home());
                    sender.try_send(body).map_err(send_error)
                }
            }
        })
    }

    fn close_sender(&self, sender: u64) {
        self.for_program(|activity| activity.ends.close_sender(sender));
    }
}

/// Whose message it is: only activities are let in.
fn from(origin: pipe::Origin) -> Origin {
    let (task_force, activity) = origin.activity.map_or((0, 0), |(id, index)| (id.0, index.into()));
    Origin { task_force, activity }
}

fn receive_error(error: pipe::ReceiveError) -> ReceiveError {
    match error {
        pipe::ReceiveError::WouldBlock => ReceiveError::WouldBlock,
        pipe::ReceiveError::TooSmall(bytes) => ReceiveError::TooSmall(bytes),
        pipe::ReceiveError::SenderDied(origin) => ReceiveError::SenderDied(from(origin)),
        pipe::ReceiveError::Ended | pipe::ReceiveError::Closed => ReceiveError::Ended,
    }
}

fn send_error(error: pipe::SendError) -> SendError {
    match error {
        pipe::SendError::WouldBlock => SendError::WouldBlock,
        pipe::SendError::TooLong => SendError::TooLong,
        pipe::SendError::Closed => SendError::Closed,
        pipe::SendError::PeerDied => SendError::NodeDied,
    }
}

fn open_error(error: pipe::OpenError) -> OpenError {
    match error {
        pipe::OpenError::NoSuchPipe => OpenError::NoSuchPipe,
        pipe::OpenError::NotAllowed => OpenError::NotAllowed,
        pipe::OpenError::TooMany => OpenError::TooMany,
        pipe::OpenError::PeerDied => OpenError::NodeDied,
    }
}
