//! A UDP socket.

use crate::socket::Readiness;
use crate::stream::address;
use kernel::errno::Errno;
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::udp::{PacketBuffer, PacketMetadata, SendError, Socket, UdpMetadata};
use smoltcp::wire::{IpEndpoint, IpListenEndpoint};
use std::net::{Ipv4Addr, SocketAddrV4};
use transport::ethernet::MAX_PACKET;

/// Most bytes of a datagram: a packet without the headers.
pub const MAX_DATAGRAM: usize = MAX_PACKET - 28;
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
    pub peer: Option<SocketAddrV4>,
    /// Bytes that waited to be read and to be sent when last looked.
    seen: (usize, usize),
}

impl Datagram {
    /// Opens its port.
    pub fn open(
        &mut self,
        sockets: &mut SocketSet<'static>,
        address: Option<Ipv4Addr>,
        port: u16,
    ) -> Result<(), Errno> {
        let buffer = |count, bytes| PacketBuffer::new(vec![PacketMetadata::EMPTY; count], vec![0; bytes]);
        let mut socket = Socket::new(buffer(UNREAD, UNREAD_BYTES), buffer(UNSENT, UNSENT_BYTES));
        let endpoint = IpListenEndpoint { addr: address.map(Into::into), port };
        socket.bind(endpoint).map_err(|_| Errno::INVAL)?;
        self.handle = Some(sockets.add(socket));
        Ok(())
    }

    /// Whether its owner should look.
    pub fn has_changed(&mut self, sockets: &mut SocketSet<'static>) -> bool {
        let Some(handle) = self.handle else { return false };
        let socket = sockets.get_mut::<Socket<'_>>(handle);
        let before = std::mem::replace(&mut self.seen, (socket.recv_queue(), socket.send_queue()));
        self.seen.0 > before.0 || self.seen.1 < before.1 || socket.can_recv() && before.0 == 0
    }

    /// Takes a datagram, or looks at it; what does not fit is lost.
    pub fn receive(
        &mut self,
        sockets: &mut SocketSet<'static>,
        target: &mut [u8],
        peek: bool,
    ) -> Result<(usize, SocketAddrV4), Errno> {
        let socket = sockets.get_mut::<Socket<'_>>(self.handle.ok_or(Errno::AGAIN)?);
        let taken = Self::take(socket, self.peer, target, peek);
        // The next that comes is more than this.
        self.seen.0 = socket.recv_queue();
        taken
    }

    fn take(
        socket: &mut Socket<'_>,
        peer: Option<SocketAddrV4>,
        target: &mut [u8],
        peek: bool,
    ) -> Result<(usize, SocketAddrV4), Errno> {
        loop {
            let (data, from) = socket.peek().map_err(|_| Errno::AGAIN)?;
            let from = address(from.endpoint);
            let wanted = peer.is_none_or(|peer| peer == from);
            let length = data.len().min(target.len());
            if wanted {
                target[..length].copy_from_slice(&data[..length]);
            }
            if !wanted || !peek {
                let _ = socket.recv();
            }
            if wanted {
                return Ok((length, from));
            }
        }
    }

    /// Sends a datagram.
    pub fn send(
        &mut self,
        sockets: &mut SocketSet<'static>,
        source: &[u8],
        from: Ipv4Addr,
        to: SocketAddrV4,
    ) -> Result<usize, Errno> {
        if source.len() > MAX_DATAGRAM {
            return Err(Errno::MSGSIZE);
        }
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
            Readiness { readable: socket.can_recv(), writable: socket.can_send(), ..writable }
        })
    }
}
