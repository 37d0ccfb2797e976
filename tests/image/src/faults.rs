//! Programs that do what ends them, and what looks like it and does not.

use std::hint::black_box;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

/// Does what its argument says, in activity 0; the others wait for messages.
/// With a second argument, on a thread of its own that has a name.
pub fn faulty() {
    if cyanea::activity().index > 0 {
        let _ = cyanea::receive();
        return;
    }
    let arguments = cyanea::args();
    let kind = arguments.first().cloned().unwrap_or_default();
    match arguments.len() {
        0 | 1 => commit(&kind),
        _ => {
            let worker = thread::Builder::new().name("worker".into());
            worker.spawn(move || commit(&kind)).expect("there is memory for a thread").join().unwrap();
        }
    }
    println!("it went on");
}

/// The function that backtraces name.
#[inline(never)]
fn commit(kind: &str) {
    match kind {
        "null" => read(black_box(0x10)),
        "wild" => read(black_box(0x1234_5678_9000)),
        "code" => write(black_box(commit as *const () as usize)),
        "overflow" => println!("{}", deeper(0)),
        "deep-call" => println!("{}", deep_call(0)),
        "execute" => execute(black_box(0x1000)),
        "divide" => divide(black_box(0)),
        "instruction" => undefined(),
        "protection" => read(black_box(1 << 63)),
        "copy" => copy(black_box(0x18)),
        "memory" => exhaust(),
        "too-much" => drop(black_box(Vec::<u8>::with_capacity(1 << 45))),
        "panic" => panic!("as was asked for"),
        "abort" => std::process::abort(),
        "twice" => panic!("{}", Twice),
        "lock" => lock_twice(),
        "locks" => embrace(),
        "print" => println!("{}", Faulty),
        // As if the OS did it: in no activity, and in one of its calls.
        "system" => {
            runtime::thread::set_activity(0);
            read(black_box(0x10));
        }
        "call" => {
            use runtime::thread::within_call;
            within_call(|| divide(black_box(0)));
        }
        other => println!("no kind {other:?}"),
    }
    black_box(kind);
}

#[inline(never)]
fn read(address: usize) {
    // SAFETY: none: nothing is there, which is what is tried.
    black_box(unsafe { (address as *const u8).read_volatile() });
}

#[inline(never)]
fn write(address: usize) {
    // SAFETY: none: the page tables are to stop it.
    unsafe { (address as *mut u8).write_volatile(1) };
}

#[inline(never)]
fn execute(address: usize) {
    // SAFETY: none: no code is there.
    let function: extern "C" fn() = unsafe { std::mem::transmute(address) };
    function();
    black_box(address);
}

#[inline(never)]
fn deeper(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    if depth == u64::MAX { 0 } else { deeper(depth + 1) + frame[(depth % 64) as usize] }
}

/// Calls the system wherever it is on its stack.
#[inline(never)]
fn deep_call(depth: u64) -> u64 {
    let found = black_box(std::fs::metadata("/").is_ok());
    if depth == u64::MAX { 0 } else { deep_call(depth + 1) + u64::from(found) }
}

/// The processor's own division: Rust's would panic first.
#[inline(never)]
fn divide(by: u64) {
    let mut quotient = 1u64;
    // SAFETY: a division; by 0 it is an exception.
    unsafe { std::arch::asm!("div {}", in(reg) by, inout("rax") quotient, inout("rdx") 0u64 => _) };
    black_box(quotient);
}

#[inline(never)]
fn undefined() {
    // SAFETY: no instruction: an exception.
    unsafe { std::arch::asm!("ud2") };
}

#[inline(never)]
fn copy(from: usize) {
    let mut target = [0u8; 100];
    // SAFETY: none: nothing is there.
    unsafe { std::ptr::copy_nonoverlapping(from as *const u8, target.as_mut_ptr(), black_box(100)) };
    black_box(target);
}

fn exhaust() {
    let mut all: Vec<Vec<u8>> = Vec::new();
    loop {
        all.push(vec![1; 1 << 16]);
    }
}

struct Twice;

impl std::fmt::Display for Twice {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("a panic while it panics")
    }
}

/// Faults while standard output's lock is held.
struct Faulty;

impl std::fmt::Display for Faulty {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        read(black_box(0x10));
        Ok(())
    }
}

fn lock_twice() {
    let lock = Mutex::new(());
    let _first = lock.lock().unwrap();
    let _second = lock.lock().unwrap();
}

/// Two threads, each with what the other one wants.
fn embrace() {
    let locks = Arc::new([Mutex::new(()), Mutex::new(())]);
    let theirs = locks.clone();
    let other = thread::spawn(move || {
        let _second = theirs[1].lock().unwrap();
        thread::sleep(Duration::from_millis(50));
        let _first = theirs[0].lock().unwrap();
    });
    let _first = locks[0].lock().unwrap();
    thread::sleep(Duration::from_millis(50));
    let _second = locks[1].lock().unwrap();
    other.join().unwrap();
}

/// Computes for as many rounds as it is given, now and then printing nothing;
/// says the result.
pub fn rounds() {
    let count: u64 = cyanea::args().first().and_then(|count| count.parse().ok()).unwrap_or(1);
    let mut sum = 0u64;
    for round in 0..count {
        for number in 0..1_000_000u64 {
            sum = black_box(sum.wrapping_mul(31).wrapping_add(number ^ round));
        }
        // Memory comes and goes meanwhile.
        let block = vec![sum as u8; 100_000];
        assert!(block.iter().all(|&byte| byte == sum as u8));
    }
    println!("after {count} rounds: {sum}");
}

/// Waits in every way in which a program may, while everybody else sleeps.
pub fn patient() {
    let me = cyanea::activity();
    let (sender, receiver) = mpsc::channel();
    // The only one that wakes the others waits for a message.
    let waker = thread::spawn(move || {
        let message = cyanea::receive().expect("the next activity sends one");
        sender.send(message.body.len()).unwrap();
    });
    thread::sleep(Duration::from_millis(100));
    cyanea::send((me.index + 1) % me.count, &[1, 2, 3]).expect("it is there");
    assert_eq!(receiver.recv(), Ok(3));
    waker.join().unwrap();
    thread::park_timeout(Duration::from_millis(100));
    assert!(std::fs::metadata("/").is_ok());
    println!("activity {} was patient", me.index);
}
