//! Ports of this host that lead into a VM: how many clients may wait at them.
//!
//! QEMU listens at such a port for one client at a time (libslirp, `tcpx_listen`).
//! When several call at once, Linux answers the others with SYN cookies, and these
//! can lose the first bytes that a client sends: a cookie does not tell a client's
//! first segment from a later one that starts up to three bytes behind it. A server
//! that lets more clients wait has neither that nor calls that must be repeated
//! after a second, so QEMU's sockets are told to.

use rustix::net::sockopt::socket_acceptconn;
use rustix::net::{getsockname, listen};
use rustix::process::{PidfdGetfdFlags, pidfd_getfd};
use std::net::SocketAddrV4;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

/// Most clients that wait to be let in, as servers on Linux have it.
const BACKLOG: i32 = 4096;

/// Lets more clients wait at those of these addresses at which the process
/// listens, whose id and pidfd these are; says at how many.
///
/// The host may not let us touch the process's sockets (`ptrace(2)`'s rules): then
/// they stay as they are.
pub fn widen(id: u32, process: BorrowedFd<'_>, addresses: &[SocketAddrV4]) -> usize {
    if addresses.is_empty() {
        return 0;
    }
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{id}/fd")) else { return 0 };
    let numbers = descriptors.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let sockets = numbers.filter_map(|number: RawFd| {
        let socket = pidfd_getfd(process, number, PidfdGetfdFlags::empty()).ok()?;
        addresses.contains(&listens_at(&socket)?).then_some(socket)
    });
    sockets.filter(|socket| listen(socket, BACKLOG).is_ok()).count()
}

/// Where it listens, if it is a socket that does.
fn listens_at(socket: &OwnedFd) -> Option<SocketAddrV4> {
    if !socket_acceptconn(socket).ok()? {
        return None;
    }
    getsockname(socket).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
    use rustix::process::{PidfdFlags, getpid, pidfd_open};
    use std::net::{Ipv4Addr, TcpStream};
    use std::os::fd::AsFd;
    use std::time::Duration;

    #[test]
    fn more_clients_may_wait_than_the_process_wanted() {
        let of = (AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC);
        let [one, other] = [(); 2].map(|()| {
            let socket = socket_with(of.0, of.1, of.2, None).unwrap();
            bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
            listen(&socket, 1).unwrap();
            socket
        });
        let address = listens_at(&one).unwrap();
        let elsewhere = listens_at(&other).unwrap();
        let process = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
        let calls = |address: SocketAddrV4, patience_ms| -> Vec<_> {
            let call =
                || TcpStream::connect_timeout(&address.into(), Duration::from_millis(patience_ms)).ok();
            (0..20).map_while(|_| call()).collect()
        };
        assert!(calls(elsewhere, 200).len() < 20);
        assert_eq!(widen(std::process::id(), process.as_fd(), &[address]), 1);
        assert_eq!(calls(address, 60_000).len(), 20);
        let unused = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1);
        assert_eq!(widen(std::process::id(), process.as_fd(), &[unused]), 0);
    }
}
