//! `std::collections`, sorting, and how numbers are written.

use crate::{Outcome, checksum, say};
use std::collections::hash_map::{Entry, RandomState};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::hash::BuildHasher;

pub fn main() -> Outcome {
    maps();
    sets();
    sequences();
    sorting();
    numbers();
    texts();
    Ok(())
}

fn maps() {
    let mut map: HashMap<u64, u64> = (0..100_000).map(|i| (i * 2_654_435_761 % 1_000_003, i)).collect();
    say("entries", map.len());
    say("sum", map.iter().map(|(key, value)| key ^ value).fold(0u64, u64::wrapping_add));
    map.retain(|key, _| key % 2 == 0);
    say("even", map.len());
    say("occupied", matches!(map.entry(0), Entry::Occupied(_)));
    say("vacant", matches!(map.entry(u64::MAX), Entry::Vacant(_)));
    say("removed", (map.remove(&0), map.remove(&0)));
    let ordered: BTreeMap<u64, u64> = map.into_iter().collect();
    say("first", ordered.iter().next());
    say("range", ordered.range(1000..1040).collect::<Vec<_>>());
    let seeds = [RandomState::new(), RandomState::new()].map(|state| state.hash_one(1));
    say("hashes differ from map to map", seeds[0] != seeds[1]);
}

fn sets() {
    let (a, b): (HashSet<u32>, HashSet<u32>) = ((0..1000).collect(), (500..1500).collect());
    let sorted = |set: Vec<u32>| set.into_iter().collect::<BTreeSet<_>>();
    say("both", sorted(a.intersection(&b).copied().collect()).range(990..).collect::<Vec<_>>());
    say("one of them", a.symmetric_difference(&b).count());
    let mut ordered = sorted(a.union(&b).copied().collect());
    let tail = ordered.split_off(&1490);
    say("split", (ordered.len(), tail));
}

fn sequences() {
    let mut queue: VecDeque<_> = (0..10).collect();
    queue.rotate_left(3);
    queue.push_front(99);
    say("a queue", (queue.pop_back(), &queue));
    let mut heap: BinaryHeap<_> = (0..1000u64).map(|i| i * 7919 % 1009).collect();
    say("largest", (0..5).filter_map(|_| heap.pop()).collect::<Vec<_>>());
    let mut list: LinkedList<_> = ["a", "b", "c"].into();
    let mut tail = list.split_off(1);
    tail.append(&mut list);
    say("a list", tail);
    let mut vector: Vec<_> = (0..20).collect();
    say("drained", vector.drain(5..15).sum::<i32>());
    vector.dedup_by_key(|value| *value / 4);
    say("a vector", vector);
}

fn sorting() {
    let mut values: Vec<u64> = (0..200_000u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20).collect();
    values.sort_unstable();
    say("sorted", values.is_sorted());
    say("a sample", values.iter().step_by(20_000).collect::<Vec<_>>());
    let mut pairs: Vec<(u8, u32)> = (0..1000).map(|i| ((i % 3) as u8, i)).collect();
    pairs.sort_by_key(|pair| pair.0);
    say("sorting is stable", pairs.is_sorted());
    say("found", values.binary_search(&values[777]).map(|place| values[place] == values[777]));
}

fn numbers() {
    say("floats", [1.0 / 3.0, 1e21, 1e-7, f64::MAX, f64::MIN_POSITIVE, f64::NAN, -f64::INFINITY, -0.0]);
    println!("rounded: {:.3} {:8.2} {:+e} {:08.3}", 2.0f64.sqrt(), 1234.567, 1e100, -3.5);
    say("sines", [0.5f64, 1.0, 1.5].map(|x| (x.sin() * 1e6).round()));
    say(
        "powers",
        [(2.0f64).powi(10), (2.0f64).powf(0.5).floor(), (10f64).ln().floor(), (1e10f64).cbrt().floor()],
    );
    println!("integers: {:#x} {:#b} {:e} {}", u64::MAX, 5u8, 12_000_000, i128::MIN);
    say("overflow", (i32::MAX.checked_add(1), i32::MAX.wrapping_add(1), u8::MAX.saturating_add(9)));
    say("parsed", ("1e400".parse::<f64>(), "0.1".parse::<f64>().map(f64::to_bits)));
    say(
        "not parsed",
        ("12x".parse::<i32>().map_err(|e| e.to_string()), "".parse::<u8>().map_err(|e| e.to_string())),
    );
    say("too large", "256".parse::<u8>().map_err(|e| e.to_string()));
    say("wide", (u128::MAX / 12_345_678_901_234_567_890, 1u128 << 100));
}

fn texts() {
    let text = "ǅ ünïcödé ∀ 𝄞 ﬁ";
    say("upper", text.to_uppercase());
    say("lower", text.to_lowercase());
    say("characters", (text.len(), text.chars().count(), text.char_indices().nth(5)));
    say("words", "a,b;c".split([',', ';']).rev().collect::<Vec<_>>());
    say("not UTF-8", String::from_utf8(vec![b'a', 0xff]).map_err(|error| error.to_string()));
    say("mended", String::from_utf8_lossy(b"a\xffb"));
    say("escaped", "tab\t \u{7} é");
    let long: String = ('a'..='z').cycle().take(100_000).collect();
    say("a long text", (checksum(long.bytes()), long.matches("xyz").count()));
}
