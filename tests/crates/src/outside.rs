//! Calls what is outside of the machine.

use crate::Outcome;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

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
