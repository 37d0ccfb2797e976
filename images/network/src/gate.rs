//! What comes in: each packet is looked at before smoltcp is, where that would
//! give it to the wrong socket, and where it matters afterwards what it was.

use crate::stack::{Inner, State};
use crate::stream;
use crate::wire::{About, Ends};
use smoltcp::iface::PollIngressSingleResult;
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use std::net::Ipv4Addr;

impl Inner {
    /// Takes the staged packet; whether smoltcp did.
    pub fn take_in(&mut self, now: Instant) -> bool {
        let about = self.wire.about();
        let dropped = match about {
            About::Call(ends) => self.is_called_already(ends),
            About::Datagram(ends) => self.is_strangers(ends),
            _ => false,
        };
        if dropped {
            self.wire.discard();
            return false;
        }
        if let About::Reset = about {
            self.look_at_streams(false);
        }
        let taken = self.interface.poll_ingress_single(now, &mut self.wire, &mut self.sockets);
        match about {
            About::Reset => self.look_at_streams(true),
            About::Segment(ends) if self.silence_ns.is_some() => self.hear(ends),
            // The next one may be in this turn.
            About::Call(_) => self.replenish(),
            _ => {}
        }
        !matches!(taken, PollIngressSingleResult::None)
    }

    /// Whether the connection that is called for is there: smoltcp would give the
    /// call to whoever comes first, which may be the socket that listens for others.
    ///
    /// It may have been sent again, because the answer took long. Or the peer has
    /// forgotten the connection: then it answers whatever it is sent with a reset,
    /// and calls again (RFC 9293, 3.10.7.4). One whose directions have both ended
    /// makes way (3.6.1).
    fn is_called_already(&mut self, Ends { from, to }: Ends) -> bool {
        let Some(handle) = self.sockets.connection(to.into(), from.into()) else { return false };
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
        match socket.state() {
            // Both call each other, or one itself.
            tcp::State::SynSent => return false,
            tcp::State::SynReceived => {}
            tcp::State::TimeWait => {
                self.look_at_streams(false);
                self.sockets.supersede(handle);
                return false;
            }
            _ => stream::ask(socket),
        }
        true
    }

    /// Whether a datagram is for a socket that talks with somebody else alone.
    fn is_strangers(&self, Ends { from, to }: Ends) -> bool {
        self.entries.iter().flatten().any(|entry| {
            let is_for = |(address, port): (Option<Ipv4Addr>, u16)| {
                port == to.port() && address.is_none_or(|address| address == *to.ip())
            };
            match &entry.state {
                State::Datagram(datagram) => {
                    entry.bound.is_some_and(is_for) && datagram.peer.is_some_and(|peer| peer != from)
                }
                _ => false,
            }
        })
    }

    /// Lets every connection find out how far it is.
    fn look_at_streams(&mut self, reset: bool) {
        let Self { entries, sockets, .. } = self;
        for entry in entries.iter_mut().flatten() {
            if let State::Stream(stream) = &mut entry.state {
                stream.look(sockets, reset);
            }
        }
    }

    /// Tells the connection between these ends, if that matters to it, that its
    /// peer is there.
    fn hear(&mut self, Ends { from, to }: Ends) {
        let Self { entries, sockets, now_ns, .. } = self;
        for entry in entries.iter_mut().flatten() {
            if let State::Stream(stream) = &mut entry.state {
                let socket = sockets.get::<tcp::Socket<'_>>(stream.handle);
                let ends = (socket.local_endpoint(), socket.remote_endpoint());
                if ends == (Some(to.into()), Some(from.into())) {
                    stream.hear(*now_ns);
                }
            }
        }
    }

    /// Lets every listener go on listening.
    fn replenish(&mut self) {
        let Self { entries, sockets, .. } = self;
        for entry in entries.iter_mut().flatten() {
            if let State::Listener(listener) = &mut entry.state {
                listener.replenish(sockets);
            }
        }
    }
}
