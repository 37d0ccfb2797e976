//! Activities that fill their heaps and end with all of it, one way or another.

use std::hint::black_box;
use std::io::Write;
use std::thread;
use std::time::Duration;

/// Bytes of a large block.
const LARGE: usize = 700 << 10;
/// Bytes of a small one.
const SMALL: usize = 1000;

/// What is in a block.
fn pattern(block: usize) -> u8 {
    black_box((block * 7 + 3) as u8)
}

/// Takes so many MiB, half of it in small blocks, and looks at all of it again.
fn take(mebibytes: usize) {
    let half = mebibytes << 19;
    let sizes = [(SMALL, half / SMALL), (LARGE, half / LARGE)];
    let blocks = sizes.into_iter().flat_map(|(size, count)| std::iter::repeat_n(size, count)).enumerate();
    let blocks: Vec<Vec<u8>> = blocks.map(|(block, size)| vec![pattern(block); size]).collect();
    for (block, bytes) in blocks.iter().enumerate() {
        assert!(bytes.iter().all(|&byte| byte == pattern(block)), "block {block} was written to");
    }
    std::mem::forget(blocks);
}

/// `hoard MIB END`: takes memory on two threads, and ends.
pub fn hoard() {
    let args = cyanea::args();
    let mebibytes: usize = args[0].parse().expect("MiB");
    let other = thread::spawn(move || take(mebibytes / 2));
    take(mebibytes / 2);
    other.join().expect("it ends well");
    print!("full");
    std::io::stdout().flush().expect("somebody reads it");
    match args[1].as_str() {
        "return" => {}
        "exit" => std::process::exit(0),
        "panic" => panic!("as it is meant to"),
        "null" => {
            // SAFETY: none: the activity ends there.
            #[expect(unsafe_code, reason = "a fault")]
            unsafe {
                black_box(std::ptr::null_mut::<u64>()).write_volatile(1);
            }
        }
        "more" => loop {
            take(2);
        },
        _ => thread::sleep(Duration::MAX),
    }
}

/// `hoard-mail MIB`: activity 1 keeps so much of what activity 0 sends it, and exits with it.
pub fn mail() {
    let mebibytes: usize = cyanea::args()[0].parse().expect("MiB");
    let count = (mebibytes << 20) / cyanea::MAX_MESSAGE;
    if cyanea::activity().index == 0 {
        for message in 0..count {
            cyanea::send(1, &[pattern(message); cyanea::MAX_MESSAGE]).expect("it is there");
        }
        return;
    }
    let kept: Vec<_> = (0..count).map(|_| cyanea::receive().expect("it is sent")).collect();
    for (message, of) in kept.iter().enumerate() {
        let is_whole = of.body.len() == cyanea::MAX_MESSAGE;
        assert!(is_whole && of.body.iter().all(|&byte| byte == pattern(message)), "message {message}");
    }
    print!("full");
    std::io::stdout().flush().expect("somebody reads it");
    std::process::exit(0);
}

/// Takes all that there is, down to the last bytes.
fn take_all() {
    for size in [LARGE, SMALL, 8] {
        let block = || {
            let mut block: Vec<u8> = Vec::new();
            block.try_reserve_exact(size).map(|()| block)
        };
        std::iter::from_fn(|| block().ok()).for_each(std::mem::forget);
    }
    println!("all is taken");
}

/// `hoard-all`: takes it and waits.
pub fn all() {
    take_all();
    thread::sleep(Duration::MAX);
}

/// `hoard-and-receive`: activity 1 takes it, and keeps what activity 0 sends even so.
pub fn and_receive() {
    if cyanea::activity().index == 0 {
        while cyanea::send(1, &[1; cyanea::MAX_MESSAGE]).is_ok() {}
        return;
    }
    take_all();
    loop {
        std::mem::forget(cyanea::receive().expect("it is sent"));
    }
}
