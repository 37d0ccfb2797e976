//! Data segments: an activity's threads have the statics to themselves, and the
//! memory for that comes back.

use crate::cores;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// Words of a page.
const WORDS: usize = 512;
/// Pages that each activity writes to: more than are forgotten one by one.
const PAGES: usize = 40;

static FIRST: AtomicU64 = AtomicU64::new(7);
static MANY: [AtomicU64; PAGES * WORDS] = [const { AtomicU64::new(0) }; PAGES * WORDS];
static TURN: Mutex<u64> = Mutex::new(0);
static TURN_CHANGED: Condvar = Condvar::new();

/// Activities come and go on all cores; some are ended in their midst.
pub fn segments() {
    let activities = 2 * cores::count() as u64 + 1;
    let round = |number: u64| {
        for activity in 1..=activities {
            let tag = number * activities + activity;
            let pages = if activity.is_multiple_of(2) { PAGES } else { 2 };
            let ends = !activity.is_multiple_of(3);
            let first = move || activity_of_two(tag, pages, ends);
            runtime::thread::begin_activity(tag, first).expect("there is memory for it");
        }
        while runtime::thread::count() > 1 {
            thread::sleep(Duration::from_millis(1));
            // Again and again: it may not have begun.
            (1..=activities).filter(|activity| activity.is_multiple_of(3)).for_each(|activity| {
                runtime::thread::cancel(number * activities + activity);
            });
        }
        assert_eq!((FIRST.load(SeqCst), *TURN.lock().unwrap()), (7, 0), "after round {number}");
    };
    (0..20).for_each(round);
    let before = runtime::untouched_memory();
    (20..80).for_each(round);
    let taken = before.saturating_sub(runtime::untouched_memory());
    // Some always wait for other cores to forget them. All would be ten MiB on one core, and more on more.
    assert!(taken < 6 << 20, "segments took {taken} bytes for good");
    assert!(MANY.iter().all(|word| word.load(SeqCst) == 0));
}

/// An activity of two threads that change statics in turn, on so many pages.
/// Where it does not end by itself, it is to be ended.
fn activity_of_two(tag: u64, pages: usize, ends: bool) {
    assert_eq!((FIRST.load(SeqCst), *TURN.lock().unwrap()), (7, 0), "{tag}");
    let other = thread::spawn(move || take_turns(tag, pages, 1));
    take_turns(tag, pages, 0);
    other.join().expect("it ends well");
    assert_eq!(FIRST.load(SeqCst), 7 + 20 * tag);
    for page in 0..PAGES {
        let expected = if page < pages { 20 * tag } else { 0 };
        assert_eq!(MANY[page * WORDS].load(SeqCst), expected, "page {page} of {tag}");
    }
    while !ends {
        black_box(FIRST.fetch_add(1, SeqCst));
    }
}

fn take_turns(tag: u64, pages: usize, own: u64) {
    for turn in (own..20).step_by(2) {
        let guard = TURN.lock().unwrap();
        let mut guard = TURN_CHANGED.wait_while(guard, |now| *now != turn).unwrap();
        FIRST.fetch_add(tag, SeqCst);
        (0..pages).for_each(|page| {
            MANY[page * WORDS].fetch_add(tag, SeqCst);
        });
        *guard += 1;
        TURN_CHANGED.notify_one();
    }
}
