//! Measures how far the clocks of nodes are from each other, without the launcher.
//!
//! Every two nodes that share memory read each other's *clocks* through the words
//! of their own pair region, as a VM and the launcher read each other's ticks
//! through those of theirs; nodes that do not share any, by messages. Each round
//! gives an interval that holds the difference. Two nodes on one processor never
//! run at once: their rounds take long, and say little.

use cyanea::clock::{now_ns, uncertainty};
use ivshmem::layout::{Part, Region, RegionKind};
use kernel::clock::exchange::{Answerer, Asker};
use kernel::clock::offset::{Bounds, Round};
use std::time::{Duration, Instant, SystemTime};

/// How long two nodes talk to each other.
const SPAN: Duration = Duration::from_millis(20);
/// Looks at all clocks of a node.
const LOOKS: usize = 1000;

/// `clocks`: activity *a* prints `pair A B LOW HIGH` for each lower B: in
/// nanoseconds, by how much B's clock is at least and at most before A's;
/// `uncertainty A NS`; `wall A LOW HIGH`: when the machine's 0 was, since 1970;
/// and `instant A LOW HIGH`: by how much `Instant` and the clock went on differently.
pub fn clocks() -> Result<(), Box<dyn std::error::Error>> {
    let me = cyanea::activity();
    for b in 1..me.count {
        for a in 0..b {
            let known = match me.index {
                index if index == a => answer(b)?,
                index if index == b => ask(a)?,
                _ => continue,
            };
            if let Some(known) = known {
                println!("pair {b} {a} {} {}", known.low(), known.high());
            }
        }
    }
    // 0 stands for what nobody knows: it is not so well known on any node.
    println!("uncertainty {} {}", me.index, uncertainty().map_or(0, |error| error.as_nanos()));
    let wall = between(|| {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
    });
    let start = Instant::now();
    let instant = between(|| start.elapsed().as_nanos() as u64);
    std::thread::sleep(SPAN);
    let later = between(|| start.elapsed().as_nanos() as u64);
    println!("wall {} {} {}", me.index, wall.low(), wall.high());
    println!("instant {} {} {}", me.index, later.low() - instant.high(), later.high() - instant.low());
    Ok(())
}

/// By how much another clock is before [`now_ns`].
fn between(clock: impl Fn() -> u64) -> Bounds {
    let look = || Bounds::of(&Round { sent: now_ns(), host: clock(), received: now_ns() });
    (0..LOOKS)
        .filter_map(|_| look())
        .reduce(|a, b| a.and(b).expect("clocks that go alike"))
        .expect("a clock that goes on")
}

/// The words between this node and the one of another activity, if they share memory.
fn words(other: usize) -> Option<transport::memory::SharedMemory> {
    let peer = cyanea::place(other).ok()?.node;
    if peer == cyanea::place(cyanea::activity().index).ok()?.node {
        return None;
    }
    let region =
        Region::laid_out(runtime::regions::pair(u16::try_from(peer).ok()?)?, RegionKind::Pair).ok()?;
    region.part(Part::Exchange).ok()
}

/// Answers the asks of activity `other` with this node's clock.
fn answer(other: usize) -> Result<Option<Bounds>, cyanea::Error> {
    let words = words(other);
    cyanea::receive()?;
    cyanea::send(other, &now_ns().to_le_bytes())?;
    let start = Instant::now();
    if let Some(mut answerer) = words.and_then(Answerer::new) {
        while start.elapsed() < 2 * SPAN {
            answerer.answer(now_ns);
        }
    }
    Ok(None)
}

/// By how much the clock of activity `other` is before this node's.
fn ask(other: usize) -> Result<Option<Bounds>, Box<dyn std::error::Error>> {
    let words = words(other);
    let sent = now_ns();
    cyanea::send(other, &[])?;
    let host = u64::from_le_bytes(cyanea::receive()?.body[..].try_into()?);
    let mut known = Bounds::of(&Round { sent, host, received: now_ns() });
    let Some(mut asker) = words.and_then(|words| Asker::new(words, sent as u32)) else { return Ok(known) };
    let start = Instant::now();
    while start.elapsed() < SPAN {
        let sent = now_ns();
        asker.ask();
        let answer = loop {
            match asker.answer() {
                None if start.elapsed() < SPAN => {}
                answer => break answer,
            }
        };
        let Some(host) = answer else { break };
        let round = Bounds::of(&Round { sent, host, received: now_ns() });
        known = known.zip(round).map(|(known, round)| known.and(round).expect("a difference that stays"));
    }
    Ok(known)
}
