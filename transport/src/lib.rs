//! Messages between virtual machines that share nothing but memory regions.
//!
//! Bottom up: [`memory`] is a window on memory that a peer may write at any time.
//!
//! Nothing here sleeps, spins, reads a clock or starts a thread by itself, and
//! nothing here trusts a word that a peer can write.
#![cfg_attr(not(test), no_std)]
extern crate alloc;

pub mod memory;
