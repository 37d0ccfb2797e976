//! IPv6 on the loopback, and sockets that talk both versions.

use super::{ME, alone, end, local, read, settle};
use crate::Family::{V4, V6};
use crate::{Family, Kind, Socket, Stack};
use kernel::errno::Errno;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

const ONE: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const ALL: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

fn at(ip: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(ip.into(), port)
}

fn mapped(port: u16) -> SocketAddr {
    at(Ipv4Addr::LOCALHOST.to_ipv6_mapped(), port)
}

fn bound(stack: &Arc<Stack>, family: Family, kind: Kind, to: SocketAddr) -> Result<Socket, Errno> {
    let socket = Socket::new(stack, ME, family, kind).unwrap();
    socket.bind(to)?;
    if kind == Kind::Stream {
        socket.listen(4)?;
    }
    Ok(socket)
}

fn listener(stack: &Arc<Stack>, family: Family, to: SocketAddr) -> Socket {
    bound(stack, family, Kind::Stream, to).unwrap()
}

/// Calls, and says how that was answered.
fn call(stack: &Arc<Stack>, family: Family, to: SocketAddr) -> Result<Socket, Errno> {
    let caller = Socket::new(stack, ME, family, Kind::Stream).unwrap();
    match caller.connect(to) {
        Err(Errno::INPROGRESS) => caller.connected().map(|()| caller),
        other => Err(other.unwrap_err()),
    }
}

#[test]
fn a_connection_of_ipv6_carries_bytes_both_ways_and_ends() {
    let (stack, clock) = alone();
    let listener = listener(&stack, V6, at(ONE, 0));
    let caller = call(&stack, V6, listener.local()).unwrap();
    let (accepted, from) = listener.accept().unwrap();
    assert_eq!((from, accepted.peer()), (caller.local(), Ok(caller.local())));
    assert_eq!((caller.peer(), accepted.local()), (Ok(listener.local()), listener.local()));
    assert!(from.ip() == ONE && listener.local().ip() == ONE);
    let data: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let (mut sent, mut got) = (0, Vec::new());
    while got.len() < data.len() {
        sent += caller.send(&data[sent..]).unwrap_or(0);
        got.extend(read(&accepted).0);
    }
    assert!(got == data);
    end(caller, accepted);
    settle(&stack, &clock);
    drop(listener);
    assert_eq!(call(&stack, V6, at(ONE, 9)).err(), Some(Errno::CONNREFUSED));
}

#[test]
fn who_listens_everywhere_sees_ipv4_mapped() {
    let (stack, _) = alone();
    let listener = listener(&stack, V6, at(ALL, 0));
    assert_eq!(listener.local().ip(), ALL);
    let port = listener.local().port();
    for (family, to, seen) in [
        (V4, local(port), mapped(port)),
        (V6, mapped(port), mapped(port)),
        (V4, at([127, 4, 5, 6], port), at(Ipv4Addr::new(127, 4, 5, 6).to_ipv6_mapped(), port)),
        (V6, at(ONE, port), at(ONE, port)),
        (V6, at(ALL, port), at(ONE, port)),
        (V4, at(Ipv4Addr::UNSPECIFIED, port), mapped(port)),
    ] {
        let caller = call(&stack, family, to).unwrap();
        let (accepted, from) = listener.accept().unwrap();
        assert_eq!((accepted.local(), accepted.peer()), (seen, Ok(from)), "called {to}");
        assert_eq!(caller.local().ip().to_canonical(), from.ip().to_canonical());
        assert_eq!(caller.local().is_ipv4(), family == V4);
        assert!(from.is_ipv6());
        caller.send(b"there").unwrap();
        assert_eq!(read(&accepted).0, b"there");
    }
}

#[test]
fn a_port_is_taken_where_addresses_meet() {
    let (stack, _) = alone();
    let everywhere = at(Ipv4Addr::UNSPECIFIED, 80);
    let all = [(V6, at(ALL, 80)), (V4, everywhere), (V6, at(ONE, 80)), (V4, local(80)), (V6, mapped(80))];
    let fit = [[false; 5], [false, false, true, false, false], [false, true, false, true, true]];
    for kind in [Kind::Stream, Kind::Datagram] {
        for (first, fits) in all.into_iter().zip(fit) {
            let _first = bound(&stack, first.0, kind, first.1).unwrap();
            let others = all.map(|(family, to)| bound(&stack, family, kind, to).is_ok());
            assert_eq!(others, fits, "{kind:?} beside {first:?}");
        }
    }
    let only = Socket::new(&stack, ME, V6, Kind::Stream).unwrap();
    assert_eq!((only.set_only_v6(true), only.only_v6()), (Ok(()), Ok(true)));
    assert_eq!((only.bind(mapped(80)), only.bind(at(ALL, 80))), (Err(Errno::INVAL), Ok(())));
    assert!(bound(&stack, V4, Kind::Stream, everywhere).is_ok());
    assert_eq!(only.set_only_v6(false), Err(Errno::INVAL));
    assert_eq!(Socket::new(&stack, ME, V4, Kind::Stream).unwrap().only_v6(), Err(Errno::NOPROTOOPT));
}

#[test]
fn who_listens_in_one_version_is_not_called_in_the_other() {
    let (stack, _) = alone();
    let v4 = listener(&stack, V4, at(Ipv4Addr::UNSPECIFIED, 80));
    assert_eq!(call(&stack, V6, at(ONE, 80)).err(), Some(Errno::CONNREFUSED));
    let v6 = listener(&stack, V6, at(ONE, 80));
    for _ in 0..6 {
        let [in_v4, in_v6] =
            [(V4, local(80)), (V6, at(ONE, 80))].map(|(family, to)| call(&stack, family, to));
        assert_eq!(v4.accept().unwrap().1, in_v4.unwrap().local());
        assert_eq!(v6.accept().unwrap().1, in_v6.unwrap().local());
    }
    drop(v6);
    assert_eq!(call(&stack, V6, at(ONE, 80)).err(), Some(Errno::CONNREFUSED));
    let only = Socket::new(&stack, ME, V6, Kind::Stream).unwrap();
    only.set_only_v6(true).unwrap();
    only.bind(at(ALL, 81)).unwrap();
    only.listen(4).unwrap();
    assert_eq!(call(&stack, V4, local(81)).err(), Some(Errno::CONNREFUSED));
    assert!(call(&stack, V6, at(ONE, 81)).is_ok());
    only.close();
    only.set_only_v6(true).unwrap();
    assert_eq!(only.connect(mapped(80)), Err(Errno::NETUNREACH));
}

#[test]
fn datagrams_go_where_their_version_is() {
    let (stack, _) = alone();
    let v4 = bound(&stack, V4, Kind::Datagram, at(Ipv4Addr::UNSPECIFIED, 70)).unwrap();
    let v6 = bound(&stack, V6, Kind::Datagram, at(ONE, 70)).unwrap();
    let sender = bound(&stack, V6, Kind::Datagram, at(ALL, 0)).unwrap();
    let port = sender.local().port();
    let mut buffer = [0; 10];
    for round in 0..3 {
        assert_eq!(sender.send_to(b"six", at(ONE, 70)), Ok(3));
        // A program may name an address of IPv4 to a socket of IPv6 as it is.
        let to = if round == 1 { local(70) } else { mapped(70) };
        assert_eq!(sender.send_to(b"four", to), Ok(4));
        assert_eq!(v6.receive(&mut buffer, false), Ok((3, Some(at(ONE, port)))));
        assert_eq!(v4.receive(&mut buffer, false), Ok((4, Some(local(port)))));
    }
    assert_eq!(v4.send_to(b"back", local(port)), Ok(4));
    assert_eq!(sender.receive(&mut buffer, false), Ok((4, Some(mapped(70)))));
    assert_eq!([&v4, &v6].map(|socket| socket.receive(&mut buffer, false)), [Err(Errno::AGAIN); 2]);
    sender.connect(mapped(70)).unwrap();
    assert_eq!((sender.local(), sender.peer()), (mapped(port), Ok(mapped(70))));
    sender.connect(at(ALL, 70)).unwrap();
    assert_eq!((sender.local(), sender.peer()), (at(ONE, port), Ok(at(ONE, 70))));
    // What waited in a socket that was put aside is still there.
    v4.send_to(b"kept", local(70)).unwrap();
    sender.send(b"six").unwrap();
    assert_eq!(v4.receive(&mut buffer, false).map(|(length, _)| length), Ok(4));
}

#[test]
fn the_most_of_a_datagram_follows_from_the_header() {
    let (stack, _) = alone();
    let sender = Socket::new(&stack, ME, V6, Kind::Datagram).unwrap();
    for (to, most) in [(mapped(70), 3972), (at(ONE, 70), 3952)] {
        let taker = bound(&stack, V6, Kind::Datagram, to).unwrap();
        assert_eq!(sender.send_to(&vec![7; most + 1], to), Err(Errno::MSGSIZE));
        assert_eq!(sender.send_to(&vec![7; most], to), Ok(most));
        assert_eq!(taker.receive(&mut [0; 4000], false).map(|(length, _)| length), Ok(most));
    }
}

#[test]
fn versions_that_do_not_fit_are_refused() {
    let (stack, _) = alone();
    let made = |family, kind| Socket::new(&stack, ME, family, kind).unwrap();
    for kind in [Kind::Stream, Kind::Datagram] {
        let v4 = made(V4, kind);
        assert_eq!([v4.bind(at(ONE, 1)), v4.connect(at(ONE, 1))], [Err(Errno::AFNOSUPPORT); 2]);
        let v6 = made(V6, kind);
        assert_eq!(v6.local(), at(ALL, 0));
        for nowhere in ["2001:db8::1", "fe80::1", "ff02::1", "::ffff:10.0.2.2"] {
            let nowhere: IpAddr = nowhere.parse().unwrap();
            assert_eq!(v6.connect(at(nowhere, 9)), Err(Errno::NETUNREACH), "{nowhere}");
            assert_eq!(v6.bind(at(nowhere, 9)), Err(Errno::ADDRNOTAVAIL));
        }
        v6.bind(at(ONE, 0)).unwrap();
        assert_eq!(v6.connect(mapped(9)), Err(Errno::NETUNREACH));
        let v6 = made(V6, kind);
        v6.bind(mapped(0)).unwrap();
        assert_eq!(v6.local().ip(), mapped(0).ip());
        assert_eq!(v6.connect(at(ONE, 9)), Err(Errno::AFNOSUPPORT));
    }
    assert_eq!(made(V4, Kind::Datagram).send_to(b"x", at(ONE, 1)), Err(Errno::AFNOSUPPORT));
    // To nowhere in particular is to the address that it has, if it has one.
    let v6 = made(V6, Kind::Datagram);
    v6.bind(mapped(0)).unwrap();
    v6.connect(at(ALL, 9)).unwrap();
    assert_eq!(v6.peer(), Ok(mapped(9)));
}
