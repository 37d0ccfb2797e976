//! Threads: preemptive, with priorities, each with a stack and thread-locals of its own.

mod context;
pub mod futex;
mod list;
mod queues;
pub mod scheduler;
mod stack;
pub mod sync;
pub mod thread;
