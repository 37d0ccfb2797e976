//! `std::net`: addresses, TCP and UDP on the loopback, of both versions of IP, and what is refused.

use crate::{Outcome, checksum, say, tell, text};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket,
};
use std::thread;
use std::time::{Duration, Instant};

/// Any port of the loopback; by IPv6; of all addresses there are.
const ANY: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);
const ANY_V6: (Ipv6Addr, u16) = (Ipv6Addr::LOCALHOST, 0);
const ANYWHERE: (Ipv6Addr, u16) = (Ipv6Addr::UNSPECIFIED, 0);
/// Long for anything that comes.
const LONG: Duration = Duration::from_secs(60);

pub fn main() -> Outcome {
    addresses();
    a_conversation()?;
    many_conversations()?;
    much_data()?;
    halves()?;
    without_waiting()?;
    datagrams()?;
    datagrams_to_nobody()?;
    by_ipv6()?;
    by_both()?;
    datagrams_by_both()?;
    what_is_refused()?;
    Ok(())
}

fn addresses() {
    say("an address", "127.0.0.1:80".parse::<SocketAddr>());
    say("another", "[::1]:443".parse::<SocketAddr>());
    text("none", "127.0.0.1".parse::<SocketAddr>());
    say("kinds", (IpAddr::from([127, 0, 0, 1]).is_loopback(), Ipv6Addr::LOCALHOST.is_loopback()));
    for name in ["127.0.0.1:7", "[::1]:7", "[::ffff:127.0.0.1]:7"] {
        tell("resolved", name.to_socket_addrs().map(Iterator::collect::<Vec<_>>));
    }
    tell(
        "this host",
        ("localhost", 7).to_socket_addrs().map(|mut all| all.any(|one| one == (ANY.0, 7).into())),
    );
    tell("not resolved", "no port".to_socket_addrs().map(|_| ()));
}

/// A listener, and where it listens.
fn listener() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(ANY)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn a_conversation() -> Outcome {
    let (listener, address) = listener()?;
    say("listens on the loopback", address.ip().is_loopback() && address.port() > 0);
    let server = thread::spawn(move || -> io::Result<usize> {
        let (mut stream, from) = listener.accept()?;
        assert_eq!(from, stream.peer_addr()?);
        let lines = BufReader::new(stream.try_clone()?).lines();
        let mut count = 0;
        for line in lines {
            writeln!(stream, "you said {}", line?)?;
            count += 1;
        }
        Ok(count)
    });
    let mut stream = TcpStream::connect(address)?;
    tell("to whom", stream.peer_addr().map(|peer| peer == address));
    tell("without delay", stream.set_nodelay(true).and_then(|()| stream.nodelay()));
    let mut answers = BufReader::new(stream.try_clone()?);
    for word in ["hello", "and", "good bye"] {
        writeln!(stream, "{word}")?;
        let mut answer = String::new();
        answers.read_line(&mut answer)?;
        say("answer", answer);
    }
    stream.shutdown(Shutdown::Write)?;
    tell("after the end", answers.read(&mut [0; 4]));
    tell("lines the server saw", server.join().unwrap());
    Ok(())
}

fn many_conversations() -> Outcome {
    let (listener, address) = listener()?;
    let server = thread::spawn(move || {
        let served: Vec<_> = listener
            .incoming()
            .take(20)
            .map(|stream| {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let mut number = [0; 8];
                    stream.read_exact(&mut number).unwrap();
                    stream.write_all(&(u64::from_le_bytes(number) * 2).to_le_bytes()).unwrap();
                })
            })
            .collect();
        served.into_iter().for_each(|thread| thread.join().unwrap());
    });
    let asking: Vec<_> = (0..20u64)
        .map(|i| {
            thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(&i.to_le_bytes()).unwrap();
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).unwrap();
                u64::from_le_bytes(answer.try_into().unwrap())
            })
        })
        .collect();
    let answers: Vec<_> = asking.into_iter().map(|thread| thread.join().unwrap()).collect();
    server.join().unwrap();
    say("answers", answers);
    Ok(())
}

/// More than fits into any buffer, both ways at once.
fn much_data() -> Outcome {
    let (listener, address) = listener()?;
    let data = |seed: u32| (0..1_000_000u32).map(move |i| (i.wrapping_mul(seed) >> 9) as u8);
    let exchange = move |mut stream: TcpStream, seed| -> io::Result<u64> {
        let mut writer = stream.try_clone()?;
        let sending = thread::spawn(move || {
            writer.write_all(&data(seed).collect::<Vec<_>>()).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut received = Vec::new();
        stream.read_to_end(&mut received)?;
        sending.join().unwrap();
        Ok(checksum(received))
    };
    let server = thread::spawn(move || exchange(listener.accept().unwrap().0, 7));
    let received = exchange(TcpStream::connect(address)?, 11)?;
    say("received", received == checksum(data(7)));
    say("by the server", server.join().unwrap()? == checksum(data(11)));
    Ok(())
}

fn halves() -> Outcome {
    let (listener, address) = listener()?;
    let mut a = TcpStream::connect(address)?;
    let (mut b, _) = listener.accept()?;
    a.write_all(b"last words")?;
    a.shutdown(Shutdown::Write)?;
    tell("written after that", a.write(b"x").map_err(|error| io::Error::from(error.kind())));
    let mut words = String::new();
    b.read_to_string(&mut words)?;
    say("read to the end", words);
    b.write_all(b"still heard")?;
    drop(b);
    let mut words = String::new();
    a.read_to_string(&mut words)?;
    say("the other way", words);
    Ok(())
}

fn without_waiting() -> Outcome {
    let (listener, address) = listener()?;
    listener.set_nonblocking(true)?;
    tell("nobody connects", listener.accept().map(|_| ()).map_err(|error| io::Error::from(error.kind())));
    listener.set_nonblocking(false)?;
    let stream = TcpStream::connect(address)?;
    let (peer, _) = listener.accept()?;
    stream.set_nonblocking(true)?;
    tell("nothing comes", (&stream).read(&mut [0; 4]).map_err(|error| io::Error::from(error.kind())));
    let mut sent = 0;
    let full = loop {
        match (&stream).write(&[7; 65_536]) {
            Ok(count) => sent += count,
            Err(error) => break error.kind(),
        }
    };
    say("full", (full, sent > 0));
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_millis(20)))?;
    tell("the time to wait", stream.read_timeout());
    let start = Instant::now();
    let error = (&stream).read(&mut [0; 4]).map_err(|error| error.kind());
    let in_vain = matches!(error, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut));
    say("in vain", (in_vain, start.elapsed() >= Duration::from_millis(15)));
    tell("no time at all", stream.set_read_timeout(Some(Duration::ZERO)));
    drop(peer);
    Ok(())
}

fn datagrams() -> Outcome {
    let (a, b) = (UdpSocket::bind(ANY)?, UdpSocket::bind(ANY)?);
    let (to_a, to_b) = (a.local_addr()?, b.local_addr()?);
    tell("sent", a.send_to(b"a datagram", to_b));
    let mut buffer = [0; 64];
    let (length, from) = b.recv_from(&mut buffer)?;
    say("received", (String::from_utf8_lossy(&buffer[..length]), from == to_a));
    tell("an empty one", b.send_to(b"", to_a));
    say("its length", a.recv_from(&mut buffer)?.0);
    a.connect(to_b)?;
    b.connect(to_a)?;
    for i in 0..10u8 {
        a.send(&[i; 10])?;
        let length = b.recv(&mut buffer)?;
        assert_eq!(&buffer[..length], &[i; 10]);
    }
    say("ten of them", true);
    b.send(b"longer than the buffer")?;
    tell("cut off", a.recv(&mut buffer[..6]));
    b.send(b"peeked")?;
    say("twice", (a.peek(&mut buffer)?, a.recv(&mut buffer)?));
    a.set_read_timeout(Some(Duration::from_millis(5)))?;
    let in_vain = a
        .recv(&mut buffer)
        .is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
    say("nothing more", in_vain);
    Ok(())
}

/// What comes of it when it is done until it fails.
fn failure<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Error {
    loop {
        match attempt() {
            Ok(_) => thread::sleep(Duration::from_millis(1)),
            Err(error) => return error,
        }
    }
}

/// Whoever is connected with nobody is told so, once; others are not.
fn datagrams_to_nobody() -> Outcome {
    for any in [SocketAddr::from(ANY), ANY_V6.into()] {
        let nobody = UdpSocket::bind(any)?.local_addr()?;
        let socket = UdpSocket::bind(any)?;
        let mut buffer = [0; 64];
        let hears_nothing = |buffer: &mut [u8]| {
            socket.set_read_timeout(Some(Duration::from_millis(5)))?;
            let error = socket.recv(buffer).map_err(|error| error.kind());
            socket.set_read_timeout(Some(LONG))?;
            io::Result::Ok(matches!(error, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)))
        };
        tell("sent to nobody", socket.send_to(b"x", nobody));
        tell("nothing is heard", hears_nothing(&mut buffer));
        socket.connect(nobody)?;
        tell("sent to the peer that is none", socket.send(b"x"));
        tell("the next call", socket.recv(&mut buffer));
        tell("the one after that", hears_nothing(&mut buffer));
        tell::<()>("sending until it fails", Err(failure(|| socket.send(b"x"))));
        tell("sending then", socket.send(b"x").and(socket.peek(&mut buffer)));
        socket.send(b"x")?;
        let taken = failure(|| socket.take_error()?.map_or(Ok(()), Err));
        tell::<()>("the error", Err(taken));
        tell("no more", socket.take_error().map(|error| error.is_none()));
        let somebody = UdpSocket::bind(nobody)?;
        tell("somebody", socket.send(b"now"));
        tell("received", somebody.recv(&mut buffer));
    }
    Ok(())
}

fn by_ipv6() -> Outcome {
    let listener = TcpListener::bind(ANY_V6)?;
    let address = listener.local_addr()?;
    say("by IPv6", address.ip());
    let mut stream = TcpStream::connect(address)?;
    let (mut peer, from) = listener.accept()?;
    say("who with whom", (from == stream.local_addr()?, stream.peer_addr()? == peer.local_addr()?));
    say("where", (from.ip(), stream.peer_addr()?.ip()));
    let sending = thread::spawn(move || {
        stream.write_all(&(0..300_000u32).map(|i| (i >> 3) as u8).collect::<Vec<_>>())?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    });
    let mut received = Vec::new();
    peer.read_to_end(&mut received)?;
    say("received by IPv6", (received.len(), checksum(received)));
    peer.write_all(b"all of it")?;
    drop(peer);
    tell("answered", sending.join().unwrap());
    drop(listener);
    let kind = |error: io::Error| io::Error::from(error.kind());
    tell("nobody listens by IPv6", TcpStream::connect(address).map(|_| ()).map_err(kind));
    tell("not ours by IPv6", TcpListener::bind("[2001:db8::1]:80").map(|_| ()).map_err(kind));
    Ok(())
}

/// An address without its port.
fn ip(address: io::Result<SocketAddr>) -> io::Result<IpAddr> {
    address.map(|address| address.ip())
}

/// Who listens on `::` takes both versions, and sees IPv4 mapped.
fn by_both() -> Outcome {
    let listener = TcpListener::bind(ANYWHERE)?;
    let port = listener.local_addr()?.port();
    tell("anywhere", ip(listener.local_addr()));
    for to in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::", "127.1.2.3"] {
        let to: IpAddr = to.parse()?;
        let caller = TcpStream::connect((to, port))?;
        let (accepted, from) = listener.accept()?;
        say("called", (to, from.ip(), accepted.local_addr()?.ip(), accepted.peer_addr()? == from));
        say("from", (caller.local_addr()?.ip(), caller.peer_addr()?.ip()));
    }
    let kind = |error: io::Error| io::Error::from(error.kind());
    for beside in ["127.0.0.1", "0.0.0.0", "::1"] {
        let bound = TcpListener::bind((beside.parse::<IpAddr>()?, port));
        tell("beside it", bound.map(|_| ()).map_err(kind));
    }
    drop(listener);
    let v4 = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
    tell("the other version", TcpStream::connect((ANY_V6.0, port)).map(|_| ()).map_err(kind));
    let v6 = TcpListener::bind((ANY_V6.0, port))?;
    for to in [SocketAddr::new(ANY.0.into(), port), (ANY_V6.0, port).into()] {
        let caller = TcpStream::connect(to)?;
        let listener = if to.is_ipv4() { &v4 } else { &v6 };
        say("its own", listener.accept()?.1 == caller.local_addr()?);
    }
    Ok(())
}

fn datagrams_by_both() -> Outcome {
    let mut buffer = [0; 64];
    for any in [SocketAddr::from(ANY), ANY_V6.into()] {
        let (anywhere, socket) = (UdpSocket::bind(ANYWHERE)?, UdpSocket::bind(any)?);
        let port = anywhere.local_addr()?.port();
        socket.send_to(b"there", (any.ip(), port))?;
        let (length, from) = anywhere.recv_from(&mut buffer)?;
        say("from whom", (length, from.ip(), from.port() == socket.local_addr()?.port()));
        tell("back", anywhere.send_to(b"and back", from));
        tell("received back", socket.recv_from(&mut buffer).map(|(length, from)| (length, from.ip())));
        // Also by the address as it is.
        tell("once more", anywhere.send_to(b"again", socket.local_addr()?));
        tell("received again", socket.recv(&mut buffer));
        anywhere.connect(from)?;
        tell("its peer", anywhere.peer_addr().map(|peer| peer == from));
        tell("itself", ip(anywhere.local_addr()));
        let other = if any.is_ipv4() { SocketAddr::from(ANY_V6) } else { ANY.into() };
        tell("to the other version", socket.send_to(b"x", (other.ip(), port)));
    }
    Ok(())
}

fn what_is_refused() -> Outcome {
    let (listener, address) = listener()?;
    tell(
        "the port is taken",
        TcpListener::bind(address).map(|_| ()).map_err(|error| io::Error::from(error.kind())),
    );
    drop(listener);
    let kind = |error: io::Error| io::Error::from(error.kind());
    tell("nobody listens", TcpStream::connect(address).map(|_| ()).map_err(kind));
    tell(
        "a timeout of nothing",
        TcpStream::connect_timeout(&address, Duration::ZERO).map(|_| ()).map_err(kind),
    );
    tell("not ours", TcpListener::bind("203.0.113.1:80").map(|_| ()).map_err(kind));
    Ok(())
}
