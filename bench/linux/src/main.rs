//! Runs in each of two Linux VMs that are linked by a network: measures TCP
//! between them and a Unix socket within one, as a program would use them that
//! knows nothing of its host. Nothing polls; small messages are not held back.
//!
//! ```text
//! bench-linux follow ADDRESS          answers and takes in, for ever
//! bench-linux lead ADDRESS ROUNDS     measures; prints `name: number` lines, then `done: 0`
//! bench-linux same ROUNDS             the same of loops and threads of this VM alone (`bench_same`)
//! ```
//! Numbers are nanoseconds: of a round trip of 64 bytes, or of [`BULK_BYTES`].
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Bytes of a message.
const MESSAGE_BYTES: usize = 64;
/// Round trips of one measurement.
const TCP_TRIPS: u32 = 500;
const UNIX_TRIPS: u32 = 1000;
/// Bytes that one measurement moves.
const BULK_BYTES: usize = 8 << 20;
/// Bytes of each write and read meanwhile.
const CHUNK_BYTES: usize = 64 << 10;
/// How long the other VM may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a connection is for: the first byte that goes over it.
const ECHO: u8 = b'e';
const TAKE: u8 = b't';

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let wrong = || io::Error::other("usage: bench-linux follow ADDRESS | lead ADDRESS ROUNDS | same ROUNDS");
    let address = |text: &str| text.parse::<SocketAddr>().map_err(io::Error::other);
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["follow", own] => follow(address(own)?),
        ["lead", other, rounds] => lead(address(other)?, rounds.parse().map_err(io::Error::other)?),
        ["same", rounds] => same(rounds.parse().map_err(io::Error::other)?),
        _ => Err(wrong()),
    }
}

/// What is measured on Cyanea as well.
fn same(rounds: usize) -> io::Result<()> {
    println!("running: 0");
    bench_same::measure(rounds);
    println!("done: 0");
    Ok(())
}

/// Serves each connection on a thread of its own.
fn follow(own: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(own)?;
    loop {
        let (stream, _) = listener.accept()?;
        std::thread::Builder::new().spawn(move || serve(stream))?;
    }
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut purpose = [0];
    stream.read_exact(&mut purpose)?;
    if purpose == [ECHO] { echo(&mut stream) } else { take(&mut stream) }
}

/// Sends every message back until the other end closes.
fn echo(stream: &mut (impl Read + Write)) -> io::Result<()> {
    let mut message = [0; MESSAGE_BYTES];
    loop {
        match stream.read_exact(&mut message) {
            Ok(()) => stream.write_all(&message)?,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Takes in all bytes of a bulk, then says so with one.
fn take(stream: &mut TcpStream) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut left = BULK_BYTES;
    while left > 0 {
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        left = left.saturating_sub(count);
    }
    stream.write_all(&[TAKE])
}

/// Measures everything in turns. The first round only warms up.
fn lead(other: SocketAddr, rounds: u32) -> io::Result<()> {
    println!("running: 0");
    let mut small = connect(other, ECHO)?;
    for round in 0..=rounds {
        let found = [
            ("tcp-trip", trips(&mut small, TCP_TRIPS)?),
            ("tcp-bulk", bulk(other)?),
            ("unix-trip", unix_trips()?),
            ("copy", copy()),
        ];
        if round > 0 {
            found.iter().for_each(|(name, nanoseconds)| println!("{name}: {nanoseconds:.0}"));
        }
    }
    println!("done: 0");
    Ok(())
}

/// Connects once the other VM listens.
fn connect(other: SocketAddr, purpose: u8) -> io::Result<TcpStream> {
    let end = Instant::now() + PATIENCE;
    let mut stream = loop {
        match TcpStream::connect_timeout(&other, Duration::from_secs(1)) {
            Ok(stream) => break stream,
            Err(error) if Instant::now() > end => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    stream.set_nodelay(true)?;
    stream.write_all(&[purpose])?;
    Ok(stream)
}

/// Nanoseconds of one of so many round trips.
fn trips(stream: &mut (impl Read + Write), trips: u32) -> io::Result<f64> {
    let mut message = [7; MESSAGE_BYTES];
    let start = Instant::now();
    for _ in 0..trips {
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
    }
    Ok(start.elapsed().as_nanos() as f64 / f64::from(trips))
}

/// Nanoseconds until the other VM has all bytes of a bulk.
fn bulk(other: SocketAddr) -> io::Result<f64> {
    let mut stream = connect(other, TAKE)?;
    let chunk = vec![7; CHUNK_BYTES];
    let start = Instant::now();
    for _ in 0..BULK_BYTES / CHUNK_BYTES {
        stream.write_all(&chunk)?;
    }
    stream.read_exact(&mut [0])?;
    Ok(start.elapsed().as_nanos() as f64)
}

/// Nanoseconds of a round trip between two threads of this VM.
fn unix_trips() -> io::Result<f64> {
    let (mut near, mut far) = UnixStream::pair()?;
    std::thread::scope(|scope| {
        let echoing = scope.spawn(move || echo(&mut far));
        let spent = trips(&mut near, UNIX_TRIPS);
        drop(near);
        echoing.join().map_err(|_| io::Error::other("the echo panicked"))??;
        spent
    })
}

/// Nanoseconds of copying a bulk in memory.
fn copy() -> f64 {
    let (source, mut target) = (vec![1_u8; BULK_BYTES], vec![2_u8; BULK_BYTES]);
    let start = Instant::now();
    target.copy_from_slice(black_box(&source));
    let spent = start.elapsed().as_nanos() as f64;
    black_box(&target);
    spent
}
