//! Another VM writes whatever it likes: answers may be wrong, but there are
//! answers.

use super::script::{Op, SLOTS, note, op, with_request};
use super::*;
use proptest::prelude::*;

/// A word that another VM may write: small numbers lead furthest.
fn spoilt() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..300_u64,
        1 => (0..300_u64, 0..300_u64).prop_map(|(low, high)| high << 32 | low),
        1 => any::<u64>(),
        1 => Just(u64::MAX),
        1 => (0..64_u32).prop_map(|bit| 1 << bit),
    ]
}

/// Where it is written: the fraction of a part of the region.
fn place() -> impl Strategy<Value = (usize, usize)> {
    (0..9_usize, prop_oneof![3 => 0..80_usize, 1 => any::<usize>()])
}

/// Scribbles on a word of one of the parts of the region.
fn scribble(bench: &Bench, (part, word): (usize, usize), value: u64) {
    let layout = &bench.fs[0].layout;
    let starts = [
        0,
        TABLES,
        layout.counter(Counter::UsedBlocks),
        layout.counter(Counter::UsedBlocks) + 64,
        layout.opening(1).unwrap(),
        layout.bucket(0),
        layout.inode(1).unwrap().at,
        layout.summary,
        layout.block(1).unwrap(),
        bench.memory.len(),
    ];
    let words = (starts[part + 1] - starts[part]) / WORD;
    let at = starts[part] + word % words * WORD;
    // A lock that a living activity holds is waited for.
    if at != TABLES || value >> 32 != 1 {
        bench.memory.word(at).store(value, std::sync::atomic::Ordering::Relaxed);
    }
}

fn some_tree(bench: &mut Bench) {
    bench.mkdir("/a").unwrap();
    bench.mkdir("/a/b").unwrap();
    for path in ["/b", "/c", "/a/a", "/a/b/c"] {
        let file = bench.create(path);
        for offset in [0, 35 * 4096, 1059 * 4096] {
            bench.write(file, offset, &[1; 5000]).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn spoilt_tables_are_an_error_at_worst(
        steps in prop::collection::vec((place(), spoilt(), op()), 1..60),
    ) {
        let mut bench = Bench::with_activities(SMALL, 2);
        some_tree(&mut bench);
        let mut handles = [Some(Handle { inode: 4, generation: 1 }); SLOTS];
        for (place, value, op) in &steps {
            scribble(&bench, *place, *value);
            if let Some(answer) = with_request(op, &handles, |request| bench.ask(request))
                && !matches!(op, Op::Close { .. })
            {
                note(op, &answer, &mut handles);
            }
        }
        bench.fs[0].forget(first(CLIENT));
        bench.fs[1].forget_all_dead();
        // Says something, whatever it is.
        let _ = bench.fs[0].check();
        bench.ask(Request::Space);
    }
}

#[test]
fn walks_in_circles_end() {
    let mut bench = Bench::new(SMALL);
    some_tree(&mut bench);
    let store = |at: usize, value| bench.memory.word(at).store(value, std::sync::atomic::Ordering::Relaxed);
    let layout = bench.fs[0].layout.clone();
    for number in 1..=7 {
        let inode = layout.inode(number).unwrap();
        store(inode.at + Field::Chain as usize * WORD, number);
        store(inode.at + Field::Next as usize * WORD, number);
        store(inode.at + Field::Openings as usize * WORD, 1);
    }
    store(layout.opening(1).unwrap() + 3 * WORD, 1);
    for bucket in 0..layout.bucket_count as u64 {
        store(layout.bucket(bucket), 4);
    }
    assert_eq!(bench.stat("/nothing").unwrap_err(), Errno::IO);
    assert_eq!(bench.unlink("/c").unwrap_err(), Errno::IO);
    assert!(bench.mkdir("/new").is_err());
    let request = Request::Open { path: b"/", flags: OpenFlags::READ, mode: 0 };
    assert!(bench.ask_as(3, request).reply.is_err());
    let handle = Handle { inode: 1, generation: 1 };
    assert_eq!(bench.ask(Request::List { handle, cookie: 0 }).reply, Err(Errno::IO));
    assert!(bench.fs[0].check().is_err());
}
