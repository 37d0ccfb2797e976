//! Pipes of a program on the host, where it is a task force of one.

use cyanea::pipe::{Name, OpenError, ReceiveError, Receiver, SendError, Sender};
use std::time::Duration;

fn pipe() -> (Receiver, Sender) {
    let receiver = Receiver::new();
    let sender = Sender::open(receiver.name()).unwrap();
    (receiver, sender)
}

#[test]
fn threads_send_whole_messages_in_order() {
    let receiver = Receiver::new();
    let senders: Vec<Sender> = (0..4).map(|_| Sender::open(receiver.name()).unwrap()).collect();
    let threads = senders.into_iter().zip(0u8..).map(|(sender, id)| {
        std::thread::spawn(move || {
            (0..500u16)
                .for_each(|n| sender.send(&[&[id][..], &n.to_le_bytes(), &[id; 1000]].concat()).unwrap());
        })
    });
    let threads: Vec<_> = threads.collect();
    let mut next = [0u16; 4];
    while let Ok(message) = receiver.receive() {
        let id = message.body[0];
        assert_eq!(message.body[1..3], next[usize::from(id)].to_le_bytes());
        assert_eq!(message.body[3..], [id; 1000]);
        next[usize::from(id)] += 1;
    }
    assert_eq!(next, [500; 4]);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_full_pipe_pushes_back_and_goes_on_when_it_is_read() {
    let (receiver, sender) = pipe();
    let sent = std::iter::repeat_with(|| sender.try_send(&[0; 1000])).take_while(Result::is_ok).count();
    assert!((64..=132).contains(&sent), "{sent}");
    assert_eq!(sender.try_send(&[0; 1000]), Err(SendError::WouldBlock));
    let waits = std::thread::spawn(move || sender.send(&[1; 1000]));
    (0..sent).for_each(|_| assert_eq!(receiver.receive().unwrap().body, [0; 1000]));
    assert_eq!(receiver.receive().unwrap().body, [1; 1000]);
    assert_eq!(waits.join().unwrap(), Ok(()));
}

#[test]
fn closing_either_end_is_known_at_the_other() {
    let (receiver, sender) = pipe();
    sender.send(b"last").unwrap();
    sender.close();
    assert_eq!(receiver.receive().unwrap().body, b"last");
    assert_eq!(receiver.receive(), Err(ReceiveError::Ended));
    let (receiver, sender) = pipe();
    let name = receiver.name();
    while sender.try_send(&[0; 1000]).is_ok() {}
    let waits = std::thread::spawn(move || sender.send(&[0; 1000]));
    receiver.close();
    assert_eq!(waits.join().unwrap(), Err(SendError::Closed));
    assert_eq!(Sender::open(name).err(), Some(OpenError::NoSuchPipe));
    assert_eq!(Sender::open(Name::from_bytes([7; 16])).err(), Some(OpenError::NoSuchPipe));
}

#[test]
fn sizes_are_limited_and_told() {
    let (receiver, sender) = pipe();
    assert_eq!(sender.send(&[0; cyanea::MAX_MESSAGE + 1]), Err(SendError::TooLong));
    sender.send(&[1; cyanea::MAX_MESSAGE]).unwrap();
    let mut buffer = vec![0; cyanea::MAX_MESSAGE];
    let too_small = receiver.receive_into(&mut buffer[1..]);
    assert_eq!(too_small, Err(ReceiveError::TooSmall(cyanea::MAX_MESSAGE)));
    assert_eq!(receiver.receive_into(&mut buffer).map(|(_, size)| size), Ok(cyanea::MAX_MESSAGE));
    assert_eq!(receiver.try_receive_into(&mut buffer), Err(ReceiveError::WouldBlock));
}

#[test]
fn one_waits_for_several_and_for_a_time() {
    let ((first, to_first), (second, to_second)) = (pipe(), pipe());
    let both = [&first, &second];
    assert_eq!(cyanea::wait(&both, Some(Duration::from_millis(5))), []);
    assert_eq!(first.receive_timeout(Duration::from_millis(5)), Err(ReceiveError::WouldBlock));
    let waits = std::thread::spawn(move || to_second.send(b"x"));
    assert_eq!(cyanea::wait(&both, None), [1]);
    waits.join().unwrap().unwrap();
    to_first.close();
    assert_eq!(cyanea::wait(&both, None), [0, 1]);
}
