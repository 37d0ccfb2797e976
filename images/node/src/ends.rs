//! The ends of pipes that an activity holds, and who may send to its pipes.
//!
//! Programs know their ends by number. When the activity ends, all are closed,
//! whatever its threads were about.

use crate::activity::{Key, Placement, held};
use cyanea::MAILBOX;
use cyanea::pipe::Access;
use kernel::pipe::{Admission, Admit, Origin, Pipes, Receiver, Sender};
use kernel::protocol::Incarnation;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// The ends of pipes that an activity holds.
pub struct Ends {
    mailbox: Arc<Receiver>,
    task_force: Arc<Members>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    receivers: HashMap<u64, Arc<Receiver>>,
    senders: HashMap<u64, Arc<Sender>>,
    /// To the mailboxes of the task force, by index.
    to_members: HashMap<usize, Arc<Sender>>,
    last: u64,
    closed: bool,
}

impl Table {
    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

/// Where the activities of a task force are.
struct Members {
    own: Key,
    nodes: Vec<Incarnation>,
}

impl Members {
    /// Which of them a message is from; `None` if it is from none, or its VM
    /// says so of one that is not there.
    fn index(&self, origin: &Origin) -> Option<u16> {
        let (task_force, index) = origin.activity?;
        let there = self.nodes.get(usize::from(index)) == Some(&origin.vm);
        (task_force == self.own.0 && there).then_some(index)
    }

    /// All members may send to a mailbox; its owner does not keep it open.
    fn to_mailbox(&self, origin: &Origin) -> Admission {
        match self.index(origin) {
            None => Admission::Refused,
            Some(own) if own == self.own.1 => Admission::Passes,
            Some(_) => Admission::Holds,
        }
    }

    fn to_pipe(&self, origin: &Origin, access: Access) -> Admission {
        let (task_force, _) = origin.activity.unwrap_or((self.own.0, u16::MAX));
        let stranger = access == Access::Public && task_force != self.own.0;
        match stranger || self.index(origin).is_some() {
            true => Admission::Holds,
            false => Admission::Refused,
        }
    }
}

impl Ends {
    /// An activity's mailbox, and no other ends yet; `None` if it has one.
    pub fn new(placement: &Placement, pipes: &Arc<Pipes>) -> Option<Self> {
        let task_force = Arc::new(Members { own: placement.key, nodes: placement.members.clone() });
        let members = task_force.clone();
        let admit: Admit = Box::new(move |origin| members.to_mailbox(origin));
        let mailbox = Arc::new(pipes.create_mailbox(placement.key, admit)?);
        Some(Self { mailbox, task_force, table: Mutex::default() })
    }

    /// The mailbox.
    pub fn mailbox(&self) -> &Arc<Receiver> {
        &self.mailbox
    }

    /// Creates a pipe; its number.
    pub fn create(&self, pipes: &Arc<Pipes>, access: Access) -> u64 {
        let members = self.task_force.clone();
        let receiver = pipes.create(Box::new(move |origin| members.to_pipe(origin, access)));
        let mut table = held(&self.table);
        let number = table.number();
        // One that is made too late is closed at once.
        if !table.closed {
            table.receivers.insert(number, Arc::new(receiver));
        }
        number
    }

    /// The reading end of this number.
    pub fn receiver(&self, number: u64) -> Option<Arc<Receiver>> {
        match number {
            MAILBOX => Some(self.mailbox.clone()),
            _ => held(&self.table).receivers.get(&number).cloned(),
        }
    }

    /// Closes a reading end.
    pub fn close_receiver(&self, number: u64) {
        let receiver = held(&self.table).receivers.remove(&number);
        // Who waits for it learns it too.
        receiver.inspect(|receiver| receiver.close());
    }

    /// Keeps a sending end; its number.
    pub fn keep(&self, sender: Sender) -> u64 {
        let mut table = held(&self.table);
        let number = table.number();
        if !table.closed {
            table.senders.insert(number, Arc::new(sender));
        }
        number
    }

    /// The sending end of this number.
    pub fn sender(&self, number: u64) -> Option<Arc<Sender>> {
        held(&self.table).senders.get(&number).cloned()
    }

    /// Closes a sending end.
    pub fn close_sender(&self, number: u64) {
        let sender = held(&self.table).senders.remove(&number);
        drop(sender);
    }

    /// The sending end to a member's mailbox, if it has been opened.
    pub fn to_member(&self, index: usize) -> Option<Arc<Sender>> {
        held(&self.table).to_members.get(&index).cloned()
    }

    /// Keeps a sending end to a member's mailbox, unless there is one by now:
    /// the one that all use.
    pub fn keep_to_member(&self, index: usize, sender: Sender) -> Arc<Sender> {
        let mut table = held(&self.table);
        let sender = Arc::new(sender);
        match table.closed {
            true => sender,
            false => table.to_members.entry(index).or_insert(sender).clone(),
        }
    }

    /// Closes all of them, for good.
    pub fn close(&self) {
        let mut table = held(&self.table);
        let all = std::mem::replace(&mut *table, Table { closed: true, ..Table::default() });
        drop(table);
        self.mailbox.close();
        all.receivers.values().for_each(|receiver| receiver.close());
    }
}
