//! smoltcp's sockets: whose each is, how many there may be, and which of them
//! nobody has any more.
//!
//! Each has buffers, so memory bounds how many there are. Of these one owner has
//! its share at most, with those that listen for it, wait to be accepted or are
//! ending: so there are some for others.
//!
//! **A connection that was closed is ended for want of room only if that loses
//! nothing**: when all that it sent has arrived. Until then it has its place, as
//! long as its peer takes something every [`LINGER_NS`].

use kernel::errno::Errno;
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::AnySocket;
use smoltcp::socket::tcp::{Socket, State};
use smoltcp::wire::IpEndpoint;
use std::collections::HashMap;
use std::ops::{Deref, DerefMut};

/// How long the peer of a connection that was closed may take nothing, or say nothing.
const LINGER_NS: u64 = 60_000_000_000;
/// How long one that has ended on both sides still answers: what it would wait
/// for longer are segments that were late, and no way here can be that long.
const LAST_WORD_NS: u64 = 20_000_000;

/// How many of so many one owner may have.
pub const fn share(all: usize) -> usize {
    all / 4 * 3
}

/// Whose a socket is: an activity's tag.
pub type Owner = u64;

/// smoltcp's sockets.
pub struct Set {
    sockets: SocketSet<'static>,
    owners: HashMap<SocketHandle, Owner>,
    orphans: Vec<Orphan>,
    /// Those whose peer has ended its direction, and how much it takes at least.
    ended: HashMap<SocketHandle, u16>,
    /// Those that are to end theirs when the peer takes all.
    closing: Vec<SocketHandle>,
    most: usize,
}

/// A connection that nobody has any more.
struct Orphan {
    handle: SocketHandle,
    /// When it has to end.
    until_ns: u64,
    /// What had not arrived when last looked.
    unsent: usize,
}

/// How far a connection is that nobody has any more.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    /// Nothing more is to come.
    Over,
    /// Both directions have ended; the peer may not have heard it.
    LastWord,
    /// All has arrived; the peer may go on to send, in vain.
    Arrived,
    /// Something is to arrive yet.
    UnderWay,
}

impl Ending {
    fn of(socket: &Socket<'_>) -> Self {
        match socket.state() {
            // Its reset is sent when it has no peer any more.
            State::Closed if socket.remote_endpoint().is_none() => Self::Over,
            State::TimeWait => Self::LastWord,
            State::FinWait2 => Self::Arrived,
            _ => Self::UnderWay,
        }
    }
}

impl Deref for Set {
    type Target = SocketSet<'static>;

    fn deref(&self) -> &SocketSet<'static> {
        &self.sockets
    }
}

impl DerefMut for Set {
    fn deref_mut(&mut self) -> &mut SocketSet<'static> {
        &mut self.sockets
    }
}

impl Set {
    /// No sockets, and at most so many.
    pub fn new(most: usize) -> Self {
        let sockets = SocketSet::new(Vec::new());
        Self {
            sockets,
            owners: HashMap::new(),
            orphans: Vec::new(),
            ended: HashMap::new(),
            closing: Vec::new(),
            most,
        }
    }

    /// Sees to it that this owner may have one more.
    ///
    /// # Errors
    /// `MFILE`: it has its share. `NOBUFS`: the node has no memory for more.
    pub fn make_room(&mut self, owner: Owner) -> Result<(), Errno> {
        let has = self.owners.values().filter(|&&other| other == owner).count();
        if has >= share(self.most) && !self.forget_one(|other| other == owner) {
            return Err(Errno::MFILE);
        }
        if self.owners.len() >= self.most && !self.forget_one(|_| true) {
            return Err(Errno::NOBUFS);
        }
        Ok(())
    }

    /// Ends a connection that nobody has any more, of such an owner, if there is
    /// one by whose end nothing is lost.
    fn forget_one(&mut self, of: impl Fn(Owner) -> bool) -> bool {
        let Self { sockets, owners, orphans, .. } = self;
        let ending = |orphan: &Orphan| Ending::of(sockets.get(orphan.handle));
        let found = (orphans.iter().enumerate())
            .filter(|(_, orphan)| owners.get(&orphan.handle).is_some_and(|&owner| of(owner)))
            .map(|(index, orphan)| (ending(orphan), index))
            .min();
        let Some((Ending::Over | Ending::LastWord | Ending::Arrived, index)) = found else { return false };
        let orphan = self.orphans.remove(index);
        self.remove(orphan.handle);
        true
    }

    /// Keeps a socket, for which room was made.
    pub fn add(&mut self, owner: Owner, socket: impl AnySocket<'static>) -> SocketHandle {
        let handle = self.sockets.add(socket);
        self.owners.insert(handle, owner);
        handle
    }

    /// Forgets a socket.
    pub fn remove(&mut self, handle: SocketHandle) {
        self.owners.remove(&handle);
        self.ended.remove(&handle);
        self.closing.retain(|&closing| closing != handle);
        self.sockets.remove(handle);
    }

    /// Puts one in the place of another one of its kind, which it returns.
    pub fn swap<S: AnySocket<'static>>(&mut self, handle: SocketHandle, socket: S) -> S {
        std::mem::replace(self.sockets.get_mut(handle), socket)
    }

    /// The connection between these ends.
    pub fn connection(&self, local: IpEndpoint, remote: IpEndpoint) -> Option<SocketHandle> {
        let ends = (Some(local), Some(remote));
        let found = self.sockets.iter().find(|(_, socket)| match socket {
            smoltcp::socket::Socket::Tcp(socket) => {
                (socket.local_endpoint(), socket.remote_endpoint()) == ends && socket.state() != State::Closed
            }
            _ => false,
        });
        found.map(|(handle, _)| handle)
    }

    /// Lets a connection end that nobody has any more: when what was sent has
    /// arrived; at once if that is wanted, or if something will not be read.
    pub fn abandon(&mut self, handle: SocketHandle, at_once: bool, now_ns: u64) {
        let socket = self.sockets.get_mut::<Socket<'_>>(handle);
        if at_once || socket.can_recv() {
            socket.abort();
        } else {
            self.close(handle);
        }
        let unsent = self.sockets.get::<Socket<'_>>(handle).send_queue();
        self.orphans.push(Orphan { handle, until_ns: now_ns.saturating_add(LINGER_NS), unsent });
    }

    /// The peer of the connection between these ends has ended its direction, and takes
    /// so much.
    pub fn note_end(&mut self, local: IpEndpoint, remote: IpEndpoint, window: u16) {
        if let Some(handle) = self.connection(local, remote) {
            self.ended.insert(handle, window);
        }
    }

    /// The same of one that may have ended its direction.
    pub fn note_window(&mut self, local: IpEndpoint, remote: IpEndpoint, window: u16) {
        if self.ended.is_empty() {
            return;
        }
        let handle = self.connection(local, remote);
        if let Some(ended) = handle.and_then(|handle| self.ended.get_mut(&handle)) {
            *ended = window;
        }
    }

    /// Ends a connection's direction behind what was sent.
    ///
    /// If the peer has ended its own, that is done when the peer takes all of it: smoltcp,
    /// when it waits for nothing but the last word, does not listen to a peer that has
    /// room again, and would have to ask for that, a second later at the earliest.
    pub fn close(&mut self, handle: SocketHandle) {
        self.closing.push(handle);
        self.close_what_is_taken();
    }

    /// Ends the directions that were to be ended when the peer takes all.
    pub fn close_what_is_taken(&mut self) {
        let Self { closing, ended, sockets, .. } = self;
        closing.retain(|handle| {
            let socket = sockets.get_mut::<Socket<'_>>(*handle);
            let taken = ended.get(handle).map_or(0, |&window| usize::from(window));
            let waits = socket.state() == State::CloseWait && socket.send_queue() > taken;
            if !waits {
                socket.close();
            }
            waits
        });
    }

    /// Ends what is late, and forgets what has ended.
    pub fn sweep(&mut self, now_ns: u64) {
        let mut orphans = std::mem::take(&mut self.orphans);
        orphans.retain_mut(|orphan| {
            let stays = self.goes_on(orphan, now_ns);
            if !stays {
                self.remove(orphan.handle);
            }
            stays
        });
        self.orphans = orphans;
    }

    /// Whether a connection that nobody has any more is to stay.
    fn goes_on(&mut self, orphan: &mut Orphan, now_ns: u64) -> bool {
        let socket = self.sockets.get_mut::<Socket<'_>>(orphan.handle);
        if socket.send_queue() < orphan.unsent {
            (orphan.unsent, orphan.until_ns) = (socket.send_queue(), now_ns.saturating_add(LINGER_NS));
        }
        let late = now_ns >= orphan.until_ns;
        match Ending::of(socket) {
            Ending::Over => return false,
            Ending::LastWord if late => return false,
            Ending::LastWord => {
                orphan.until_ns = orphan.until_ns.min(now_ns.saturating_add(LAST_WORD_NS));
            }
            _ if socket.state() == State::Closed => return !late,
            // What comes now, nobody will read.
            Ending::Arrived | Ending::UnderWay if late || socket.can_recv() => socket.abort(),
            Ending::Arrived | Ending::UnderWay => {}
        }
        true
    }

    /// When something is to be ended.
    pub fn next_ns(&self) -> Option<u64> {
        self.orphans.iter().map(|orphan| orphan.until_ns).min()
    }

    /// Whether a connection that nobody has any more has this port.
    pub fn has_ending(&self, port: u16) -> bool {
        self.orphans.iter().any(|orphan| {
            let end = self.sockets.get::<Socket<'_>>(orphan.handle).local_endpoint();
            end.is_some_and(|end| end.port == port)
        })
    }

    /// Ends a connection whose directions have both ended already, so that its
    /// ends may call each other anew.
    pub fn supersede(&mut self, handle: SocketHandle) {
        match self.orphans.iter().position(|orphan| orphan.handle == handle) {
            Some(index) => {
                self.orphans.remove(index);
                self.remove(handle);
            }
            None => drop(self.swap(handle, crate::stream::ended())),
        }
    }
}
