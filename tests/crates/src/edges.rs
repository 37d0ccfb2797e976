//! Programs that go to the edge: of what one activity may have, and of how
//! connections end. Each is two activities on one node.

use crate::Outcome;
use cyanea::{receive, send};
use hermit_abi as abi;
use std::ffi::c_void;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, IntoRawFd};

/// A connection to oneself: who called, and who accepted.
fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let caller = TcpStream::connect(listener.local_addr()?)?;
    Ok((caller, listener.accept()?.0))
}

/// The first activity takes all sockets and descriptors that it can have; the
/// second one does not notice.
pub fn greedy() -> Outcome {
    if cyanea::activity().index == 1 {
        receive()?;
        let (mut caller, mut accepted) = pair()?;
        caller.write_all(b"there is room")?;
        let mut text = [0; 13];
        accepted.read_exact(&mut text)?;
        assert_eq!(&text, b"there is room");
        let others: Vec<_> = (0..20).map(|_| UdpSocket::bind("127.0.0.1:0")).collect::<io::Result<_>>()?;
        std::fs::write("/modest", format!("{} sockets more", others.len()))?;
        println!("the other one has {}", std::fs::read_to_string("/modest")?);
        return Ok(send(0, b"done")?);
    }
    let mut sockets = Vec::new();
    let end = loop {
        match UdpSocket::bind("127.0.0.1:0") {
            Ok(socket) => sockets.push(socket),
            Err(error) => break error,
        }
    };
    assert_eq!(end.raw_os_error(), Some(abi::errno::EMFILE), "{end}");
    let mut counters = Vec::new();
    let end = loop {
        // SAFETY: no memory is passed.
        match unsafe { abi::eventfd(0, 0) } {
            fd @ 0.. => counters.push(fd),
            error => break -error,
        }
    };
    assert_eq!((end, sockets.len() + counters.len()), (abi::errno::EMFILE, 1024));
    let opened = std::fs::File::open("/modest").err().and_then(|error| error.raw_os_error());
    assert!([Some(abi::errno::EMFILE), Some(abi::errno::ENOENT)].contains(&opened), "{opened:?}");
    send(1, b"all is taken")?;
    receive()?;
    // It has them until it closes them.
    drop(sockets);
    pair()?;
    Ok(())
}

/// The first activity ends with a connection open that is not to linger; the
/// second one, at its other end, sees it break.
pub fn lingers() -> Outcome {
    if cyanea::activity().index == 1 {
        let told = receive()?;
        let mut stream = TcpStream::connect(("127.0.0.1", u16::from_ne_bytes(told.body[..].try_into()?)))?;
        let mut hello = [0; 5];
        stream.read_exact(&mut hello)?;
        send(0, b"go")?;
        assert_eq!(stream.read(&mut hello).map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
        println!("it broke");
        return Ok(());
    }
    let listener = TcpListener::bind("127.0.0.1:0")?;
    send(1, &listener.local_addr()?.port().to_ne_bytes())?;
    let (mut stream, _) = listener.accept()?;
    stream.write_all(b"hello")?;
    receive()?;
    let linger = abi::linger { l_onoff: 1, l_linger: 0 };
    let length = size_of::<abi::linger>() as abi::socklen_t;
    // Nobody closes it.
    let fd = stream.into_raw_fd();
    // SAFETY: a value of so many bytes.
    let set = unsafe {
        abi::setsockopt(fd, abi::SOL_SOCKET, abi::SO_LINGER, (&raw const linger).cast::<c_void>(), length)
    };
    assert_eq!(set, 0);
    nameless()
}

/// What came is there when there is nobody any more from whom.
fn nameless() -> Outcome {
    let (mut caller, accepted) = pair()?;
    caller.write_all(b"unread")?;
    let (mut caller_unread, mut name) = ([0; 6], [0xff_u8; 32]);
    (&accepted).write_all(b"never read")?;
    while caller.peek(&mut caller_unread)? == 0 {}
    drop(caller);
    while accepted.peer_addr().is_ok() {}
    let mut length = name.len() as abi::socklen_t;
    // SAFETY: buffers of so many bytes.
    let received = unsafe {
        abi::recvfrom(
            accepted.as_raw_fd(),
            caller_unread.as_mut_ptr(),
            caller_unread.len(),
            0,
            name.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    assert_eq!((received, &caller_unread, length), (6, b"unread", 0));
    Ok(())
}
