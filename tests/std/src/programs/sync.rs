//! `std::sync`: locks, conditions, barriers, channels, atomics.

use crate::{Outcome, say};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{self, RecvTimeoutError, TryRecvError, TrySendError};
use std::sync::{Arc, Barrier, Condvar, LazyLock, Mutex, Once, OnceLock, RwLock, TryLockError, Weak};
use std::thread;
use std::time::{Duration, Instant};

pub fn main() -> Outcome {
    mutexes();
    read_write_locks();
    conditions();
    barriers();
    once();
    channels();
    bounded_channels();
    atomics();
    counted();
    Ok(())
}

fn mutexes() {
    let total = Mutex::new(0u64);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..10_000).for_each(|_| *total.lock().unwrap() += 1));
        }
    });
    say("counted under a mutex", *total.lock().unwrap());
    let held = total.lock().unwrap();
    let second = thread::scope(|scope| {
        scope.spawn(|| matches!(total.try_lock(), Err(TryLockError::WouldBlock))).join().unwrap()
    });
    say("held by another", second);
    drop(held);
    say("free again", total.try_lock().is_ok());
    say("poisoned", total.is_poisoned());
    say("a mutex as text", Mutex::new(5));
    say("taken apart", total.into_inner().unwrap());
}

fn read_write_locks() {
    let lock = RwLock::new((0u64, 0u64));
    let (readers, torn) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    let mut both = lock.write().unwrap();
                    both.0 += 1;
                    thread::yield_now();
                    both.1 += 1;
                }
            });
            scope.spawn(|| {
                for _ in 0..2000 {
                    let both = lock.read().unwrap();
                    torn.fetch_add(usize::from(both.0 != both.1), SeqCst);
                }
            });
        }
    });
    say("written", *lock.read().unwrap());
    say("torn", torn.into_inner());
    // Readers are in together: each waits for all of them.
    let barrier = Barrier::new(4);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let _guard = lock.read().unwrap();
                barrier.wait();
                readers.fetch_add(1, SeqCst);
            });
        }
    });
    say("readers together", readers.into_inner());
    let reading = lock.read().unwrap();
    say("a writer beside a reader", matches!(lock.try_write(), Err(TryLockError::WouldBlock)));
    say("a reader beside a reader", lock.try_read().is_ok());
    drop(reading);
    say("a writer alone", lock.try_write().is_ok());
}

fn conditions() {
    let (turn, changed) = (Mutex::new(0), Condvar::new());
    let order = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for own in 0..4 {
            let (turn, changed, order) = (&turn, &changed, &order);
            scope.spawn(move || {
                for round in 0..25 {
                    let mut now = changed.wait_while(turn.lock().unwrap(), |now| *now % 4 != own).unwrap();
                    order.lock().unwrap().push(round * 4 + own);
                    *now += 1;
                    changed.notify_all();
                }
            });
        }
    });
    say("in turns", order.into_inner().unwrap().is_sorted());
    let start = Instant::now();
    let (_guard, result) = changed.wait_timeout(turn.lock().unwrap(), Duration::from_millis(5)).unwrap();
    say("nobody came", (result.timed_out(), start.elapsed() >= Duration::from_millis(5)));
    let (_, result) = changed
        .wait_timeout_while(Mutex::new(1).lock().unwrap(), Duration::from_secs(1000), |value| *value == 0)
        .map(|(guard, result)| (*guard, result.timed_out()))
        .unwrap();
    say("it holds already", result);
    one_of_many();
}

/// Each notification lets one go on.
fn one_of_many() {
    let (tickets, changed, passed) = (Mutex::new(0), Condvar::new(), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                let mut tickets =
                    changed.wait_while(tickets.lock().unwrap(), |tickets| *tickets == 0).unwrap();
                *tickets -= 1;
                passed.fetch_add(1, SeqCst);
            });
        }
        for _ in 0..10 {
            *tickets.lock().unwrap() += 1;
            changed.notify_one();
        }
    });
    say("passed", (passed.into_inner(), tickets.into_inner().unwrap()));
}

fn barriers() {
    let barrier = Barrier::new(5);
    let (leaders, early) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let arrived = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| {
                for round in 1..=50 {
                    arrived.fetch_add(1, SeqCst);
                    leaders.fetch_add(usize::from(barrier.wait().is_leader()), SeqCst);
                    early.fetch_add(usize::from(arrived.load(SeqCst) < round * 5), SeqCst);
                    barrier.wait();
                }
            });
        }
    });
    say("leaders", leaders.into_inner());
    say("through a barrier too early", early.into_inner());
}

static LAZY: LazyLock<u64> = LazyLock::new(|| MADE.fetch_add(1, SeqCst) + 70);
static MADE: AtomicU64 = AtomicU64::new(0);

fn once() {
    let (once, cell, ran) = (Once::new(), OnceLock::new(), AtomicUsize::new(0));
    MADE.store(0, SeqCst);
    thread::scope(|scope| {
        for i in 0..8 {
            let (once, cell, ran) = (&once, &cell, &ran);
            scope.spawn(move || {
                once.call_once(|| {
                    thread::sleep(Duration::from_millis(1));
                    ran.fetch_add(1, SeqCst);
                });
                assert!(once.is_completed());
                cell.get_or_init(|| i);
                LazyLock::force(&LAZY);
            });
        }
    });
    say("once", (ran.into_inner(), once.is_completed()));
    say("a cell", (cell.get().is_some_and(|&i| i < 8), cell.set(9).is_err()));
    say("lazy", *LAZY);
}

fn channels() {
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for producer in 0..8u64 {
            let sender = sender.clone();
            scope.spawn(move || (0..1000).for_each(|i| sender.send((producer, i)).unwrap()));
        }
        drop(sender);
        let mut next = [0; 8];
        let mut disorder = 0;
        for (producer, i) in &receiver {
            disorder += u32::from(i != next[producer as usize]);
            next[producer as usize] = i + 1;
        }
        say("received", next);
        say("out of order", disorder);
    });
    say("without senders", receiver.recv());
    let (sender, receiver) = mpsc::channel::<u8>();
    say("empty", receiver.try_recv() == Err(TryRecvError::Empty));
    let start = Instant::now();
    let timeout = receiver.recv_timeout(Duration::from_millis(3));
    say("in vain", (timeout == Err(RecvTimeoutError::Timeout), start.elapsed() >= Duration::from_millis(3)));
    drop(receiver);
    say("without a receiver", sender.send(7));
}

fn bounded_channels() {
    let (sender, receiver) = mpsc::sync_channel(2);
    say("room", (sender.try_send(1), sender.try_send(2)));
    say("full", matches!(sender.try_send(3), Err(TrySendError::Full(3))));
    thread::scope(|scope| {
        scope.spawn(|| (3..100).for_each(|i| sender.send(i).unwrap()));
        say("taken", receiver.iter().take(99).sum::<i32>());
    });
    let (sender, receiver) = mpsc::sync_channel(0);
    say("nobody there", matches!(sender.try_send(1), Err(TrySendError::Full(1))));
    thread::scope(|scope| {
        scope.spawn(move || (0..100).for_each(|i| sender.send(i).unwrap()));
        say("handed over", receiver.iter().sum::<i32>());
    });
}

fn atomics() {
    let (sum, most, flag) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for i in 1..=4 {
            let (sum, most, flag) = (&sum, &most, &flag);
            scope.spawn(move || {
                for step in 0..5000 {
                    let _ = sum.fetch_update(SeqCst, SeqCst, |sum| Some(sum + i));
                    most.fetch_max(i * step, SeqCst);
                    flag.fetch_xor(true, SeqCst);
                }
            });
        }
    });
    say("atomics", (sum.into_inner(), most.into_inner(), flag.into_inner()));
}

fn counted() {
    let shared = Arc::new(5);
    let weak: Weak<i32> = Arc::downgrade(&shared);
    thread::scope(|scope| {
        for _ in 0..4 {
            let (shared, weak) = (shared.clone(), weak.clone());
            scope.spawn(move || (0..1000).for_each(|_| drop((shared.clone(), weak.upgrade()))));
        }
    });
    say("counts", (Arc::strong_count(&shared), Arc::weak_count(&shared)));
    say("unwrapped", Arc::try_unwrap(shared));
    say("gone", weak.upgrade());
}
