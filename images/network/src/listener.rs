//! A TCP port that takes connections.
//!
//! Of smoltcp's sockets, one listens; as soon as somebody calls it, the next one
//! does, unless as many wait to be accepted as the backlog allows, or the node has
//! no memory for more. Who calls then is refused. Who calls and does not confirm it
//! is given up.

use crate::set::{Owner, Set};
use crate::stream;
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, State};
use smoltcp::time::Duration;
use smoltcp::wire::IpListenEndpoint;

/// Most connections that may wait to be accepted.
const MOST_WAITING: usize = 128;
/// How long who calls may take to confirm it: as long as four attempts to answer take.
const CONFIRM: Duration = Duration::from_secs(20);

/// A port that takes connections.
pub struct Listener {
    endpoint: IpListenEndpoint,
    backlog: usize,
    owner: Owner,
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
    /// Listens from now on, whenever it is replenished.
    pub fn new(owner: Owner, endpoint: IpListenEndpoint, backlog: i32) -> Self {
        let mut listener = Self { endpoint, backlog: 0, owner, waiting: Vec::new(), seen: 0 };
        listener.set_backlog(backlog);
        listener
    }

    /// Changes how many may wait.
    pub fn set_backlog(&mut self, backlog: i32) {
        self.backlog = usize::try_from(backlog).unwrap_or(0).clamp(1, MOST_WAITING);
    }

    /// Sees to it that somebody listens, and forgets who gave up or was given up:
    /// how many can be accepted.
    pub fn replenish(&mut self, sockets: &mut Set) -> usize {
        let (mut listens, mut count) = (false, 0);
        self.waiting.retain(|&handle| {
            let socket = sockets.get_mut::<Socket<'_>>(handle);
            match socket.state() {
                // Until a reset has been sent it has a peer.
                State::Closed if socket.remote_endpoint().is_none() => {
                    sockets.remove(handle);
                    return false;
                }
                State::Listen => listens = true,
                state if is_there(state) => {
                    socket.set_timeout(None);
                    count += 1;
                }
                _ => {}
            }
            true
        });
        if !listens && self.waiting.len() < self.backlog && sockets.make_room(self.owner).is_ok() {
            let mut socket = stream::socket();
            socket.set_timeout(Some(CONFIRM));
            // The port is not 0, and the socket is new.
            if socket.listen(self.endpoint).is_ok() {
                self.waiting.push(sockets.add(self.owner, socket));
            }
        }
        count
    }

    /// Whether its owner should look.
    pub fn has_changed(&mut self, sockets: &mut Set) -> bool {
        let now = self.replenish(sockets);
        now > std::mem::replace(&mut self.seen, now)
    }

    /// Whether there is a connection to be accepted.
    pub fn is_ready(&self, sockets: &SocketSet<'static>) -> bool {
        self.waiting.iter().any(|&handle| is_there(sockets.get::<Socket<'_>>(handle).state()))
    }

    /// Whoever takes the next call.
    pub fn listening(&self, sockets: &SocketSet<'static>) -> Option<SocketHandle> {
        let listens = |handle: &SocketHandle| sockets.get::<Socket<'_>>(*handle).state() == State::Listen;
        self.waiting.iter().copied().find(listens)
    }

    /// The connection that has waited longest.
    pub fn accept(&mut self, sockets: &SocketSet<'static>) -> Option<SocketHandle> {
        let there = |handle: &SocketHandle| is_there(sockets.get::<Socket<'_>>(*handle).state());
        let first = self.waiting.iter().position(there)?;
        let accepted = self.waiting.remove(first);
        self.seen = self.seen.saturating_sub(1);
        Some(accepted)
    }

    /// Listens no more: the connections that nobody accepted.
    pub fn into_waiting(self, sockets: &mut Set) -> Vec<SocketHandle> {
        let (listening, waiting): (Vec<_>, Vec<_>) = self
            .waiting
            .into_iter()
            .partition(|&handle| sockets.get::<Socket<'_>>(handle).state() == State::Listen);
        listening.into_iter().for_each(|handle| sockets.remove(handle));
        waiting
    }
}
