//! Two threads on one processor that take turns. Each function returns
//! nanoseconds of one turn: from one thread's work to the other's.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Instant;

/// Turns that each of the two threads takes.
const TURNS: usize = 300;

/// Runs `other` beside `own`; nanoseconds of one of the turns of both.
fn both(own: impl FnOnce(), other: impl FnOnce() + Send) -> f64 {
    let started = AtomicBool::new(false);
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            started.store(true, SeqCst);
            other();
        });
        while !started.load(SeqCst) {
            thread::yield_now();
        }
        let start = Instant::now();
        own();
        let _ = other.join();
        start.elapsed().as_nanos() as f64 / (2 * TURNS) as f64
    })
}

/// Both yield. Only what really was a switch counts: a scheduler may let a
/// thread that yields go on.
pub fn yields() -> f64 {
    let (last, switches) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let run = |own: usize| {
        for _ in 0..TURNS {
            if last.swap(own, SeqCst) != own {
                switches.fetch_add(1, SeqCst);
            }
            thread::yield_now();
        }
    };
    let spent = both(|| run(1), || run(2)) * (2 * TURNS) as f64;
    spent / switches.into_inner().max(1) as f64
}

/// Each unparks the other and parks itself: a wake-up through a futex.
pub fn parks() -> f64 {
    let turn = AtomicUsize::new(0);
    let own = thread::current();
    let wait = |for_turn: usize| {
        while turn.load(SeqCst) % 2 != for_turn {
            thread::park();
        }
    };
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            for _ in 0..TURNS {
                wait(1);
                turn.fetch_add(1, SeqCst);
                own.unpark();
            }
        });
        let start = Instant::now();
        for _ in 0..TURNS {
            turn.fetch_add(1, SeqCst);
            other.thread().unpark();
            wait(0);
        }
        start.elapsed().as_nanos() as f64 / (2 * TURNS) as f64
    })
}

/// A lock and a condition variable.
pub fn condvar() -> f64 {
    let (turn, changed) = (Mutex::new(0_usize), Condvar::new());
    let run = |own: usize| {
        for _ in 0..TURNS {
            let Ok(held) = turn.lock() else { return };
            let Ok(mut held) = changed.wait_while(held, |turn| *turn % 2 != own) else { return };
            *held += 1;
            changed.notify_one();
        }
    };
    both(|| run(0), || run(1))
}

/// A message each way through channels.
fn messages(turns: usize) -> Option<()> {
    let (to_other, from_own) = channel::<u64>();
    let (to_own, from_other) = channel::<u64>();
    thread::scope(|scope| {
        scope.spawn(move || from_own.iter().all(|number| to_own.send(number + 1).is_ok()));
        for number in 0..turns as u64 {
            to_other.send(number).ok()?;
            from_other.recv().ok()?;
        }
        // The other ends when nothing more can come.
        drop(to_other);
        Some(())
    })
}

/// See [`messages`].
pub fn channels() -> f64 {
    let start = Instant::now();
    let _ = messages(TURNS);
    start.elapsed().as_nanos() as f64 / (2 * TURNS) as f64
}
