//! A file per module of `std`, and [`beyond`] for what `cyanea::fs` adds.

pub mod alloc;
pub mod beyond;
pub mod collections;
pub mod env;
pub mod fs;
pub mod io;
pub mod net;
pub mod process;
pub mod sync;
pub mod thread;
pub mod time;
