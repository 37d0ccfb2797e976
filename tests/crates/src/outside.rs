//! Calls what is outside of the machine.

use crate::Outcome;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

/// The host, from within.
const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// Sends its second argument to the host's port of its first one, and prints what
/// comes back.
pub fn call() -> Outcome {
    let arguments = cyanea::args();
    let [port, text] = &arguments[..] else { return Err("write: outside PORT TEXT".into()) };
    let mut stream = match TcpStream::connect((HOST, port.parse()?)) {
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
