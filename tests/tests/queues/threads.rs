//! The runtime's threads, but for what only a processor has.

#[path = "../../../images/runtime/src/threads/deadlock.rs"]
pub mod deadlock;
#[path = "../../../images/runtime/src/threads/list.rs"]
pub mod list;
#[path = "../../../images/runtime/src/threads/queues.rs"]
pub mod queues;
#[path = "../../../images/runtime/src/threads/thread.rs"]
pub mod thread;

/// No context: nothing is switched here.
pub mod context {
    pub struct Context;
}

/// No stack either.
pub mod stack {
    pub const CALL: usize = 0;
    pub struct Stack;
}
