//! Sockets of one stack, on a clock that the test moves; [`joined`]: of two.
//! [`ends`]: how connections end; [`refusals`]: what senders of datagrams are told;
//! [`sharing`]: whose what is; [`versions`]: IPv6, and beside it IPv4.

mod ends;
mod joined;
mod refusals;
mod sharing;
mod versions;

use crate::Family::V4;
use crate::names::{Lookup, known};
use crate::{Kind, Owner, Readiness, Shutdown, Socket, Stack};
use kernel::errno::Errno;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Whose the sockets are.
const ME: Owner = 1;

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
    (Stack::new(None, || 7, 1 << 30, move || reads.now()), clock)
}

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// A listener on any port of the loopback, and a connection to it.
fn pair(stack: &Arc<Stack>) -> (Socket, Socket, Socket) {
    pair_of(stack, ME)
}

/// The same of another owner.
fn pair_of(stack: &Arc<Stack>, owner: Owner) -> (Socket, Socket, Socket) {
    let listener = Socket::new(stack, owner, V4, Kind::Stream).unwrap();
    listener.bind(local(0)).unwrap();
    listener.listen(8).unwrap();
    let caller = Socket::new(stack, owner, V4, Kind::Stream).unwrap();
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

/// xorshift64 (Marsaglia 2003); from anything but 0.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, count: usize) -> usize {
        (self.next() >> 11) as usize % count
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
    end(caller, accepted);
    settle(&stack, &clock);
}

/// Ends a connection, first one way and then the other.
fn end(caller: Socket, accepted: Socket) {
    caller.shut_down(Shutdown::Send).unwrap();
    assert_eq!(caller.send(b"x"), Err(Errno::PIPE));
    assert_eq!(read(&accepted), (vec![], Ok(0)));
    assert_eq!(accepted.send(b"last"), Ok(4));
    drop(accepted);
    assert_eq!(read(&caller), (b"last".to_vec(), Ok(0)));
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
    let caller = Socket::new(&stack, ME, V4, Kind::Stream).unwrap();
    assert_eq!(caller.connect(local(9)), Err(Errno::INPROGRESS));
    assert_eq!(caller.connected(), Err(Errno::CONNREFUSED));
    assert_eq!(caller.take_error(), Some(Errno::CONNREFUSED));
    assert_eq!(caller.take_error(), None);
    assert!(caller.readiness().over);
    // Now it may call again; without having been told, another call says it.
    let listener = Socket::new(&stack, ME, V4, Kind::Stream).unwrap();
    listener.listen(1).unwrap();
    assert_eq!(caller.connect(local(9)), Err(Errno::INPROGRESS));
    let told = caller.readiness();
    assert!(told.failed && told.over && told.writable);
    assert_eq!(caller.connect(listener.local()), Err(Errno::CONNREFUSED));
    assert!(!caller.readiness().failed);
    assert_eq!((caller.send(b"x"), caller.connected()), (Err(Errno::NOTCONN), Err(Errno::NOTCONN)));
    assert_eq!(caller.connect(listener.local()), Err(Errno::INPROGRESS));
    assert_eq!((caller.connected(), caller.take_error()), (Ok(()), None));
    assert_eq!(listener.accept().unwrap().1, caller.local());
    // Without a card there is no way out.
    let caller = Socket::new(&stack, ME, V4, Kind::Stream).unwrap();
    let far = SocketAddr::from((Ipv4Addr::new(10, 0, 2, 2), 80));
    assert_eq!(caller.connect(far), Err(Errno::NETUNREACH));
}

#[test]
fn a_port_is_one_sockets_until_that_is_closed() {
    let (stack, _) = alone();
    let (listener, caller, accepted) = pair(&stack);
    let taken = listener.local();
    let bind = |to| {
        let other = Socket::new(&stack, ME, V4, Kind::Stream).unwrap();
        other.bind(to).and_then(|()| other.listen(1)).map(|()| other)
    };
    assert_eq!(bind(taken).err(), Some(Errno::ADDRINUSE));
    assert_eq!(bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, taken.port()))).err(), Some(Errno::ADDRINUSE));
    assert_eq!(bind(SocketAddr::from((Ipv4Addr::new(10, 9, 9, 9), 1))).err(), Some(Errno::ADDRNOTAVAIL));
    // UDP's ports are others.
    Socket::new(&stack, ME, V4, Kind::Datagram).unwrap().bind(taken).unwrap();
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
    let listener = Socket::new(&stack, ME, V4, Kind::Stream).unwrap();
    listener.listen(3).unwrap();
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let caller = Socket::new(&stack, ME, V4, Kind::Stream).unwrap();
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
    let caller = Socket::new(&stack, ME, V4, Kind::Stream).unwrap();
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
        let socket = Socket::new(&stack, ME, V4, Kind::Datagram).unwrap();
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
fn strangers_neither_wake_nor_crowd_out_a_peer() {
    let (stack, _) = alone();
    let [own, peer, stranger] = [1, 2, 3].map(|_| {
        let socket = Socket::new(&stack, ME, V4, Kind::Datagram).unwrap();
        socket.bind(local(0)).unwrap();
        socket
    });
    stranger.send_to(b"before", own.local()).unwrap();
    own.connect(peer.local()).unwrap();
    assert!(!own.readiness().readable);
    let seen = own.changes().count();
    for _ in 0..200 {
        stranger.send_to(&[0; 1000], own.local()).unwrap();
    }
    assert_eq!((own.readiness().readable, own.changes().count()), (false, seen));
    peer.send_to(b"from the peer", own.local()).unwrap();
    let mut buffer = [0; 100];
    assert_eq!(own.receive(&mut buffer, false), Ok((13, Some(peer.local()))));
    // What strangers had sent behind it, before there was a peer, is gone as well.
    peer.send_to(b"first", stranger.local()).unwrap();
    own.send_to(b"second", stranger.local()).unwrap();
    stranger.connect(peer.local()).unwrap();
    assert_eq!(stranger.receive(&mut buffer, false), Ok((5, Some(peer.local()))));
    assert!(!stranger.readiness().readable);
}

#[test]
fn all_of_127_is_the_node() {
    let (stack, _) = alone();
    let at = |last: [u8; 3], port| SocketAddr::new([127, last[0], last[1], last[2]].into(), port);
    let listener = Socket::new(&stack, ME, V4, Kind::Stream).unwrap();
    listener.listen(8).unwrap();
    let port = listener.local().port();
    for last in [[0, 0, 1], [0, 0, 2], [9, 8, 7]] {
        let caller = Socket::new(&stack, ME, V4, Kind::Stream).unwrap();
        assert_eq!(caller.connect(at(last, port)), Err(Errno::INPROGRESS));
        assert_eq!((caller.connected(), caller.peer()), (Ok(()), Ok(at(last, port))));
        let (accepted, from) = listener.accept().unwrap();
        assert_eq!((accepted.local(), from), (at(last, port), caller.local()));
        assert_eq!(from.ip(), Ipv4Addr::LOCALHOST);
        accepted.send(b"there").unwrap();
        assert_eq!(read(&caller).0, b"there");
    }
    let bound = Socket::new(&stack, ME, V4, Kind::Datagram).unwrap();
    bound.bind(at([0, 0, 3], 70)).unwrap();
    let sender = Socket::new(&stack, ME, V4, Kind::Datagram).unwrap();
    sender.send_to(b"elsewhere", at([0, 0, 4], 70)).unwrap();
    sender.send_to(b"here", at([0, 0, 3], 70)).unwrap();
    let mut buffer = [0; 10];
    assert_eq!(bound.receive(&mut buffer, false).map(|(length, _)| length), Ok(4));
    for last in [[0, 0, 0], [255, 255, 255]] {
        let caller = Socket::new(&stack, ME, V4, Kind::Stream).unwrap();
        assert_eq!(caller.connect(at(last, port)), Err(Errno::NETUNREACH));
        assert_eq!(sender.send_to(b"x", at(last, 70)), Err(Errno::NETUNREACH));
    }
    let own = SocketAddr::new(transport::ethernet::outside::ADDRESS.into(), 0);
    assert_eq!(Socket::new(&stack, ME, V4, Kind::Stream).unwrap().bind(own), Err(Errno::ADDRNOTAVAIL));
}

#[test]
fn who_calls_itself_is_connected_with_itself() {
    let (stack, clock) = alone();
    let own = Socket::new(&stack, ME, V4, Kind::Stream).unwrap();
    own.bind(local(77)).unwrap();
    assert_eq!(own.connect(local(77)), Err(Errno::INPROGRESS));
    assert_eq!(own.connected(), Ok(()));
    assert_eq!(own.send(b"echo"), Ok(4));
    assert_eq!(read(&own), (b"echo".to_vec(), Err(Errno::AGAIN)));
    drop(own);
    settle(&stack, &clock);
}

#[test]
fn whoever_waits_is_woken_by_every_datagram() {
    let (stack, _) = alone();
    let [a, b] = [1, 2].map(|_| {
        let socket = Socket::new(&stack, ME, V4, Kind::Datagram).unwrap();
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
fn a_closed_socket_has_no_port_whoever_still_holds_it() {
    let (stack, _) = alone();
    for kind in [Kind::Datagram, Kind::Stream] {
        let first = Socket::new(&stack, ME, V4, kind).unwrap();
        first.bind(local(7000)).unwrap();
        let mut buffer = [0; 8];
        if kind == Kind::Stream {
            first.listen(1).unwrap();
        }
        first.close();
        let second = Socket::new(&stack, ME, V4, kind).unwrap();
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
    let caller = Socket::new(&stack, ME, V4, Kind::Stream).unwrap();
    let _ = caller.connect(listener.local());
    assert_ne!(listener.changes().count(), before);
}

#[test]
fn some_names_are_known_without_asking() {
    let own = Some(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    assert_eq!((known("localhost"), known("LocalHost.")), (own.clone(), own));
    assert_eq!(known("10.1.2.3"), Some(vec![[10, 1, 2, 3].into()]));
    assert_eq!(known("::1"), Some(vec![Ipv6Addr::LOCALHOST.into()]));
    assert_eq!(known("example.org"), None);
    let (stack, _) = alone();
    assert_eq!(Lookup::new(&stack, "example.org").err(), Some(Errno::NOENT));
}
