//! `std::net` on the loopback, as `std` documents it.

use crate::Outcome;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::thread;
use std::time::Duration;

/// Long for anything that comes.
const LONG: Duration = Duration::from_secs(60);
/// Short for what never comes.
const SHORT: Duration = Duration::from_millis(20);

/// What is tried of one thing.
type Part = fn() -> Outcome;

/// All of it.
pub fn all(out: &mut impl Write) -> Outcome {
    let parts: [(&str, Part); 14] = [
        ("echo", echo),
        ("addresses", addresses),
        ("half closed", half_closed),
        ("waits", waits),
        ("refused", refused),
        ("ports", ports),
        ("reset", reset),
        ("vectors", vectors),
        ("both ways at once", both_ways),
        ("many", many),
        ("datagrams", datagrams),
        ("datagrams to nobody", to_nobody),
        ("both versions of IP", both_versions),
        ("names", names),
    ];
    for (name, part) in parts {
        part().map_err(|error| format!("{name}: {error}"))?;
        writeln!(out, "sockets: {name}")?;
    }
    Ok(())
}

/// A listener, and both ends of a connection through it.
fn pair() -> std::io::Result<(TcpListener, TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let caller = TcpStream::connect(listener.local_addr()?)?;
    let (accepted, from) = listener.accept()?;
    assert_eq!(from, caller.local_addr()?);
    Ok((listener, caller, accepted))
}

fn kind<T>(result: std::io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

fn echo() -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let to = listener.local_addr()?;
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        let mut buffer = [0; 777];
        loop {
            match stream.read(&mut buffer)? {
                0 => return std::io::Result::Ok(()),
                length => stream.write_all(&buffer[..length])?,
            }
        }
    });
    let mut stream = TcpStream::connect(to)?;
    for length in [1, 2, 776, 777, 778, 1460, 4096, 20_000] {
        let sent: Vec<u8> = (0..length).map(|index| (index * 31 % 256) as u8).collect();
        stream.write_all(&sent)?;
        let mut got = vec![0; length];
        stream.read_exact(&mut got)?;
        assert!(got == sent, "{length} bytes come back as they were");
    }
    drop(stream);
    server.join().expect("it does not panic")?;
    Ok(())
}

fn addresses() -> Outcome {
    let (listener, caller, accepted) = pair()?;
    assert_eq!(caller.peer_addr()?, listener.local_addr()?);
    assert_eq!(accepted.local_addr()?, listener.local_addr()?);
    assert_eq!(accepted.peer_addr()?, caller.local_addr()?);
    caller.set_nodelay(true)?;
    assert!(caller.nodelay()? && !accepted.nodelay()?);
    caller.set_ttl(33)?;
    assert_eq!(caller.ttl()?, 33);
    assert_eq!(caller.read_timeout()?, None);
    caller.set_read_timeout(Some(Duration::from_millis(1500)))?;
    assert_eq!(caller.read_timeout()?, Some(Duration::from_millis(1500)));
    assert_eq!(kind(caller.set_write_timeout(Some(Duration::ZERO))), Some(ErrorKind::InvalidInput));
    assert!(caller.take_error()?.is_none());
    let anywhere = TcpListener::bind("0.0.0.0:0")?;
    assert!(anywhere.local_addr()?.ip().is_unspecified());
    // To nowhere in particular is to oneself.
    TcpStream::connect(("0.0.0.0", anywhere.local_addr()?.port()))?;
    Ok(())
}

fn half_closed() -> Outcome {
    let (_listener, mut caller, mut accepted) = pair()?;
    caller.write_all(b"that is all")?;
    caller.shutdown(Shutdown::Write)?;
    let mut text = String::new();
    accepted.read_to_string(&mut text)?;
    assert_eq!(text, "that is all");
    accepted.write_all(b"and the answer")?;
    drop(accepted);
    text.clear();
    caller.read_to_string(&mut text)?;
    assert_eq!(text, "and the answer");
    Ok(())
}

fn waits() -> Outcome {
    let (listener, mut caller, mut accepted) = pair()?;
    let mut buffer = [0; 8];
    caller.set_read_timeout(Some(SHORT))?;
    assert_eq!(kind(caller.read(&mut buffer)), Some(ErrorKind::WouldBlock));
    caller.set_read_timeout(None)?;
    listener.set_nonblocking(true)?;
    assert_eq!(kind(listener.accept()), Some(ErrorKind::WouldBlock));
    accepted.set_nonblocking(true)?;
    assert_eq!(kind(accepted.read(&mut buffer)), Some(ErrorKind::WouldBlock));
    // One that does not wait takes what there is room for.
    let block = vec![7; 100_000];
    let mut taken = 0;
    let full = loop {
        match accepted.write(&block) {
            Ok(length) => taken += length,
            Err(error) => break error.kind(),
        }
    };
    assert_eq!(full, ErrorKind::WouldBlock);
    drop(accepted);
    let mut all = Vec::new();
    caller.read_to_end(&mut all)?;
    assert_eq!(all.len(), taken);
    // One that waits is woken by what comes.
    let (_listener, mut caller, accepted) = pair()?;
    let mut again = accepted.try_clone()?;
    let reader = thread::spawn(move || {
        let mut buffer = [0; 4];
        again.read_exact(&mut buffer).map(|()| buffer)
    });
    thread::sleep(SHORT);
    caller.write_all(b"here")?;
    assert_eq!(&reader.join().expect("it does not panic")?, b"here");
    drop(accepted);
    let (_listener, mut caller, accepted) = pair()?;
    caller.write_all(b"peeked")?;
    let mut peeked = [0; 3];
    while accepted.peek(&mut peeked)? < 3 {}
    assert_eq!(&peeked, b"pee");
    Ok(())
}

fn refused() -> Outcome {
    let nobody = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    assert_eq!(kind(TcpStream::connect(nobody)), Some(ErrorKind::ConnectionRefused));
    assert_eq!(kind(TcpStream::connect_timeout(&nobody, LONG)), Some(ErrorKind::ConnectionRefused));
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let stream = TcpStream::connect_timeout(&listener.local_addr()?, LONG)?;
    assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    Ok(())
}

fn ports() -> Outcome {
    let (listener, caller, accepted) = pair()?;
    let port = listener.local_addr()?;
    assert_eq!(kind(TcpListener::bind(port)), Some(ErrorKind::AddrInUse));
    assert_eq!(kind(TcpListener::bind("8.8.8.8:80")), Some(ErrorKind::AddrNotAvailable));
    drop(listener);
    // While a connection of it lives on, and after it has ended.
    drop(TcpListener::bind(port)?);
    drop((accepted, caller));
    let listener = TcpListener::bind(port)?;
    TcpStream::connect(port)?;
    listener.accept()?;
    Ok(())
}

fn reset() -> Outcome {
    let (_listener, mut caller, accepted) = pair()?;
    caller.write_all(b"never read")?;
    let mut one = [0];
    while accepted.peek(&mut one)? == 0 {}
    drop(accepted);
    assert_eq!(kind(caller.read(&mut one)), Some(ErrorKind::ConnectionReset));
    let written = (0..10).find_map(|_| caller.write(b"x").err());
    assert_eq!(written.map(|error| error.kind()), Some(ErrorKind::BrokenPipe));
    Ok(())
}

fn vectors() -> Outcome {
    let (_listener, mut caller, mut accepted) = pair()?;
    let written = caller.write_vectored(&[IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"two")])?;
    assert_eq!(written, 7);
    let (mut first, mut second) = ([0; 4], [0; 100]);
    let mut peeked = [0; 7];
    while accepted.peek(&mut peeked)? < 7 {}
    let read = accepted.read_vectored(&mut [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)])?;
    assert_eq!((read, &first, &second[..3]), (7, b"one ", &b"two"[..]));
    // What fills the first buffer does not make it wait for the second.
    caller.write_all(b"four")?;
    let read = accepted.read_vectored(&mut [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)])?;
    assert_eq!((read, &first), (4, b"four"));
    Ok(())
}

fn both_ways() -> Outcome {
    const BYTES: usize = 3_000_000;
    let (_listener, caller, accepted) = pair()?;
    let flood = |mut stream: TcpStream, factor: usize| {
        thread::spawn(move || {
            let data: Vec<u8> = (0..BYTES).map(|index| (index * factor % 253) as u8).collect();
            stream.write_all(&data)?;
            stream.shutdown(Shutdown::Write)
        })
    };
    let drain = |mut stream: TcpStream, factor: usize| {
        thread::spawn(move || {
            let mut data = Vec::new();
            stream.read_to_end(&mut data)?;
            let whole = data.len() == BYTES;
            std::io::Result::Ok(whole && data.iter().enumerate().all(|(i, &b)| b == (i * factor % 253) as u8))
        })
    };
    let floods = [flood(caller.try_clone()?, 3), flood(accepted.try_clone()?, 5)];
    let drains = [drain(accepted, 3), drain(caller, 5)];
    for flood in floods {
        flood.join().expect("it does not panic")?;
    }
    for drain in drains {
        assert!(drain.join().expect("it does not panic")?, "all arrives in order");
    }
    Ok(())
}

fn many() -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let to = listener.local_addr()?;
    let server = thread::spawn(move || {
        for stream in listener.incoming().take(200) {
            let mut stream = stream?;
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            stream.write_all(&[byte[0].wrapping_add(1)])?;
        }
        std::io::Result::Ok(())
    });
    let clients: Vec<_> = (0..4_u8)
        .map(|client| {
            thread::spawn(move || {
                for round in 0..50 {
                    let mut stream = TcpStream::connect(to)?;
                    stream.write_all(&[client * 50 + round])?;
                    let mut byte = [0];
                    stream.read_exact(&mut byte)?;
                    assert_eq!(byte[0], (client * 50 + round).wrapping_add(1));
                }
                std::io::Result::Ok(())
            })
        })
        .collect();
    for client in clients {
        client.join().expect("it does not panic")?;
    }
    server.join().expect("it does not panic")?;
    Ok(())
}

fn datagrams() -> Outcome {
    let (a, b) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    let mut buffer = [0; 2000];
    b.set_read_timeout(Some(SHORT))?;
    assert_eq!(kind(b.recv_from(&mut buffer)), Some(ErrorKind::WouldBlock));
    b.set_read_timeout(Some(LONG))?;
    for length in [0, 1, 1000, 1400] {
        let sent: Vec<u8> = (0..length).map(|index| index as u8).collect();
        assert_eq!(a.send_to(&sent, b.local_addr()?)?, length);
        assert_eq!(b.peek_from(&mut buffer)?, (length, a.local_addr()?));
        assert_eq!(b.recv_from(&mut buffer)?, (length, a.local_addr()?));
        assert!(buffer[..length] == sent);
    }
    a.connect(b.local_addr()?)?;
    assert_eq!(a.peer_addr()?, b.local_addr()?);
    let stranger = UdpSocket::bind("127.0.0.1:0")?;
    stranger.send_to(b"from a stranger", a.local_addr()?)?;
    b.send_to(b"from b", a.local_addr()?)?;
    a.set_read_timeout(Some(LONG))?;
    assert_eq!((a.recv(&mut buffer)?, &buffer[..6]), (6, &b"from b"[..]));
    a.send(b"back")?;
    assert_eq!(b.recv(&mut buffer)?, 4);
    assert_eq!(kind(UdpSocket::bind(a.local_addr()?)), Some(ErrorKind::AddrInUse));
    assert!(!a.broadcast()?);
    assert_eq!(kind(stranger.send_to(b"all", (Ipv4Addr::BROADCAST, 9))), Some(ErrorKind::PermissionDenied));
    Ok(())
}

fn to_nobody() -> Outcome {
    let nobody = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
    let (told, not_told) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    told.connect(nobody)?;
    // One that waits is woken by it.
    told.set_read_timeout(Some(LONG))?;
    let waits = told.try_clone()?;
    let waiter = thread::spawn(move || kind(waits.recv(&mut [0; 8])));
    thread::sleep(SHORT);
    told.send(b"x")?;
    assert_eq!(waiter.join().expect("it does not panic"), Some(ErrorKind::ConnectionRefused));
    assert!(told.take_error()?.is_none());
    not_told.send_to(b"x", nobody)?;
    not_told.set_read_timeout(Some(SHORT))?;
    assert_eq!(kind(not_told.recv_from(&mut [0; 8])), Some(ErrorKind::WouldBlock));
    Ok(())
}

fn both_versions() -> Outcome {
    let listener = TcpListener::bind("[::]:0")?;
    let port = listener.local_addr()?.port();
    // Also who knows this host by its name.
    for to in ["127.0.0.1", "::1", "localhost"] {
        let mut caller = TcpStream::connect((to, port))?;
        let (mut accepted, from) = listener.accept()?;
        assert!(from.is_ipv6() && from.ip().to_canonical() == caller.local_addr()?.ip());
        caller.write_all(b"there")?;
        let mut there = [0; 5];
        accepted.read_exact(&mut there)?;
        assert_eq!(&there, b"there");
    }
    drop(listener);
    let (v4, v6) = (TcpListener::bind(("0.0.0.0", port))?, TcpListener::bind(("::1", port))?);
    for (listener, to) in [(&v4, "127.0.0.1"), (&v6, "::1")] {
        let caller = TcpStream::connect((to, port))?;
        assert_eq!(listener.accept()?.1, caller.local_addr()?);
    }
    drop(v6);
    assert_eq!(kind(TcpStream::connect(("::1", port))), Some(ErrorKind::ConnectionRefused));
    assert_eq!(kind(TcpListener::bind("[2001:db8::1]:80")), Some(ErrorKind::AddrNotAvailable));
    Ok(())
}

fn names() -> Outcome {
    let found: Vec<SocketAddr> = "localhost:80".to_socket_addrs()?.collect();
    assert!(found.contains(&SocketAddr::from((Ipv4Addr::LOCALHOST, 80))), "{found:?}");
    assert!("no.such.name.invalid:80".to_socket_addrs().is_err());
    Ok(())
}
