//! Every kind of link in this crate is held to what links promise.
//!
//! `CYANEA_SEED=N` repeats the runs of a seed.
#![cfg(not(loom))]

use transport::conformance::ethernet::Ethernet;
use transport::conformance::heap::Rings;
use transport::conformance::{Medium, conform};
use transport::ethernet::faults::Faults;
use transport::link::delay::Delay;
use transport::memory::{SharedMemory, WORD};

/// Runs of each case.
const TIMES: u64 = 12;

/// The seed that is asked for, or another one each time.
fn seed() -> u64 {
    let asked = std::env::var("CYANEA_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = asked.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(0, |now| u64::from(now.subsec_nanos()))
    });
    println!("CYANEA_SEED={seed}");
    seed
}

#[test]
fn rings_on_the_heap() {
    for (bytes, pages) in [(1024, false), (16 * 1024, false), (1024, true), (16 * 1024, true)] {
        let what = format!("rings of {bytes} bytes, pages: {pages}");
        conform(&what, seed(), TIMES, |_| Box::new(Rings::on_heap(bytes, pages)));
    }
}

#[test]
fn rings_at_a_distance() {
    for delay_ns in [0, 1, 30_000, 40_000_000] {
        for (bytes, pages) in [(1024, false), (1024, true), (16 * 1024, true)] {
            let what = format!("rings of {bytes} bytes, pages: {pages}, {delay_ns} ns away");
            let make = |_| -> Box<dyn Medium> {
                let delay = Delay::at(SharedMemory::heap(WORD)).expect("it has a word");
                delay.set_ns(delay_ns);
                Box::new(Rings::on_heap(bytes, pages).at_distance(delay))
            };
            conform(&what, seed(), TIMES, make);
        }
    }
}

/// Stations on an Ethernet that does this to frames.
fn ethernet(what: &str, faults: Faults) {
    conform(what, seed(), TIMES, |seed| Box::new(Ethernet::new(Faults { seed, ..faults })));
}

#[test]
fn an_ethernet() {
    ethernet("an Ethernet", Faults::default());
}

#[test]
fn an_ethernet_with_delay() {
    for delay_ns in [100_000, 3_000_000, 40_000_000] {
        ethernet("an Ethernet with delay", Faults { delay_ns, ..Faults::default() });
    }
}

#[test]
fn an_ethernet_with_loss() {
    for loss in [0.01, 0.2] {
        ethernet("an Ethernet with loss", Faults { loss, delay_ns: 50_000, ..Faults::default() });
    }
}

#[test]
fn an_ethernet_with_duplicates() {
    ethernet("an Ethernet with duplicates", Faults { duplicate: 0.3, delay_ns: 50_000, ..Faults::default() });
}

#[test]
fn an_ethernet_with_reordering() {
    ethernet("an Ethernet with reordering", Faults { reorder: 0.3, delay_ns: 50_000, ..Faults::default() });
}

#[test]
fn an_ethernet_with_everything() {
    let faults = Faults { delay_ns: 500_000, loss: 0.05, duplicate: 0.05, reorder: 0.1, seed: 0 };
    ethernet("an Ethernet with every fault", faults);
}

/// Runs in which something was found once: TCP took an acknowledgement that had
/// been overtaken for the newest, and believed for ever that there was no room.
#[test]
fn what_was_found_once() {
    let everything = Faults { delay_ns: 500_000, loss: 0.05, duplicate: 0.05, reorder: 0.1, seed: 0 };
    let reordering = Faults { reorder: 0.3, delay_ns: 50_000, ..Faults::default() };
    for (seed, faults) in [(1006, everything), (1172, reordering)] {
        conform("what was found once", seed, 1, |seed| Box::new(Ethernet::new(Faults { seed, ..faults })));
    }
}
