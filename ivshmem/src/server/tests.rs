//! The protocol as QEMU's side of it sees it.

use super::*;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::io::IoSliceMut;

/// One message: a number and perhaps a descriptor, read as QEMU does.
fn receive(socket: &OwnedFd) -> (i64, Option<OwnedFd>) {
    let mut bytes = [0; 8];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::DONTWAIT).unwrap();
    assert_eq!(got.bytes, 8);
    let mut descriptors: Vec<OwnedFd> = control
        .drain()
        .flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(rights) => rights.collect::<Vec<_>>(),
            _ => Vec::new(),
        })
        .collect();
    assert!(descriptors.len() <= 1);
    (i64::from_le_bytes(bytes), descriptors.pop())
}

/// So many messages.
fn receive_all(socket: &OwnedFd, count: usize) -> Vec<(i64, Option<OwnedFd>)> {
    (0..count).map(|_| receive(socket)).collect()
}

fn memory() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC).unwrap()
}

#[test]
fn a_vm_learns_its_id_and_everybodys_bell_its_own_last() {
    let bells = Bells::new(4).unwrap();
    let (mut connection, client) = bells.connect(2).unwrap();
    assert_eq!(connection.greet(memory().as_fd()), Ok(Greeting::Done));

    assert!(matches!(receive(&client), (0, None)));
    assert!(matches!(receive(&client), (2, None)));
    assert!(matches!(receive(&client), (-1, Some(_))));
    for peer in [0, 1, 3, 2] {
        let (number, bell) = receive(&client);
        assert_eq!(number, peer);
        rustix::io::write(bell.unwrap(), &1_u64.to_ne_bytes()).unwrap();
        assert!(bells.silence(peer as u16), "the descriptor is another peer's bell");
        assert!(!bells.silence(peer as u16));
    }
}

#[test]
fn a_vm_started_again_gets_the_same_bells() {
    let bells = Bells::new(2).unwrap();
    for _ in 0..2 {
        let (mut connection, client) = bells.connect(1).unwrap();
        assert_eq!(connection.greet(memory().as_fd()), Ok(Greeting::Done));
        let own = receive_all(&client, 5).pop().unwrap().1.unwrap();
        bells.ring(1);
        assert!(rustix::io::read(own, &mut [0; 8][..]).is_ok());
    }
}

#[test]
fn a_full_socket_blocks_the_greeting_and_nothing_is_lost() {
    let bells = Bells::new(crate::layout::MAX_PEERS).unwrap();
    let (mut connection, client) = bells.connect(9).unwrap();
    rustix::net::sockopt::set_socket_send_buffer_size(&connection, 4096).unwrap();
    let memory = memory();
    let (mut received, mut blocked) = (0, 0);
    while connection.greet(memory.as_fd()).unwrap() == Greeting::Blocked {
        blocked += 1;
        receive(&client);
        received += 1;
    }
    assert!(blocked > 0);
    let rest = 3 + bells.len() - received;
    assert_eq!(receive_all(&client, rest).pop().unwrap().0, 9);
}

#[test]
fn a_client_that_is_gone_is_an_error_and_no_signal() {
    let bells = Bells::new(2).unwrap();
    let (mut connection, client) = bells.connect(1).unwrap();
    drop(client);
    assert_eq!(connection.greet(memory().as_fd()), Err(Errno::PIPE));
}

#[test]
fn ringing_somebody_unknown_has_no_effect() {
    let bells = Bells::new(1).unwrap();
    bells.ring(7);
    assert!(!bells.silence(0));
}
