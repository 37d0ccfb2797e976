//! A UDP socket.

use crate::address::{Reach, is_own};
use crate::set::{Owner, Set};
use crate::socket::Readiness;
use crate::stream::address;
use kernel::errno::Errno;
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::udp::{PacketBuffer, PacketMetadata, SendError, Socket, UdpMetadata};
use smoltcp::wire::{IpEndpoint, IpListenEndpoint};
use std::net::{IpAddr, SocketAddr};
use transport::ethernet::{MAX_PACKET, outside};

/// Bytes of the headers before a datagram.
const V4_HEADERS_BYTES: usize = 20 + 8;
const V6_HEADERS_BYTES: usize = 40 + 8;
/// Most datagrams, and their bytes, that wait to be read.
const UNREAD: usize = 64;
const UNREAD_BYTES: usize = 64 * 1024;
/// The same of those that wait to be sent.
const UNSENT: usize = 16;
const UNSENT_BYTES: usize = 16 * 1024;

/// What a UDP socket has.
#[derive(Default)]
pub struct Datagram {
    /// `None` before it has a port.
    pub handle: Option<SocketHandle>,
    /// Whom alone it talks with.
    pub peer: Option<SocketAddr>,
    /// Its peer has nobody at that port, which was not told yet.
    refused: bool,
    /// How many routers may pass on what it sends, if that was said.
    hops: Option<u8>,
    seen: Seen,
}

/// A socket of smoltcp's without a port or buffers.
pub fn closed() -> Socket<'static> {
    let none = || PacketBuffer::new(Vec::new(), Vec::new());
    Socket::new(none(), none())
}

/// What its owner may wait for, when last looked.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// Bytes that wait to be read and to be sent.
    unread: usize,
    unsent: usize,
    refused: bool,
}

impl Datagram {
    /// Opens its port.
    pub fn open(&mut self, sockets: &mut Set, owner: Owner, reach: Reach, port: u16) -> Result<(), Errno> {
        let buffer = |count, bytes| PacketBuffer::new(vec![PacketMetadata::EMPTY; count], vec![0; bytes]);
        let mut socket = Socket::new(buffer(UNREAD, UNREAD_BYTES), buffer(UNSENT, UNSENT_BYTES));
        let endpoint = IpListenEndpoint { addr: reach.one().map(Into::into), port };
        socket.bind(endpoint).map_err(|_| Errno::INVAL)?;
        socket.set_hop_limit(self.hops);
        self.handle = Some(sockets.add(owner, socket));
        Ok(())
    }

    /// Sets how many routers may pass on what it sends.
    pub fn set_hops(&mut self, sockets: &mut SocketSet<'static>, hops: u8) {
        self.hops = Some(hops);
        if let Some(handle) = self.handle {
            sockets.get_mut::<Socket<'_>>(handle).set_hop_limit(self.hops);
        }
    }

    /// Talks with this peer alone from now on; what strangers sent before, it does
    /// not hear of.
    pub fn connect(&mut self, sockets: &mut SocketSet<'static>, peer: SocketAddr) {
        self.peer = Some(peer);
        self.sift(sockets);
    }

    /// Drops what strangers sent, up to what is read next. (What they send to one
    /// that has a peer does not come this far.)
    fn sift(&self, sockets: &mut SocketSet<'static>) {
        let (Some(handle), Some(peer)) = (self.handle, self.peer) else { return };
        let socket = sockets.get_mut::<Socket<'_>>(handle);
        while socket.peek().is_ok_and(|(_, from)| address(from.endpoint) != peer) {
            let _ = socket.recv();
        }
    }

    /// Whether its owner should look.
    pub fn has_changed(&mut self, sockets: &mut SocketSet<'static>) -> bool {
        let Some(handle) = self.handle else { return false };
        let socket = sockets.get_mut::<Socket<'_>>(handle);
        let now = Seen { unread: socket.recv_queue(), unsent: socket.send_queue(), refused: self.refused };
        let before = std::mem::replace(&mut self.seen, now);
        now.unread > before.unread
            || now.unsent < before.unsent
            || socket.can_recv() && before.unread == 0
            || now.refused && !before.refused
    }

    /// Something that it sent to its peer did not arrive. That may change, but where
    /// nobody has the port.
    pub fn lose(&mut self, error: Errno) {
        self.refused |= error == Errno::CONNREFUSED;
    }

    /// What went wrong, once.
    pub fn take_error(&mut self) -> Option<Errno> {
        self.seen.refused = false;
        std::mem::take(&mut self.refused).then_some(Errno::CONNREFUSED)
    }

    /// Takes a datagram, or looks at it; what does not fit is lost.
    pub fn receive(
        &mut self,
        sockets: &mut SocketSet<'static>,
        target: &mut [u8],
        peek: bool,
    ) -> Result<(usize, SocketAddr), Errno> {
        self.take_error().map_or(Ok(()), Err)?;
        let socket = sockets.get_mut::<Socket<'_>>(self.handle.ok_or(Errno::AGAIN)?);
        let (data, from) = socket.peek().map_err(|_| Errno::AGAIN)?;
        let length = data.len().min(target.len());
        target[..length].copy_from_slice(&data[..length]);
        let from = address(from.endpoint);
        if !peek {
            let _ = socket.recv();
            self.sift(sockets);
        }
        // The next that comes is more than this.
        self.seen.unread = self.unread(sockets);
        Ok((length, from))
    }

    fn unread(&self, sockets: &SocketSet<'static>) -> usize {
        self.handle.map_or(0, |handle| sockets.get::<Socket<'_>>(handle).recv_queue())
    }

    /// Sends a datagram.
    pub fn send(
        &mut self,
        sockets: &mut SocketSet<'static>,
        source: &[u8],
        from: IpAddr,
        to: SocketAddr,
    ) -> Result<usize, Errno> {
        let most = match to.ip() {
            IpAddr::V4(_) => MAX_PACKET - V4_HEADERS_BYTES,
            ip @ IpAddr::V6(_) if is_own(ip) => MAX_PACKET - V6_HEADERS_BYTES,
            IpAddr::V6(_) => outside::MAX_PACKET_V6 - V6_HEADERS_BYTES,
        };
        if source.len() > most {
            return Err(Errno::MSGSIZE);
        }
        self.take_error().map_or(Ok(()), Err)?;
        let socket = sockets.get_mut::<Socket<'_>>(self.handle.ok_or(Errno::INVAL)?);
        let meta = UdpMetadata { local_address: Some(from.into()), ..IpEndpoint::from(to).into() };
        match socket.send_slice(source, meta) {
            Ok(()) => Ok(source.len()),
            Err(SendError::BufferFull) => Err(Errno::AGAIN),
            Err(SendError::Unaddressable) => Err(Errno::INVAL),
        }
    }

    /// What can be done without waiting.
    pub fn readiness(&self, sockets: &SocketSet<'static>) -> Readiness {
        let writable = Readiness { writable: true, ..Readiness::default() };
        self.handle.map_or(writable, |handle| {
            let socket = sockets.get::<Socket<'_>>(handle);
            let (readable, writable) = (socket.can_recv(), socket.can_send());
            Readiness { readable, writable, failed: self.refused, over: false }
        })
    }
}
