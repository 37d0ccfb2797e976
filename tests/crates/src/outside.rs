//! Calls what is outside of the machine.

use crate::Outcome;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// Sends its second argument to the address that is its first one, and prints what
/// comes back.
pub fn call() -> Outcome {
    let arguments = cyanea::args();
    let [address, text] = &arguments[..] else { return Err("write: outside ADDRESS TEXT".into()) };
    let mut stream = match TcpStream::connect(address.parse::<SocketAddr>()?) {
        Ok(stream) => stream,
        Err(error) => {
            println!("not called: {:?}", error.kind());
            return Ok(());
        }
    };
    println!("from {} to {}", stream.local_addr()?.ip(), stream.peer_addr()?.ip());
    stream.write_all(text.as_bytes())?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    println!("{answer}");
    Ok(())
}

/// Sends its second argument as a datagram to the address that is its first one, and
/// prints the answer. Datagrams may be lost: it asks again.
pub fn ask() -> Outcome {
    let arguments = cyanea::args();
    let [address, text] = &arguments[..] else { return Err("write: asks ADDRESS TEXT".into()) };
    let to: SocketAddr = address.parse()?;
    let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut buffer = [0; 2000];
    for _ in 0..30 {
        socket.send(text.as_bytes())?;
        if let Ok(length) = socket.recv(&mut buffer) {
            println!("{} answers {}", socket.peer_addr()?, String::from_utf8_lossy(&buffer[..length]));
            return Ok(());
        }
    }
    Err("nobody answers".into())
}
