//! What `tasks` remembers of a task force.

use kernel::protocol::tasks::{Activity, End, Program, TaskForce, TaskForceId};
use kernel::protocol::{Incarnation, Peer};
use serde::{Deserialize, Serialize};

/// A task force, running or ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The task force as others see it.
    pub task_force: TaskForce,
    /// Who asked for it...
    pub creator: Incarnation,
    /// ...in which request: the same request makes no second one.
    pub request: u64,
    /// Who takes its output...
    pub output: Peer,
    /// ...under which name.
    pub stream: u64,
}

impl Record {
    /// A task force whose activities have places and are about to start.
    pub fn new(
        id: TaskForceId,
        program: Program,
        places: &[Incarnation],
        (creator, request): (Incarnation, u64),
        (output, stream): (Peer, u64),
    ) -> Self {
        let activities = places.iter().map(|&node| Activity { node, end: None }).collect();
        Self { task_force: TaskForce { id, program, activities }, creator, request, output, stream }
    }

    /// Whether every activity has ended.
    pub fn has_ended(&self) -> bool {
        self.task_force.activities.iter().all(|activity| activity.end.is_some())
    }

    /// Whether an activity has ended.
    pub fn has_begun_to_end(&self) -> bool {
        self.task_force.activities.iter().any(|activity| activity.end.is_some())
    }

    /// Whether an activity ended as it should not, so that the others are to
    /// be ended too.
    pub fn has_failed(&self) -> bool {
        self.task_force.activities.iter().filter_map(|activity| activity.end).any(|end| !end.is_success())
    }

    /// Notes that an activity ended, unless that is known already. Returns
    /// whether it was news.
    pub fn end(&mut self, index: u16, end: End) -> bool {
        match self.task_force.activities.get_mut(usize::from(index)) {
            Some(activity) if activity.end.is_none() => {
                activity.end = Some(end);
                true
            }
            _ => false,
        }
    }

    /// Notes the end of every activity whose node is dead. Returns whether
    /// there was one.
    pub fn bury(&mut self, lives: impl Fn(Incarnation) -> bool) -> bool {
        let mut any = false;
        for activity in &mut self.task_force.activities {
            if activity.end.is_none() && !lives(activity.node) {
                activity.end = Some(End::NodeDied);
                any = true;
            }
        }
        any
    }

    /// The nodes that still run activities of it, each once.
    pub fn running_nodes(&self) -> Vec<Incarnation> {
        let mut nodes: Vec<_> = self
            .task_force
            .activities
            .iter()
            .filter(|activity| activity.end.is_none())
            .map(|activity| activity.node)
            .collect();
        nodes.sort();
        nodes.dedup();
        nodes
    }

    /// Where its activities are, by index.
    pub fn members(&self) -> Vec<Incarnation> {
        self.task_force.activities.iter().map(|activity| activity.node).collect()
    }
}
