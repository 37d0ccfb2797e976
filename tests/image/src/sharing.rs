//! Programs whose activities share memory or messages.

use std::process::ExitCode;
use std::sync::atomic::Ordering::SeqCst;

/// Every activity adds 1 to one counter in the pool so many times, all at once;
/// activity 0 says what it finds.
pub fn adder() {
    let me = cyanea::activity();
    let additions: u64 = cyanea::args().first().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let pool = cyanea::pool().expect("a node has its cluster's pool");
    let [counter, present] = [&pool[0], &pool[8]];
    present.fetch_add(1, SeqCst);
    while present.load(SeqCst) < me.count as u64 {
        std::hint::spin_loop();
    }
    for _ in 0..additions {
        counter.fetch_add(1, SeqCst);
    }
    if me.index > 0 {
        cyanea::send(0, b"done").expect("activity 0 is alive");
        return;
    }
    for _ in 1..me.count {
        cyanea::receive().expect("the others are alive");
    }
    println!("found {} of {}", counter.load(SeqCst), additions * me.count as u64);
}

/// Activity 0 sends messages of many sizes to all others, which send them back.
pub fn echo() {
    let me = cyanea::activity();
    let sizes = [0, 1, 31, 32, 33, 55, 56, 57, 4096, 20_000, cyanea::MAX_MESSAGE];
    if me.index > 0 {
        for _ in sizes {
            let message = cyanea::receive().expect("activity 0 is alive");
            cyanea::send(message.from, &message.body).expect("activity 0 is alive");
        }
        return;
    }
    for size in sizes {
        let body: Vec<u8> = (0..size).map(|byte| (byte % 251) as u8).collect();
        for other in 1..me.count {
            cyanea::send(other, &body).expect("the others are alive");
        }
        for _ in 1..me.count {
            let message = cyanea::receive().expect("the others are alive");
            assert_eq!(message.body, body, "from activity {}", message.from);
        }
    }
    assert_eq!(cyanea::send(0, &[0; cyanea::MAX_MESSAGE + 1]), Err(cyanea::Error::TooLong));
    assert_eq!(cyanea::send(me.count, &[]), Err(cyanea::Error::NoSuchActivity));
    println!("echo: {} sizes to {} activities", sizes.len(), me.count - 1);
}

/// Every activity sends to the next, and receives, until that fails.
pub fn chatter() -> ExitCode {
    let me = cyanea::activity();
    let body = [me.index as u8; 3000];
    loop {
        if cyanea::send((me.index + 1) % me.count, &body).and_then(|()| cyanea::receive()).is_err() {
            return ExitCode::from(9);
        }
    }
}
