//! What a program of Cyanea sees beyond `std`.
//!
//! A program is an ordinary function that a node image carries. Every one of
//! its *activities* runs it, each on a node, together as one *task force*:
//!
//! ```
//! let me = cyanea::activity();
//! if me.index == 0 {
//!     for _ in 1..me.count {
//!         let message = cyanea::receive().expect("the others are alive");
//!         println!("{} says {} bytes", message.from, message.body.len());
//!     }
//! } else {
//!     cyanea::send(0, b"hello").expect("activity 0 is alive");
//! }
//! ```
//!
//! On a node these calls reach the operating system. On the host, where nobody
//! [`install`]ed a system, a program is a task force of one activity, its
//! arguments are the process's, and its files the host's: programs can be tried
//! and tested without a machine.
#![forbid(unsafe_code)]

pub mod fs;
mod host;
pub mod pipe;
mod place;
mod system;

pub use pipe::{mailbox, wait};
pub use place::{Distance, Place};
pub use system::{Activity, Error, FileCalls, MAILBOX, Message, Pipes, PoolMemory, System, install};

/// Most bytes of one message between activities.
pub const MAX_MESSAGE: usize = 56 * 1024;

/// Which activity of its task force the caller is.
pub fn activity() -> Activity {
    system::get().activity()
}

/// Where an activity of the task force is. It does not move.
///
/// ```
/// let me = cyanea::place(cyanea::activity().index).expect("the caller is one");
/// assert_eq!(me.distance(me), cyanea::Distance::Local);
/// ```
///
/// # Errors
/// [`Error::NoSuchActivity`].
pub fn place(of: usize) -> Result<Place, Error> {
    system::get().place(of)
}

/// The program's arguments, without its name.
pub fn args() -> Vec<String> {
    system::get().args()
}

/// Sends a message of at most [`MAX_MESSAGE`] bytes to the mailbox of another
/// activity of the task force (or of the caller itself), waiting while it holds
/// as much of the caller's as it may. Every activity has a mailbox: a pipe (see
/// [`mod@pipe`]) that is there from its start and need not be opened.
///
/// Messages from one activity to another arrive whole, once, and in order.
///
/// # Errors
/// [`Error::NoSuchActivity`], [`Error::TooLong`], or [`Error::Ended`] if the
/// other has ended or its node died.
pub fn send(to: usize, body: &[u8]) -> Result<(), Error> {
    if body.len() > MAX_MESSAGE {
        return Err(Error::TooLong);
    }
    system::get().send(to, body)
}

/// Waits for the next message to the calling activity.
///
/// # Errors
/// [`Error::Ended`] if no message is there and none can come: every other
/// activity has ended.
pub fn receive() -> Result<Message, Error> {
    loop {
        match mailbox().receive() {
            Ok(pipe::Message { from, body }) => return Ok(Message { from: from.activity, body }),
            // The task force is about to be ended for it.
            Err(pipe::ReceiveError::SenderDied(_)) => {}
            Err(_) => return Err(Error::Ended),
        }
    }
}

/// The pool of the caller's cluster: memory that all nodes of the cluster
/// share, as atomic words. `None` on the host.
pub fn pool() -> Option<PoolMemory> {
    system::get().pool()
}
