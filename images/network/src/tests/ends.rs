//! How connections end: with what was sent, for want of a peer, and so that the
//! same ends may call each other again.

use super::joined::{SECOND, World};
use super::{ME, Random, alone, pair, read};
use crate::Family::V4;
use crate::{Kind, Shutdown, Socket};
use kernel::errno::Errno;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use transport::ethernet::outside;

/// The second stack, as the first one calls it.
const THERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 2, 2)), 80);
/// What Linux gives a peer that is asked: two hours, and nine times 75 s.
const PEER_GONE_S: u64 = 7200 + 9 * 75;

/// Calls from a port of the first stack.
fn call_from(world: &World, port: u16) -> Socket {
    let caller = Socket::new(&world.stacks[0], ME, V4, Kind::Stream).unwrap();
    caller.bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).unwrap();
    assert_eq!(caller.connect(THERE), Err(Errno::INPROGRESS));
    caller
}

/// What a call comes to.
fn answer(world: &World, caller: &Socket) -> Result<(), Errno> {
    loop {
        match caller.connected() {
            Err(Errno::AGAIN) => world.turn(),
            answer => return answer,
        }
    }
}

fn accept(world: &World, listener: &Socket) -> Socket {
    loop {
        match listener.accept() {
            Err(Errno::AGAIN) => world.turn(),
            accepted => return accepted.unwrap().0,
        }
    }
}

fn listen(world: &World, backlog: i32) -> Socket {
    let listener = Socket::new(&world.stacks[1], ME, V4, Kind::Stream).unwrap();
    listener.bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80))).unwrap();
    listener.listen(backlog).unwrap();
    listener
}

/// All that comes until the end, and which that is.
fn read_to_end(world: &World, socket: &Socket) -> (Vec<u8>, Result<usize, Errno>) {
    let mut all = Vec::new();
    loop {
        let (more, end) = read(socket);
        all.extend(more);
        match end {
            Err(Errno::AGAIN) => world.turn(),
            end => return (all, end),
        }
    }
}

#[test]
fn a_server_that_closes_a_hundred_connections_loses_nothing() {
    let world = World::new(0, 3);
    let listener = listen(&world, 128);
    let pairs: Vec<_> = (0..100)
        .map(|_| {
            let caller = call_from(&world, 0);
            let accepted = accept(&world, &listener);
            assert_eq!(answer(&world, &caller), Ok(()));
            (caller, accepted)
        })
        .collect();
    let page = [7; 30_000];
    let callers: Vec<_> = pairs
        .into_iter()
        .map(|(caller, accepted)| {
            assert_eq!(accepted.send(&page), Ok(page.len()));
            caller
        })
        .collect();
    // They read in no hurry.
    for caller in &callers {
        world.pass(1);
        assert_eq!(read_to_end(&world, caller), (page.to_vec(), Ok(0)));
    }
}

#[test]
fn a_peer_that_takes_little_at_a_time_gets_all() {
    let world = World::new(0, 3);
    let (_listener, caller, accepted) = world.connect();
    let mut sent = 0;
    while let Ok(taken) = accepted.send(&[7; 10_000]) {
        sent += taken;
        (0..20).for_each(|_| world.turn());
    }
    drop(accepted);
    let (mut got, mut buffer) = (0, [0; 6000]);
    while got < sent {
        world.pass(40);
        got += caller.receive(&mut buffer, false).unwrap().0;
    }
    assert!(world.clock.now() > 300 * SECOND, "longer than a peer may take nothing");
    assert_eq!(read_to_end(&world, &caller), (vec![], Ok(0)));
}

#[test]
fn a_peer_that_takes_nothing_is_given_up() {
    let world = World::new(0, 3);
    let (_listener, caller, accepted) = world.connect();
    while accepted.send(&[7; 10_000]).is_ok() {
        (0..20).for_each(|_| world.turn());
    }
    drop(accepted);
    world.pass(70);
    let (_, end) = read(&caller);
    assert_eq!(end, Err(Errno::CONNRESET));
}

#[test]
fn what_was_not_read_when_both_have_ended_is_there_later() {
    let world = World::new(0, 3);
    let (_listener, caller, accepted) = world.connect();
    caller.shut_down(Shutdown::Send).unwrap();
    accepted.send(b"the tail").unwrap();
    accepted.shut_down(Shutdown::Send).unwrap();
    // The connection is forgotten ten seconds after its end.
    world.pass(100);
    let mut buffer = [0; 3];
    assert_eq!(caller.receive(&mut buffer, true), Ok((3, None)));
    assert!(caller.readiness().readable);
    assert_eq!(read(&caller), (b"the tail".to_vec(), Ok(0)));
    assert_eq!((caller.take_error(), read(&caller)), (None, (Vec::new(), Ok(0))));
    assert_eq!((accepted.take_error(), read(&accepted)), (None, (Vec::new(), Ok(0))));
}

#[test]
fn who_calls_and_goes_away_takes_no_place_for_ever() {
    let world = World::new(0, 3);
    let listener = listen(&world, 2);
    let callers = [call_from(&world, 0), call_from(&world, 0)];
    world.cut(true);
    world.stacks[1].turn();
    drop(callers);
    world.pass(10);
    world.cut(false);
    let early = call_from(&world, 0);
    assert_eq!(answer(&world, &early), Err(Errno::CONNREFUSED), "both places are taken");
    world.cut(true);
    world.pass(30);
    world.cut(false);
    let caller = call_from(&world, 0);
    assert_eq!(answer(&world, &caller), Ok(()));
    // Who confirms its call waits as long as it takes to be accepted.
    world.pass(3600);
    let accepted = accept(&world, &listener);
    assert_eq!((listener.accept().err(), accepted.send(b"late")), (Some(Errno::AGAIN), Ok(4)));
    world.pass(1);
    assert_eq!(read(&caller).0, b"late");
}

#[test]
fn a_peer_that_is_gone_ends_the_connection_if_it_is_asked() {
    let world = World::new(0, 3);
    let (_listener, caller, accepted) = world.connect();
    // One that has long said nothing is asked first.
    world.pass(5 * PEER_GONE_S);
    caller.set_keep_alive(true);
    for _ in 0..3 {
        world.pass(2 * PEER_GONE_S);
        assert!(!caller.readiness().over && !accepted.readiness().over, "both are there");
    }
    // A break that is mended in time is none.
    accepted.send(b"now").unwrap();
    world.pass(1);
    assert_eq!(read(&caller).0, b"now");
    world.cut(true);
    world.pass(PEER_GONE_S * 97 / 100);
    world.cut(false);
    world.pass(2 * PEER_GONE_S);
    accepted.send(b"still there").unwrap();
    world.pass(1);
    assert_eq!(read(&caller), (b"still there".to_vec(), Err(Errno::AGAIN)));
    world.cut(true);
    world.pass(PEER_GONE_S * 98 / 100);
    assert!(!caller.readiness().over);
    let seen = caller.changes().count();
    world.pass(PEER_GONE_S * 4 / 100);
    let now = caller.readiness();
    assert!(now.over && now.failed && now.readable && caller.changes().count() != seen);
    assert_eq!(read(&caller), (vec![], Err(Errno::TIMEDOUT)));
    assert_eq!((read(&caller), caller.send(b"x")), ((vec![], Ok(0)), Err(Errno::PIPE)));
    // Who does not ask does not learn it.
    assert!(!accepted.readiness().over);
}

#[test]
fn what_is_sent_to_a_peer_that_is_gone_ends_the_connection() {
    let world = World::new(0, 3);
    let (_listener, caller, _accepted) = world.connect();
    world.pass(5000);
    world.cut(true);
    caller.send(b"anybody?").unwrap();
    world.pass(900);
    assert!(!caller.readiness().over);
    world.pass(100);
    assert_eq!(caller.take_error(), Some(Errno::TIMEDOUT));
}

#[test]
fn a_peer_that_reads_nothing_is_not_gone() {
    let world = World::new(0, 3);
    let (_listener, caller, accepted) = world.connect();
    while caller.send(&[7; 10_000]).is_ok() {
        (0..20).for_each(|_| world.turn());
    }
    world.pass(10_000);
    assert!(!caller.readiness().over);
    let got = read_until_quiet(&world, &accepted);
    assert!(got.len() > 32 * 1024, "{} bytes", got.len());
}

fn read_until_quiet(world: &World, socket: &Socket) -> Vec<u8> {
    let mut all = Vec::new();
    for _ in 0..100 {
        world.turn();
        all.extend(read(socket).0);
    }
    all
}

#[test]
fn a_connection_that_is_broken_before_anybody_looks_was_there() {
    let world = World::new(0, 3);
    let listener = listen(&world, 4);
    let caller = call_from(&world, 0);
    // Its answer and the reset come in one turn.
    world.stacks[1].turn();
    drop(listener);
    assert_eq!(world.to_first.lock().unwrap().len(), 2);
    world.stacks[0].turn();
    assert_eq!(caller.connected(), Ok(()));
    assert!(caller.readiness().failed);
    assert_eq!((caller.take_error(), caller.take_error()), (Some(Errno::CONNRESET), None));
}

#[test]
fn a_call_that_is_not_answered_is_told_once_and_may_be_repeated() {
    let world = World::new(0, 3);
    let _listener = listen(&world, 4);
    world.cut(true);
    let caller = call_from(&world, 0);
    assert_eq!(answer(&world, &caller), Err(Errno::TIMEDOUT));
    world.cut(false);
    assert_eq!((caller.take_error(), caller.take_error()), (Some(Errno::TIMEDOUT), None));
    assert_eq!(caller.connect(THERE), Err(Errno::INPROGRESS));
    assert_eq!(answer(&world, &caller), Ok(()));
}

#[test]
fn ends_whose_connection_is_over_connect_again_at_once() {
    let world = World::new(0, 3);
    let listener = listen(&world, 4);
    let mut before: Option<Socket> = None;
    for round in 0..5_u8 {
        let caller = call_from(&world, 5000);
        assert_eq!(answer(&world, &caller), Ok(()));
        let accepted = accept(&world, &listener);
        assert_eq!(caller.send(&[round]), Ok(1));
        world.pass(1);
        // What was left of the one before is its own.
        if let Some(before) = before.replace(accepted) {
            assert_eq!(read(&before), (vec![round - 1], Ok(0)));
            assert_eq!(before.take_error(), None);
        }
        // The server ends first, so that it is the one that waits.
        let accepted = before.as_ref().unwrap();
        accepted.shut_down(Shutdown::Send).unwrap();
        assert_eq!(read_to_end(&world, &caller), (vec![], Ok(0)));
        drop(caller);
        (0..4).for_each(|_| world.pass(0));
        assert!(accepted.readiness().over);
    }
    assert!(world.clock.now() < 9 * SECOND, "none waited for an end");
}

#[test]
fn who_has_forgotten_its_connection_may_call_again() {
    for asks in [false, true] {
        let world = World::new(0, 3);
        let listener = listen(&world, 4);
        let caller = call_from(&world, 5000);
        let old = accept(&world, &listener);
        old.set_keep_alive(asks);
        assert_eq!(answer(&world, &caller), Ok(()));
        world.pass(1);
        world.cut(true);
        drop(caller);
        world.pass(100);
        world.cut(false);
        assert!(!old.readiness().over, "it knows nothing of that");
        let caller = call_from(&world, 5000);
        assert_eq!(answer(&world, &caller), Ok(()));
        assert_eq!(old.take_error(), Some(Errno::CONNRESET));
        let new = accept(&world, &listener);
        new.send(b"anew").unwrap();
        world.pass(1);
        assert_eq!(read(&caller).0, b"anew");
    }
}

#[test]
fn both_may_call_each_other_at_once() {
    let world = World::new(0, 3);
    let ends = [0, 1].map(|index| {
        let end = Socket::new(&world.stacks[index], ME, V4, Kind::Stream).unwrap();
        end.bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80))).unwrap();
        end
    });
    for end in &ends {
        assert_eq!(end.connect(THERE), Err(Errno::INPROGRESS));
    }
    assert!(ends.iter().all(|end| answer(&world, end) == Ok(())));
    ends[0].send(b"there").unwrap();
    world.pass(1);
    assert_eq!(read(&ends[1]).0, b"there");
}

#[test]
fn nobody_calls_outside_as_the_loopback() {
    let world = World::new(0, 3);
    for kind in [Kind::Stream, Kind::Datagram] {
        let socket = Socket::new(&world.stacks[0], ME, V4, kind).unwrap();
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        assert_eq!(socket.connect(THERE), Err(Errno::INVAL), "{kind:?}");
        let own = SocketAddr::new(outside::ADDRESS.into(), 9);
        assert_ne!(socket.connect(own), Err(Errno::INVAL), "{kind:?}");
        if kind == Kind::Datagram {
            assert_eq!(socket.send_to(b"x", THERE), Err(Errno::INVAL));
        }
    }
    assert!(world.to_second.lock().unwrap().is_empty());
}

#[test]
fn packets_live_as_long_as_was_said() {
    let world = World::new(0, 3);
    let lives = || world.to_second.lock().unwrap().drain(..).map(|frame| frame[22]).collect::<Vec<_>>();
    let socket = Socket::new(&world.stacks[0], ME, V4, Kind::Datagram).unwrap();
    socket.send_to(b"x", THERE).unwrap();
    assert_eq!(lives(), [64]);
    socket.set_time_to_live(3);
    socket.send_to(b"x", THERE).unwrap();
    assert_eq!(lives(), [3]);
    // Before it has a port as well.
    let socket = Socket::new(&world.stacks[0], ME, V4, Kind::Datagram).unwrap();
    socket.set_time_to_live(9);
    socket.send_to(b"x", THERE).unwrap();
    assert_eq!(lives(), [9]);
}

#[test]
fn a_peer_that_has_ended_and_reads_late_waits_for_no_timer() {
    let (stack, clock) = alone();
    for is_dropped in [false, true] {
        let (_listener, caller, accepted) = pair(&stack);
        caller.shut_down(Shutdown::Send).unwrap();
        let mut sent = 0;
        while let Ok(taken) = accepted.send(&[7; 10_000]) {
            sent += taken;
        }
        // It is confirmed, and said that there is no room any more.
        for _ in 0..4 {
            clock.to(clock.now() + 20_000_000);
            stack.turn();
        }
        if is_dropped {
            drop(accepted);
        } else {
            accepted.shut_down(Shutdown::Send).unwrap();
            assert_eq!(accepted.send(b"x"), Err(Errno::PIPE));
            assert!(accepted.readiness().writable);
        }
        let (got, end) = read(&caller);
        assert_eq!((got.len(), end), (sent, Ok(0)));
    }
}

/// Both ends send, read and end in whatever order. What they wait for is never longer
/// than an acknowledgement may be put off.
#[test]
fn both_ways_at_once_nothing_waits_for_a_repetition() {
    const BYTES: usize = 200_000;
    for seed in 1..=60 {
        let (stack, clock) = alone();
        let (_listener, a, b) = pair(&stack);
        let (ends, mut random) = ([&a, &b], Random(seed * 0x9e37_79b9_7f4a_7c15));
        let (mut sent, mut got, mut buffer) = ([0; 2], [0; 2], vec![0; 40_000]);
        let most = [3_000, 20_000, 40_000][random.below(3)];
        while got != [BYTES; 2] {
            // Four in a row may be the same one; but nothing is due while somebody can go on.
            let first = random.below(4);
            let moved = (0..4).map(|step| (first + step) % 4).any(|actor| {
                let way = actor % 2;
                let count = 1 + random.below(most);
                if actor < 2 {
                    let taken = ends[way].send(&vec![7; count.min(BYTES - sent[way])]).unwrap_or(0);
                    sent[way] += taken;
                    if taken > 0 && sent[way] == BYTES {
                        ends[way].shut_down(Shutdown::Send).unwrap();
                    }
                    taken > 0
                } else {
                    let taken =
                        ends[1 - way].receive(&mut buffer[..count], false).map_or(0, |(taken, _)| taken);
                    got[way] += taken;
                    taken > 0
                }
            });
            if !moved {
                let due = stack.turn().expect("something is due");
                assert!(due < clock.now() + 20_000_000 || got == [BYTES; 2], "seed {seed}: {got:?} {sent:?}");
                clock.to(due);
            }
        }
    }
}
