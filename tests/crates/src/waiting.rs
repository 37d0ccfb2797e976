//! Programs that are ended while they wait, and one that tries what is not its own.

use crate::Outcome;
use hermit_abi as abi;
use std::io::Read;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::mpsc::channel;
use std::thread;

/// Waits in every call that can; the port that it listens on is the one it is given.
pub fn in_every_way() -> Outcome {
    let port: u16 = cyanea::args().first().ok_or("write: waiting PORT")?.parse()?;
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let caller = TcpStream::connect(listener.local_addr()?)?;
    let (mut accepted, _) = listener.accept()?;
    let datagrams = UdpSocket::bind(("127.0.0.1", port))?;
    // SAFETY: no memory is passed.
    let counter = unsafe { abi::eventfd(0, 0) };
    let polled = listener.as_raw_fd();
    let (ends, ended) = channel::<()>();
    let wait = |call: Box<dyn FnOnce() + Send>| {
        let ends = ends.clone();
        thread::spawn(move || {
            call();
            drop(ends);
        });
    };
    wait(Box::new(move || drop(listener.accept())));
    wait(Box::new(move || drop(accepted.read(&mut [0]))));
    wait(Box::new(move || drop(datagrams.recv(&mut [0]))));
    // SAFETY: a buffer of 8 bytes.
    wait(Box::new(move || _ = unsafe { abi::read(counter, [0; 8].as_mut_ptr(), 8) }));
    wait(Box::new(move || {
        let mut one = abi::pollfd { fd: polled, events: abi::POLLIN, revents: 0 };
        // SAFETY: an array of one.
        unsafe { abi::poll(&mut one, 1, -1) };
    }));
    thread::sleep(std::time::Duration::from_millis(20));
    println!("waiting");
    drop(ends);
    // Nobody ever ends.
    let _ = ended.recv();
    drop(caller);
    Ok(())
}

/// Of two activities on one node, the second one tries the first one's descriptors.
pub fn thief() -> Outcome {
    let me = cyanea::activity();
    if me.index == 0 {
        let (listener, own) = (TcpListener::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        own.connect(own.local_addr()?)?;
        cyanea::send(1, &own.as_raw_fd().to_ne_bytes())?;
        let stolen = cyanea::receive()?;
        assert_eq!(stolen.body, b"nothing", "{:?}", String::from_utf8_lossy(&stolen.body));
        own.send(b"mine")?;
        assert_eq!(own.recv(&mut [0; 8])?, 4, "what was sent to it first is its own");
        drop(listener);
        return Ok(());
    }
    let told = cyanea::receive()?;
    let theirs = i32::from_ne_bytes(told.body[..].try_into()?);
    let mut taken = Vec::new();
    for fd in (3..64).chain([theirs]) {
        // SAFETY: buffers of so many bytes.
        let tried = unsafe {
            [
                abi::send(fd, b"x".as_ptr().cast(), 1, 0),
                abi::recv(fd, [0; 1].as_mut_ptr(), 1, 0),
                abi::read(fd, [0; 1].as_mut_ptr(), 1),
                abi::close(fd) as isize,
                abi::dup(fd) as isize,
            ]
        };
        if tried != [-(abi::errno::EBADF as isize); 5] {
            taken.push((fd, tried));
        }
    }
    let said = if taken.is_empty() { "nothing".into() } else { format!("{taken:?}") };
    println!("stolen: {said}");
    cyanea::send(0, said.as_bytes())?;
    Ok(())
}
