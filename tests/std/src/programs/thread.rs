//! `std::thread`: made, named, awaited, parked; what is theirs alone.

use crate::{Outcome, say};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread::{self, Builder};
use std::time::Duration;

pub fn main() -> Outcome {
    made_and_awaited()?;
    many();
    scoped();
    parking();
    locals();
    destructors();
    stacks()?;
    say("threads can run at once", thread::available_parallelism()?.get() >= 1);
    Ok(())
}

fn made_and_awaited() -> Outcome {
    say("the first", thread::current().name().map(String::from));
    say("a result", thread::spawn(|| 6 * 7).join().unwrap());
    let named = Builder::new().name("a name".into()).spawn(|| thread::current().name().map(String::from))?;
    say("named", named.thread().name().map(String::from));
    say("named inside", named.join().unwrap());
    say("unnamed", thread::spawn(|| thread::current().name().map(String::from)).join().unwrap());
    let (go, wait) = mpsc::channel::<()>();
    let thread = thread::spawn(move || wait.recv().is_err());
    say("finished before", thread.is_finished());
    drop(go);
    while !thread.is_finished() {
        thread::yield_now();
    }
    say("finished after", thread.join().unwrap());
    let nested =
        thread::spawn(|| thread::spawn(|| thread::spawn(|| 3).join().unwrap() + 2).join().unwrap() + 1);
    say("nested", nested.join().unwrap());
    let ran = Arc::new(AtomicBool::new(false));
    let detached = ran.clone();
    drop(thread::spawn(move || detached.store(true, SeqCst)));
    while !ran.load(SeqCst) {
        thread::yield_now();
    }
    say("detached ones run", true);
    Ok(())
}

/// Threads come and go, and each has an id of its own.
fn many() {
    let ids: Vec<_> = (0..20)
        .flat_map(|_| {
            let batch: Vec<_> = (0..16).map(|_| thread::spawn(|| thread::current().id())).collect();
            batch.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        })
        .collect();
    say("ids", ids.iter().collect::<HashSet<_>>().len());
    say("own id", ids.contains(&thread::current().id()));
    let barrier = Barrier::new(64);
    let leaders = thread::scope(|scope| {
        let all: Vec<_> = (0..64).map(|_| scope.spawn(|| barrier.wait().is_leader())).collect();
        all.into_iter().filter_map(|thread| thread.join().ok()).filter(|&leader| leader).count()
    });
    say("leaders of 64 at once", leaders);
}

fn scoped() {
    let mut numbers = vec![1, 2, 3, 4];
    let count = AtomicUsize::new(0);
    let sum = thread::scope(|scope| {
        let (left, right) = numbers.split_at_mut(2);
        scope.spawn(|| left.iter_mut().for_each(|number| *number *= 10));
        scope.spawn(|| {
            right.iter_mut().for_each(|number| *number *= 100);
            scope.spawn(|| count.fetch_add(1, SeqCst));
        });
        scope.spawn(|| 5).join().unwrap()
    });
    say("scoped", (&numbers, sum, count.load(SeqCst)));
}

fn parking() {
    thread::current().unpark();
    thread::park();
    say("a token that was there", true);
    thread::park_timeout(Duration::from_millis(2));
    say("without one, until the time is over", true);
    let turns = Arc::new(Mutex::new(Vec::new()));
    let (main, seen) = (thread::current(), turns.clone());
    let asked = Arc::new(AtomicUsize::new(0));
    let asked_there = asked.clone();
    let other = thread::spawn(move || {
        for turn in 1..=100 {
            while asked_there.load(SeqCst) < turn {
                thread::park();
            }
            seen.lock().unwrap().push(turn);
            main.unpark();
        }
    });
    for turn in 1..=100 {
        asked.store(turn, SeqCst);
        other.thread().unpark();
        while turns.lock().unwrap().len() < turn {
            thread::park();
        }
    }
    other.join().unwrap();
    say("turns", turns.lock().unwrap().iter().sum::<usize>());
}

thread_local! {
    static COUNTER: Cell<u32> = const { Cell::new(1) };
    static LAZY: RefCell<Vec<&'static str>> = RefCell::new(vec!["made when first used"]);
    static ONCE: OnceCell<String> = const { OnceCell::new() };
}

fn locals() {
    COUNTER.set(10);
    LAZY.with_borrow_mut(|list| list.push("of the first"));
    let theirs = thread::spawn(|| {
        COUNTER.set(COUNTER.get() + 1);
        let once = ONCE.with(|once| once.get_or_init(|| "set there".into()).clone());
        (COUNTER.get(), LAZY.with_borrow(Vec::len), once)
    });
    say("theirs", theirs.join().unwrap());
    say("ours", (COUNTER.replace(0), LAZY.take(), ONCE.with(|once| once.get().cloned())));
}

/// Tells when it is dropped.
struct Dropped(&'static str, mpsc::Sender<String>);

impl Drop for Dropped {
    fn drop(&mut self) {
        // Another local may still be used in a destructor, unless it is gone.
        let counter = COUNTER.try_with(Cell::get).map_err(|error| error.to_string());
        let late = LATE.try_with(|late| late.borrow().is_some());
        let _ = self.1.send(format!("{} {counter:?} {}", self.0, late.is_ok()));
    }
}

thread_local! {
    static FIRST: RefCell<Option<Dropped>> = const { RefCell::new(None) };
    static LATE: RefCell<Option<Dropped>> = const { RefCell::new(None) };
}

/// The destructors of thread-locals run when their thread ends, before whoever joins it goes on.
fn destructors() {
    let (sender, receiver) = mpsc::channel();
    let first = sender.clone();
    let thread = thread::spawn(move || {
        FIRST.set(Some(Dropped("first", first)));
        COUNTER.set(5);
    });
    thread.join().unwrap();
    say("dropped by one", receiver.try_iter().collect::<Vec<_>>());
    let ended: Vec<_> = (0..50)
        .map(|_| {
            let sender = sender.clone();
            thread::spawn(move || LATE.set(Some(Dropped("late", sender))))
        })
        .collect();
    ended.into_iter().for_each(|thread| thread.join().unwrap());
    drop(sender);
    say("dropped by fifty", receiver.iter().count());
}

/// Uses about so many KiB of stack.
#[inline(never)]
fn deep(kib: usize) -> usize {
    let block = std::hint::black_box([1u8; 1024]);
    if kib == 0 { 0 } else { deep(kib - 1) + usize::from(block[kib % 1024]) }
}

fn stacks() -> Outcome {
    let thread = Builder::new().stack_size(8 << 20).spawn(|| deep(2000))?;
    say("a deep stack", thread.join().unwrap());
    let thread = Builder::new().stack_size(1).spawn(|| deep(2))?;
    say("the least stack", thread.join().unwrap());
    Ok(())
}
