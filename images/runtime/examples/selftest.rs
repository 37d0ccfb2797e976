//! Shows in one VM that `std` stands on the runtime, and provokes what should
//! end a VM. The first word of the kernel command line says which:
//!
//! | word | what happens |
//! |---|---|
//! | (none) | all checks; ends with `selftest: ok` |
//! | `overflow`, `overflow-thread`, `overflow-core` | a stack overflow, on the main thread, another, another core's |
//! | `null`, `text`, `constant`, `execute`, `divide` | a forbidden access, a divide error |
//! | `protected`, `protected-core` | a page that is only read is written; one is, once it may not be, by another core |
//! | `panic`, `oom` | a panic; memory runs out |
//! | `idle`, `idle-sleeper` | halts for good; or wakes up every 100 ms |
//! | `boot` | prints how long ago the VM started, and ends |
//! | `bell` | with a doorbell device: rings peer 0 and waits, 1000 times, or answers |
//! | `regions` | what devices and regions there are |
//! | `ticks` | prints the clock every 200 ms, to compare with the host's |
//! | `switch` | what thread switches cost |

#[path = "selftest/abi.rs"]
mod abi;
#[path = "selftest/cores.rs"]
mod cores;
#[path = "selftest/faults.rs"]
mod faults;
#[path = "selftest/segments.rs"]
mod segments;
#[path = "selftest/system.rs"]
mod system;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Condvar, Mutex, Once, OnceLock, RwLock, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

fn main() {
    let word = std::env::args().nth(1).unwrap_or_default();
    match word.as_str() {
        // What a thread of the OS would see of the statics here depends on what its core ran last.
        "" => {
            runtime::thread::begin_activity(0, check_everything).expect("there is memory for it");
            runtime::thread::end()
        }
        "overflow" => println!("{}", overflow(0)),
        "overflow-thread" => println!("{}", thread::spawn(|| overflow(0)).join().unwrap_or(0)),
        "overflow-core" => overflow_on_another_core(),
        "null" => write_to(black_box(8) as *mut u8),
        "text" => write_to(black_box(main as fn()) as *mut u8),
        "constant" => write_to(black_box("constant").as_ptr().cast_mut()),
        "protected" => write_to(abi::write_to_protected()),
        "protected-core" => abi::protect_from_another_core(),
        "execute" => execute_data(),
        "divide" => println!("{}", divide(black_box(0))),
        "panic" => panic!("as was asked for"),
        "oom" => exhaust(),
        "idle" => thread::park(),
        "idle-sleeper" => loop {
            thread::sleep(Duration::from_millis(100));
        },
        "boot" => println!("main after {} us", runtime::clock::now_ns() / 1000),
        "bell" => bell(),
        "regions" => regions(),
        "ticks" => ticks(),
        "clock" => clock_speed(),
        "switch" => switches(),
        other => println!("selftest: there is no check called {other}"),
    }
}

/// As an activity, writes where nobody may.
fn write_to(address: *mut u8) {
    runtime::thread::set_activity(7);
    // SAFETY: none: the page tables are to stop it, and the VM ends.
    unsafe { address.write_volatile(1) };
    println!("selftest: the write went through");
}

#[inline(never)]
fn overflow(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    if depth == u64::MAX { 0 } else { overflow(depth + 1) + frame[(depth % 64) as usize] }
}

fn overflow_on_another_core() {
    while cores::begin_on(1, || {
        if runtime::thread::core() == 1 {
            println!("{}", overflow(0));
        }
    }) != 1
    {}
}

fn execute_data() {
    let code = Box::new([0xc3u8; 16]);
    // SAFETY: a return instruction; but the page tables are to stop it, and the VM ends.
    let function: extern "C" fn() = unsafe { std::mem::transmute(code.as_ptr()) };
    function();
    println!("selftest: data was executed");
}

/// The processor's own division: Rust's would panic first.
fn divide(by: u64) -> u64 {
    let mut quotient = 1u64;
    // SAFETY: a division; by 0 it is an exception, which ends the VM.
    unsafe { std::arch::asm!("div {}", in(reg) by, inout("rax") quotient, inout("rdx") 0u64 => _) };
    quotient
}

fn exhaust() {
    let mut all: Vec<Vec<u8>> = Vec::new();
    loop {
        all.push(vec![1; 1 << 20]);
    }
}

fn check_everything() {
    type Check = (&'static str, fn());
    let checks: [Check; 40] = [
        ("collections and numbers", collections),
        ("routines that copy", routines),
        ("allocation", allocation),
        ("out of memory is an error", out_of_memory),
        ("spawn, join, scope", spawning),
        ("64 threads", many_threads),
        ("threads come and go", churn),
        ("locks", locks),
        ("channels", channels),
        ("park and unpark", parking),
        ("timeouts", timeouts),
        ("thread-locals", thread_locals),
        ("sleep", sleeping),
        ("clocks", clocks),
        ("preemption", preemption),
        ("priorities", priorities),
        ("activities", activities),
        ("threads run at once", cores::overlap),
        ("idle cores take what waits", cores::stealing),
        ("sums over cores", cores::sums),
        ("wake-ups between cores", cores::handoffs),
        ("affinity", cores::affinity),
        ("timers of all cores", cores::timers),
        ("threads come and go on all cores", cores::storm),
        ("cancelled on all cores", cores::cancelling),
        ("cancelled while others compute", cores::cancelling_the_least),
        ("segments of activities", segments::segments),
        ("numbers move", cores::numbers),
        ("urgency on all cores", cores::urgency),
        ("all cores allocate", cores::contention),
        ("files and sockets answer", refusals),
        ("arguments and environment", surroundings),
        ("pages", abi::pages),
        ("calls for memory", abi::memory_calls),
        ("calls for threads", abi::thread_calls),
        ("semaphores", abi::semaphores),
        ("queues", abi::queues),
        ("a system above", system::system_above),
        ("faults of activities", faults::end_their_activities),
        ("deadlocks", faults::deadlocks),
    ];
    let only = runtime::boot::parameter("only");
    for (name, check) in checks {
        if only.is_none_or(|only| name.starts_with(only)) {
            let start = Instant::now();
            check();
            println!("selftest: {name}: {:?}", start.elapsed());
        }
    }
    println!("selftest: ok");
    std::process::exit(0)
}

fn collections() {
    let squares: HashMap<u64, u64> = (0..1000).map(|i| (i, i * i)).collect();
    assert_eq!(squares[&31], 961);
    let ordered: BTreeMap<u64, u64> = squares.iter().map(|(&key, &value)| (key, value)).collect();
    assert_eq!(ordered.range(10..).next(), Some((&10, &100)));
    assert_eq!(black_box(2.0f64).sqrt().mul_add(1e6, 0.0).floor(), 1_414_213.0);
    assert!((black_box(1.0f64).sin() - 0.841_470_984_807_896_5).abs() < 1e-15);
    assert_eq!(
        format!("{:.3} {:?} {:x}", 1.0 / 3.0, [1, 2], u128::MAX >> 64),
        "0.333 [1, 2] ffffffffffffffff"
    );
}

/// `memcpy` and its kin against plain loops, over lengths, offsets and overlaps.
fn routines() {
    let pattern: Vec<u8> = (0..1000u32).map(|i| (i * 7 + i / 256) as u8).collect();
    for length in (0..100).chain([255, 256, 257, 300, 511]) {
        for (from, to) in [(0, 0), (1, 4), (4, 1), (3, 40), (40, 3), (100, 108), (108, 100), (7, 400)] {
            let mut moved = pattern.clone();
            let mut expected = pattern.clone();
            moved.copy_within(black_box(from)..from + length, to);
            expected
                .iter_mut()
                .skip(to)
                .zip(&pattern[from..from + length])
                .for_each(|(to, from)| *to = black_box(*from));
            assert!(moved.iter().eq(expected.iter()), "moving {length} bytes from {from} to {to}");
            moved[to..to + black_box(length)].fill(0xa5);
            expected[to..to + length].iter_mut().for_each(|byte| *byte = black_box(0xa5));
            assert!(moved.iter().eq(expected.iter()), "filling {length} bytes at {to}");
        }
        let mut other = pattern.clone();
        assert_eq!(pattern[..length], other[..black_box(length)]);
        if length > 0 {
            other[length - 1] = other[length - 1].wrapping_add(1);
            let order = pattern[length - 1].cmp(&other[length - 1]);
            assert_eq!(pattern[..length].cmp(&other[..black_box(length)]), order);
        }
    }
}

fn allocation() {
    let mut kept = Vec::new();
    let mut random = 12345u64;
    for round in 0..50_000u64 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let size = 1 + (random >> 33) as usize % if round % 100 == 0 { 20_000 } else { 300 };
        kept.push((round as u8, vec![round as u8; size]));
        if kept.len() > 500 {
            let (mark, gone) = kept.swap_remove((random >> 40) as usize % 500);
            assert!(gone.iter().all(|&byte| byte == mark));
        }
    }
    let large = vec![0u8; 24 << 20];
    assert!(large.iter().step_by(4096).all(|&byte| byte == 0));
    let mut growing = Vec::new();
    (0..1_000_000u32).for_each(|i| growing.push(i));
    assert!(growing.iter().enumerate().all(|(i, &value)| i as u32 == value));
    let aligned = std::alloc::Layout::from_size_align(100, 1 << 16).unwrap();
    // SAFETY: the size is not zero.
    let pointer = unsafe { std::alloc::alloc(aligned) };
    assert!(!pointer.is_null() && (pointer as usize).is_multiple_of(1 << 16));
    // SAFETY: just allocated with this layout.
    unsafe { std::alloc::dealloc(pointer, aligned) };
}

fn out_of_memory() {
    assert!(Vec::<u8>::new().try_reserve(1 << 40).is_err());
    let mut blocks: Vec<Vec<u8>> = Vec::with_capacity(1000);
    let failed = (0..100_000).any(|_| {
        let mut block = Vec::new();
        let failed = block.try_reserve_exact(1 << 20).is_err();
        blocks.push(block);
        failed
    });
    assert!(failed);
    drop(blocks);
    assert_eq!(vec![1u8; 1 << 20].len(), 1 << 20);
}

fn spawning() {
    let handle = thread::spawn(|| 6 * 7);
    assert_eq!(handle.join().unwrap(), 42);
    let mut numbers = [1, 2, 3, 4];
    let sum = AtomicU64::new(0);
    thread::scope(|scope| {
        for number in &mut numbers {
            scope.spawn(|| {
                *number *= 10;
                sum.fetch_add(*number, SeqCst);
            });
        }
    });
    assert_eq!((numbers, sum.into_inner()), ([10, 20, 30, 40], 100));
    let big = thread::Builder::new().stack_size(16 << 20).name("big".into());
    let deep = big.spawn(|| {
        let frame = black_box([1u8; 8 << 20]);
        frame.iter().map(|&byte| u64::from(byte)).sum::<u64>()
    });
    assert_eq!(deep.unwrap().join().unwrap(), 8 << 20);
    assert_eq!(thread::available_parallelism().unwrap().get(), cores::count());
}

fn many_threads() {
    let barrier = Arc::new(Barrier::new(65));
    let count = Arc::new(AtomicUsize::new(0));
    let handles: Vec<_> = (0..64)
        .map(|_| {
            let (barrier, count) = (barrier.clone(), count.clone());
            thread::spawn(move || {
                barrier.wait();
                count.fetch_add(1, SeqCst);
                barrier.wait();
            })
        })
        .collect();
    barrier.wait();
    barrier.wait();
    assert_eq!(count.load(SeqCst), 64);
    handles.into_iter().for_each(|handle| handle.join().unwrap());
}

/// Stacks come back: far more threads, one after the other, than fit at once.
fn churn() {
    let before = runtime::untouched_memory();
    for round in 0..2000 {
        let handle = thread::spawn(move || black_box([round; 1000])[17]);
        if round % 2 == 0 {
            assert_eq!(handle.join().unwrap(), round);
        }
    }
    while runtime::thread::count() > 1 {
        thread::sleep(Duration::from_millis(1));
    }
    let taken = before.saturating_sub(runtime::untouched_memory());
    assert!(taken < 4 << 20, "2000 threads took {taken} bytes for good");
}

fn locks() {
    let counter = Mutex::new(0);
    let state = RwLock::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    *counter.lock().unwrap() += 1;
                    *state.write().unwrap() += 1;
                    assert!(*state.read().unwrap() > 0);
                }
            });
        }
    });
    assert_eq!((*counter.lock().unwrap(), *state.read().unwrap()), (16_000, 16_000));

    let turn = (Mutex::new(0u32), Condvar::new());
    thread::scope(|scope| {
        for own in 0..4 {
            let (turn, changed) = (&turn.0, &turn.1);
            scope.spawn(move || {
                for _ in 0..500 {
                    let mut turn = changed.wait_while(turn.lock().unwrap(), |turn| *turn % 4 != own).unwrap();
                    *turn += 1;
                    changed.notify_all();
                }
            });
        }
    });
    assert_eq!(*turn.0.lock().unwrap(), 2000);

    static ONCE: Once = Once::new();
    static CELL: OnceLock<u32> = OnceLock::new();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                ONCE.call_once(|| thread::sleep(Duration::from_millis(5)));
                assert_eq!(*CELL.get_or_init(|| 9), 9);
            });
        }
    });
}

fn channels() {
    let (sender, receiver) = mpsc::channel();
    for own in 0..4u64 {
        let sender = sender.clone();
        thread::spawn(move || (0..1000).for_each(|i| sender.send(own * 1000 + i).unwrap()));
    }
    drop(sender);
    assert_eq!(receiver.iter().sum::<u64>(), (0..4000).sum());
    let (sender, receiver) = mpsc::sync_channel(1);
    let feeder = thread::spawn(move || (0..1000).for_each(|i| sender.send(i).unwrap()));
    assert!(receiver.iter().eq(0..1000));
    feeder.join().unwrap();
}

fn parking() {
    let main = thread::current();
    let flag = Arc::new(AtomicBool::new(false));
    let theirs = flag.clone();
    let other = thread::spawn(move || {
        thread::sleep(Duration::from_millis(5));
        theirs.store(true, SeqCst);
        main.unpark();
    });
    while !flag.load(SeqCst) {
        thread::park();
    }
    other.join().unwrap();
}

fn timeouts() {
    let start = Instant::now();
    thread::park_timeout(Duration::from_millis(20));
    assert!(start.elapsed() >= Duration::from_millis(20));
    let pair = (Mutex::new(()), Condvar::new());
    let start = Instant::now();
    let (_guard, result) = pair.1.wait_timeout(pair.0.lock().unwrap(), Duration::from_millis(20)).unwrap();
    assert!(result.timed_out() && start.elapsed() >= Duration::from_millis(20));
    let (_sender, receiver) = mpsc::channel::<()>();
    assert!(receiver.recv_timeout(Duration::from_millis(5)).is_err());
}

fn thread_locals() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    struct Counted;
    impl Drop for Counted {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, SeqCst);
        }
    }
    thread_local! {
        static VALUE: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
        static COUNTED: Counted = const { Counted };
    }
    let handles: Vec<_> = (0..10)
        .map(|own| {
            thread::spawn(move || {
                COUNTED.with(|_| ());
                for i in 0..100 {
                    VALUE.with_borrow_mut(|value| value.push(own * 100 + i));
                    thread::yield_now();
                }
                VALUE.with_borrow(|value| value.iter().copied().eq(own * 100..own * 100 + 100))
            })
        })
        .collect();
    assert!(handles.into_iter().all(|handle| handle.join().unwrap()));
    assert_eq!(DROPPED.load(SeqCst), 10);
}

fn sleeping() {
    for millis in [0, 1, 2, 5, 20, 50] {
        let start = Instant::now();
        thread::sleep(Duration::from_millis(millis));
        let slept = start.elapsed();
        assert!(slept >= Duration::from_millis(millis), "slept {slept:?} instead of {millis} ms");
    }
    let order = Arc::new(Mutex::new(Vec::new()));
    let start = Instant::now();
    let handles: Vec<_> = [30u64, 10, 50, 20, 40]
        .map(|millis| {
            let order = order.clone();
            thread::spawn(move || {
                thread::sleep(
                    Duration::from_millis(millis) - start.elapsed().min(Duration::from_millis(millis)),
                );
                order.lock().unwrap().push(millis);
            })
        })
        .into_iter()
        .collect();
    handles.into_iter().for_each(|handle| handle.join().unwrap());
    let mut order = order.lock().unwrap();
    // On several cores, those of the host decide who is first in the end.
    if cores::count() > 1 {
        order.sort_unstable();
    }
    assert_eq!(*order, [10, 20, 30, 40, 50]);
}

fn clocks() {
    let mut last = Instant::now();
    for _ in 0..100_000 {
        let now = Instant::now();
        assert!(now >= last);
        last = now;
    }
    assert!(SystemTime::now() >= SystemTime::UNIX_EPOCH);
    println!("selftest: tsc {} Hz", runtime::clock::tsc_frequency());
}

/// What a look at the clock costs.
fn clock_speed() {
    const LOOKS: u64 = 1_000_000;
    let start = runtime::clock::now_ns();
    (1..LOOKS).for_each(|_| _ = black_box(runtime::clock::now_ns()));
    println!("selftest: a look at the clock takes {} ps", (runtime::clock::now_ns() - start) * 1000 / LOOKS);
}

/// Two threads that never give way both go on, and each keeps its floating-point state.
fn preemption() {
    let stop = AtomicBool::new(false);
    let progress = [AtomicU64::new(0), AtomicU64::new(0)];
    thread::scope(|scope| {
        for (own, progress) in progress.iter().enumerate() {
            let stop = &stop;
            scope.spawn(move || {
                let step = 1.0 + own as f64;
                let mut values = [0.0f64, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
                while !stop.load(SeqCst) {
                    for _ in 0..1000 {
                        values.iter_mut().for_each(|value| *value += step);
                    }
                    let rounds = (progress.fetch_add(1, SeqCst) + 1) as f64;
                    for (index, value) in values.iter().enumerate() {
                        assert_eq!(*value, index as f64 + rounds * 1000.0 * step);
                    }
                }
            });
        }
        thread::sleep(Duration::from_millis(200));
        stop.store(true, SeqCst);
    });
    let [one, two] = progress.map(AtomicU64::into_inner);
    assert!(one > 0 && two > 0, "{one} and {two} rounds");
    assert!(one < 10 * two && two < 10 * one, "{one} and {two} rounds are not a fair share");
}

/// A more urgent thread runs as soon as it is woken, though another is busy.
fn priorities() {
    use runtime::thread::{Priority, current, set_priority};
    let stop = AtomicBool::new(false);
    let latest = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(SeqCst) {
                std::hint::spin_loop();
            }
        });
        scope.spawn(|| {
            set_priority(current(), Priority::High);
            for _ in 0..20 {
                let start = Instant::now();
                thread::sleep(Duration::from_millis(2));
                latest.fetch_max((start.elapsed() - Duration::from_millis(2)).as_micros() as u64, SeqCst);
            }
            stop.store(true, SeqCst);
        });
    });
    println!("selftest: an urgent thread was at most {} us late", latest.into_inner());

    let (urgent, ran) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        let (urgent, ran) = (&urgent, &ran);
        scope.spawn(move || {
            set_priority(current(), Priority::High);
            urgent.store(1, SeqCst);
            receiver.iter().for_each(|()| {
                ran.fetch_add(1, SeqCst);
            });
        });
        while urgent.load(SeqCst) == 0 {
            thread::yield_now();
        }
        for sent in 1..=100 {
            sender.send(()).unwrap();
            // With several cores it runs at once too, but not instead of this one.
            while cores::count() > 1 && ran.load(SeqCst) != sent {
                std::hint::spin_loop();
            }
            assert_eq!(ran.load(SeqCst), sent, "the urgent thread did not run at once");
        }
        drop(sender);
    });
}

fn activities() {
    use runtime::thread::{activity, set_activity};
    let theirs = thread::spawn(|| {
        set_activity(77);
        (activity(), thread::spawn(activity).join().unwrap())
    });
    assert_eq!(theirs.join().unwrap(), (77, 77));
    assert_eq!(activity(), 0);
}

fn refusals() {
    let error = std::fs::read("/nothing").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(38), "{error}");
    assert!(std::fs::read_dir("/").is_err());
    assert!(std::net::TcpStream::connect("127.0.0.1:1").is_err());
    assert!(std::net::UdpSocket::bind("127.0.0.1:1").is_err());
    let mut line = String::new();
    assert_eq!(std::io::stdin().read_line(&mut line).unwrap(), 0);
    std::io::stdout().flush().unwrap();
    assert!(runtime::regions::pair(239).is_none());
    abi::refusals();
}

fn surroundings() {
    assert_eq!(std::env::args().next().as_deref(), Some("cyanea"));
    assert_eq!(std::env::var("NOTHING"), Err(std::env::VarError::NotPresent));
    assert_eq!(std::env::current_dir().unwrap(), std::path::Path::new("/"));
}

/// Two VMs with a doorbell device ring one another in turn.
fn bell() {
    use runtime::{bell, clock};
    const ROUNDS: u64 = 1000;
    let own = bell::own_peer().expect("there is no doorbell device");
    println!("selftest: own peer is {own}");
    // A poke ends the next wait; a wait with a deadline ends by itself.
    bell::poke();
    assert!(bell::wait(None));
    let deadline = clock::now_ns() + 20_000_000;
    assert!(!bell::wait(Some(deadline)) && clock::now_ns() >= deadline);
    println!("selftest: ready");
    let other = 1 - own;
    if own == 1 {
        // Rings until somebody answers: the other VM may not be up yet.
        while !bell::wait(Some(clock::now_ns() + 50_000_000)) {
            bell::ring(other);
        }
        thread::sleep(Duration::from_millis(100));
        while bell::wait(Some(0)) {}
        let start = Instant::now();
        for _ in 0..ROUNDS {
            bell::ring(other);
            assert!(bell::wait(Some(clock::now_ns() + 2_000_000_000)), "an answer was lost");
        }
        println!("selftest: {:?} a round trip", start.elapsed() / ROUNDS as u32);
    } else {
        while bell::wait(Some(clock::now_ns() + 2_000_000_000)) {
            bell::ring(other);
        }
    }
    println!("selftest: ok");
}

fn regions() {
    use runtime::regions;
    for function in regions::devices() {
        println!("selftest: device {} is {:04x}:{:04x}", function.address, function.vendor, function.device);
    }
    let named = [("control", regions::control()), ("utility", regions::utility()), ("pool", regions::pool())];
    let pairs = (0..240).map(|peer| ("pair", regions::pair(peer)));
    let start = Instant::now();
    for (name, region) in named.into_iter().chain(pairs) {
        let Some(region) = region else { continue };
        let first = region.word(0);
        let old = first.load(SeqCst);
        first.store(old + 1, SeqCst);
        println!(
            "selftest: {name} has {} bytes, word 0 was {old:#x} is {:#x}",
            region.len(),
            first.load(SeqCst)
        );
    }
    println!("selftest: ok after {:?}", start.elapsed());
}

fn ticks() {
    loop {
        println!("tick {}", runtime::clock::now_ns());
        thread::sleep(Duration::from_millis(200));
    }
}

fn switches() {
    const ROUNDS: u32 = 20_000;
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..ROUNDS).for_each(|_| thread::yield_now()));
        }
    });
    println!("selftest: yield {:?} a switch", start.elapsed() / (2 * ROUNDS));
    let start = Instant::now();
    let main = thread::current();
    let other = thread::spawn(move || {
        (0..ROUNDS).for_each(|_| {
            thread::park();
            main.unpark();
        })
    });
    for _ in 0..ROUNDS {
        other.thread().unpark();
        thread::park();
    }
    other.join().unwrap();
    println!("selftest: park and unpark {:?} a handoff", start.elapsed() / (2 * ROUNDS));
    let start = Instant::now();
    for _ in 0..1000 {
        thread::spawn(|| ()).join().unwrap();
    }
    println!("selftest: spawn and join {:?}", start.elapsed() / 1000);
    let start = Instant::now();
    for _ in 0..100_000 {
        black_box(Box::new(1u64));
    }
    println!("selftest: allocate and free {:?}", start.elapsed() / 100_000);
    let (from, mut to) = (vec![1u8; 4 << 20], vec![2u8; 4 << 20]);
    let start = Instant::now();
    for _ in 0..10 {
        black_box(&mut to).copy_from_slice(black_box(&from));
    }
    println!("selftest: copy {} MB/s", 40_000_000 / start.elapsed().as_micros().max(1));
}
