//! Serves the node's pipe.

use crate::activities::Activities;
use crate::activity::Placement;
use kernel::membership::{Role, Utility};
use kernel::messenger::{Messenger, Outcome, Refusal, Request, Service};
use kernel::protocol::{Incarnation, Pipe, decode, encode, node};
use std::sync::Arc;

struct NodeService {
    activities: Arc<Activities>,
}

/// Begins to serve.
pub fn start(messenger: &Messenger, activities: Arc<Activities>) {
    messenger.serve(Pipe::Node, Arc::new(NodeService { activities }));
}

impl Service for NodeService {
    fn serve(self: Arc<Self>, mut request: Request) -> Outcome {
        let answer = |response: node::Response| Outcome::reply(encode(&response));
        let asked = decode(request.body.bytes());
        let between_activities = matches!(asked, Ok(node::Request::Deliver { .. }) | Err(_));
        if !between_activities && !self.is_from_tasks(request.from) {
            return answer(Err(node::Refusal::WrongSender));
        }
        match asked {
            Ok(node::Request::Start { task_force, index, members, program, output, stream }) => {
                let key = (task_force, index);
                answer(self.activities.start(Placement { key, members, program, output, stream }))
            }
            Ok(node::Request::Stop { task_force }) => {
                for activity in self.activities.of(task_force) {
                    self.activities.stop(activity);
                }
                answer(Ok(()))
            }
            Ok(node::Request::MemberEnded { task_force, index }) => {
                self.activities.of(task_force).iter().for_each(|activity| activity.member_ended(index));
                answer(Ok(()))
            }
            Ok(node::Request::Deliver { body, .. }) if body.len() > node::MAX_MESSAGE => {
                Outcome::Refuse(Refusal::BeyondLimit)
            }
            Ok(node::Request::Deliver { task_force, from, to, body }) => {
                self.deliver(request.from, (task_force, to), from, body.to_vec())
            }
            Err(_) => Outcome::Refuse(Refusal::Undecodable),
        }
    }
}

impl NodeService {
    fn is_from_tasks(&self, sender: Incarnation) -> bool {
        let peers = &self.activities.messenger.membership().description().peers;
        let role = peers.get(usize::from(sender.peer.0)).map(|peer| peer.role);
        role == Some(Role::Utility(Utility::Tasks))
    }

    fn deliver(
        &self,
        sender: Incarnation,
        key: (kernel::protocol::tasks::TaskForceId, u16),
        from: u16,
        body: Vec<u8>,
    ) -> Outcome {
        let activity = match self.activities.find(key) {
            Ok(activity) => activity,
            Err(refusal) => return Outcome::reply(encode(&node::Response::Err(refusal))),
        };
        if activity.placement.members.get(usize::from(from)) != Some(&sender) {
            return Outcome::reply(encode(&node::Response::Err(node::Refusal::WrongSender)));
        }
        Outcome::Later(Box::pin(async move { encode(&activity.deliver(from, body).await).into() }))
    }
}
