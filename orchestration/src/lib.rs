//! The host's part: machine file, regions, VMs, liveness (design section 8).
//!
//! * [`machine_file`]: what a machine is made of, in TOML, checked.
//! * [`host`]: what this host has: QEMU, accelerator, memory.
//! * [`image`]: which file each VM boots.
//! * [`placement`]: which VM runs on which core.
//! * [`project`]: a program of the user's own, from nothing to its image.
//! * [`regions`]: the memory that VMs share, and who gets which.
//! * [`ethernet`]: what VMs whose clusters share no memory talk through.
//! * [`vm`]: one VM's QEMU, its console, its life.
//! * [`machine`]: all of a machine's VMs, and the thread that owns them.
//! * [`state_directory`]: what a running machine keeps in the file system.
//! * [`control`]: the socket through which commands reach a running machine.
//! * [`session`]: a machine with its folder and its socket, from `up` to `down`.
//! * [`distance`]: how much to add to messages so that distance costs what it shall.
//! * [`client`]: the launcher as a client of the operating system in the machine.
#![deny(unsafe_code)]

pub mod client;
pub mod control;
pub mod distance;
pub mod ethernet;
pub mod host;
pub mod image;
pub mod machine;
pub mod machine_file;
pub mod placement;
pub mod project;
pub mod regions;
pub mod session;
pub mod state_directory;
mod sys;
pub mod vm;
