//! Whose sockets are, and how many there may be.

use super::{ME, local, pair, read};
use crate::Family::V4;
use crate::{Kind, Owner, Socket, Stack};
use kernel::errno::Errno;
use std::sync::Arc;

/// Another owner.
const OTHER: Owner = 2;

/// A stack with memory for the fewest sockets.
fn small() -> Arc<Stack> {
    Stack::new(None, || 7, 0, || 0)
}

/// As many sockets with buffers as this owner may have, and why not more.
fn all(stack: &Arc<Stack>, owner: Owner) -> (Vec<Socket>, Errno) {
    let mut all = Vec::new();
    loop {
        let socket = Socket::new(stack, owner, V4, Kind::Datagram).unwrap();
        match socket.bind(local(0)) {
            Ok(()) => all.push(socket),
            Err(error) => return (all, error),
        }
    }
}

#[test]
fn there_are_no_more_buffers_than_there_is_memory_for() {
    let stack = small();
    let (_first, end) = all(&stack, ME);
    assert_eq!(end, Errno::MFILE);
    let (mut second, end) = all(&stack, OTHER);
    assert_eq!((end, second.is_empty()), (Errno::NOBUFS, false));
    let third = Socket::new(&stack, 3, V4, Kind::Stream).unwrap();
    assert_eq!(third.connect(local(9)), Err(Errno::NOBUFS));
    assert_eq!(third.listen(1), Err(Errno::NOBUFS));
    second.pop();
    assert_eq!(third.listen(1), Ok(()));
}

#[test]
fn one_owner_leaves_others_theirs() {
    let stack = small();
    // What it has, and what waits to be accepted by it.
    let listener = Socket::new(&stack, ME, V4, Kind::Stream).unwrap();
    listener.bind(local(0)).unwrap();
    listener.listen(100).unwrap();
    let mut callers = Vec::new();
    let end = loop {
        let caller = Socket::new(&stack, ME, V4, Kind::Stream).unwrap();
        match caller.connect(listener.local()) {
            Err(Errno::INPROGRESS) => callers.push(caller),
            Err(error) => break error,
            Ok(()) => unreachable!("a call is one attempt"),
        }
    };
    assert_eq!(end, Errno::MFILE);
    assert!(callers.iter().any(|caller| caller.connected() == Ok(())));
    // The other one has what it needs.
    let (_listener, caller, accepted) = super::pair_of(&stack, OTHER);
    caller.send(b"goes on").unwrap();
    assert_eq!(read(&accepted).0, b"goes on");
    // And with room again, so has the first one.
    callers.clear();
    drop(listener);
    let _ = pair(&stack);
}

/// Calls a listener, and is accepted.
fn call(stack: &Arc<Stack>, listener: &Socket) -> Result<(Socket, Socket), Errno> {
    let caller = Socket::new(stack, ME, V4, Kind::Stream).unwrap();
    match caller.connect(listener.local()) {
        Err(Errno::INPROGRESS) => caller.connected().map(|()| (caller, listener.accept().unwrap().0)),
        other => Err(other.err().unwrap()),
    }
}

#[test]
fn what_has_nothing_to_lose_makes_room() {
    let stack = small();
    let listener = Socket::new(&stack, ME, V4, Kind::Stream).unwrap();
    listener.bind(local(0)).unwrap();
    listener.listen(1).unwrap();
    // No time passes, so none of what is closed is over by itself.
    for round in 0..30 {
        let (caller, accepted) = call(&stack, &listener).unwrap();
        match round % 3 {
            0 => drop((caller, accepted)),
            1 => drop((accepted, caller)),
            _ => {
                // The end that was closed waits for the other one.
                drop(accepted);
                assert_eq!(read(&caller), (vec![], Ok(0)));
            }
        }
    }
    // What has is not touched.
    let mut callers = Vec::new();
    let end = loop {
        match call(&stack, &listener) {
            Ok((caller, accepted)) => {
                let mut sent = 0;
                while let Ok(taken) = accepted.send(&[7; 1000]) {
                    sent += taken;
                }
                callers.push((caller, sent));
            }
            Err(error) => break error,
        }
    };
    assert!([Errno::CONNREFUSED, Errno::MFILE].contains(&end) && callers.len() > 3, "{end:?}");
    for (caller, sent) in callers {
        let (got, end) = read(&caller);
        assert_eq!((got.len(), end), (sent, Ok(0)));
    }
}

#[test]
fn what_one_has_closed_makes_room_for_others() {
    let stack = small();
    let listener = Socket::new(&stack, ME, V4, Kind::Stream).unwrap();
    listener.bind(local(0)).unwrap();
    listener.listen(1).unwrap();
    (0..30).for_each(|_| drop(call(&stack, &listener).unwrap()));
    let (others, end) = all(&stack, OTHER);
    assert_eq!((others.len(), end), (12, Errno::MFILE));
}

#[test]
fn sockets_without_buffers_are_shared_as_well() {
    let stack = Stack::new(None, || 7, 1 << 30, || 0);
    let first: Vec<_> = std::iter::from_fn(|| Socket::new(&stack, ME, V4, Kind::Stream).ok()).collect();
    assert_eq!(first.len(), 768);
    assert_eq!(Socket::new(&stack, ME, V4, Kind::Stream).err(), Some(Errno::MFILE));
    assert!(Socket::new(&stack, OTHER, V4, Kind::Stream).is_ok());
}

#[test]
fn whoever_cannot_be_accepted_waits() {
    let stack = Stack::new(None, || 7, 1 << 30, || 0);
    let listener = Socket::new(&stack, ME, V4, Kind::Stream).unwrap();
    listener.listen(8).unwrap();
    let mut rest: Vec<_> = std::iter::from_fn(|| Socket::new(&stack, ME, V4, Kind::Stream).ok()).collect();
    let caller = Socket::new(&stack, OTHER, V4, Kind::Stream).unwrap();
    assert_eq!(caller.connect(listener.local()), Err(Errno::INPROGRESS));
    assert_eq!(listener.accept().err(), Some(Errno::MFILE));
    assert!(listener.readiness().readable && !caller.readiness().over);
    rest.pop();
    assert_eq!(listener.accept().unwrap().1, caller.local());
}

#[test]
fn a_datagram_socket_that_cannot_have_a_port_has_no_peer() {
    let stack = small();
    let (mut others, _) = all(&stack, ME);
    let socket = Socket::new(&stack, ME, V4, Kind::Datagram).unwrap();
    assert_eq!(socket.connect(local(9)), Err(Errno::MFILE));
    assert_eq!((socket.peer(), socket.send(b"x")), (Err(Errno::NOTCONN), Err(Errno::DESTADDRREQ)));
    others.pop();
    assert_eq!(socket.connect(local(9)), Ok(()));
    // Nor does one that had another peer lose that.
    let far = std::net::SocketAddr::new([10, 0, 2, 2].into(), 9);
    assert_eq!(socket.connect(far), Err(Errno::NETUNREACH));
    assert_eq!(socket.peer(), Ok(local(9)));
}
