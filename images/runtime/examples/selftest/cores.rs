//! Threads on several cores. Whatever needs two to run at once is left out in a
//! VM with one.

use runtime::thread::{Priority, cancel, core, current, set_activity, set_priority};
use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Condvar, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// How many cores the VM has, as whoever started it says.
pub fn count() -> usize {
    runtime::boot::parameter("cores").map_or(1, |cores| cores.parse().expect("cores is no number"))
}

/// Threads that never give way run at the same time: each waits for the others.
pub fn overlap() {
    // Where the host has fewer cores, a round takes as long as it lets one of them run.
    const ROUNDS: usize = 50;
    let arrived = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..count() {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    arrived.fetch_add(1, SeqCst);
                    while arrived.load(SeqCst) < round * count() {
                        spin_loop();
                    }
                }
            });
        }
    });
}

/// A thread wakes others, and does not go on (nor give way) until all have run:
/// idle cores take what waits behind it.
pub fn stealing() {
    if count() == 1 {
        return;
    }
    const ROUNDS: usize = 100;
    let (done, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let start = Barrier::new(2 * count() + 1);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..2 * count())
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    loop {
                        thread::park();
                        if stop.load(SeqCst) {
                            break;
                        }
                        done.fetch_add(1, SeqCst);
                    }
                })
            })
            .collect();
        start.wait();
        for round in 1..=ROUNDS {
            workers.iter().for_each(|worker| worker.thread().unpark());
            while done.load(SeqCst) < round * workers.len() {
                spin_loop();
            }
        }
        stop.store(true, SeqCst);
        workers.iter().for_each(|worker| worker.thread().unpark());
    });
}

/// Sums that come out right only if nothing is lost between cores.
pub fn sums() {
    const ROUNDS: u64 = 20_000;
    let (atomic, locked) = (AtomicU64::new(0), Mutex::new(0));
    thread::scope(|scope| {
        for _ in 0..2 * count() {
            scope.spawn(|| {
                for round in 0..ROUNDS {
                    atomic.fetch_add(round, SeqCst);
                    *locked.lock().unwrap() += round;
                    drop(black_box(Box::new([round; 4])));
                }
            });
        }
    });
    let expected = 2 * count() as u64 * (ROUNDS * (ROUNDS - 1) / 2);
    assert_eq!((atomic.into_inner(), locked.into_inner().unwrap()), (expected, expected));
}

/// Every wake-up arrives: by channels, by condition variables, by parking.
pub fn handoffs() {
    const ROUNDS: u64 = 3000;
    let (to, from_main) = mpsc::channel();
    let (back, to_main) = mpsc::channel();
    let echo = thread::spawn(move || from_main.iter().for_each(|value: u64| back.send(value + 1).unwrap()));
    for round in 0..ROUNDS {
        to.send(round).unwrap();
        assert_eq!(to_main.recv().unwrap(), round + 1);
    }
    drop(to);
    echo.join().unwrap();

    let turn = (Mutex::new(0u64), Condvar::new());
    let players = count() as u64 + 1;
    thread::scope(|scope| {
        for own in 0..players {
            let (turn, changed) = (&turn.0, &turn.1);
            scope.spawn(move || {
                for _ in 0..ROUNDS / players {
                    let mut turn =
                        changed.wait_while(turn.lock().unwrap(), |turn| *turn % players != own).unwrap();
                    *turn += 1;
                    changed.notify_all();
                }
            });
        }
    });
    assert_eq!(turn.0.into_inner().unwrap(), ROUNDS / players * players);
}

/// A thread that nobody drives away goes on where it was, and begins where it is asked to.
pub fn affinity() {
    let cores: Vec<usize> = thread::spawn(|| {
        (0..30)
            .map(|_| {
                thread::sleep(Duration::from_millis(1));
                core()
            })
            .collect()
    })
    .join()
    .unwrap();
    assert!(cores.iter().all(|&core| core == cores[0]), "a thread that sleeps moves about: {cores:?}");
    for wanted in 0..count() {
        // The core may be busy with something else, or not be up yet.
        let begins = (0..1000).any(|_| begin_on(wanted, || ()) == wanted);
        assert!(begins, "no thread ever began on core {wanted}");
    }
}

/// Runs `f` on a new thread that is to begin on a core; where it did begin.
pub fn begin_on(wanted: usize, f: fn()) -> usize {
    extern "C" fn begin(argument: usize) {
        // SAFETY: the box below; nobody else has it.
        let (began, f) = *unsafe { Box::from_raw(argument as *mut (mpsc::Sender<usize>, fn())) };
        let core = core();
        f();
        began.send(core).unwrap();
    }
    let (began, core) = mpsc::channel();
    let argument = Box::into_raw(Box::new((began, f)));
    // SAFETY: `begin` takes the box, and the stack is large enough.
    let id = unsafe { hermit_abi::spawn2(begin, argument as usize, 2, 1 << 20, wanted as isize) };
    assert_ne!(id, 0);
    core.recv().unwrap()
}

/// Sleepers on all cores wake up, and none too early.
pub fn timers() {
    thread::scope(|scope| {
        for own in 0..4 * count() as u64 {
            scope.spawn(move || {
                for round in 0..20 {
                    let span = Duration::from_micros(100 + (own * 977 + round * 613) % 5000);
                    let start = Instant::now();
                    thread::sleep(span);
                    assert!(start.elapsed() >= span);
                }
            });
        }
    });
}

/// Threads come and go on all cores at once, and leave nothing behind.
pub fn storm() {
    let before = runtime::untouched_memory();
    thread::scope(|scope| {
        for own in 0..2 * count() {
            scope.spawn(move || {
                for round in 0..600 / count() {
                    // Some use more of their stack than is kept for the next thread.
                    let deep = round % 10 == 0;
                    let handle = thread::spawn(move || {
                        let frame =
                            if deep { black_box([round; 16_000])[17] } else { black_box([round; 100])[17] };
                        frame + own
                    });
                    assert_eq!(handle.join().unwrap(), round + own);
                }
            });
        }
    });
    while runtime::thread::count() > 1 {
        thread::sleep(Duration::from_millis(1));
    }
    let taken = before.saturating_sub(runtime::untouched_memory());
    assert!(taken < 6 << 20, "the threads took {taken} bytes for good");
}

/// Threads end that are cancelled on other cores: computing, waiting and sleeping ones.
pub fn cancelling() {
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    let before = runtime::thread::count();
    let kinds: [fn(); 3] = [
        || loop {
            spin_loop();
        },
        thread::park,
        || thread::sleep(Duration::from_secs(3600)),
    ];
    for number in 0..3 * count() {
        thread::spawn(move || {
            set_activity(9);
            STARTED.fetch_add(1, SeqCst);
            kinds[number % 3]();
        });
    }
    while STARTED.load(SeqCst) < 3 * count() {
        thread::sleep(Duration::from_millis(1));
    }
    cancel(9);
    while runtime::thread::count() > before {
        thread::sleep(Duration::from_millis(1));
    }
}

/// A thread of low priority ends that is cancelled, though others compute on every core.
pub fn cancelling_the_least() {
    let (stop, begun) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let before = runtime::thread::count();
    for _ in 0..count() {
        let stop = stop.clone();
        thread::spawn(move || {
            while !stop.load(SeqCst) {
                spin_loop();
            }
        });
    }
    let begins = begun.clone();
    thread::spawn(move || {
        set_activity(9);
        begins.store(true, SeqCst);
        set_priority(current(), Priority::Low);
        loop {
            spin_loop();
        }
    });
    while !begun.load(SeqCst) {
        thread::sleep(Duration::from_millis(1));
    }
    cancel(9);
    while runtime::thread::count() > before + count() {
        thread::sleep(Duration::from_millis(1));
    }
    stop.store(true, SeqCst);
    while runtime::thread::count() > before {
        thread::sleep(Duration::from_millis(1));
    }
}

/// More threads than cores, which give way, are interrupted and move: each
/// keeps its numbers.
pub fn numbers() {
    thread::scope(|scope| {
        for own in 0..2 * count() + 1 {
            scope.spawn(move || {
                let step = 1.0 + own as f64;
                let mut values = [0.0f64, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
                for round in 1..=300u32 {
                    for _ in 0..500 {
                        values.iter_mut().for_each(|value| *value += step);
                    }
                    if round % 3 == 0 {
                        thread::yield_now();
                    }
                    for (index, value) in values.iter().enumerate() {
                        assert_eq!(*value, index as f64 + f64::from(round) * 500.0 * step);
                    }
                }
            });
        }
    });
}

/// While every core has something more urgent to do, a thread of low priority
/// waits; one of high priority does not.
pub fn urgency() {
    let (stop, busy) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (low, high) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        set_priority(current(), Priority::High);
        for _ in 0..count() + 1 {
            scope.spawn(|| {
                busy.fetch_add(1, SeqCst);
                while !stop.load(SeqCst) {
                    black_box(0);
                }
            });
        }
        while busy.load(SeqCst) <= count() {
            thread::sleep(Duration::from_millis(1));
        }
        scope.spawn(|| {
            set_priority(current(), Priority::Low);
            while !stop.load(SeqCst) {
                low.fetch_add(1, SeqCst);
                thread::yield_now();
            }
        });
        // It has begun as all begin, and has then made room.
        thread::sleep(Duration::from_millis(100));
        let begun = low.load(SeqCst);
        scope.spawn(|| {
            set_priority(current(), Priority::High);
            for _ in 0..20 {
                thread::sleep(Duration::from_millis(1));
                high.fetch_add(1, SeqCst);
            }
        });
        while high.load(SeqCst) < 20 {
            thread::sleep(Duration::from_millis(1));
        }
        let ran = low.load(SeqCst) - begun;
        stop.store(true, SeqCst);
        assert_eq!(ran, 0, "a thread of low priority ran {ran} times");
        set_priority(current(), Priority::Normal);
    });
}

/// What the runtime's own locks are for: many threads print and allocate at once.
pub fn contention() {
    let wakers = Arc::new(AtomicUsize::new(0));
    thread::scope(|scope| {
        for own in 0..2 * count() {
            let wakers = wakers.clone();
            scope.spawn(move || {
                let mut blocks: Vec<Vec<usize>> = Vec::new();
                for round in 0..2000 {
                    blocks.push(vec![own; 1 + (round * 7 + own) % 400]);
                    if round % 3 == 0 {
                        let at = (round * 31) % blocks.len();
                        assert!(blocks.swap_remove(at).iter().all(|&value| value == own));
                    }
                    if round % 500 == 0 {
                        // An address nobody waits at: the scheduler is entered all the same.
                        thread::current().unpark();
                        thread::park();
                    }
                }
                wakers.fetch_add(1, SeqCst);
            });
        }
    });
    assert_eq!(wakers.load(SeqCst), 2 * count());
}
