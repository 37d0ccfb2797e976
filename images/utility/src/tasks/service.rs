//! Serves the pipe of `tasks`.

use super::placement::{Candidate, place};
use super::record::Record;
use super::table::Table;
use futures_util::future::join_all;
use kernel::membership::{Role, Utility};
use kernel::messenger::{self, CallError, Later, Messenger, Outcome, Request, Service};
use kernel::protocol::tasks::{Program, Refusal, Reply, Response, TaskForceId};
use kernel::protocol::{Incarnation, Peer, Pipe, decode, encode, node, tasks};
use kernel::waiters::Waiters;
use std::sync::Arc;

/// An activity of `tasks`.
pub struct Tasks {
    messenger: Arc<Messenger>,
    table: Table,
    changed: Waiters,
}

impl Service for Tasks {
    fn serve(self: Arc<Self>, mut request: Request) -> Outcome {
        let Ok(asked) = decode::<tasks::Request>(request.body.bytes()) else {
            return Outcome::Refuse(messenger::Refusal::Undecodable);
        };
        // To wait changes nothing, so it ends with whoever waits.
        let is_wait = matches!(asked, tasks::Request::Wait { .. });
        let (from, id) = (request.from, request.id);
        let answer: Later = Box::pin(async move { encode(&self.answer(from, id, asked).await).into() });
        if is_wait { Outcome::WhileAwaited(answer) } else { Outcome::Later(answer) }
    }
}

impl Tasks {
    /// An activity of `tasks` over the utility's table. It starts to follow
    /// births and deaths.
    pub fn start(messenger: Arc<Messenger>, table: Table) -> Arc<Self> {
        let tasks = Arc::new(Self { messenger, table, changed: Waiters::default() });
        tasks.messenger.spawn(tasks.clone().follow_deaths());
        tasks.messenger.serve(Pipe::Tasks, tasks.clone());
        tasks
    }

    async fn answer(self: &Arc<Self>, from: Incarnation, id: u64, asked: tasks::Request) -> Response {
        match asked {
            tasks::Request::Create { program, activities, output, stream } => {
                self.create((from, id), program, activities, (output, stream)).await
            }
            tasks::Request::Wait { task_force } => self.wait(task_force).await,
            tasks::Request::Kill { task_force } => self.kill(task_force).await,
            tasks::Request::List => {
                let running = self.table.all().into_iter().filter(|record| !record.has_ended());
                Ok(Reply::TaskForces(running.map(|record| record.task_force).collect()))
            }
            tasks::Request::ActivityEnded { task_force, index, end } => {
                let sent_by = from;
                let ended = self.table.update(task_force, |record| {
                    let place = record.task_force.activities.get(usize::from(index)).map(|a| a.node);
                    place == Some(sent_by) && record.end(index, end)
                });
                self.follow_up(ended);
                Ok(Reply::Done)
            }
            tasks::Request::TablesChanged => {
                self.changed.wake_all();
                Ok(Reply::Done)
            }
        }
    }

    /// Makes a task force and starts its activities, unless this very request
    /// made it before.
    async fn create(
        self: &Arc<Self>,
        (creator, request): (Incarnation, u64),
        program: Program,
        count: u16,
        output: (Peer, u64),
    ) -> Response {
        program.check(count)?;
        let record = match self.table.created_by(creator, request) {
            Some(record) => record,
            None => {
                let places = place(usize::from(count), self.candidates());
                if places.is_empty() {
                    return Err(Refusal::NoNode);
                }
                let make = |id| Record::new(id, program, &places, (creator, request), output);
                self.table.insert(make).ok_or(Refusal::Full)?
            }
        };
        let id = record.task_force.id;
        match self.start_activities(&record).await {
            Ok(()) => {
                // What ended before the others were there to be told, they are told now.
                let ended = |record: &Record| record.task_force.activities.iter().any(|a| a.end.is_some());
                self.follow_up(self.table.get(id).filter(ended));
                Ok(Reply::Created(id))
            }
            Err(refusal) => {
                self.end_all(id, &record).await;
                self.table.remove(id);
                Err(refusal)
            }
        }
    }

    /// The nodes that are ready, with what they run.
    fn candidates(&self) -> Vec<Candidate> {
        let records = self.table.all();
        let load = |node| {
            let activities = records.iter().flat_map(|record| &record.task_force.activities);
            activities.filter(|activity| activity.end.is_none() && activity.node == node).count()
        };
        let membership = self.messenger.membership();
        let nodes = membership.with_role(Role::Node).filter(|&peer| membership.is_ready(peer));
        nodes
            .filter_map(|peer| membership.incarnation(peer))
            .map(|node| Candidate { node, load: load(node) })
            .collect()
    }

    /// Asks the nodes to start what has not ended, all at once.
    async fn start_activities(&self, record: &Record) -> Result<(), Refusal> {
        let calls = record.task_force.activities.iter().enumerate().filter(|(_, a)| a.end.is_none()).map(
            |(index, activity)| async move {
                let body = encode(&node::Request::Start {
                    task_force: record.task_force.id,
                    index: index as u16,
                    members: record.members(),
                    program: record.task_force.program.clone(),
                    output: record.output,
                    stream: record.stream,
                });
                (activity.node, self.messenger.call(activity.node, Pipe::Node, &body).await)
            },
        );
        for (node, started) in join_all(calls).await {
            match started {
                Ok(mut reply) => started_or_refused(reply.bytes(), &record.task_force.program)?,
                // What died with its node is told by the record.
                Err(CallError::PeerDied(_)) => {}
                Err(error) => {
                    return Err(Refusal::Invalid(format!("starting on {}: {error}", node.peer)));
                }
            }
        }
        Ok(())
    }

    async fn wait(&self, id: TaskForceId) -> Response {
        loop {
            let seen = self.changed.count();
            match self.table.get(id) {
                None => return Err(Refusal::UnknownTaskForce),
                Some(record) if record.has_ended() => return Ok(Reply::Ended(record.task_force)),
                Some(_) => self.changed.wait(seen).await,
            }
        }
    }

    async fn kill(&self, id: TaskForceId) -> Response {
        let record = self.table.get(id).ok_or(Refusal::UnknownTaskForce)?;
        self.end_all(id, &record).await;
        Ok(Reply::Done)
    }

    /// Tells the nodes of a task force to end its activities.
    async fn end_all(&self, task_force: TaskForceId, record: &Record) {
        let stop = node::Request::Stop { task_force };
        self.tell_nodes(record, &[stop]).await;
    }

    /// Tells the nodes that still run activities which others have ended.
    async fn tell_members(&self, record: &Record) {
        let task_force = record.task_force.id;
        let activities = record.task_force.activities.iter().zip(0..);
        let ended = activities.filter(|(activity, _)| activity.end.is_some());
        let told: Vec<_> = ended.map(|(_, index)| node::Request::MemberEnded { task_force, index }).collect();
        self.tell_nodes(record, &told).await;
    }

    /// Sends requests to all nodes that still run activities of a task force,
    /// to all at once: one that hangs holds up no other.
    async fn tell_nodes(&self, record: &Record, requests: &[node::Request]) {
        let tell = |node| async move {
            for request in requests {
                // A node that died needs no telling.
                let _ = self.messenger.call(node, Pipe::Node, &encode(request)).await;
            }
        };
        join_all(record.running_nodes().into_iter().map(tell)).await;
    }

    /// Tells the other activities of `tasks` that the table changed.
    async fn tell_siblings(&self) {
        let (membership, own) = (self.messenger.membership(), self.messenger.own());
        let living = membership.nearest(Utility::Tasks, own.peer);
        let siblings = living.into_iter().filter_map(|peer| membership.incarnation(peer));
        let tell = |sibling| async move {
            let body = encode(&tasks::Request::TablesChanged);
            // A sibling that dies reads the table when it starts again.
            let _ = self.messenger.call(sibling, Pipe::Tasks, &body).await;
        };
        join_all(siblings.filter(|&sibling| sibling != own).map(tell)).await;
    }

    /// Does what follows from a record that has changed, if it has.
    fn follow_up(self: &Arc<Self>, changed: Option<Record>) {
        let Some(record) = changed else { return };
        self.changed.wake_all();
        let (tasks, teller) = (self.clone(), self.clone());
        self.messenger.spawn(async move { teller.tell_siblings().await });
        self.messenger.spawn(async move {
            match record.has_failed() {
                true => tasks.end_all(record.task_force.id, &record).await,
                false => tasks.tell_members(&record).await,
            }
        });
    }

    /// After every birth or death: notes what died with its node, and does
    /// again what a dead sibling may have left half done.
    async fn follow_deaths(self: Arc<Self>) {
        loop {
            let seen = self.messenger.changes();
            let messenger = self.messenger.clone();
            for record in self.table.all() {
                if record.has_ended() {
                    continue;
                }
                let lives = |node| messenger.membership().lives(node);
                let changed = self.table.update(record.task_force.id, |record| record.bury(lives));
                self.follow_up(changed.or_else(|| record.has_begun_to_end().then_some(record)));
            }
            self.changed.wake_all();
            self.messenger.changed_since(seen).await;
        }
    }
}

/// What a node said to `Start`.
fn started_or_refused(reply: &[u8], program: &Program) -> Result<(), Refusal> {
    match decode::<node::Response>(reply) {
        Ok(Ok(()) | Err(node::Refusal::Ended)) => Ok(()),
        Ok(Err(node::Refusal::UnknownProgram(known))) => {
            Err(Refusal::UnknownProgram { name: program.name.clone(), known })
        }
        Ok(Err(other)) => Err(Refusal::Invalid(format!("a node refused to start an activity: {other:?}"))),
        Err(error) => Err(Refusal::Invalid(format!("a node's answer: {error}"))),
    }
}
