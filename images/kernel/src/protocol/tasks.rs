//! The pipe of `tasks`: creates task forces, places their activities on nodes,
//! says what became of them.
//!
//! Any activity of `tasks` answers any request, and every request may be sent
//! again with the same request id.

use super::fault::Kind;
use super::{Incarnation, Peer};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use serde::{Deserialize, Serialize};
extern crate alloc;

/// Names a task force for the life of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskForceId(pub u64);

/// Most activities of one task force.
pub const MAX_ACTIVITIES: u16 = 64;
/// Most bytes of a program's name and arguments together.
pub const MAX_ARGUMENTS: usize = 8 * 1024;

/// What is to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// A program that the node images carry.
    pub name: String,
    /// What `cyanea::args` gives it, without its own name.
    pub arguments: Vec<String>,
}

impl Program {
    /// Whether a task force of so many activities may run it.
    ///
    /// # Errors
    /// [`Refusal::Invalid`].
    pub fn check(&self, activities: u16) -> Result<(), Refusal> {
        let length =
            self.name.len() + self.arguments.iter().map(|argument| argument.len() + 1).sum::<usize>();
        if length > MAX_ARGUMENTS {
            let what = format!("the arguments have {length} bytes, at most {MAX_ARGUMENTS} can be passed");
            return Err(Refusal::Invalid(what));
        }
        if !(1..=MAX_ACTIVITIES).contains(&activities) {
            let what = format!("a task force has 1 to {MAX_ACTIVITIES} activities, not {activities}");
            return Err(Refusal::Invalid(what));
        }
        Ok(())
    }
}

/// What can be asked of `tasks`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Makes a task force; answered by `Created` once its activities run.
    Create {
        /// What each of them runs.
        program: Program,
        /// How many, 1 to [`MAX_ACTIVITIES`].
        activities: u16,
        /// Who takes what they write, through the launcher's pipe...
        output: Peer,
        /// ...under which name.
        stream: u64,
    },
    /// Answered by `Ended` when every activity has ended.
    Wait {
        /// Which.
        task_force: TaskForceId,
    },
    /// Ends every activity; answered by `Done`.
    Kill {
        /// Which.
        task_force: TaskForceId,
    },
    /// Answered by `TaskForces`.
    List,
    /// From a node: an activity of it ended; answered by `Done`.
    ActivityEnded {
        /// Of which task force.
        task_force: TaskForceId,
        /// Which of its activities.
        index: u16,
        /// How.
        end: End,
    },
    /// From another activity of `tasks`: its tables changed; answered by `Done`.
    TablesChanged,
}

/// How an activity ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// It returned or called `exit`, with this code.
    Exited(i32),
    /// It panicked, aborted, or did what cannot be gone on from.
    Faulted(Kind),
    /// It was ended on request, or because another activity of its task force ended badly.
    Killed,
    /// Its node died.
    NodeDied,
}

impl End {
    /// Whether it ended as a program should.
    pub fn is_success(self) -> bool {
        self == Self::Exited(0)
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited with code {code}"),
            Self::Faulted(kind) => write!(f, "ended: {kind}"),
            Self::Killed => write!(f, "was ended"),
            Self::NodeDied => write!(f, "died with its node"),
        }
    }
}

/// One activity of a task force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// The node it was placed on.
    pub node: Incarnation,
    /// How it ended, if it has.
    pub end: Option<End>,
}

/// One task force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskForce {
    /// Its name.
    pub id: TaskForceId,
    /// What it runs.
    pub program: Program,
    /// Its activities, by index.
    pub activities: Vec<Activity>,
}

impl TaskForce {
    /// The activity whose end made the task force fail, with that end: a dead
    /// node before a bad end of its own before being ended by others. `None`
    /// if all ended well (or have not ended).
    pub fn failure(&self) -> Option<(usize, Activity, End)> {
        let rank = |end: End| match end {
            End::NodeDied => 0,
            End::Faulted(_) | End::Exited(_) => 1,
            End::Killed => 2,
        };
        let ends = self.activities.iter().enumerate();
        ends.filter_map(|(index, &activity)| Some((index, activity, activity.end?)))
            .filter(|(_, _, end)| !end.is_success())
            .min_by_key(|&(index, _, end)| (rank(end), index))
    }
}

/// What `tasks` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// It is done.
    Done,
    /// To `Create`.
    Created(TaskForceId),
    /// To `Wait`: all activities, each with its end.
    Ended(TaskForce),
    /// To `List`: the task forces that have not ended.
    TaskForces(Vec<TaskForce>),
}

/// Why `tasks` refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// No node image carries such a program; these are the ones there are.
    UnknownProgram {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// No node is ready for work.
    NoNode,
    /// Zero activities, more than [`MAX_ACTIVITIES`], or arguments too long.
    Invalid(String),
    /// No such task force.
    UnknownTaskForce,
    /// The tables are full: too many task forces at once.
    Full,
    /// The node died while an activity was being started on it.
    NodeDied(Incarnation),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownProgram { name, known } => {
                write!(f, "no program \"{name}\" on the nodes; there are: {}", known.join(", "))
            }
            Self::NoNode => write!(f, "no node is ready for work"),
            Self::Invalid(what) => write!(f, "{what}"),
            Self::UnknownTaskForce => write!(f, "no such task force"),
            Self::Full => write!(f, "too many task forces at once; wait for one to end"),
            Self::NodeDied(node) => write!(f, "{} died while an activity was being started on it", node.peer),
        }
    }
}

impl core::error::Error for Refusal {}

/// The answer to a request.
pub type Response = Result<Reply, Refusal>;
