//! Sends back what comes on every connection to port 80, and holds it to a pattern.

use crate::Outcome;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// The byte at a place of the stream whose first byte is `seed`.
fn at(seed: u8, place: usize) -> u8 {
    if place == 0 { seed } else { (place.wrapping_mul(usize::from(seed) * 2 + 1) % 251) as u8 }
}

/// Until it is ended.
pub fn hold() -> Outcome {
    let listener = TcpListener::bind("0.0.0.0:80")?;
    println!("holding");
    for stream in listener.incoming() {
        let stream = stream?;
        thread::spawn(move || match conversation(stream) {
            Ok(None) => {}
            Ok(Some(wrong)) => println!("wrong: {wrong}"),
            Err(error) => println!("ended: {error}"),
        });
    }
    Ok(())
}

fn conversation(mut stream: TcpStream) -> std::io::Result<Option<String>> {
    let (mut buffer, mut place, mut seed) = ([0; 3000], 0, 0);
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(None);
        }
        if place == 0 {
            seed = buffer[0];
        }
        for (index, &byte) in buffer[..length].iter().enumerate() {
            if byte != at(seed, place + index) {
                let around = &buffer[index.saturating_sub(8)..length.min(index + 40)];
                return Ok(Some(format!(
                    "seed {seed}, place {}, {index} of {length}: {around:?}",
                    place + index
                )));
            }
        }
        place += length;
        stream.write_all(&buffer[..length])?;
    }
}
