//! Addresses of names: numbers, the node itself, and what the name server
//! outside says.

use crate::address::{Family, loopback};
use crate::set::Owner;
use crate::stack::{Inner, Stack, interface};
use kernel::errno::Errno;
use kernel::waiters::Waiters;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::dns::{GetQueryResultError, QueryHandle, Socket, StartQueryError};
use smoltcp::wire::{DnsQueryType, IpAddress};
use std::net::IpAddr;
use std::sync::Arc;
use transport::ethernet::outside;

/// The owner of the socket that asks.
const OWN: Owner = 0;

/// The questions that wait for the name server.
#[derive(Default)]
pub struct Names {
    /// Made for the first question.
    handle: Option<SocketHandle>,
    waiting: usize,
    changes: Arc<Waiters>,
}

impl Names {
    /// Who may look whether there is an answer.
    pub fn waited_for(&self) -> Option<Arc<Waiters>> {
        (self.waiting > 0).then(|| self.changes.clone())
    }
}

/// Questions to the name server, one for each version of IP, until they are answered
/// or dropped.
pub struct Lookup {
    stack: Arc<Stack>,
    questions: [Question; 2],
    changes: Arc<Waiters>,
}

enum Question {
    Asked(QueryHandle),
    Answered(Vec<IpAddr>),
}

/// The addresses that a name says itself: a number, or this node. Who serves where
/// IPv4 alone is looked for comes first.
pub fn known(name: &str) -> Option<Vec<IpAddr>> {
    match name.strip_suffix('.').unwrap_or(name) {
        name if name.eq_ignore_ascii_case("localhost") => {
            Some([Family::V4, Family::V6].map(loopback).to_vec())
        }
        name => name.parse().ok().map(|address| vec![address]),
    }
}

impl Lookup {
    /// Asks for the addresses of a name.
    ///
    /// # Errors
    /// `NOENT`: that is no name, or there is no name server.
    pub fn new(stack: &Arc<Stack>, name: &str) -> Result<Self, Errno> {
        if !stack.has_card() {
            return Err(Errno::NOENT);
        }
        // A question's number and its port are all that an answer can be known by: no
        // other random number that anybody sees is to lead to them.
        let kinds = [DnsQueryType::A, DnsQueryType::Aaaa].map(|kind| (kind, stack.random()));
        let (questions, changes) = stack.enter(|inner| {
            let Inner { names, sockets, wire, .. } = inner;
            let handle = *names.handle.get_or_insert_with(|| {
                let server = IpAddress::Ipv4(outside::NAME_SERVER.into());
                sockets.add(OWN, Socket::new(&[server], Vec::new()))
            });
            let mut questions = [const { Question::Answered(Vec::new()) }; 2];
            for (question, (kind, seed)) in questions.iter_mut().zip(kinds) {
                let socket = sockets.get_mut::<Socket<'_>>(handle);
                let query = socket.start_query(interface(wire, seed).context(), name, kind);
                let query = query.map_err(|error| match error {
                    StartQueryError::NoFreeSlot => Errno::NOBUFS,
                    StartQueryError::InvalidName | StartQueryError::NameTooLong => Errno::NOENT,
                })?;
                *question = Question::Asked(query);
                names.waiting += 1;
            }
            Ok((questions, names.changes.clone()))
        })?;
        Ok(Self { stack: stack.clone(), questions, changes })
    }

    /// Counts on when there may be an answer.
    pub fn changes(&self) -> &Arc<Waiters> {
        &self.changes
    }

    /// The answers: addresses of IPv4, then those of IPv6.
    ///
    /// # Errors
    /// `AGAIN`: not yet. `NOENT`: there is no such name, or nobody who knows.
    pub fn addresses(&mut self) -> Result<Vec<IpAddr>, Errno> {
        let Self { stack, questions, .. } = self;
        stack.look(|inner| questions.iter_mut().for_each(|question| question.look(inner)));
        let answers = questions.iter().map(|question| match question {
            Question::Asked(_) => Err(Errno::AGAIN),
            Question::Answered(addresses) => Ok(&addresses[..]),
        });
        let addresses = answers.collect::<Result<Vec<_>, _>>()?.concat();
        if addresses.is_empty() { Err(Errno::NOENT) } else { Ok(addresses) }
    }
}

impl Question {
    /// Takes the answer, if it is there; to know nothing is one as well.
    fn look(&mut self, inner: &mut Inner) {
        let (Self::Asked(query), Some(handle)) = (&self, inner.names.handle) else { return };
        let addresses = match inner.sockets.get_mut::<Socket<'_>>(handle).get_query_result(*query) {
            Err(GetQueryResultError::Pending) => return,
            Err(GetQueryResultError::Failed) => Vec::new(),
            Ok(addresses) => addresses.into_iter().map(IpAddr::from).collect(),
        };
        inner.names.waiting -= 1;
        *self = Self::Answered(addresses);
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        let Self { stack, questions, .. } = self;
        stack.look(|inner| {
            for question in questions {
                let (Question::Asked(query), Some(handle)) = (question, inner.names.handle) else { continue };
                inner.names.waiting -= 1;
                inner.sockets.get_mut::<Socket<'_>>(handle).cancel_query(*query);
            }
        });
    }
}
