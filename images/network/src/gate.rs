//! What comes in: each packet is looked at before smoltcp is, where that would
//! give it to the wrong socket, and where it matters afterwards what it was.

use crate::packet::{About, Ends, Lost};
use crate::stack::{Inner, State};
use crate::{datagram, stream};
use smoltcp::iface::{PollIngressSingleResult, SocketHandle};
use smoltcp::socket::{tcp, udp};
use smoltcp::time::Instant;
use std::net::SocketAddr;

/// Sockets of smoltcp's that the packet is not for, while that is taken in. There are
/// hardly ever any.
#[derive(Default)]
struct Aside {
    listeners: Vec<(SocketHandle, tcp::Socket<'static>)>,
    datagrams: Vec<(SocketHandle, udp::Socket<'static>)>,
}

impl Inner {
    /// Takes the staged packet; whether smoltcp did.
    pub fn take_in(&mut self, now: Instant) -> bool {
        let about = self.wire.about();
        let aside = match about {
            About::Call(ends) if self.is_called_already(ends) => {
                self.wire.discard();
                return false;
            }
            About::Call(ends) => self.put_aside(false, ends),
            About::Datagram(ends) => self.put_aside(true, ends),
            About::Reset => {
                self.look_at_streams(false);
                Aside::default()
            }
            _ => Aside::default(),
        };
        let taken = self.interface.poll_ingress_single(now, &mut self.wire, &mut self.sockets);
        self.put_back(aside);
        match about {
            About::Reset => self.look_at_streams(true),
            About::End(ends, window) => {
                self.sockets.note_end(ends.to.into(), ends.from.into(), window);
                self.hear(ends);
            }
            About::Segment(ends, window) => {
                self.sockets.note_window(ends.to.into(), ends.from.into(), window);
                self.hear(ends);
            }
            // The next one may be in this turn.
            About::Call(_) => self.replenish(),
            About::Lost(lost) => self.tell(lost),
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

    /// Puts aside whoever has the port that a packet goes to, and is not to have it:
    /// smoltcp gives it to the first that listens on that address, or on all, and knows
    /// neither sockets of one version of IP nor those that talk with somebody else alone.
    fn put_aside(&mut self, is_datagram: bool, Ends { from, to }: Ends) -> Aside {
        let Self { entries, sockets, .. } = self;
        let mut aside = Aside::default();
        for entry in entries.iter().flatten() {
            let Some((reach, _)) = entry.bound.filter(|&(_, port)| port == to.port()) else { continue };
            let is_for =
                |peer: Option<SocketAddr>| reach.has(to.ip()) && peer.is_none_or(|peer| peer == from);
            match &entry.state {
                State::Datagram(datagram) if is_datagram && !is_for(datagram.peer) => {
                    let one = datagram.handle;
                    aside
                        .datagrams
                        .extend(one.map(|handle| (handle, sockets.swap(handle, datagram::closed()))));
                }
                State::Listener(listener) if !is_datagram && !is_for(None) => {
                    let one = listener.listening(sockets);
                    aside.listeners.extend(one.map(|handle| (handle, sockets.swap(handle, stream::ended()))));
                }
                _ => {}
            }
        }
        aside
    }

    fn put_back(&mut self, aside: Aside) {
        let Self { sockets, .. } = self;
        aside.listeners.into_iter().for_each(|(handle, socket)| drop(sockets.swap(handle, socket)));
        aside.datagrams.into_iter().for_each(|(handle, socket)| drop(sockets.swap(handle, socket)));
    }

    /// Tells whoever sent it, as far as it matters to that: a call comes to nothing,
    /// and who talks with one peer alone hears that nobody has that port.
    fn tell(&mut self, Lost { ends, is_datagram, error }: Lost) {
        let Ends { from, to } = ends;
        let Self { entries, sockets, .. } = self;
        for entry in entries.iter_mut().flatten() {
            let is_own = entry.bound.is_some_and(|(reach, port)| port == from.port() && reach.has(from.ip()));
            match &mut entry.state {
                State::Datagram(datagram) if is_datagram && is_own && datagram.peer == Some(to) => {
                    datagram.lose(error);
                }
                State::Stream(stream) if !is_datagram && stream.calls_between(sockets, from, to) => {
                    stream.fail_call(sockets, error);
                }
                _ => {}
            }
        }
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
        if self.silence_ns.is_none() {
            return;
        }
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
