//! What holds of a pipe, one rule at a time.

use super::anybody;
use super::network::{Network, incarnation};
use crate::executor::lock;
use crate::pipe::wire::{self, Kind, Slot};
use crate::pipe::*;
use crate::protocol::tasks::TaskForceId;
use crate::protocol::{Peer, encode};
use std::future::{Future, pending, ready};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

const TASK_FORCE: TaskForceId = TaskForceId(7);

fn activity(index: u16) -> Option<Activity> {
    Some((TASK_FORCE, index))
}

/// Opens a sending end from a VM and lets everything happen for it.
fn open(network: &Network, vm: usize, home: usize, target: Target, index: u16) -> Result<Sender, OpenError> {
    let result = Arc::new(Mutex::new(None));
    let (pipes, opened) = (network.pipes[vm].clone(), result.clone());
    network.spawn(vm, async move {
        *lock(&opened) = Some(pipes.open_at(incarnation(home), target, activity(index)).await);
    });
    network.settle();
    lock(&result).take().expect("it is opened or refused")
}

fn target(receiver: &Receiver) -> Target {
    Target::Pipe(receiver.name().number, receiver.name().generation)
}

/// A pipe at VM 0 with a sending end at `vm`.
fn pipe_from(network: &Network, vm: usize) -> (Receiver, Sender) {
    let receiver = network.pipes[0].create(anybody());
    let sender = open(network, vm, 0, target(&receiver), 3).unwrap();
    (receiver, sender)
}

fn poll<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_message_arrives_with_its_senders_name() {
    for vm in [0, 1] {
        let network = Network::new(2, 10);
        let (receiver, sender) = pipe_from(&network, vm);
        assert_eq!(receiver.try_receive().unwrap_err(), ReceiveError::WouldBlock);
        sender.try_send(b"hello").unwrap();
        network.settle();
        let message = receiver.try_receive().unwrap();
        assert_eq!(message.body, b"hello");
        assert_eq!(message.origin, Origin { vm: incarnation(vm), activity: activity(3) });
        drop(sender);
        network.settle();
        assert_eq!(receiver.try_receive().unwrap_err(), ReceiveError::Ended);
        assert_eq!(network.pipes[0].counters(Peer(vm as u16)), Counters::default());
    }
}

#[test]
fn a_full_pipe_pushes_back_on_its_sender_alone() {
    let network = Network::new(3, 10_000);
    let (receiver, flood) = pipe_from(&network, 1);
    let other = open(&network, 2, 0, target(&receiver), 4).unwrap();
    let mut sent = 0;
    while flood.try_send(&[0; 1000]) == Ok(()) {
        sent += 1;
    }
    assert_eq!(sent, WINDOW / (1000 + OVERHEAD));
    assert_eq!(flood.try_send(&[0; 1000]), Err(SendError::WouldBlock));
    assert!(poll(flood.send(&[0; 1000])).is_pending());
    other.try_send(b"not held up").unwrap();
    network.settle();
    for _ in 0..sent {
        assert_eq!(receiver.try_receive().unwrap().body.len(), 1000);
    }
    assert_eq!(receiver.try_receive().unwrap().body, b"not held up");
    network.settle();
    assert_eq!(poll(flood.send(&[0; 1000])), Poll::Ready(Ok(())));
}

/// Messages of the greatest length that a window has room for.
const IN_A_WINDOW: usize = WINDOW as usize / MAX_MESSAGE;

#[test]
fn a_waiting_sender_goes_on_when_the_reader_reads_and_ends_when_it_closes() {
    let network = Network::new(2, 10_000);
    let (receiver, sender) = pipe_from(&network, 1);
    let told = Arc::new(Mutex::new((0, None)));
    let tells = told.clone();
    network.spawn(1, async move {
        loop {
            match sender.send(&[1; MAX_MESSAGE]).await {
                Ok(()) => lock(&tells).0 += 1,
                Err(error) => return lock(&tells).1 = Some(error),
            }
        }
    });
    network.settle();
    assert_eq!(lock(&told).0, IN_A_WINDOW);
    for _ in 0..10 {
        receiver.try_receive().unwrap();
        network.settle();
    }
    assert_eq!(*lock(&told), (10 + IN_A_WINDOW, None));
    drop(receiver);
    network.settle();
    assert_eq!(lock(&told).1, Some(SendError::Closed));
    assert_eq!((network.pipes[0].ends(), network.pipes[1].ends()), ((0, 0, 0), (0, 0, 0)));
}

#[test]
fn a_long_message_is_not_overtaken_by_short_ones_for_ever() {
    let network = Network::new(2, 10_000);
    let (receiver, sender) = pipe_from(&network, 1);
    while sender.try_send(&[0; 1000]).is_ok() {}
    let mut long = pin!(sender.send(&[1; MAX_MESSAGE]));
    assert!(poll(long.as_mut()).is_pending());
    let mut read = 0;
    while poll(long.as_mut()).is_pending() {
        network.settle();
        // What is read gives short ones room, but they come later.
        assert_eq!(sender.try_send(&[0; 1000]), Err(SendError::WouldBlock));
        assert_eq!(receiver.try_receive().unwrap().body.len(), 1000);
        read += 1;
        assert!(read < 200, "the long message waits for ever");
    }
    assert_eq!(sender.try_send(&[]), Ok(()));
}

#[test]
fn deaths_are_errors_on_both_sides() {
    let network = Network::new(3, 10);
    let (receiver, sender) = pipe_from(&network, 1);
    let survivor = open(&network, 2, 0, target(&receiver), 4).unwrap();
    sender.try_send(b"last words").unwrap();
    sender.try_send(b"never complete").unwrap();
    network.kill(1, 1);
    assert_eq!(receiver.try_receive().unwrap().body, b"last words");
    let lost = Origin { vm: incarnation(1), activity: activity(3) };
    assert_eq!(receiver.try_receive().unwrap_err(), ReceiveError::SenderDied(lost));
    assert_eq!(receiver.try_receive().unwrap_err(), ReceiveError::WouldBlock);
    network.kill(0, 0);
    assert_eq!(survivor.try_send(b"?"), Err(SendError::PeerDied));
    assert_eq!(poll(survivor.send(b"?")), Poll::Ready(Err(SendError::PeerDied)));
    let late = open(&network, 2, 0, target(&receiver), 4);
    assert_eq!(late.err(), Some(OpenError::PeerDied));
}

#[test]
fn a_name_that_is_no_longer_true_is_an_error() {
    let network = Network::new(2, 10);
    let receiver = network.pipes[0].create(anybody());
    let old = target(&receiver);
    drop(receiver);
    let _new = network.pipes[0].create(anybody());
    for wrong in [old, Target::Pipe(99, 1), Target::Mailbox(TASK_FORCE, 0)] {
        assert_eq!(open(&network, 1, 0, wrong, 0).err(), Some(OpenError::NoSuchPipe));
    }
    assert_eq!(network.pipes[0].counters(Peer(1)).no_such_pipe, 3);
}

#[test]
fn the_owner_says_who_may_send() {
    let network = Network::new(2, 10);
    let admit = |origin: &Origin| match origin.activity == activity(5) && origin.vm == incarnation(1) {
        true => Admission::Holds,
        false => Admission::Refused,
    };
    let receiver = network.pipes[0].create(Box::new(admit));
    assert!(open(&network, 1, 0, target(&receiver), 5).is_ok());
    assert_eq!(open(&network, 1, 0, target(&receiver), 4).err(), Some(OpenError::NotAllowed));
    assert_eq!(open(&network, 0, 0, target(&receiver), 5).err(), Some(OpenError::NotAllowed));
    assert_eq!(network.pipes[0].counters(Peer(1)).not_allowed, 1);
}

#[test]
fn a_buffer_that_is_too_small_leaves_the_message() {
    let network = Network::new(2, 10);
    let (receiver, sender) = pipe_from(&network, 1);
    sender.try_send(b"twelve bytes").unwrap();
    network.settle();
    let mut buffer = [0; 12];
    assert_eq!(receiver.try_receive_into(&mut buffer[..11]), Err(ReceiveError::TooSmall(12)));
    let (origin, length) = receiver.try_receive_into(&mut buffer).unwrap();
    assert_eq!((origin.activity, &buffer[..length]), (activity(3), &b"twelve bytes"[..]));
}

#[test]
fn the_longest_message_passes_and_no_longer_one() {
    let network = Network::new(2, 10);
    let (receiver, sender) = pipe_from(&network, 1);
    assert_eq!(sender.try_send(&[0; MAX_MESSAGE + 1]), Err(SendError::TooLong));
    sender.try_send(&[1; MAX_MESSAGE]).unwrap();
    network.settle();
    assert_eq!(receiver.try_receive().unwrap().body, [1; MAX_MESSAGE]);
}

#[test]
fn a_mailbox_ends_when_it_is_sealed_and_nobody_holds_it() {
    let network = Network::new(2, 10);
    let admit = |origin: &Origin| match origin.vm == incarnation(0) {
        true => Admission::Passes,
        false => Admission::Holds,
    };
    let mailbox = network.pipes[0].create_mailbox((TASK_FORCE, 0), Box::new(admit)).unwrap();
    assert!(network.pipes[0].create_mailbox((TASK_FORCE, 0), anybody()).is_none());
    let own = open(&network, 0, 0, Target::Mailbox(TASK_FORCE, 0), 0).unwrap();
    let other = open(&network, 1, 0, Target::Mailbox(TASK_FORCE, 0), 1).unwrap();
    drop(other);
    network.settle();
    assert_eq!(mailbox.try_receive().unwrap_err(), ReceiveError::WouldBlock);
    let other = open(&network, 1, 0, Target::Mailbox(TASK_FORCE, 0), 1).unwrap();
    mailbox.seal();
    other.try_send(b"still under way").unwrap();
    drop(other);
    assert_eq!(mailbox.try_receive().unwrap_err(), ReceiveError::WouldBlock);
    network.settle();
    assert_eq!(mailbox.try_receive().unwrap().body, b"still under way");
    assert_eq!(mailbox.try_receive().unwrap_err(), ReceiveError::Ended);
    own.try_send(b"to myself").unwrap();
    assert_eq!(mailbox.try_receive().unwrap().body, b"to myself");
    assert_eq!(mailbox.try_receive().unwrap_err(), ReceiveError::Ended);
}

#[test]
fn one_waits_for_several_pipes_and_a_timer() {
    let network = Network::new(2, 10);
    let ((first, to_first), (second, to_second)) = (pipe_from(&network, 1), pipe_from(&network, 1));
    let both: [&dyn Event; 2] = [&first, &second];
    assert_eq!(poll(wait_any(&both, ready(()))), Poll::Ready(vec![]));
    let mut waiting = pin!(wait_any(&both, pending()));
    assert!(poll(waiting.as_mut()).is_pending());
    to_second.try_send(b"x").unwrap();
    network.settle();
    assert_eq!(poll(waiting), Poll::Ready(vec![1]));
    drop(to_first);
    network.settle();
    assert_eq!(poll(wait_any(&both, pending())), Poll::Ready(vec![0, 1]), "an end is an event");
}

#[test]
fn an_open_that_is_given_up_leaves_nothing() {
    let network = Network::new(2, 10);
    let receiver = network.pipes[0].create(anybody());
    {
        let mut opening = pin!(network.pipes[1].open(receiver.name(), activity(1)));
        assert!(poll(opening.as_mut()).is_pending());
    }
    network.settle();
    assert_eq!((network.pipes[0].ends(), network.pipes[1].ends()), ((1, 0, 0), (0, 0, 0)));
    assert_eq!(receiver.try_receive().unwrap_err(), ReceiveError::Ended);
}

#[test]
fn a_send_that_is_given_up_sends_nothing_and_costs_nothing() {
    let network = Network::new(2, 1);
    let (receiver, sender) = pipe_from(&network, 1);
    sender.try_send(b"first").unwrap();
    for _ in 0..1000 {
        assert!(poll(sender.send(&[0; 1000])).is_pending(), "the link is full");
    }
    network.settle();
    assert_eq!(receiver.try_receive().unwrap().body, b"first");
    sender.try_send(&[1; 1000]).unwrap();
    network.settle();
    assert_eq!(receiver.try_receive().unwrap().body, [1; 1000]);
}

#[test]
fn a_pipe_has_only_so_many_sending_ends() {
    let network = Network::new(3, 10);
    let receiver = network.pipes[0].create(anybody());
    let open = |vm, index| open(&network, vm, 0, target(&receiver), index);
    let mut ends: Vec<_> = (0..MAX_SENDERS_OF_ONE).map(|_| open(1, 0).unwrap()).collect();
    assert_eq!(open(1, 0).err(), Some(OpenError::TooMany));
    ends.extend((MAX_SENDERS_OF_ONE..MAX_SENDERS).map(|index| open(1, index as u16).unwrap()));
    assert_eq!(open(2, 0).err(), Some(OpenError::TooMany));
    assert_eq!(network.pipes[0].counters(Peer(2)).too_many, 1);
    drop(ends);
    network.settle();
    assert!(open(2, 0).is_ok());
}

#[test]
fn who_opens_and_closes_fills_no_more_than_who_keeps_open() {
    let network = Network::new(2, 1000);
    let receiver = network.pipes[0].create(anybody());
    let send_one = || {
        let sender = open(&network, 1, 0, target(&receiver), 1)?;
        sender.try_send(&[0; MAX_MESSAGE]).unwrap();
        drop(sender);
        network.settle();
        Ok(())
    };
    (0..MAX_SENDERS_OF_ONE).for_each(|_| send_one().unwrap());
    assert_eq!(send_one(), Err(OpenError::TooMany));
    receiver.try_receive().unwrap();
    assert_eq!(send_one(), Ok(()));
}

#[test]
fn a_sender_that_ignores_its_credit_loses_its_end() {
    let network = Network::new(2, 10);
    let (receiver, _sender) = pipe_from(&network, 1);
    let word = wire::word(Kind::Data, 0, 1);
    for _ in 0..10 {
        network.pipes[0].take(incarnation(1), 0, word, vec![0; MAX_MESSAGE].into());
    }
    assert_eq!(network.pipes[0].counters(Peer(1)).overrun, 1);
    assert_eq!(network.pipes[0].ends(), (1, 0, 0));
    (0..IN_A_WINDOW).for_each(|_| _ = receiver.try_receive().unwrap());
    assert_eq!(receiver.try_receive().unwrap_err(), ReceiveError::Ended);
}

#[test]
fn nobody_sends_through_another_vms_end() {
    let network = Network::new(3, 10);
    let (receiver, sender) = pipe_from(&network, 1);
    let forger = incarnation(2);
    for kind in [Kind::Data, Kind::Close, Kind::Credit, Kind::Closed, Kind::Refused] {
        network.pipes[0].take(forger, 0, wire::word(kind, 0, 1), vec![1].into());
        network.pipes[1].take(forger, 0, wire::word(kind, 0, 1), vec![1].into());
    }
    network.pipes[0].take(forger, 0, 0, vec![].into());
    network.pipes[0].take(forger, 0, wire::word(Kind::Open, 0, 0), vec![255; 3].into());
    let nowhere = encode(&Slot { index: 5, generation: 5 });
    network.pipes[1].take(forger, 0, wire::word(Kind::Opened, 9, 1), nowhere.into());
    assert_eq!(
        network.pipes[0].counters(Peer(2)),
        Counters { malformed: 2, stale: 5, ..Counters::default() }
    );
    assert_eq!(receiver.try_receive().unwrap_err(), ReceiveError::WouldBlock);
    sender.try_send(b"still mine").unwrap();
    network.settle();
    assert_eq!(receiver.try_receive().unwrap().body, b"still mine");
}
