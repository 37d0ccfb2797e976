//! What a VM said before it died of a fault of its own: for those whose
//! programs died with it.

use super::lock;
use crate::vm::Death;
use kernel::protocol::{Incarnation, Peer};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Of each VM, its last death by a fault. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct LastWords(Arc<Mutex<BTreeMap<Peer, Words>>>);

#[derive(Clone, Debug)]
struct Words {
    generation: u32,
    death: Death,
    lines: Vec<String>,
}

impl LastWords {
    /// Notes how a VM died, with the last lines of its console.
    pub(super) fn note(&self, who: Incarnation, death: &Death, last_lines: &[String]) {
        if matches!(death, Death::Panicked | Death::Fault | Death::OutOfMemory) {
            let lines = last_lines[beginning(last_lines)..].to_vec();
            let words = Words { generation: who.generation, death: death.clone(), lines };
            lock(&self.0).insert(who.peer, words);
        }
    }

    /// How this incarnation died, and what it said of that.
    pub fn of(&self, who: Incarnation) -> Option<(Death, Vec<String>)> {
        let words = lock(&self.0).get(&who.peer)?.clone();
        (words.generation == who.generation).then_some((words.death, words.lines))
    }
}

/// Where the last thing said begins that tells of a fault.
fn beginning(lines: &[String]) -> usize {
    let tells = |line: &String| {
        line.starts_with("fault: ")
            || line.starts_with("thread '")
            || line.starts_with("memory allocation of ")
    };
    lines.iter().rposition(tells).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_incarnation_and_its_fault() {
        let words = LastWords::default();
        let who = Incarnation { peer: Peer(3), generation: 2 };
        let lines = ["hello", "fault: divide error", "backtrace: 0x1"].map(String::from);
        words.note(who, &Death::Fault, &lines);
        assert_eq!(words.of(who), Some((Death::Fault, lines[1..].to_vec())));
        words.note(Incarnation { generation: 3, ..who }, &Death::Killed, &lines);
        assert_eq!(words.of(who), Some((Death::Fault, lines[1..].to_vec())));
        assert_eq!(words.of(Incarnation { generation: 3, ..who }), None);
    }
}
