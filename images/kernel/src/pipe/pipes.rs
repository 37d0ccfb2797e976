//! This VM's ends of all pipes, and what happens when a notice arrives.
//!
//! Locks: the tables' before a pipe's; no notice is sent under either.

use super::names::{Activity, Origin, PipeName, Target};
use super::receiver::{Admission, Admit, Inlet, Pipe, Receiver};
use super::sender::{OpenError, Outlet, SendError, Sender};
use super::slots::Slots;
use super::wire::{self, Kind, Open, Refusal, Slot};
use super::{Body, Carrier, WINDOW};
use crate::executor::lock;
use crate::protocol::{Incarnation, Peer, decode, encode};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Most notices to a VM that wait for room; one that sends and does not read
/// gets no more. In good order each end waits for few.
const MAX_OWED: usize = 16 * 1024;

/// What made no sense of a peer, or came too late to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// It asked for sending ends of pipes that do not exist, or no longer.
    pub no_such_pipe: u64,
    /// It asked for sending ends that a pipe's owner refused.
    pub not_allowed: u64,
    /// It asked for more sending ends than there may be.
    pub too_many: u64,
    /// It sent notices that do not decode.
    pub malformed: u64,
    /// It sent messages for which it had no credit, and lost the end.
    pub overrun: u64,
    /// It sent to ends that are gone, or are another VM's.
    pub stale: u64,
    /// It did not take what it was to be told.
    pub dropped: u64,
}

/// This VM's ends of all pipes.
pub struct Pipes {
    carrier: Arc<dyn Carrier>,
    tables: Mutex<Tables>,
    owed: Arc<Owed>,
    counters: Mutex<HashMap<Peer, Counters>>,
}

#[derive(Default)]
struct Tables {
    pipes: Slots<Arc<Pipe>>,
    inlets: Slots<Arc<Inlet>>,
    outlets: Slots<Arc<Outlet>>,
    mailboxes: HashMap<Activity, Slot>,
}

impl Tables {
    fn pipe(&self, target: Target) -> Option<(Slot, Arc<Pipe>)> {
        let slot = match target {
            Target::Pipe(index, generation) => Slot { index, generation },
            Target::Mailbox(task_force, index) => *self.mailboxes.get(&(task_force, index))?,
        };
        Some((slot, self.pipes.get(slot)?.clone()))
    }

    /// Keeps a sending end, unless there are too many or the pipe is gone by now.
    fn admit(&mut self, pipe: Slot, inlet: Arc<Inlet>) -> Result<Slot, Refusal> {
        self.pipes.get(pipe).ok_or(Refusal::NoSuchPipe)?.enter(&inlet)?;
        Ok(self.inlets.insert(inlet))
    }

    /// The inlet of this name, if it is `from`'s.
    fn inlet(&self, from: Incarnation, slot: Slot) -> Option<&Arc<Inlet>> {
        self.inlets.get(slot).filter(|inlet| inlet.origin.vm == from)
    }
}

impl Pipes {
    /// No ends yet. Whoever carries the notices hands them to [`Pipes::take`],
    /// and tells of deaths by [`Pipes::died`].
    pub fn new(carrier: Arc<dyn Carrier>) -> Arc<Self> {
        Arc::new(Self { carrier, tables: Mutex::default(), owed: Arc::default(), counters: Mutex::default() })
    }

    /// Who this VM is.
    pub fn own(&self) -> Incarnation {
        self.carrier.own()
    }

    /// What has made no sense of `peer` until now.
    pub fn counters(&self, peer: Peer) -> Counters {
        lock(&self.counters).get(&peer).copied().unwrap_or_default()
    }

    fn count(&self, of: Incarnation, what: impl FnOnce(&mut Counters) -> &mut u64) {
        *what(lock(&self.counters).entry(of.peer).or_default()) += 1;
    }

    /// How many pipes, sending ends to them, and sending ends of this VM's there are.
    pub fn ends(&self) -> (usize, usize, usize) {
        let tables = lock(&self.tables);
        (tables.pipes.iter().count(), tables.inlets.iter().count(), tables.outlets.iter().count())
    }

    /// Makes a pipe whose reading end is here.
    pub fn create(self: &Arc<Self>, admit: Admit) -> Receiver {
        let pipe = Pipe::new(admit, false);
        let slot = lock(&self.tables).pipes.insert(pipe.clone());
        Receiver { pipes: self.clone(), pipe, slot }
    }

    /// Makes the mailbox of an activity of this VM: a pipe that the others find
    /// by the activity's name. `None` if it has one.
    pub fn create_mailbox(self: &Arc<Self>, activity: Activity, admit: Admit) -> Option<Receiver> {
        let pipe = Pipe::new(admit, true);
        let mut tables = lock(&self.tables);
        if tables.mailboxes.contains_key(&activity) {
            return None;
        }
        let slot = tables.pipes.insert(pipe.clone());
        tables.mailboxes.insert(activity, slot);
        drop(tables);
        Some(Receiver { pipes: self.clone(), pipe, slot })
    }

    /// Opens a sending end of the pipe `name`.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(
        self: &Arc<Self>,
        name: PipeName,
        activity: Option<Activity>,
    ) -> Result<Sender, OpenError> {
        self.open_at(name.home, Target::Pipe(name.number, name.generation), activity).await
    }

    /// Opens a sending end of whatever `target` names at the VM `home`.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open_at(
        self: &Arc<Self>,
        home: Incarnation,
        target: Target,
        activity: Option<Activity>,
    ) -> Result<Sender, OpenError> {
        let outlet = Outlet::new(home);
        let slot = lock(&self.tables).outlets.insert(outlet.clone());
        let sender = Sender { pipes: self.clone(), outlet, slot };
        let body = encode(&Open { target, end: slot, activity });
        let word = wire::word(Kind::Open, 0, 0);
        self.carry_wait(home, 0, word, &body).await.map_err(|_| OpenError::PeerDied)?;
        sender.outlet.settled().await?;
        Ok(sender)
    }

    /// Takes a notice that arrived.
    pub fn take(&self, from: Incarnation, index: u32, word: u64, mut body: Body) {
        let Some((kind, argument, generation)) = wire::parse(word) else {
            return self.count(from, |counters| &mut counters.malformed);
        };
        let slot = Slot { index, generation };
        match kind {
            Kind::Open => self.take_open(from, body.bytes()),
            Kind::Data => self.take_message(from, slot, body),
            Kind::Close => self.take_close(from, slot),
            Kind::Opened => self.take_opened(from, slot, argument, body.bytes()),
            Kind::Refused => self.at_outlet(from, slot, |o| o.refused(Refusal::from_argument(argument))),
            Kind::Credit => self.at_outlet(from, slot, |outlet| outlet.credit(argument)),
            Kind::Closed => self.at_outlet(from, slot, |outlet| outlet.over(SendError::Closed)),
        }
    }

    fn take_open(&self, from: Incarnation, body: &[u8]) {
        let Ok(open) = decode::<Open>(body) else {
            return self.count(from, |counters| &mut counters.malformed);
        };
        match self.admit(from, &open) {
            Ok(inlet) => self.post(from, open.end, Kind::Opened, WINDOW, &encode(&inlet)),
            Err(why) => {
                self.count(from, |counters| match why {
                    Refusal::NoSuchPipe => &mut counters.no_such_pipe,
                    Refusal::NotAllowed => &mut counters.not_allowed,
                    Refusal::TooMany => &mut counters.too_many,
                });
                self.post(from, open.end, Kind::Refused, why as u32, &[]);
            }
        }
    }

    fn admit(&self, from: Incarnation, open: &Open) -> Result<Slot, Refusal> {
        let found = lock(&self.tables).pipe(open.target);
        let (slot, pipe) = found.ok_or(Refusal::NoSuchPipe)?;
        let origin = Origin { vm: from, activity: open.activity };
        let holds = match (pipe.admit)(&origin) {
            Admission::Refused => return Err(Refusal::NotAllowed),
            Admission::Holds => true,
            Admission::Passes => false,
        };
        let inlet = Inlet::new(pipe, origin, open.end, holds);
        lock(&self.tables).admit(slot, inlet)
    }

    fn take_message(&self, from: Incarnation, slot: Slot, body: Body) {
        let Some(inlet) = lock(&self.tables).inlet(from, slot).cloned() else {
            return self.count(from, |counters| &mut counters.stale);
        };
        if !inlet.pipe.clone().arrive(inlet.clone(), body) {
            self.count(from, |counters| &mut counters.overrun);
            self.take_close(from, slot);
            self.post(from, inlet.end, Kind::Closed, wire::OVERRUN, &[]);
        }
    }

    fn take_close(&self, from: Incarnation, slot: Slot) {
        let closed = {
            let mut tables = lock(&self.tables);
            let is_its_own = tables.inlet(from, slot).is_some();
            is_its_own.then(|| tables.inlets.remove(slot)).flatten()
        };
        match closed {
            Some(inlet) => inlet.pipe.leave(&inlet, false),
            None => self.count(from, |counters| &mut counters.stale),
        }
    }

    fn take_opened(&self, from: Incarnation, slot: Slot, window: u32, body: &[u8]) {
        let Ok(inlet) = decode::<Slot>(body) else {
            return self.count(from, |counters| &mut counters.malformed);
        };
        let outlet = lock(&self.tables).outlets.get(slot).cloned();
        if !outlet.is_some_and(|outlet| outlet.home == from && outlet.opened(inlet, window)) {
            // Nobody waits for it any more.
            self.post(from, inlet, Kind::Close, 0, &[]);
        }
    }

    fn at_outlet(&self, from: Incarnation, slot: Slot, change: impl FnOnce(&Outlet)) {
        let outlet = lock(&self.tables).outlets.get(slot).cloned();
        match outlet.filter(|outlet| outlet.home == from) {
            Some(outlet) => change(&outlet),
            None => self.count(from, |counters| &mut counters.stale),
        }
    }

    /// A VM died; everything that it sent has been taken.
    pub fn died(&self, who: Incarnation) {
        let (inlets, outlets) = {
            let mut tables = lock(&self.tables);
            let inlets = tables.inlets.remove_where(|inlet| inlet.origin.vm == who);
            let outlets: Vec<_> = tables.outlets.iter().map(|(_, outlet)| outlet.clone()).collect();
            (inlets, outlets)
        };
        inlets.iter().for_each(|inlet| inlet.pipe.leave(inlet, true));
        outlets.iter().filter(|outlet| outlet.home == who).for_each(|o| o.over(SendError::PeerDied));
    }

    /// The reading end of a pipe was closed.
    pub(super) fn close_pipe(&self, slot: Slot, pipe: &Arc<Pipe>) {
        let inlets = {
            let mut tables = lock(&self.tables);
            tables.pipes.remove(slot);
            tables.mailboxes.retain(|_, mailbox| *mailbox != slot);
            tables.inlets.remove_where(|inlet| Arc::ptr_eq(&inlet.pipe, pipe))
        };
        for inlet in inlets {
            inlet.pipe.leave(&inlet, false);
            self.post(inlet.origin.vm, inlet.end, Kind::Closed, wire::CLOSED, &[]);
        }
    }

    /// A sending end was closed.
    pub(super) fn close_end(&self, slot: Slot, outlet: &Outlet) {
        lock(&self.tables).outlets.remove(slot);
        if let Some(inlet) = outlet.close() {
            self.post(outlet.home, inlet, Kind::Close, 0, &[]);
        }
    }

    /// Sends a notice, at once or not at all; to this VM itself without a detour.
    pub(super) fn carry(
        &self,
        to: Incarnation,
        slot: Slot,
        kind: Kind,
        argument: u32,
        body: &[u8],
    ) -> Result<(), transport::SendError> {
        let word = wire::word(kind, argument, slot.generation);
        if to == self.own() {
            self.take(to, slot.index, word, body.into());
            return Ok(());
        }
        self.carrier.notify(to, slot.index, word, &[body])
    }

    /// The same, waiting for room.
    pub(super) async fn carry_wait(
        &self,
        to: Incarnation,
        index: u32,
        word: u64,
        body: &[u8],
    ) -> Result<(), transport::SendError> {
        if to == self.own() {
            self.take(to, index, word, body.into());
            return Ok(());
        }
        self.carrier.notify_wait(to, index, word, &[body]).await
    }

    /// Sends a notice now or as soon as there is room.
    pub(super) fn post(&self, to: Incarnation, slot: Slot, kind: Kind, argument: u32, body: &[u8]) {
        // Who died needs no telling.
        if self.carry(to, slot, kind, argument, body) != Err(transport::SendError::WouldBlock) {
            return;
        }
        if !self.owed.add(to) {
            return self.count(to, |counters| &mut counters.dropped);
        }
        let (carrier, owed) = (self.carrier.clone(), self.owed.clone());
        let (word, body) = (wire::word(kind, argument, slot.generation), body.to_vec());
        self.carrier.spawn(Box::pin(async move {
            let _ = carrier.notify_wait(to, slot.index, word, &[&body]).await;
            owed.remove(to);
        }));
    }
}

/// How many notices to each VM wait for room.
#[derive(Default)]
struct Owed(Mutex<HashMap<Incarnation, usize>>);

impl Owed {
    /// Counts one more, unless there are too many.
    fn add(&self, to: Incarnation) -> bool {
        let mut owed = lock(&self.0);
        let count = owed.entry(to).or_default();
        let fits = *count < MAX_OWED;
        *count += usize::from(fits);
        fits
    }

    fn remove(&self, to: Incarnation) {
        let mut owed = lock(&self.0);
        if let Some(count) = owed.get_mut(&to) {
            *count -= 1;
            if *count == 0 {
                owed.remove(&to);
            }
        }
    }
}
