//! The portable core of the operating system. No hardware: the same code runs
//! in a VM, in the launcher on the host, and in tests.
//!
//! * [`clock`]: one clock for the machine.
//! * [`membership`]: who is in the machine, what each is, and who lives.
//! * [`protocol`]: the messages of the operating system, a file per pipe.
//! * [`errno`]: the errors that programs see.
//! * [`executor`]: coroutines for the system's own work.
//! * [`messenger`]: requests and replies between this VM and its peers.
//! * [`monitor`]: tells what has passed through this VM's channels.
//! * [`pipe`]: whole messages from many senders to one reader.
//! * [`waiters`]: waiting for something that is counted.

pub mod clock;
pub mod errno;
pub mod executor;
pub mod membership;
pub mod messenger;
pub mod monitor;
pub mod patience;
pub mod pipe;
pub mod protocol;
pub mod waiters;
