//! Memory of the VM: frames, page tables, heaps, and the routines that copy.

pub mod areas;
pub mod frames;
pub mod heap;
pub mod limbo;
pub mod paging;
mod recent;
mod rooms;
mod routines;
pub use paging::segment;

pub use routines::{choose as choose_routines, is_routine};

/// Bytes of a page and of a frame.
pub const PAGE: usize = 4096;
