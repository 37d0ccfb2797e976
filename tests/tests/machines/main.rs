//! Whole machines under real QEMUs, through the built command: what a user may
//! do to them, and what must hold after each action.
//!
//! They need the built command and images (`make host images`) and the test
//! images; `scripts/test` builds all of it.

mod clocks;
mod copies;
mod cores;
mod crates;
mod distance;
mod faults;
mod guide;
mod heaps;
mod hostile;
mod hosts;
mod isolation;
mod kills;
mod lives;
mod locks;
mod mistakes;
mod network;
mod pipes;
mod programs;
mod projects;
mod restarts;
mod selftest;
mod statics;
mod suite;
