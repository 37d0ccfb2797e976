//! Programs that begin and end in various ways.

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Says who it is and what it was given.
pub fn hello() {
    let me = cyanea::activity();
    println!("hello from activity {} of {}, given {:?}", me.index, me.count, cyanea::args());
}

/// Panics in one activity; the others wait for ever.
pub fn panicker() {
    if cyanea::activity().index == 0 {
        panic!("activity 0 panics on purpose");
    }
    sleeper();
}

/// Ends with the exit code that it is given, by way of `process::exit`.
pub fn exit() -> ExitCode {
    let code = cyanea::args().first().and_then(|code| code.parse().ok()).unwrap_or(0);
    println!("about to exit");
    std::process::exit(code)
}

/// Sleeps for ever.
pub fn sleeper() {
    println!("activity {} sleeps", cyanea::activity().index);
    loop {
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Computes for ever, now and then looking at a file.
pub fn spinner() {
    println!("activity {} spins", cyanea::activity().index);
    let mut sum = 0u64;
    loop {
        for number in 0..10_000_000u64 {
            sum = std::hint::black_box(sum.wrapping_add(number));
        }
        let _ = std::fs::metadata("/");
    }
}

/// Waits for a message that nobody sends.
pub fn receiver() {
    if cyanea::activity().index == 0 {
        println!("received: {:?}", cyanea::receive());
    }
}

/// The same in every activity: none ends.
pub fn receiver_forever() {
    println!("activity {} waits", cyanea::activity().index);
    let _ = cyanea::receive();
}

/// Writes for ever, faster than anybody reads.
pub fn talker() {
    let me = cyanea::activity().index;
    for line in 0u64.. {
        println!("activity {me} says line {line}, which is neither the first nor the last");
    }
}

/// Computes for ever and never calls the system.
pub fn computer() {
    println!("activity {} computes", cyanea::activity().index);
    let mut sum = 0u64;
    loop {
        sum = std::hint::black_box(sum.wrapping_mul(3));
    }
}

/// What a thread of `leaver` has counted, where other activities see it.
fn count() -> &'static AtomicU64 {
    &cyanea::pool().expect("a node has its cluster's pool")[0]
}

/// Its `main` returns after a while; a thread of it counts on.
pub fn leaver() {
    std::thread::spawn(|| {
        loop {
            count().fetch_add(1, Relaxed);
        }
    });
    println!("here");
    std::thread::sleep(Duration::from_millis(500));
    println!("over");
}

/// On the same node: says when a thread of `leaver` counts no more.
pub fn watcher() {
    println!("watching");
    let (mut last, mut looks) = (0, 0);
    while looks < 5 {
        std::thread::sleep(Duration::from_millis(100));
        let now = count().load(Relaxed);
        looks = if now > 0 && now == last { looks + 1 } else { 0 };
        last = now;
    }
    println!("it is quiet");
    sleeper();
}

/// Ends, in the way it is told, while it holds the locks of standard output and error.
pub fn locker() {
    let mut out = std::io::stdout().lock();
    let _err = std::io::stderr().lock();
    let index = cyanea::activity().index;
    writeln!(out, "activity {index} holds the locks").expect("somebody reads");
    match cyanea::args().first().map(String::as_str) {
        Some("panic") if index == 0 => panic!("activity 0 panics with the locks held"),
        Some("exit") => std::process::exit(0),
        Some("wait") if index == 0 => std::process::exit(3),
        Some("compute") if index == 0 => {
            cyanea::send(1, &[]).expect("it waits for that");
            loop {
                std::hint::spin_loop();
            }
        }
        Some("compute") if index == 1 => {
            let _ = cyanea::receive();
            std::process::exit(4)
        }
        _ => drop(cyanea::receive()),
    }
}
