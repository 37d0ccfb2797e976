//! `eventfd` and `poll`, by the ABI itself: `std` has no face for them.

use crate::Outcome;
use hermit_abi as abi;
use hermit_abi::pollfd;
use std::ffi::CStr;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

/// All of it.
pub fn all() -> Outcome {
    counters();
    console_and_files()?;
    marks()?;
    connections()?;
    names();
    println!("events: fine");
    Ok(())
}

fn names() {
    let mut octets = [0; 4];
    let find = |name: &CStr, octets: &mut [u8]| {
        // SAFETY: a string, and a buffer of so many bytes.
        unsafe { abi::getaddrbyname(name.as_ptr(), octets.as_mut_ptr(), octets.len()) }
    };
    assert_eq!((find(c"localhost", &mut octets), octets), (0, [127, 0, 0, 1]));
    assert_eq!((find(c"10.1.2.3", &mut octets), octets), (0, [10, 1, 2, 3]));
    assert_eq!(find(c"localhost", &mut [0; 16]), -abi::errno::EINVAL);
    // SAFETY: no memory is passed.
    assert_eq!(unsafe { abi::network_init() }, 0);
}

fn read(fd: i32) -> Result<u64, isize> {
    let mut value = [0; 8];
    // SAFETY: a buffer of so many bytes.
    match unsafe { abi::read(fd, value.as_mut_ptr(), value.len()) } {
        8 => Ok(u64::from_ne_bytes(value)),
        other => Err(other),
    }
}

fn write(fd: i32, value: u64) -> isize {
    let value = value.to_ne_bytes();
    // SAFETY: a buffer of so many bytes.
    unsafe { abi::write(fd, value.as_ptr(), value.len()) }
}

fn counter(value: u64, flags: i16) -> i32 {
    // SAFETY: no memory is passed.
    let fd = unsafe { abi::eventfd(value, flags) };
    assert!(fd >= 3, "{fd}");
    fd
}

/// What there is of each, and the call's answer.
fn poll(wanted: &[(i32, i16)], timeout_ms: i32) -> (i32, Vec<i16>) {
    let mut all: Vec<_> = wanted.iter().map(|&(fd, events)| pollfd { fd, events, revents: 0x7f }).collect();
    // SAFETY: an array of so many.
    let count = unsafe { abi::poll(all.as_mut_ptr(), all.len(), timeout_ms) };
    (count, all.iter().map(|one| one.revents).collect())
}

fn close(fd: i32) {
    // SAFETY: no memory is passed.
    assert_eq!(unsafe { abi::close(fd) }, 0);
}

fn counters() {
    let again = -(abi::errno::EAGAIN as isize);
    let fd = counter(3, abi::EFD_NONBLOCK);
    assert_eq!(poll(&[(fd, abi::POLLIN | abi::POLLOUT)], 0), (1, vec![abi::POLLIN | abi::POLLOUT]));
    assert_eq!(write(fd, 4), 8);
    assert_eq!(read(fd), Ok(7));
    assert_eq!(read(fd), Err(again));
    assert_eq!(write(fd, u64::MAX), -(abi::errno::EINVAL as isize));
    assert_eq!(write(fd, u64::MAX - 1), 8);
    assert_eq!(write(fd, 1), again);
    assert_eq!(poll(&[(fd, abi::POLLOUT)], 0), (0, vec![0]));
    close(fd);
    assert_eq!(read(fd), Err(-(abi::errno::EBADF as isize)));
    let fd = counter(2, abi::EFD_SEMAPHORE);
    assert_eq!((read(fd), read(fd)), (Ok(1), Ok(1)));
    // One that waits is woken, in a read and in a poll.
    let reader = thread::spawn(move || (read(fd), poll(&[(fd, abi::POLLIN)], -1)));
    thread::sleep(Duration::from_millis(20));
    assert_eq!(write(fd, 1), 8);
    thread::sleep(Duration::from_millis(20));
    assert_eq!(write(fd, 1), 8);
    assert_eq!(reader.join().expect("it does not panic"), (Ok(1), (1, vec![abi::POLLIN])));
    close(fd);
}

/// What `exec` would close is kept and told, descriptor by descriptor.
fn marks() -> Outcome {
    // SAFETY: no memory is passed.
    let control = |fd: i32, command: i32, argument: i32| unsafe { abi::fcntl(fd, command, argument) };
    let file = std::fs::File::create("/marked")?;
    let (fd, marked) = (file.as_raw_fd(), counter(0, abi::EFD_CLOEXEC));
    assert_eq!((control(fd, abi::F_GETFD, 0), control(marked, abi::F_GETFD, 0)), (0, abi::FD_CLOEXEC));
    assert_eq!(control(fd, abi::F_SETFD, abi::FD_CLOEXEC), 0);
    assert_eq!(control(marked, abi::F_SETFD, 0), 0);
    assert_eq!((control(fd, abi::F_GETFD, 0), control(marked, abi::F_GETFD, 0)), (abi::FD_CLOEXEC, 0));
    let other = control(fd, abi::F_DUPFD, 0);
    assert_eq!(control(other, abi::F_GETFD, 0), 0);
    close(other);
    // SAFETY: no memory is passed.
    let socket = unsafe { abi::socket(abi::AF_INET, abi::SOCK_DGRAM | abi::SOCK_CLOEXEC, 0) };
    assert_eq!(control(socket, abi::F_GETFD, 0), abi::FD_CLOEXEC);
    close(socket);
    close(marked);
    assert_eq!(control(marked, abi::F_GETFD, 0), -abi::errno::EBADF);
    assert_eq!((control(1, abi::F_GETFD, 0), control(1, abi::F_SETFD, 0)), (0, 0));
    assert_eq!(control(1, abi::F_SETFD, abi::FD_CLOEXEC), -abi::errno::ENOSYS);
    std::fs::remove_file("/marked")?;
    Ok(())
}

fn console_and_files() -> Outcome {
    let file = std::fs::File::create("/polled")?;
    let (fd, both) = (file.as_raw_fd(), abi::POLLIN | abi::POLLOUT);
    assert_eq!(poll(&[(1, abi::POLLOUT), (fd, both), (-1, both)], -1), (2, vec![abi::POLLOUT, both, 0]));
    drop(file);
    assert_eq!(poll(&[(fd, both)], -1), (1, vec![abi::POLLNVAL]));
    assert_eq!(poll(&[], 10), (0, vec![]));
    std::fs::remove_file("/polled")?;
    Ok(())
}

fn connections() -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let to = listener.local_addr()?;
    let waits = listener.as_raw_fd();
    assert_eq!(poll(&[(waits, abi::POLLIN)], 5), (0, vec![0]));
    let caller = thread::spawn(move || TcpStream::connect(to));
    assert_eq!(poll(&[(waits, abi::POLLIN)], -1), (1, vec![abi::POLLIN]));
    let (mut accepted, _) = listener.accept()?;
    let mut caller = caller.join().expect("it does not panic")?;
    let fd = accepted.as_raw_fd();
    assert_eq!(poll(&[(fd, abi::POLLIN | abi::POLLOUT)], -1), (1, vec![abi::POLLOUT]));
    let poller = thread::spawn(move || poll(&[(waits, abi::POLLIN), (fd, abi::POLLIN)], -1));
    thread::sleep(Duration::from_millis(20));
    caller.write_all(b"x")?;
    assert_eq!(poller.join().expect("it does not panic"), (1, vec![0, abi::POLLIN]));
    let mut byte = [0];
    accepted.read_exact(&mut byte)?;
    // SAFETY: no memory is passed.
    assert_eq!(unsafe { abi::fcntl(fd, abi::F_SETFL, abi::O_NONBLOCK) }, 0);
    // SAFETY: as above.
    assert_eq!(unsafe { abi::fcntl(fd, abi::F_GETFL, 0) }, abi::O_NONBLOCK);
    assert_eq!(accepted.read(&mut byte).map_err(|error| error.kind()), Err(std::io::ErrorKind::WouldBlock));
    // SAFETY: no memory is passed.
    #[expect(deprecated, reason = "it is there for those who still call it")]
    let shut = unsafe { abi::shutdown_socket(caller.as_raw_fd(), abi::SHUT_WR) };
    assert_eq!(shut, 0);
    // The end is something to be read.
    assert_eq!(poll(&[(fd, abi::POLLIN)], -1).1[0] & abi::POLLIN, abi::POLLIN);
    assert_eq!(accepted.read(&mut byte)?, 0);
    Ok(())
}
