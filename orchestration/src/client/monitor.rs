//! Asks all VMs what has passed through their channels, and what they know of
//! their clocks.

use super::Client;
use crate::control::{ChannelStatus, Channels, ClockStatus, Clocks};
use futures_util::future::{Either, join_all, select};
use kernel::executor::block_on;
use kernel::protocol::monitor::{Channel, Request, Response};
use kernel::protocol::{Incarnation, Peer, Pipe, decode, encode};
use std::pin::pin;

/// How long a VM may take to answer.
const PATIENCE_NS: u64 = 1_000_000_000;

impl Client {
    /// What every living VM, and the launcher, knows of its channels. VMs that
    /// do not answer in time are named.
    pub fn channels(&self) -> Channels {
        let mut told = Channels::default();
        self.add(&mut told, Peer::LAUNCHER, self.messenger.channels());
        for (vm, answer) in self.ask_monitors(Request::Channels) {
            match answer {
                Some(Response::Channels(channels)) => self.add(&mut told, vm, channels),
                _ => told.silent.push(self.name(vm)),
            }
        }
        told
    }

    /// What every living VM knows of its clock.
    pub fn clocks(&self) -> Clocks {
        let mut told = Clocks::default();
        for (vm, answer) in self.ask_monitors(Request::Clock) {
            match answer {
                Some(Response::Clock(clock)) => told.clocks.push(ClockStatus { vm: self.name(vm), clock }),
                _ => told.silent.push(self.name(vm)),
            }
        }
        told
    }

    fn name(&self, peer: Peer) -> String {
        self.messenger.membership().name(peer).to_owned()
    }

    /// What all living VMs answer, if they do in time.
    fn ask_monitors(&self, request: Request) -> Vec<(Peer, Option<Response>)> {
        let membership = self.messenger.membership();
        let vms = 1..membership.description().peers.len() as u16;
        let living = vms.filter_map(|peer| membership.incarnation(Peer(peer)));
        block_on(join_all(living.map(|vm| async move { (vm.peer, self.ask_monitor(vm, request).await) })))
    }

    /// What a VM answers, if it does in time.
    async fn ask_monitor(&self, vm: Incarnation, request: Request) -> Option<Response> {
        let body = encode(&request);
        let call = pin!(self.messenger.call(vm, Pipe::Monitor, &body));
        let deadline = pin!(self.messenger.sleep_until(self.messenger.now_ns() + PATIENCE_NS));
        match select(call, deadline).await {
            Either::Left((reply, _)) => decode(reply.ok()?.bytes()).ok(),
            Either::Right(_) => None,
        }
    }

    /// Adds what a VM knows of its channels, with names for people.
    fn add(&self, told: &mut Channels, vm: Peer, channels: Vec<Channel>) {
        told.channels.extend(channels.into_iter().map(|channel| ChannelStatus {
            vm: self.name(vm),
            peer: self.name(channel.peer),
            sent: channel.sent,
            sent_bytes: channel.sent_bytes,
            received: channel.received,
            received_bytes: channel.received_bytes,
            doorbells: channel.doorbells,
            delayed: channel.delayed,
            would_block: channel.would_block,
            dropped: channel.dropped,
            deaths: channel.deaths,
            errors: channel.faults.iter().map(|(fault, count)| (fault.to_string(), *count)).collect(),
        }));
    }
}
