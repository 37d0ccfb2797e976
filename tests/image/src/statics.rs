//! Statics: every activity has its own, as they were in the beginning.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Condvar, Mutex, OnceLock};
use std::time::Duration;
use std::{env, panic, thread};

/// Bytes of a page.
const PAGE: usize = 4096;
/// Pages of the large static: more than 2 MiB, so more than one page table.
const PAGES: usize = 600;
/// How often threads of an activity hand on the turn.
const TURNS: u64 = 200;
/// A variable that nobody has set.
const VARIABLE: &str = "TURNS";

static ZERO: AtomicU64 = AtomicU64::new(0);
static NOT_ZERO: AtomicU64 = AtomicU64::new(42);
static ONCE: OnceLock<u64> = OnceLock::new();
static WORDS: Mutex<Vec<String>> = Mutex::new(Vec::new());
static LARGE: [AtomicU64; PAGES * PAGE / 8] = [const { AtomicU64::new(0) }; PAGES * PAGE / 8];
static TURN: Mutex<u64> = Mutex::new(0);
static TURN_CHANGED: Condvar = Condvar::new();

/// Finds everything as it was in the beginning, and changes it, while the other
/// activities do the same. With the argument `hold`, it says so and waits to be
/// ended, with what `std` and it have locked.
pub fn statics() {
    let own = cyanea::activity().index as u64 + 1;
    assert_eq!((ZERO.load(SeqCst), NOT_ZERO.load(SeqCst)), (0, 42));
    assert_eq!((ONCE.get(), *TURN.lock().unwrap()), (None, 0));
    assert!(WORDS.lock().unwrap().is_empty() && LARGE.iter().step_by(PAGE / 8).all(|w| w.load(SeqCst) == 0));
    assert_eq!((env::vars().count(), env::var(VARIABLE)), (0, Err(env::VarError::NotPresent)));
    assert_eq!(ONCE.get_or_init(|| own), &own);
    LARGE.iter().step_by(PAGE / 8).for_each(|word| word.store(own, SeqCst));
    // SAFETY: `std` for this system guards the environment by a lock.
    #[expect(unsafe_code, reason = "std calls it so, for other systems")]
    unsafe {
        env::set_var(VARIABLE, own.to_string());
    }
    thread::scope(|scope| {
        for parity in 0..2 {
            scope.spawn(move || take_turns(parity, own));
        }
    });
    assert_eq!((ZERO.load(SeqCst), NOT_ZERO.load(SeqCst)), (own * TURNS, 42 + TURNS));
    assert_eq!((ONCE.get(), *TURN.lock().unwrap()), (Some(&own), TURNS));
    assert_eq!(*WORDS.lock().unwrap(), vec![own.to_string(); TURNS as usize]);
    assert!(LARGE.iter().step_by(PAGE / 8).all(|word| word.load(SeqCst) == own));
    assert_eq!(env::var(VARIABLE), Ok(own.to_string()));
    println!("activity {} has had {} turns", own - 1, TURN.lock().unwrap());
    if cyanea::args() == ["hold"] {
        let _held = (TURN.lock(), std::io::stdout().lock(), std::io::stderr().lock());
        thread::sleep(Duration::MAX);
    }
}

/// The address of a word of a page that nobody touches before.
pub fn untouched() -> usize {
    LARGE[PAGES / 2 * PAGE / 8 + 8].as_ptr() as usize
}

/// Takes every second turn, and waits for the other thread in between.
fn take_turns(parity: u64, own: u64) {
    loop {
        let turn = TURN.lock().unwrap();
        let mut turn = TURN_CHANGED.wait_while(turn, |turn| *turn < TURNS && *turn % 2 != parity).unwrap();
        if *turn == TURNS {
            return;
        }
        *turn += 1;
        ZERO.fetch_add(own, SeqCst);
        NOT_ZERO.fetch_add(1, SeqCst);
        WORDS.lock().unwrap().push(env::var(VARIABLE).expect("it was set before this thread began"));
        TURN_CHANGED.notify_one();
        drop(turn);
        if own.is_multiple_of(2) {
            // Where the others of this node come in between.
            thread::yield_now();
        }
    }
}

/// Panics, with a hook of its own.
pub fn own_hook() {
    let own = cyanea::activity().index;
    panic::set_hook(Box::new(move |info| {
        println!("the hook of activity {own}: {:?}", info.payload_as_str())
    }));
    panic!("as it is meant to");
}
