//! `std::net`: addresses, TCP and UDP on the loopback, and what is refused.

use crate::{Outcome, checksum, say, tell, text};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket,
};
use std::thread;
use std::time::{Duration, Instant};

/// Any port of the loopback.
const ANY: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

pub fn main() -> Outcome {
    addresses();
    a_conversation()?;
    many_conversations()?;
    much_data()?;
    halves()?;
    without_waiting()?;
    datagrams()?;
    what_is_refused()?;
    Ok(())
}

fn addresses() {
    say("an address", "127.0.0.1:80".parse::<SocketAddr>());
    say("another", "[::1]:443".parse::<SocketAddr>());
    text("none", "127.0.0.1".parse::<SocketAddr>());
    say("kinds", (IpAddr::from([127, 0, 0, 1]).is_loopback(), Ipv6Addr::LOCALHOST.is_loopback()));
    tell("resolved", "127.0.0.1:7".to_socket_addrs().map(Iterator::collect::<Vec<_>>));
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
