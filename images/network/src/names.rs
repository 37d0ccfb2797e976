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

/// A question to the name server, until it is answered or dropped.
pub struct Lookup {
    stack: Arc<Stack>,
    query: Option<QueryHandle>,
    changes: Arc<Waiters>,
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
        let seed = stack.random();
        let (query, changes) = stack.enter(|inner| {
            let Inner { names, sockets, wire, .. } = inner;
            let handle = *names.handle.get_or_insert_with(|| {
                let server = IpAddress::Ipv4(outside::NAME_SERVER.into());
                sockets.add(OWN, Socket::new(&[server], Vec::new()))
            });
            let socket = sockets.get_mut::<Socket<'_>>(handle);
            // Its number and its port are all that an answer can be known by: no
            // other random number that anybody sees is to lead to them.
            let query = socket.start_query(interface(wire, seed).context(), name, DnsQueryType::A);
            let query = query.map_err(|error| match error {
                StartQueryError::NoFreeSlot => Errno::NOBUFS,
                StartQueryError::InvalidName | StartQueryError::NameTooLong => Errno::NOENT,
            })?;
            names.waiting += 1;
            Ok((query, names.changes.clone()))
        })?;
        Ok(Self { stack: stack.clone(), query: Some(query), changes })
    }

    /// Counts on when there may be an answer.
    pub fn changes(&self) -> &Arc<Waiters> {
        &self.changes
    }

    /// The answer.
    ///
    /// # Errors
    /// `AGAIN`: not yet. `NOENT`: there is no such name, or nobody who knows.
    pub fn addresses(&mut self) -> Result<Vec<IpAddr>, Errno> {
        let Some(query) = self.query else { return Err(Errno::NOENT) };
        let answer = self.stack.look(|inner| {
            let handle = inner.names.handle.ok_or(GetQueryResultError::Failed)?;
            let answer = inner.sockets.get_mut::<Socket<'_>>(handle).get_query_result(query);
            if !matches!(answer, Err(GetQueryResultError::Pending)) {
                inner.names.waiting -= 1;
            }
            answer
        });
        match answer {
            Err(GetQueryResultError::Pending) => Err(Errno::AGAIN),
            Err(GetQueryResultError::Failed) => {
                self.query = None;
                Err(Errno::NOENT)
            }
            Ok(addresses) => {
                self.query = None;
                Ok(addresses.into_iter().map(IpAddr::from).collect())
            }
        }
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        let Some(query) = self.query else { return };
        self.stack.look(|inner| {
            inner.names.waiting -= 1;
            if let Some(handle) = inner.names.handle {
                inner.sockets.get_mut::<Socket<'_>>(handle).cancel_query(query);
            }
        });
    }
}
