//! `docs/protocol.md` says what the code does.
//!
//! - Every constant on the page has the value that the code has.
//! - Every example on it is what the code writes; every fault is named on it.
//! - Every sentence that the sources name stands on it; and each of the rings,
//!   pages, doorbells and epochs is named by a source that keeps to or checks it.
//! - Every `SYNC:` edge between two VMs stands in its table, and no other.

use kernel::clock::{exchange, keeper, line, page, steering};
use kernel::pipe::wire::{Kind as Notice, MAX_ARGUMENT, Open, Slot, word};
use kernel::protocol::encode;
use kernel::protocol::monitor::Fault;
use kernel::protocol::tasks::TaskForceId;
use kernel::{messenger, pipe};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use transport::link::{Gather, LENT_BYTES, Received};
use transport::memory::{LINE, SharedMemory, WORD};
use transport::ring::{Epoch, Place, Reader, Writer};
use transport::{Doorbell, Header, Kind, Link, MAX_MESSAGE, RingLink, Windows};
use transport::{ethernet, pages, ring, wire};

const PAGE: &str = include_str!("../../../docs/protocol.md");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All Rust sources of the parts that have to do with messages, in one string each.
fn sources(parts: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut left: Vec<PathBuf> = parts.iter().map(|part| root().join(part)).collect();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("it can be listed");
            left.extend(entries.map(|entry| entry.expect("it can be listed").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(fs::read_to_string(&path).expect("it can be read"));
        }
    }
    assert!(!found.is_empty(), "no sources in {parts:?}");
    found
}

/// The rows of the tables whose first column is a code span, with their second column.
fn rows(section: &str) -> Vec<(&'static str, &'static str)> {
    let (_, section) = PAGE.split_once(section).expect("there is such a section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    cells.map(|(name, rest)| (name, rest.split(" |").next().unwrap_or_default())).collect()
}

/// The constants that this test can see.
const CONSTANTS: &[(&str, u64)] = &[
    ("memory::WORD", WORD as u64),
    ("memory::LINE", LINE as u64),
    ("ring::PAYLOAD_BYTES", ring::PAYLOAD_BYTES as u64),
    ("ring::MAX_SLOTS", ring::MAX_SLOTS as u64),
    ("ring::BY_REFERENCE", ring::BY_REFERENCE as u64),
    ("pages::PAGE_BYTES", pages::PAGE_BYTES as u64),
    ("pages::MAX_PAGES", pages::MAX_PAGES as u64),
    ("link::MAX_MESSAGE", MAX_MESSAGE as u64),
    ("link::LENT_BYTES", LENT_BYTES as u64),
    ("wire::HEADER_BYTES", wire::HEADER_BYTES as u64),
    ("layout::MAGIC", ivshmem::layout::MAGIC),
    ("layout::VERSION", ivshmem::layout::VERSION as u64),
    ("layout::HEADER_BYTES", ivshmem::layout::HEADER_BYTES as u64),
    ("layout::MAX_PARTS", ivshmem::layout::MAX_PARTS as u64),
    ("layout::MAX_PEERS", ivshmem::layout::MAX_PEERS as u64),
    ("layout::PAIR_BYTES", ivshmem::layout::PAIR_BYTES as u64),
    ("layout::RING_BYTES", ivshmem::layout::RING_BYTES as u64),
    ("layout::PAGES_BYTES", ivshmem::layout::PAGES_BYTES as u64),
    ("layout::EXCHANGE_BYTES", ivshmem::layout::EXCHANGE_BYTES as u64),
    ("clock::PAGE_BYTES", page::PAGE_BYTES as u64),
    ("clock::SCALE_BITS", line::SCALE_BITS as u64),
    ("clock::LEAD_NS", keeper::LEAD_NS),
    ("clock::RECHECK_NS", steering::RECHECK_NS),
    ("clock::ROUNDS", exchange::ROUNDS as u64),
    ("messenger::MAX_SERVED", messenger::MAX_SERVED as u64),
    ("messenger::UTILITY_WINDOW", messenger::UTILITY_WINDOW),
    ("pipe::MAX_MESSAGE", pipe::MAX_MESSAGE as u64),
    ("pipe::WINDOW", pipe::WINDOW as u64),
    ("pipe::OVERHEAD", pipe::OVERHEAD as u64),
    ("pipe::MAX_SENDERS", pipe::MAX_SENDERS as u64),
    ("pipe::MAX_SENDERS_OF_ONE", pipe::MAX_SENDERS_OF_ONE as u64),
    ("pipe::wire::MAX_ARGUMENT", MAX_ARGUMENT as u64),
    ("ethernet::MAX_PACKET", ethernet::MAX_PACKET as u64),
    ("ethernet::FRAME_HEADER_BYTES", ethernet::FRAME_HEADER_BYTES as u64),
];

/// A constant that is private is compared by a test of its own module, which names it.
#[test]
fn the_constants_are_the_codes() {
    let transport = sources(&["transport/src"]).concat();
    let rows = rows("\n## Constants");
    assert!(rows.len() > CONSTANTS.len());
    for (name, value) in &rows {
        match CONSTANTS.iter().find(|(known, _)| known == name) {
            Some((_, known)) => assert_eq!(value.parse(), Ok(*known), "{name}"),
            None => assert!(transport.contains(&format!("| `{name}` | {{")), "nobody checks {name}"),
        }
    }
    for (name, _) in CONSTANTS {
        assert!(rows.iter().any(|(row, _)| row == name), "{name} is not on the page");
    }
}

#[test]
fn the_parts_of_a_pair_are_where_the_page_says() {
    for (part, offset, bytes) in ivshmem::layout::PAIR_PARTS {
        let line = PAGE.lines().find(|line| line.starts_with(&format!("| {offset} | {bytes} | ")));
        let tag = format!("| {} |", part as u64);
        assert!(line.is_some_and(|line| line.ends_with(&tag)), "{part:?} at {offset}, {bytes} bytes");
    }
}

/// What the blocks of an example say: names and values.
fn example(number: usize) -> Vec<(String, String)> {
    let (_, example) = PAGE.split_once(&format!("**Example {number}.**")).expect("there is such an example");
    let example = example.split("**Example").next().unwrap_or_default();
    let example = example.split("\n## ").next().unwrap_or_default();
    let blocks = example.split("```").skip(1).step_by(2);
    let lines = blocks.flat_map(|block| block.lines().skip(1));
    let cells = lines.map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()));
    cells.map(|mut cells| (cells.next().unwrap().into(), cells.next().unwrap().into())).collect()
}

fn hex(word: u64) -> String {
    format!("{:08x}_{:08x}", word >> 32, word as u32)
}

fn hex_bytes(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

fn named<const N: usize>(lines: [(&str, String); N]) -> Vec<(String, String)> {
    lines.map(|(name, value)| (name.to_string(), value)).into()
}

/// The words of the slot for `sequence`.
fn slot(ring: &SharedMemory, sequence: usize) -> Vec<(String, String)> {
    let words = (0..8).map(|word| ring.word(128 + 64 * sequence + 8 * word).load(Relaxed));
    (0..).zip(words).map(|(index, word)| (format!("word {index}"), hex(word))).collect()
}

struct Silent;

impl Doorbell for Silent {
    fn ring(&self, _: u16) {}
}

/// Peer 2's and peer 1's ends of a channel, in the generations 3 and 1, the ring
/// from the first to the second, and the pages that the first lends.
fn channel() -> ([RingLink; 2], SharedMemory, SharedMemory) {
    let rings = [0, 1].map(|_| SharedMemory::heap(ivshmem::layout::RING_BYTES));
    let pages = [0, 1].map(|_| SharedMemory::heap(ivshmem::layout::PAGES_BYTES));
    let end = |own: usize| {
        let [outgoing, incoming] = [own, 1 - own].map(|end| rings[end].clone());
        let pages = Some([own, 1 - own].map(|end| pages[end].clone()));
        let mut link =
            RingLink::new(Windows { outgoing, incoming, pages }, 1 + own as u16, Arc::new(Silent)).unwrap();
        link.synchronise([3, 1][own], [1, 3][own]);
        link
    };
    ([0, 1].map(end), rings[0].clone(), pages[0].clone())
}

fn send(link: &mut RingLink, kind: Kind, body: &[u8]) {
    let header = Header { kind, pipe: 2, request: 69, trace: 0 };
    let parts = [body];
    let message = Gather::new(header.to_words(), &parts).unwrap();
    assert_eq!(link.send(&message, 0), message.len());
}

#[test]
fn a_request_in_a_slot() {
    let ([mut client, _], ring, _) = channel();
    (0..7).for_each(|_| send(&mut client, Kind::Notice, &[]));
    send(&mut client, Kind::Request, b"hello");
    assert_eq!(example(1), slot(&ring, 7));
}

#[test]
fn a_reply_by_reference() {
    let ([mut server, mut client], ring, pages) = channel();
    send(&mut server, Kind::Reply, &[7; 10_000]);
    let mut expected = slot(&ring, 0);
    let Received::Message(_, body) = client.receive() else { panic!("the reply is there") };
    let taken = |name: &str| (name.to_string(), hex(pages.word(64 + 8).load(Relaxed)));
    expected.push(taken("held"));
    drop(body);
    expected.push(taken("back"));
    assert_eq!(example(2), expected);
}

#[test]
fn a_position_and_flags() {
    let memory = SharedMemory::heap(ivshmem::layout::RING_BYTES);
    let (mut writer, mut reader) =
        (Writer::new(memory.clone()).unwrap(), Reader::new(memory.clone()).unwrap());
    let epoch = Epoch { writer: 3, reader: 1 };
    writer.synchronise(epoch);
    reader.synchronise(epoch);
    let slot = ring::Slot { place: Place::WHOLE, used: 24 };
    for _ in 0..64 {
        writer.push(slot, &[0; 7]).unwrap();
        reader.pop().unwrap();
    }
    reader.arm();
    while writer.push(slot, &[0; 7]).is_ok() {}
    writer.wait_for_space();
    let word = |at: usize| hex(memory.word(at).load(Relaxed));
    assert_eq!(example(3), named([("position", word(0)), ("asleep", word(8)), ("waits", word(64))]));
}

#[test]
fn words_of_notices() {
    let end = Slot { index: 2, generation: 5 };
    let target = pipe::Target::Pipe(3, 1);
    let open = encode(&Open { target, end, activity: Some((TaskForceId(300), 1)) });
    let expected = named([
        ("data", hex(word(Notice::Data, 0, 5))),
        ("credit", hex(word(Notice::Credit, 65536, 5))),
        ("open", hex_bytes(&open)),
    ]);
    assert_eq!(example(4), expected);
}

#[test]
fn every_fault_has_its_name_on_the_page() {
    let (_, section) = PAGE.split_once("\n## H. ").expect("there is such a section");
    let section = section.split("\n## ").next().unwrap_or_default();
    for fault in Fault::ALL {
        assert!(section.contains(&format!("`{}`", fault.name())), "{fault}");
    }
}

/// The sentences that stand on the page.
fn sentences() -> BTreeSet<&'static str> {
    let starts = PAGE.split("\n**[").skip(1).filter_map(|rest| rest.split_once("]**"));
    starts.map(|(name, _)| name).collect()
}

/// The letter and number of a sentence, without what stands around it.
fn sentence(word: &str) -> Option<&str> {
    let name = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let number = name.strip_prefix(['L', 'R', 'P', 'D', 'E', 'M', 'N', 'W', 'C', 'H'])?;
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(name)
}

/// The sentences that a source names: what looks like one in its comments, if
/// the page is mentioned there.
fn named_by(source: &str) -> Vec<&str> {
    let comments = source.lines().filter_map(|line| Some(line.split_once("//")?.1));
    let names = comments.flat_map(|comment| comment.split_whitespace().filter_map(sentence));
    if source.contains("protocol.md") { names.collect() } else { Vec::new() }
}

#[test]
fn the_sentences_that_the_sources_name_are_on_the_page() {
    let on_the_page = sentences();
    assert_eq!(on_the_page.len(), PAGE.matches("\n**[").count(), "a name stands there twice");
    let mut named = BTreeSet::new();
    let all =
        sources(&["transport", "ivshmem", "images", "fuzz/fuzz_targets", "fuzz/src", "orchestration/src"]);
    for source in &all {
        named.extend(named_by(source));
    }
    let unknown: Vec<_> = named.iter().filter(|name| !on_the_page.contains(*name)).collect();
    assert!(unknown.is_empty(), "not on the page: {unknown:?}");
    let proved = on_the_page.iter().filter(|name| name.starts_with(['R', 'P', 'D', 'E']));
    let unproved: Vec<_> = proved.filter(|name| !named.contains(*name)).collect();
    assert!(unproved.is_empty(), "no source names {unproved:?}");
}

#[test]
fn references_within_the_page_lead_somewhere() {
    let on_the_page = sentences();
    let inner = PAGE.split('[').skip(1).filter_map(|rest| sentence(rest.split_once(']')?.0));
    let lost: Vec<_> = inner.filter(|name| !on_the_page.contains(name)).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

#[test]
fn the_edges_are_those_of_the_sources() {
    let mut edges = BTreeSet::new();
    let all = sources(&["transport/src", "images/kernel/src/membership.rs", "images/kernel/src/clock"]);
    for rest in all.iter().flat_map(|source| source.split("SYNC: ").skip(1)) {
        let line = rest.lines().next().unwrap_or_default();
        for name in line.split(", ") {
            let end = name.find(|c: char| c != '-' && !c.is_ascii_lowercase()).unwrap_or(name.len());
            edges.insert(&name[..end]);
            if end < name.len() {
                break;
            }
        }
    }
    let table: BTreeSet<_> = rows("\n## The edges").into_iter().map(|(name, _)| name).collect();
    assert_eq!(edges, table);
}
