//! Programs with threads on several cores.

use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;

/// As many threads as there are cores, none of which gives way, wait for one
/// another; then threads talk, allocate, print and use files, all at once.
pub fn cores() {
    const ROUNDS: usize = 20;
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let arrived = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    arrived.fetch_add(1, SeqCst);
                    while arrived.load(SeqCst) < round * cores {
                        spin_loop();
                    }
                }
            });
        }
    });
    let (sender, receiver) = mpsc::channel();
    let index = cyanea::activity().index;
    thread::scope(|scope| {
        for own in 0..2 * cores {
            let sender = sender.clone();
            scope.spawn(move || {
                for round in 0..10 {
                    println!("activity {index}, thread {own}, round {round}");
                    let path = format!("/cores-{index}-{own}-{round}");
                    std::fs::write(&path, path.repeat(100)).expect("the file can be written");
                    let read = std::fs::read_to_string(&path).expect("the file can be read");
                    assert_eq!(read, path.repeat(100));
                    std::fs::remove_file(&path).expect("the file can be removed");
                    sender.send(black_box(vec![own; 100]).len()).expect("somebody receives");
                }
            });
        }
        drop(sender);
        let sum: usize = receiver.iter().sum();
        println!("activity {index}: {cores} cores, sum {}", sum / cores);
    });
}
