//! The pipe of a node: starting and ending activities.

use super::tasks::{Program, TaskForceId};
use super::{Incarnation, Peer};
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
extern crate alloc;

/// What can be asked of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Starts an activity, unless it has been started already; answered when
    /// it is there (its mailbox takes messages).
    Start {
        /// Of which task force.
        task_force: TaskForceId,
        /// Which of its activities.
        index: u16,
        /// Where each of its activities is, by index.
        members: Vec<Incarnation>,
        /// What it runs.
        program: Program,
        /// Who takes what it writes...
        output: Peer,
        /// ...under which name.
        stream: u64,
    },
    /// Ends the activities of a task force on this node.
    Stop {
        /// Which.
        task_force: TaskForceId,
    },
    /// An activity of a task force, somewhere, has ended.
    MemberEnded {
        /// Of which task force.
        task_force: TaskForceId,
        /// Which of its activities.
        index: u16,
    },
}

/// Why a node refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// Its image carries no such program; these are the ones it does.
    UnknownProgram(Vec<String>),
    /// The activity was here and has ended.
    Ended,
    /// Only `tasks` may ask this.
    WrongSender,
}

/// The answer to a request.
pub type Response = Result<(), Refusal>;
