//! A TCP port that takes connections.
//!
//! Of smoltcp's sockets, one listens; as soon as somebody calls it, the next one
//! does, unless as many wait to be accepted as the backlog allows, or the node has
//! no memory for more. Who calls then is refused.

use crate::stream;
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, State};
use smoltcp::wire::IpListenEndpoint;

/// Most connections that may wait to be accepted.
const MOST_WAITING: usize = 128;

/// A port that takes connections.
pub struct Listener {
    endpoint: IpListenEndpoint,
    backlog: usize,
    /// Most sockets with buffers that the node has, all together.
    most: usize,
    /// One that listens, and those that were called since.
    waiting: Vec<SocketHandle>,
    /// How many could be accepted when last looked.
    seen: usize,
}

/// Whether a connection is there to be accepted.
fn is_there(state: State) -> bool {
    !matches!(state, State::Closed | State::Listen | State::SynReceived)
}

impl Listener {
    /// Listens from now on, while the node has less than `most` sockets.
    pub fn new(
        sockets: &mut SocketSet<'static>,
        most: usize,
        endpoint: IpListenEndpoint,
        backlog: i32,
    ) -> Self {
        let mut listener = Self { endpoint, backlog: 0, most, waiting: Vec::new(), seen: 0 };
        listener.set_backlog(backlog);
        listener.replenish(sockets);
        listener
    }

    /// Changes how many may wait.
    pub fn set_backlog(&mut self, backlog: i32) {
        self.backlog = usize::try_from(backlog).unwrap_or(0).clamp(1, MOST_WAITING);
    }

    /// Sees to it that somebody listens, and forgets who gave up.
    pub fn replenish(&mut self, sockets: &mut SocketSet<'static>) {
        let mut listens = false;
        self.waiting.retain(|&handle| match sockets.get::<Socket<'_>>(handle).state() {
            State::Closed => {
                sockets.remove(handle);
                false
            }
            state => {
                listens |= state == State::Listen;
                true
            }
        });
        if !listens && self.waiting.len() < self.backlog && sockets.iter().count() < self.most {
            let mut socket = stream::socket();
            // The port is not 0, and the socket is new.
            if socket.listen(self.endpoint).is_ok() {
                self.waiting.push(sockets.add(socket));
            }
        }
    }

    fn count(&self, sockets: &SocketSet<'static>) -> usize {
        let there = |handle: &&SocketHandle| is_there(sockets.get::<Socket<'_>>(**handle).state());
        self.waiting.iter().filter(there).count()
    }

    /// Whether its owner should look.
    pub fn has_changed(&mut self, sockets: &mut SocketSet<'static>) -> bool {
        let (before, now) = (self.seen, self.count(sockets));
        self.seen = now;
        now > before
    }

    /// Whether there is a connection to be accepted.
    pub fn is_ready(&self, sockets: &SocketSet<'static>) -> bool {
        self.count(sockets) > 0
    }

    /// The connection that has waited longest.
    pub fn accept(&mut self, sockets: &mut SocketSet<'static>) -> Option<SocketHandle> {
        let there = |handle: &SocketHandle| is_there(sockets.get::<Socket<'_>>(*handle).state());
        let first = self.waiting.iter().position(there)?;
        let accepted = self.waiting.remove(first);
        self.seen = self.seen.saturating_sub(1);
        self.replenish(sockets);
        Some(accepted)
    }

    /// Listens no more: the connections that nobody accepted.
    pub fn into_waiting(self, sockets: &mut SocketSet<'static>) -> Vec<SocketHandle> {
        let (listening, waiting): (Vec<_>, Vec<_>) = self
            .waiting
            .into_iter()
            .partition(|&handle| sockets.get::<Socket<'_>>(handle).state() == State::Listen);
        listening.into_iter().for_each(|handle| drop(sockets.remove(handle)));
        waiting
    }
}
