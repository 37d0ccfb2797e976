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
        if !self.is_from_tasks(request.from) {
            return answer(Err(node::Refusal::WrongSender));
        }
        match decode(request.body.bytes()) {
            Ok(node::Request::Start { task_force, index, members, program, output, stream }) => {
                let key = (task_force, index);
                answer(self.activities.start(Placement { key, members, program, output, stream }))
            }
            Ok(node::Request::Stop { task_force }) => {
                for activity in self.activities.of(task_force) {
                    self.activities.stop(&activity);
                }
                answer(Ok(()))
            }
            Ok(node::Request::MemberEnded { task_force, index }) => {
                self.activities.of(task_force).iter().for_each(|activity| activity.member_ended(index));
                answer(Ok(()))
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
}
