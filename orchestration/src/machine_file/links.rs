//! `[[links]]`: clusters between which memory is not coherent.

use super::raw::{Link, Raw, value_or};
use super::{Delay, LinkPlan, Problem};
use std::ops::Range;
use toml::Spanned;
use transport::ethernet::faults::Faults;

/// Longest delay of a link.
const MOST_DELAY: Delay = Delay(10_000_000_000);

/// The links, each between two clusters of these names, each pair once.
pub fn check(raw: &Raw, clusters: &[String]) -> Result<Vec<LinkPlan>, Problem> {
    let mut found: Vec<LinkPlan> = Vec::new();
    for link in &raw.links {
        let plan = plan(link, clusters)?;
        if found.iter().any(|other| other.clusters == plan.clusters) {
            let [a, b] = plan.clusters.map(|cluster| &clusters[usize::from(cluster)]);
            let message = format!("there are two links between {a} and {b}; remove one of them");
            return Err(problem(link.between.span(), message));
        }
        found.push(plan);
    }
    Ok(found)
}

fn problem(span: Range<usize>, message: String) -> Problem {
    Problem { span: Some(span), message }
}

fn plan(link: &Link, clusters: &[String]) -> Result<LinkPlan, Problem> {
    let faults = Faults {
        delay_ns: delay(&link.delay)?,
        loss: share(&link.loss)?,
        duplicate: share(&link.duplicate)?,
        reorder: share(&link.reorder)?,
        seed: link.seed.unwrap_or(0),
    };
    Ok(LinkPlan { clusters: ends(&link.between, clusters)?, faults })
}

/// The two clusters, the one that comes first in the file first.
fn ends(between: &Spanned<Vec<Spanned<String>>>, clusters: &[String]) -> Result<[u16; 2], Problem> {
    let [a, b] = &between.get_ref()[..] else {
        return Err(problem(between.span(), "a link is between two clusters; write two names".into()));
    };
    let mut found = [0; 2];
    for (place, name) in found.iter_mut().zip([a, b]) {
        let cluster = clusters.iter().position(|cluster| cluster == name.get_ref());
        let unknown = || {
            let message =
                format!("there is no cluster {:?}; write one of {}", name.get_ref(), clusters.join(", "));
            problem(name.span(), message)
        };
        *place = cluster.ok_or_else(unknown)? as u16;
    }
    found.sort_unstable();
    if found[0] == found[1] {
        let message = format!("VMs of one cluster share memory; write another cluster than {}", b.get_ref());
        return Err(problem(b.span(), message));
    }
    Ok(found)
}

fn delay(written: &Option<Spanned<Delay>>) -> Result<u64, Problem> {
    match written {
        Some(delay) if *delay.get_ref() > MOST_DELAY => {
            Err(problem(delay.span(), "no link is so slow; write 10 s or less".into()))
        }
        _ => Ok(value_or(written, Delay::default()).0),
    }
}

/// A share of frames. Were it all of them, nothing would ever arrive.
fn share(written: &Option<Spanned<f64>>) -> Result<f64, Problem> {
    match written {
        Some(share) if !(0.0..=0.9).contains(share.get_ref()) => {
            let message = format!("{} is no share of frames; write a number from 0 to 0.9", share.get_ref());
            Err(problem(share.span(), message))
        }
        _ => Ok(value_or(written, 0.0)),
    }
}
