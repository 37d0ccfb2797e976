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

/// `clocks`: activity *b* prints `pair B A LOW HIGH` for each lower A: by how many
/// nanoseconds A's clock is before B's, at least and at most; each prints
/// `uncertainty B NS` (the worst meanwhile); `wall B LOW HIGH`: when the machine's 0
/// was, since 1970; and `instant B LOW HIGH`: by how much `Instant` and the clock
/// went on differently.
pub fn clocks() -> Result<(), Box<dyn std::error::Error>> {
    let me = cyanea::activity();
    let mut worst = uncertainty();
    // Who wants to begin before its turn.
    let mut early = Vec::new();
    for b in 1..me.count {
        for a in 0..b {
            match me.index {
                index if index == a => answer(b, &mut early)?,
                index if index == b => {
                    let known = ask(a, &mut early)?;
                    println!("pair {b} {a} {} {}", known.low(), known.high());
                }
                _ => continue,
            }
            worst = worst.zip(uncertainty()).map(|(worst, now)| worst.max(now));
        }
    }
    match worst {
        Some(worst) => println!("uncertainty {} {}", me.index, worst.as_nanos()),
        None => println!("activity {} does not know its clock", me.index),
    }
    let wall = between(since_1970);
    println!("wall {} {} {}", me.index, wall.low(), wall.high());
    let start = Instant::now();
    let elapsed = || start.elapsed().as_nanos() as u64;
    let before = between(elapsed);
    std::thread::sleep(SPAN);
    let after = between(elapsed);
    println!("instant {} {} {}", me.index, after.low() - before.high(), after.high() - before.low());
    Ok(())
}

fn since_1970() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
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
fn answer(other: usize, early: &mut Vec<usize>) -> Result<(), cyanea::Error> {
    let words = words(other);
    while !early.contains(&other) {
        early.push(cyanea::receive()?.from);
    }
    early.retain(|&from| from != other);
    cyanea::send(other, &now_ns().to_le_bytes())?;
    let start = Instant::now();
    if let Some(mut answerer) = words.and_then(Answerer::new) {
        while start.elapsed() < 2 * SPAN {
            answerer.answer(now_ns);
        }
    }
    Ok(())
}

/// By how much the clock of activity `other` is before this node's.
fn ask(other: usize, early: &mut Vec<usize>) -> Result<Bounds, Box<dyn std::error::Error>> {
    let words = words(other);
    let sent = now_ns();
    cyanea::send(other, &[])?;
    let reply = loop {
        match cyanea::receive()? {
            message if message.from == other => break message.body,
            message => early.push(message.from),
        }
    };
    let host = u64::from_le_bytes(reply[..].try_into()?);
    let mut known = Bounds::of(&Round { sent, host, received: now_ns() }).ok_or("the clock went back")?;
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
        let round = Bounds::of(&Round { sent, host, received: now_ns() }).ok_or("the clock went back")?;
        // If they differ now by something else, one node has just learnt more.
        known = known.and(round).unwrap_or(round);
    }
    Ok(known)
}
