//! What did not arrive. Of a datagram to a port that nobody has, whoever talks with
//! that port alone is told, once; a call ends.

use super::joined::World;
use super::{ME, alone, local, read};
use crate::Family::{V4, V6};
use crate::{Family, Kind, Socket, Stack};
use kernel::errno::Errno;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use transport::ethernet::outside;

fn socket(stack: &Arc<Stack>, family: Family) -> Socket {
    Socket::new(stack, ME, family, Kind::Datagram).unwrap()
}

fn receive(socket: &Socket) -> Result<usize, Errno> {
    socket.receive(&mut [0; 100], false).map(|(length, _)| length)
}

/// One that talks with a port that nobody has.
fn connected(stack: &Arc<Stack>, to: SocketAddr) -> Socket {
    let family = if to.is_ipv4() { V4 } else { V6 };
    let socket = socket(stack, family);
    socket.connect(to).unwrap();
    socket
}

#[test]
fn whoever_talks_with_nobody_is_told_once_by_whatever_it_does_next() {
    let (stack, _) = alone();
    let (v6, mapped) = (Ipv6Addr::LOCALHOST, Ipv4Addr::LOCALHOST.to_ipv6_mapped());
    for to in [local(9), (v6, 9).into(), (mapped, 9).into()] {
        let socket = connected(&stack, to);
        let next: [fn(&Socket) -> Option<Errno>; 5] = [
            |socket| receive(socket).err(),
            |socket| socket.receive(&mut [0; 100], true).err(),
            |socket| socket.send(b"again").err(),
            |socket| socket.send_to(b"elsewhere", local(10)).err(),
            |socket| socket.take_error(),
        ];
        for (index, next) in next.into_iter().enumerate().take(if to.is_ipv4() { 5 } else { 3 }) {
            let seen = socket.changes().count();
            assert_eq!(socket.send(b"anybody?"), Ok(8));
            assert_ne!(socket.changes().count(), seen, "who waits is woken");
            assert!(socket.readiness().failed && !socket.readiness().over);
            assert_eq!(next(&socket), Some(Errno::CONNREFUSED), "{index} to {to}");
            assert_eq!((receive(&socket), socket.take_error()), (Err(Errno::AGAIN), None));
            assert!(!socket.readiness().failed);
        }
        // What it could not send it may send again, and hears of that again.
        assert_eq!(socket.send(b"1"), Ok(1));
        assert_eq!(socket.send(b"2"), Err(Errno::CONNREFUSED));
        assert_eq!((socket.send(b"3"), receive(&socket)), (Ok(1), Err(Errno::CONNREFUSED)));
        assert_eq!(receive(&socket), Err(Errno::AGAIN));
    }
}

#[test]
fn nobody_else_is_told() {
    let (stack, _) = alone();
    let (unconnected, other, bound) = (socket(&stack, V4), connected(&stack, local(8)), socket(&stack, V4));
    bound.bind(local(70)).unwrap();
    let seen = [&unconnected, &other, &bound].map(|socket| socket.changes().count());
    assert_eq!(unconnected.send_to(b"x", local(9)), Ok(1));
    assert_eq!(other.send_to(b"to another one than its peer", local(9)), Ok(28));
    assert_eq!((bound.send_to(b"x", local(9)), connected(&stack, local(9)).send(b"x")), (Ok(1), Ok(1)));
    for (socket, seen) in [&unconnected, &other, &bound].into_iter().zip(seen) {
        assert_eq!((receive(socket), socket.take_error()), (Err(Errno::AGAIN), None));
        assert!(!socket.readiness().failed && socket.changes().count() == seen);
    }
    // Connected after that it hears of what it sends from then on.
    unconnected.connect(local(9)).unwrap();
    assert_eq!(receive(&unconnected), Err(Errno::AGAIN));
    assert_eq!((unconnected.send(b"x"), receive(&unconnected)), (Ok(1), Err(Errno::CONNREFUSED)));
}

#[test]
fn a_peer_that_is_there_later_is_talked_with() {
    let (stack, _) = alone();
    let (peer, caller) = (socket(&stack, V4), connected(&stack, local(9)));
    assert_eq!(caller.send(b"too early"), Ok(9));
    peer.bind(local(9)).unwrap();
    assert_eq!(peer.send_to(b"here", caller.local()), Ok(4));
    // What went wrong comes first.
    assert_eq!([receive(&caller), receive(&caller)], [Err(Errno::CONNREFUSED), Ok(4)]);
    assert_eq!((caller.send(b"now"), receive(&peer)), (Ok(3), Ok(3)));
}

#[test]
fn who_talks_with_somebody_else_alone_is_nobody() {
    let (stack, _) = alone();
    let busy = connected(&stack, local(8));
    let stranger = connected(&stack, busy.local());
    assert_eq!((stranger.send(b"hello?"), receive(&busy)), (Ok(6), Err(Errno::AGAIN)));
    assert_eq!(receive(&stranger), Err(Errno::CONNREFUSED));
}

#[test]
fn a_refusal_from_outside_is_told_as_well() {
    for (family, host) in [(V4, outside::GATEWAY.into()), (V6, IpAddr::from(outside::GATEWAY_V6))] {
        let world = World::new(0, 3);
        let peer = SocketAddr::new(host, 99);
        let [told, other] = [99, 98].map(|port| connected(&world.stacks[0], (host, port).into()));
        let unconnected = socket(&world.stacks[0], family);
        assert_eq!((unconnected.send_to(b"x", peer), told.send(b"x")), (Ok(1), Ok(1)));
        let seen = told.changes().count();
        (0..10).for_each(|_| world.turn());
        assert_ne!(told.changes().count(), seen);
        assert_eq!([&told, &told].map(receive), [Err(Errno::CONNREFUSED), Err(Errno::AGAIN)]);
        assert_eq!([&other, &unconnected].map(receive), [Err(Errno::AGAIN); 2]);
    }
}

/// What says, from `says`, that a packet of this protocol between these ends did not
/// arrive, and for this reason.
fn lost(code: u8, protocol: u8, says: Ipv4Addr, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) -> Vec<u8> {
    let header = |protocol, from: Ipv4Addr, to: Ipv4Addr, carries: &[u8]| {
        let start = [0x45, 0, 0, 20 + carries.len() as u8, 0, 0, 0, 0, 64, protocol, 0, 0];
        [&start[..], &from.octets(), &to.octets(), carries].concat()
    };
    let ports = [from.1.to_be_bytes(), to.1.to_be_bytes(), [0, 8], [0, 0]].concat();
    let said = [&[3, code, 0, 0, 0, 0, 0, 0], &header(protocol, from.0, to.0, &ports)[..]].concat();
    let packet = header(1, says, outside::ADDRESS.into(), &said);
    [&outside::OWN_HARDWARE[..], &outside::GATEWAY_HARDWARE, &[8, 0], &packet].concat()
}

const UDP: u8 = 17;
const TCP: u8 = 6;

#[test]
fn nobody_outside_says_what_becomes_of_datagrams_within() {
    let world = World::new(0, 3);
    let (own, host) = (Ipv4Addr::from(outside::ADDRESS), Ipv4Addr::from(outside::GATEWAY));
    let [silent, peer, far] = [1, 2, 3].map(|_| socket(&world.stacks[0], V4));
    peer.bind((own, 0).into()).unwrap();
    silent.bind((own, 0).into()).unwrap();
    silent.connect(peer.local()).unwrap();
    far.connect((host, 99).into()).unwrap();
    let end = |socket: &Socket| (own, socket.local().port());
    for (packet, is_told) in [
        (lost(3, UDP, host, end(&silent), end(&peer)), false),
        (lost(3, UDP, own, end(&silent), end(&peer)), false),
        (lost(3, UDP, host, (host, far.local().port()), (host, 99)), false),
        (lost(3, UDP, host, end(&far), (host, 98)), false),
        (lost(3, TCP, host, end(&far), (host, 99)), false),
        // This may pass.
        (lost(1, UDP, host, end(&far), (host, 99)), false),
        (lost(3, UDP, host, end(&far), (host, 99)), true),
        // A router on the way.
        (lost(3, UDP, Ipv4Addr::new(10, 0, 2, 77), end(&far), (host, 99)), true),
    ] {
        world.to_first.lock().unwrap().push_back(packet.clone());
        world.turn();
        let told = [&silent, &far].map(|socket| socket.take_error().is_some());
        assert_eq!(told, [false, is_told], "{packet:?}");
    }
}

#[test]
fn a_call_that_cannot_arrive_ends_at_once_and_a_connection_goes_on() {
    let world = World::new(0, 3);
    let host = Ipv4Addr::from(outside::GATEWAY);
    let (_listener, caller, accepted) = world.connect();
    world.cut(true);
    for (code, error) in [(0, Errno::NETUNREACH), (1, Errno::HOSTUNREACH), (3, Errno::CONNREFUSED)] {
        let calls = Socket::new(&world.stacks[0], ME, V4, Kind::Stream).unwrap();
        assert_eq!(calls.connect((host, 90).into()), Err(Errno::INPROGRESS));
        let seen = calls.changes().count();
        let own = |socket: &Socket| (outside::ADDRESS.into(), socket.local().port());
        for (from, to, answer) in [
            (own(&calls), 91, Err(Errno::AGAIN)),
            (own(&caller), 80, Err(Errno::AGAIN)),
            (own(&calls), 90, Err(error)),
        ] {
            world.to_first.lock().unwrap().push_back(lost(code, TCP, host, from, (host, to)));
            world.turn();
            assert_eq!(calls.connected(), answer);
        }
        assert_ne!(calls.changes().count(), seen);
        assert_eq!((calls.take_error(), calls.take_error()), (Some(error), None));
        assert_eq!(calls.connect((host, 90).into()), Err(Errno::INPROGRESS), "it may call again");
    }
    world.cut(false);
    caller.send(b"goes on").unwrap();
    let mut got = Vec::new();
    while got != b"goes on" {
        world.turn();
        got.extend(read(&accepted).0);
    }
}
