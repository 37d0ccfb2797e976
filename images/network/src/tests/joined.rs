//! Two stacks, each the other's outside: a cable between their cards, which may
//! lose frames or be cut.
//!
//! Both have the same address. The cable exchanges where a packet comes from and
//! where it goes to, also of one that ICMP tells of, which leaves every checksum as it
//! is: so each takes the other one for whomever it called.

use super::{Clock, ME, Random, read};
use crate::Family::{V4, V6};
use crate::names::Lookup;
use crate::{Family, Kind, Shutdown, Socket, Stack};
use kernel::errno::Errno;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use transport::ethernet::{Card, FRAME_HEADER_BYTES, MAX_FRAME, outside};

pub(super) const SECOND: u64 = 1_000_000_000;
/// Most frames under way in one direction.
const FRAMES: usize = 16;

/// One direction of a cable.
pub(super) type Line = Arc<Mutex<VecDeque<Vec<u8>>>>;

/// One end of a cable.
struct End {
    sends: Line,
    receives: Line,
    /// Of so many frames one is lost; 0: none.
    one_lost_of: Arc<AtomicU64>,
    /// While this holds, all are.
    is_cut: Arc<AtomicBool>,
    /// Whatever calls for a connection arrives twice, the second time when it has been answered.
    calls_twice: bool,
    again: Option<Vec<u8>>,
    random: Random,
}

impl End {
    fn is_lost(&mut self) -> bool {
        let (one_lost_of, drawn) = (self.one_lost_of.load(Ordering::Relaxed), self.random.next());
        one_lost_of > 0 && drawn.is_multiple_of(one_lost_of)
    }
}

impl Card for End {
    fn has_frame(&self) -> bool {
        !self.receives.lock().unwrap().is_empty()
    }

    fn receive(&mut self, frame: &mut [u8; MAX_FRAME]) -> Option<usize> {
        let received = self.receives.lock().unwrap().pop_front()?;
        frame[..received.len()].copy_from_slice(&received);
        Some(received.len())
    }

    fn can_send(&mut self) -> bool {
        self.sends.lock().unwrap().len() < FRAMES
    }

    fn send(&mut self, frame: &[u8]) {
        if !self.is_lost() && !self.is_cut.load(Ordering::Relaxed) {
            let mut frame = frame.to_vec();
            exchange(&mut frame[FRAME_HEADER_BYTES..]);
            let calls = frame.get(23) == Some(&6) && frame.get(47) == Some(&2);
            let mut sends = self.sends.lock().unwrap();
            sends.extend(self.again.take());
            if calls && self.calls_twice {
                self.again = Some(frame.clone());
            }
            sends.push_back(frame);
        }
    }
}

/// Exchanges where a packet comes from and where it goes to, and the same of the
/// packet that it tells of.
fn exchange(packet: &mut [u8]) {
    let is_v6 = packet.first().is_some_and(|start| start >> 4 == 6);
    let (protocol, start, end) = if is_v6 { (6, 8, 40) } else { (9, 12, 20) };
    let Some(addresses) = packet.get_mut(start..end) else { return };
    addresses.rotate_left((end - start) / 2);
    if [1, 58].contains(&packet[protocol]) {
        exchange(packet.get_mut(end + 8..).unwrap_or_default());
    }
}

/// Two stacks on one clock, and the line to the first of them.
pub(super) struct World {
    pub stacks: [Arc<Stack>; 2],
    pub clock: Clock,
    pub to_first: Line,
    pub to_second: Line,
    pub is_cut: Arc<AtomicBool>,
    one_lost_of: Arc<AtomicU64>,
    turns: AtomicUsize,
}

impl World {
    pub fn new(one_lost_of: u64, seed: u64) -> Self {
        Self::with(one_lost_of, false, seed)
    }

    fn with(one_lost_of: u64, calls_twice: bool, seed: u64) -> Self {
        let lines = [Line::default(), Line::default()];
        let (clock, is_cut) = (Clock::default(), Arc::new(AtomicBool::new(false)));
        let one_lost_of = Arc::new(AtomicU64::new(one_lost_of));
        let stacks = [0, 1].map(|index| {
            let (sends, receives) = (lines[1 - index].clone(), lines[index].clone());
            let card = End {
                sends,
                receives,
                one_lost_of: one_lost_of.clone(),
                is_cut: is_cut.clone(),
                calls_twice,
                again: None,
                random: Random(seed + 1 + index as u64),
            };
            let (reads, drawn) = (clock.clone(), AtomicU64::new(seed + index as u64));
            let random = move || drawn.fetch_add(1 << 20, Ordering::Relaxed);
            Stack::new(Some(Box::new(card)), random, 1 << 30, move || reads.now())
        });
        let [to_first, to_second] = lines;
        Self { stacks, clock, to_first, to_second, is_cut, one_lost_of, turns: AtomicUsize::new(0) }
    }

    /// Moves what there is; if there is nothing, lets time pass until something is due.
    pub fn turn(&self) {
        match self.move_on() {
            Some(at) => self.clock.to(at),
            None => assert!(self.to_first.lock().unwrap().is_empty(), "what comes is taken"),
        }
    }

    /// Moves what there is, and says when something is due.
    fn move_on(&self) -> Option<u64> {
        let turns = self.turns.fetch_add(1, Ordering::Relaxed);
        assert!(turns < 1_000_000, "what is waited for does not come");
        let due = self.stacks.each_ref().map(|stack| stack.turn());
        // What the second one has sent, the first one takes in its next turn.
        let arrives = (!self.to_first.lock().unwrap().is_empty()).then(|| self.clock.now());
        due.into_iter().chain([arrives]).flatten().min()
    }

    /// Lets so much time pass, and all happen that it brings.
    pub fn pass(&self, seconds: u64) {
        let until = self.clock.now() + seconds * SECOND;
        while let Some(at) = self.move_on().filter(|&at| at < until) {
            self.clock.to(at);
        }
        self.clock.to(until);
        self.move_on();
    }

    /// Of so many frames one is lost from now on; 0: none.
    fn lose(&self, one_of: u64) {
        self.one_lost_of.store(one_of, Ordering::Relaxed);
    }

    /// Whether the cable is cut from now on.
    pub fn cut(&self, cut: bool) {
        self.is_cut.store(cut, Ordering::Relaxed);
    }

    /// A listener of the second one, and a connection from the first one.
    pub fn connect(&self) -> (Socket, Socket, Socket) {
        self.connect_by(V4)
    }

    /// The same by this version of IP.
    pub fn connect_by(&self, family: Family) -> (Socket, Socket, Socket) {
        let (gateway, own): (IpAddr, IpAddr) = match family {
            V4 => (outside::GATEWAY.into(), outside::ADDRESS.into()),
            V6 => (outside::GATEWAY_V6.into(), outside::ADDRESS_V6.into()),
        };
        let listener = Socket::new(&self.stacks[1], ME, family, Kind::Stream).unwrap();
        listener.bind(SocketAddr::new(family.unspecified(), 80)).unwrap();
        listener.listen(4).unwrap();
        let caller = Socket::new(&self.stacks[0], ME, family, Kind::Stream).unwrap();
        let to = SocketAddr::new(gateway, 80);
        assert_eq!(caller.connect(to), Err(Errno::INPROGRESS));
        let accepted = loop {
            self.turn();
            match listener.accept() {
                Ok((accepted, from)) => {
                    assert_eq!(from.ip(), gateway);
                    break accepted;
                }
                Err(error) => assert_eq!(error, Errno::AGAIN),
            }
        };
        while caller.connected() == Err(Errno::AGAIN) {
            self.turn();
        }
        assert_eq!(caller.connected(), Ok(()));
        assert_eq!(caller.local().ip(), own);
        (listener, caller, accepted)
    }
}

/// Sends this all the way, and the other end's answer back, on a connection whose
/// frames are lost, one of so many.
fn converse(world: &World, family: Family, one_lost_of: u64, bytes: usize) {
    let (_listener, caller, accepted) = world.connect_by(family);
    world.lose(one_lost_of);
    let data: Vec<u8> = (0..bytes).map(|index| (index * 7 % 251) as u8).collect();
    for (from, to) in [(&caller, &accepted), (&accepted, &caller)] {
        let (mut sent, mut got) = (0, Vec::new());
        while got.len() < data.len() {
            if sent < data.len() {
                match from.send(&data[sent..]) {
                    Ok(taken) => sent += taken,
                    Err(error) => assert_eq!(error, Errno::AGAIN),
                }
            }
            world.turn();
            let (more, end) = read(to);
            assert_eq!(end, Err(Errno::AGAIN));
            got.extend(more);
        }
        assert!(got == data, "{bytes} bytes arrive in order");
    }
    caller.shut_down(Shutdown::Send).unwrap();
    while read(&accepted).1 != Ok(0) {
        world.turn();
    }
}

#[test]
fn a_connection_to_the_outside_carries_bytes_both_ways() {
    [V4, V6].into_iter().for_each(|family| converse(&World::new(0, 3), family, 0, 500_000));
}

#[test]
fn who_calls_twice_for_a_connection_has_one() {
    let world = World::with(0, true, 3);
    let (listener, caller, accepted) = world.connect();
    // One has ended, so that a place in smoltcp's set is free before the next one's.
    drop((caller, accepted));
    (0..100).for_each(|_| world.turn());
    for _ in 0..5 {
        let caller = Socket::new(&world.stacks[0], ME, V4, Kind::Stream).unwrap();
        let to = SocketAddr::new(outside::GATEWAY.into(), 80);
        assert_eq!(caller.connect(to), Err(Errno::INPROGRESS));
        let accepted = loop {
            world.turn();
            if let Ok((accepted, _)) = listener.accept() {
                break accepted;
            }
        };
        assert_eq!(caller.connected(), Ok(()));
        assert_eq!(caller.send(b"to one"), Ok(6));
        while read(&accepted).0 != b"to one" {
            world.turn();
        }
        assert_eq!(listener.accept().err(), Some(Errno::AGAIN), "there is no other");
        assert!(!accepted.readiness().over && !caller.readiness().over);
    }
}

#[test]
fn who_calls_a_port_that_nobody_has_is_refused() {
    let world = World::new(0, 3);
    let caller = Socket::new(&world.stacks[0], ME, V4, Kind::Stream).unwrap();
    let to = SocketAddr::new(outside::GATEWAY.into(), 81);
    assert_eq!(caller.connect(to), Err(Errno::INPROGRESS));
    while caller.connected() == Err(Errno::AGAIN) {
        world.turn();
    }
    assert_eq!(caller.take_error(), Some(Errno::CONNREFUSED));
}

#[test]
fn who_calls_and_is_not_answered_learns_it_in_time() {
    let world = World::new(1, 3);
    let caller = Socket::new(&world.stacks[0], ME, V4, Kind::Stream).unwrap();
    let to = SocketAddr::new(outside::GATEWAY.into(), 80);
    assert_eq!(caller.connect(to), Err(Errno::INPROGRESS));
    while caller.connected() == Err(Errno::AGAIN) {
        world.turn();
    }
    assert_eq!(caller.take_error(), Some(Errno::TIMEDOUT));
    assert!(world.clock.now() >= 75_000_000_000);
}

/// A question that has come to a name server.
struct Asked {
    bytes: Vec<u8>,
    from: SocketAddr,
}

fn question(world: &World, server: &Socket) -> Asked {
    let mut buffer = [0; 512];
    loop {
        match server.receive(&mut buffer, false) {
            Ok((length, from)) => return Asked { bytes: buffer[..length].to_vec(), from: from.unwrap() },
            Err(error) => assert_eq!(error, Errno::AGAIN),
        }
        world.turn();
    }
}

/// Answers it (RFC 1035): the question, and one address with a pointer to its name, or
/// none.
fn answer(server: &Socket, asked: &Asked, address: &[u8]) {
    let count = u8::from(!address.is_empty());
    let kind = &asked.bytes[asked.bytes.len() - 4..];
    let start = [&asked.bytes[..2], &[0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0], &asked.bytes[12..]].concat();
    let record = [&[0xc0, 12], kind, &[0, 0, 0, 60, 0, address.len() as u8], address].concat();
    let said = if count > 0 { [start, record].concat() } else { start };
    server.send_to(&said, asked.from).unwrap();
}

#[test]
fn the_name_server_is_asked() {
    let world = World::new(0, 9);
    let server = Socket::new(&world.stacks[1], ME, V4, Kind::Datagram).unwrap();
    server.bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 53))).unwrap();
    let mut lookup = Lookup::new(&world.stacks[0], "www.example.org").unwrap();
    let (a, aaaa) = (question(&world, &server), question(&world, &server));
    assert_eq!(a.from.ip(), Ipv4Addr::from(outside::NAME_SERVER));
    assert_eq!(a.bytes[12..], *b"\x03www\x07example\x03org\0\0\x01\0\x01");
    assert_eq!(aaaa.bytes[12..], *b"\x03www\x07example\x03org\0\0\x1c\0\x01");
    assert_eq!(lookup.addresses(), Err(Errno::AGAIN));
    let (v4, v6) = ([93, 184, 215, 14], Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7));
    let before = lookup.changes().count();
    answer(&server, &aaaa, &v6.octets());
    world.turn();
    assert_ne!(lookup.changes().count(), before);
    assert_eq!(lookup.addresses(), Err(Errno::AGAIN));
    answer(&server, &a, &v4);
    world.turn();
    assert_eq!(lookup.addresses(), Ok(vec![v4.into(), v6.into()]));
    // Who knows the number of one question knows nothing of the next one's. (One may
    // have been asked again meanwhile.)
    (0..10).for_each(|_| world.turn());
    while server.receive(&mut [0; 512], false).is_ok() {}
    let mut next = Lookup::new(&world.stacks[0], "www.example.org").unwrap();
    let (next_a, next_aaaa) = (question(&world, &server), question(&world, &server));
    let known = [&a, &aaaa, &next_a, &next_aaaa].map(|one| (one.from.port(), [one.bytes[0], one.bytes[1]]));
    for (index, one) in known.iter().enumerate() {
        assert!(known[..index].iter().all(|other| one.0 != other.0 && one.1 != other.1));
    }
    // One version is enough.
    answer(&server, &next_a, &[]);
    answer(&server, &next_aaaa, &v6.octets());
    world.turn();
    assert_eq!(next.addresses(), Ok(vec![v6.into()]));
    // Nobody answers this one.
    drop(server);
    let mut lookup = Lookup::new(&world.stacks[0], "silence.example").unwrap();
    let given_up = loop {
        world.turn();
        match lookup.addresses() {
            Err(Errno::AGAIN) => {}
            end => break end,
        }
    };
    assert_eq!(given_up, Err(Errno::NOENT));
}

/// A frame that says that it comes from `from`.
fn datagram(from: Ipv4Addr, to: Ipv4Addr, port: u16) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0];
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend([0, 99]);
    packet.extend(port.to_be_bytes());
    packet.extend([0, 9, 0, 0, b'!']);
    [&outside::OWN_HARDWARE[..], &outside::GATEWAY_HARDWARE, &[8, 0], &packet].concat()
}

/// The same by IPv6.
fn datagram_v6(from: Ipv6Addr, to: Ipv6Addr, port: u16) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 9, 17, 64];
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend([0, 99]);
    packet.extend(port.to_be_bytes());
    // A checksum is not looked at, but has to be there.
    packet.extend([0, 9, 1, 1, b'!']);
    [&outside::OWN_HARDWARE[..], &outside::GATEWAY_HARDWARE, &[0x86, 0xdd], &packet].concat()
}

#[test]
fn nobody_outside_passes_for_the_node_itself_or_reaches_its_loopback() {
    let world = World::new(0, 3);
    let socket = Socket::new(&world.stacks[0], ME, V4, Kind::Datagram).unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 700))).unwrap();
    let (own, host) = (Ipv4Addr::from(outside::ADDRESS), Ipv4Addr::from(outside::GATEWAY));
    let mut buffer = [0; 10];
    for (from, to, comes_in) in [
        (host, own, true),
        (host, Ipv4Addr::LOCALHOST, false),
        (Ipv4Addr::LOCALHOST, own, false),
        (own, own, false),
        (host, Ipv4Addr::BROADCAST, false),
    ] {
        world.to_first.lock().unwrap().push_back(datagram(from, to, 700));
        world.turn();
        assert_eq!(socket.receive(&mut buffer, false).is_ok(), comes_in, "from {from} to {to}");
    }
    drop(socket);
    let socket = Socket::new(&world.stacks[0], ME, V6, Kind::Datagram).unwrap();
    socket.bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 700))).unwrap();
    let (own, host, one) = (outside::ADDRESS_V6, outside::GATEWAY_V6, Ipv6Addr::LOCALHOST);
    for (from, to, comes_in) in [
        (host, own, true),
        (host, one, false),
        (one, own, false),
        (own, own, false),
        (Ipv4Addr::LOCALHOST.to_ipv6_mapped(), own, false),
        (Ipv4Addr::new(8, 8, 8, 8).to_ipv6_mapped(), own, false),
        (host, Ipv4Addr::from(outside::ADDRESS).to_ipv6_mapped(), false),
        (host, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), false),
    ] {
        world.to_first.lock().unwrap().push_back(datagram_v6(from, to, 700));
        world.turn();
        assert_eq!(socket.receive(&mut buffer, false).is_ok(), comes_in, "from {from} to {to}");
    }
    // The frame says one version, the packet the other.
    let mut frame = datagram_v6(host, own, 700);
    frame[12..14].copy_from_slice(&[8, 0]);
    world.to_first.lock().unwrap().push_back(frame);
    world.turn();
    assert!(socket.receive(&mut buffer, false).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Lost frames are sent again.
    #[test]
    fn a_lossy_way_loses_nothing(
        seed in 1_u64..1 << 40,
        is_v6 in any::<bool>(),
        one_lost_of in 4_u64..40,
        bytes in 1_usize..60_000,
    ) {
        converse(&World::new(0, seed), if is_v6 { V6 } else { V4 }, one_lost_of, bytes);
    }
}

/// So are those of a call, for as long as one may be half open: with these seeds
/// that is long enough.
#[test]
fn a_lossy_way_connects() {
    (1..=40).for_each(|seed| drop(World::new(8, seed * 0x9e37_79b9).connect()));
}

/// Makes noise look like what the stack takes: a packet of one version or the other, and
/// what it carries.
fn disguise(noise: &mut [u8], is_v6: bool, carries: Option<u8>) {
    let (good, protocol, header, length) = match is_v6 {
        false => (datagram(outside::GATEWAY.into(), outside::ADDRESS.into(), 80), 23, 34, 16),
        true => (datagram_v6(outside::GATEWAY_V6, outside::ADDRESS_V6, 80), 20, 54, 18),
    };
    let keep = good.len().min(noise.len()).min(if carries.is_some() { header } else { 14 });
    noise[..keep].copy_from_slice(&good[..keep]);
    if let Some(carries) = carries.filter(|_| noise.len() > header) {
        noise[protocol] = carries;
        let bytes = noise.len() - if is_v6 { header } else { 14 };
        noise[length..length + 2].copy_from_slice(&(bytes as u16).to_be_bytes());
    }
}

proptest! {
    /// Whatever comes, the stack takes it and goes on.
    #[test]
    fn nonsense_is_dropped(
        frames in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..200), 0_usize..9), 1..40),
    ) {
        let world = World::new(0, 3);
        let (_listener, caller, accepted) = world.connect();
        for (mut noise, form) in frames {
            // As it is; as a packet; as what TCP, UDP and either ICMP carry.
            let carries = [None, Some(6), Some(17), Some(if form > 4 { 58 } else { 1 })];
            if form > 0 {
                disguise(&mut noise, form > 4, carries[(form - 1) % 4]);
            }
            world.to_first.lock().unwrap().push_back(noise);
            for _ in 0..4 {
                world.stacks[0].turn();
            }
        }
        caller.send(b"goes on").unwrap();
        let mut got = Vec::new();
        while got != b"goes on" {
            world.turn();
            got.extend(read(&accepted).0);
        }
    }
}
