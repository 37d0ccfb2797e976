//! `[vm.net]`: nodes have a way out of the machine, and ports of the host lead in.

use super::raw::{Net, Raw};
use super::{Forward, NetPlan, Problem, VmPlan};
use kernel::membership::Role;
use kernel::protocol::Peer;
use std::net::Ipv4Addr;
use std::ops::Range;
use toml::Spanned;

/// Most ports that are forwarded: a node's are one word of its QEMU's command
/// line, of which Linux takes 128 KiB.
const MOST_FORWARDS: usize = 1024;

/// The way out, for nodes among these VMs.
pub fn check(raw: &Raw, vms: &[VmPlan]) -> Result<Option<NetPlan>, Problem> {
    let Some(written) = &raw.vm.net else { return Ok(None) };
    let mut plan = NetPlan { address: address(written)?, forwards: Vec::new() };
    if let Some(first) = written.forward.get(MOST_FORWARDS) {
        let message =
            format!("a machine forwards at most {MOST_FORWARDS} ports; remove this one and what follows");
        return Err(problem(first.span(), message));
    }
    for forward in &written.forward {
        let found = parse(forward.get_ref(), vms).map_err(|message| problem(forward.span(), message))?;
        if plan.forwards.iter().any(|other| other.host_port == found.host_port) {
            let message = format!(
                "port {} of the host leads to two places; write another one in one of them",
                found.host_port
            );
            return Err(problem(forward.span(), message));
        }
        plan.forwards.push(found);
    }
    Ok(Some(plan))
}

fn problem(span: Range<usize>, message: String) -> Problem {
    Problem { span: Some(span), message }
}

fn address(written: &Net) -> Result<Ipv4Addr, Problem> {
    let Some(address): &Option<Spanned<String>> = &written.address else { return Ok(Ipv4Addr::LOCALHOST) };
    address.get_ref().parse().map_err(|_| {
        let message = format!(
            "{:?} is no IPv4 address of the host; write \"127.0.0.1\" for the host alone, \"0.0.0.0\" for all who reach it",
            address.get_ref()
        );
        problem(address.span(), message)
    })
}

/// "8080:80", or "8080:node-b0:80".
fn parse(text: &str, vms: &[VmPlan]) -> Result<Forward, String> {
    let (host, node, port) = match text.split(':').collect::<Vec<_>>()[..] {
        [host, port] => (host, None, port),
        [host, node, port] => (host, Some(node), port),
        _ => {
            return Err(format!(
                "{text:?} forwards no port; write \"8080:80\" (the host's port, the first node's), or \"8080:node-b0:80\""
            ));
        }
    };
    let nodes = || vms.iter().enumerate().filter(|(_, vm)| vm.role == Role::Node);
    let found = match node {
        None => nodes().next(),
        Some(name) => nodes().find(|(_, vm)| vm.name == name),
    };
    let (index, _) = found.ok_or_else(|| {
        let known: Vec<_> = nodes().map(|(_, vm)| vm.name.as_str()).collect();
        format!("there is no node {:?}; write one of {}", node.unwrap_or_default(), known.join(", "))
    })?;
    Ok(Forward { host_port: number(host)?, node: Peer(index as u16 + 1), port: number(port)? })
}

fn number(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port @ 1..) => Ok(port),
        _ => Err(format!("{text:?} is no port; write a number from 1 to 65535")),
    }
}
