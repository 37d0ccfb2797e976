//! Sockets of one stack, on a clock that the test moves; [`joined`]: of two.

mod joined;

use crate::names::{Lookup, known};
use crate::{Kind, Readiness, Shutdown, Socket, Stack};
use kernel::errno::Errno;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A clock that the test moves.
#[derive(Clone, Default)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn to(&self, ns: u64) {
        self.0.fetch_max(ns, Ordering::SeqCst);
    }
}

fn alone() -> (Arc<Stack>, Clock) {
    let clock = Clock::default();
    let reads = clock.clone();
    (Stack::new(None, 7, 1 << 30, move || reads.now()), clock)
}

const fn local(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
}

/// A listener on any port of the loopback, and a connection to it.
fn pair(stack: &Arc<Stack>) -> (Socket, Socket, Socket) {
    let listener = Socket::new(stack, Kind::Stream).unwrap();
    listener.bind(local(0)).unwrap();
    listener.listen(8).unwrap();
    let caller = Socket::new(stack, Kind::Stream).unwrap();
    assert_eq!(caller.connect(listener.local()), Err(Errno::INPROGRESS));
    assert_eq!(caller.connected(), Ok(()));
    let (accepted, from) = listener.accept().unwrap();
    assert_eq!(from, caller.local());
    assert_eq!(accepted.peer(), Ok(caller.local()));
    assert_eq!(caller.peer(), Ok(listener.local()));
    (listener, caller, accepted)
}

/// Reads until there is nothing.
fn read(socket: &Socket) -> (Vec<u8>, Result<usize, Errno>) {
    let (mut all, mut buffer) = (Vec::new(), [0; 1000]);
    loop {
        match socket.receive(&mut buffer, false) {
            Ok((length @ 1.., _)) => all.extend_from_slice(&buffer[..length]),
            end => return (all, end.map(|(length, _)| length)),
        }
    }
}

/// Lets time pass until nothing is due any more.
fn settle(stack: &Stack, clock: &Clock) {
    let mut turns = 0;
    while let Some(next) = stack.turn() {
        clock.to(next);
        turns += 1;
        assert!(turns < 100, "it goes on and on");
    }
    assert!(clock.now() < 100_000_000, "it took long: {} ns", clock.now());
}

#[test]
fn a_connection_to_oneself_carries_bytes_both_ways_and_ends() {
    let (stack, clock) = alone();
    let (listener, caller, accepted) = pair(&stack);
    assert_eq!(listener.accept().err(), Some(Errno::AGAIN));
    assert_eq!(caller.send(b"there"), Ok(5));
    let mut buffer = [0; 3];
    assert_eq!(accepted.receive(&mut buffer, true), Ok((3, None)));
    assert_eq!(read(&accepted), (b"there".to_vec(), Err(Errno::AGAIN)));
    assert_eq!(accepted.send(b"and back"), Ok(8));
    assert_eq!(read(&caller), (b"and back".to_vec(), Err(Errno::AGAIN)));
    caller.shut_down(Shutdown::Send).unwrap();
    assert_eq!(caller.send(b"x"), Err(Errno::PIPE));
    assert_eq!(read(&accepted), (vec![], Ok(0)));
    assert_eq!(accepted.send(b"last"), Ok(4));
    drop(accepted);
    assert_eq!(read(&caller), (b"last".to_vec(), Ok(0)));
    drop(caller);
    settle(&stack, &clock);
}

#[test]
fn a_full_connection_pushes_back_and_loses_nothing() {
    let (stack, _) = alone();
    let (_listener, caller, accepted) = pair(&stack);
    let data: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let (mut sent, mut got) = (0, Vec::new());
    while got.len() < data.len() {
        match caller.send(&data[sent..]) {
            Ok(count) => sent += count,
            Err(error) => {
                assert_eq!(error, Errno::AGAIN);
                assert!(!caller.readiness().writable && accepted.readiness().readable);
            }
        }
        let mut buffer = [0; 50_000];
        if let Ok((count, _)) = accepted.receive(&mut buffer, false) {
            got.extend_from_slice(&buffer[..count]);
        }
    }
    assert!(got == data);
}

#[test]
fn nobody_listens_is_refused_and_said_once() {
    let (stack, _) = alone();
    let caller = Socket::new(&stack, Kind::Stream).unwrap();
    assert_eq!(caller.connect(local(9)), Err(Errno::INPROGRESS));
    assert_eq!(caller.connected(), Err(Errno::CONNREFUSED));
    assert_eq!(caller.take_error(), Some(Errno::CONNREFUSED));
    assert_eq!(caller.take_error(), None);
    assert!(caller.readiness().over);
    // Without a card there is no way out.
    let caller = Socket::new(&stack, Kind::Stream).unwrap();
    let far = SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 2), 80);
    assert_eq!(caller.connect(far), Err(Errno::NETUNREACH));
}

#[test]
fn a_port_is_one_sockets_until_that_is_closed() {
    let (stack, _) = alone();
    let (listener, caller, accepted) = pair(&stack);
    let taken = listener.local();
    let bind = |to| {
        let other = Socket::new(&stack, Kind::Stream).unwrap();
        other.bind(to).and_then(|()| other.listen(1)).map(|()| other)
    };
    assert_eq!(bind(taken).err(), Some(Errno::ADDRINUSE));
    assert_eq!(bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, taken.port())).err(), Some(Errno::ADDRINUSE));
    assert_eq!(bind(SocketAddrV4::new(Ipv4Addr::new(10, 9, 9, 9), 1)).err(), Some(Errno::ADDRNOTAVAIL));
    // UDP's ports are others.
    Socket::new(&stack, Kind::Datagram).unwrap().bind(taken).unwrap();
    drop(listener);
    // Connections that were accepted do not keep it.
    let again = bind(taken).unwrap();
    assert_eq!(caller.send(b"still"), Ok(5));
    assert_eq!(read(&accepted).0, b"still");
    drop(again);
}

#[test]
fn what_nobody_will_read_resets_the_connection() {
    let (stack, _) = alone();
    let (_listener, caller, accepted) = pair(&stack);
    caller.send(b"unread").unwrap();
    drop(accepted);
    let mut buffer = [0; 1];
    assert_eq!(caller.receive(&mut buffer, false), Err(Errno::CONNRESET));
    assert_eq!(caller.receive(&mut buffer, false), Ok((0, None)));
    assert_eq!(caller.send(b"x"), Err(Errno::PIPE));
    let (_listener, caller, accepted) = pair(&stack);
    accepted.abort();
    assert_eq!(caller.take_error(), Some(Errno::CONNRESET));
}

#[test]
fn a_backlog_is_kept_and_what_is_beyond_it_refused() {
    let (stack, _) = alone();
    let listener = Socket::new(&stack, Kind::Stream).unwrap();
    listener.listen(3).unwrap();
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let caller = Socket::new(&stack, Kind::Stream).unwrap();
            assert_eq!(caller.connect(listener.local()), Err(Errno::INPROGRESS));
            caller
        })
        .collect();
    let called: Vec<_> = callers.iter().map(|caller| caller.connected().is_ok()).collect();
    assert_eq!(called, [true, true, true, false]);
    for caller in &callers[..3] {
        assert_eq!(listener.accept().unwrap().1, caller.local());
    }
    assert!(!listener.readiness().readable);
    let caller = Socket::new(&stack, Kind::Stream).unwrap();
    assert_eq!(caller.connect(listener.local()), Err(Errno::INPROGRESS));
    assert_eq!(caller.connected(), Ok(()));
    drop(listener);
    // Whom nobody accepted is told.
    assert_eq!(caller.take_error(), Some(Errno::CONNRESET));
}

#[test]
fn datagrams_arrive_whole_from_whom_they_are() {
    let (stack, _) = alone();
    let [a, b, c] = [1, 2, 3].map(|_| {
        let socket = Socket::new(&stack, Kind::Datagram).unwrap();
        socket.bind(local(0)).unwrap();
        socket
    });
    let mut buffer = [0; 100];
    assert_eq!(b.receive(&mut buffer, false), Err(Errno::AGAIN));
    assert_eq!(a.send_to(b"one", b.local()), Ok(3));
    assert_eq!(a.send_to(b"two!", b.local()), Ok(4));
    assert_eq!(b.receive(&mut buffer, true), Ok((3, Some(a.local()))));
    assert_eq!(b.receive(&mut buffer[..2], false), Ok((2, Some(a.local()))), "the rest is lost");
    assert_eq!(b.receive(&mut buffer, false), Ok((4, Some(a.local()))));
    assert_eq!(a.send(b"x"), Err(Errno::DESTADDRREQ));
    assert_eq!(a.send_to(&[0; 5000], b.local()), Err(Errno::MSGSIZE));
    // One that is connected hears its peer alone.
    b.connect(a.local()).unwrap();
    c.send_to(b"stranger", b.local()).unwrap();
    a.send_to(b"", b.local()).unwrap();
    assert_eq!(b.receive(&mut buffer, false), Ok((0, Some(a.local()))));
    assert_eq!(b.send(b"back"), Ok(4));
    assert_eq!(a.receive(&mut buffer, false), Ok((4, Some(b.local()))));
}

#[test]
fn there_are_no_more_buffers_than_there_is_memory_for() {
    let stack = Stack::new(None, 7, 0, || 0);
    let (_listener, _caller, _accepted) = pair(&stack);
    let bound = || {
        let socket = Socket::new(&stack, Kind::Datagram).unwrap();
        socket.bind(local(0)).map(|()| socket)
    };
    let mut all: Vec<Socket> = std::iter::from_fn(|| bound().ok()).take(1000).collect();
    assert!((10..20).contains(&all.len()), "{}", all.len());
    assert_eq!(bound().err(), Some(Errno::NOBUFS));
    let caller = Socket::new(&stack, Kind::Stream).unwrap();
    assert_eq!(caller.connect(local(9)), Err(Errno::NOBUFS));
    all.pop();
    assert!(bound().is_ok());
}

#[test]
fn whoever_waits_is_woken_by_every_datagram() {
    let (stack, _) = alone();
    let [a, b] = [1, 2].map(|_| {
        let socket = Socket::new(&stack, Kind::Datagram).unwrap();
        socket.bind(local(0)).unwrap();
        socket
    });
    for round in 0..5 {
        let seen = b.changes().count();
        a.send_to(b"as long as ever", b.local()).unwrap();
        assert_ne!(b.changes().count(), seen, "datagram {round}");
        b.receive(&mut [0; 100], false).unwrap();
    }
}

#[test]
fn what_was_not_read_when_both_have_ended_is_there_later() {
    let (stack, clock) = alone();
    let (_listener, caller, accepted) = pair(&stack);
    caller.shut_down(Shutdown::Send).unwrap();
    accepted.send(b"the tail").unwrap();
    accepted.shut_down(Shutdown::Send).unwrap();
    for _ in 0..100 {
        clock.to(clock.now() + 1_000_000_000);
        stack.turn();
    }
    let mut buffer = [0; 3];
    assert_eq!(caller.receive(&mut buffer, true), Ok((3, None)));
    assert!(caller.readiness().readable);
    assert_eq!(read(&caller), (b"the tail".to_vec(), Ok(0)));
    assert_eq!((caller.take_error(), read(&caller)), (None, (Vec::new(), Ok(0))));
}

#[test]
fn a_closed_socket_has_no_port_whoever_still_holds_it() {
    let (stack, _) = alone();
    for kind in [Kind::Datagram, Kind::Stream] {
        let first = Socket::new(&stack, kind).unwrap();
        first.bind(local(7000)).unwrap();
        let mut buffer = [0; 8];
        if kind == Kind::Stream {
            first.listen(1).unwrap();
        }
        first.close();
        let second = Socket::new(&stack, kind).unwrap();
        assert_eq!(second.bind(local(7000)), Ok(()), "{kind:?}");
        assert!(first.receive(&mut buffer, false).is_err() && first.accept().is_err());
    }
}

#[test]
fn an_idle_stack_wants_nothing() {
    let (stack, clock) = alone();
    let (listener, caller, accepted) = pair(&stack);
    caller.send(b"something").unwrap();
    let _ = read(&accepted);
    settle(&stack, &clock);
    assert_eq!(caller.readiness(), Readiness { writable: true, ..Readiness::default() });
    drop((listener, caller, accepted));
    settle(&stack, &clock);
}

#[test]
fn changes_are_counted_when_something_may_be_done() {
    let (stack, _) = alone();
    let (listener, caller, accepted) = pair(&stack);
    let before = accepted.changes().count();
    caller.send(b"x").unwrap();
    assert_ne!(accepted.changes().count(), before);
    let before = accepted.changes().count();
    let _ = read(&accepted);
    drop(caller);
    assert_ne!(accepted.changes().count(), before);
    let before = listener.changes().count();
    let caller = Socket::new(&stack, Kind::Stream).unwrap();
    let _ = caller.connect(listener.local());
    assert_ne!(listener.changes().count(), before);
}

#[test]
fn some_names_are_known_without_asking() {
    assert_eq!(known("localhost"), Some(Ipv4Addr::LOCALHOST));
    assert_eq!(known("LocalHost."), Some(Ipv4Addr::LOCALHOST));
    assert_eq!(known("10.1.2.3"), Some(Ipv4Addr::new(10, 1, 2, 3)));
    assert_eq!(known("example.org"), None);
    let (stack, _) = alone();
    assert_eq!(Lookup::new(&stack, "example.org").err(), Some(Errno::NOENT));
}
