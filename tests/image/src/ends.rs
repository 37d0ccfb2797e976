//! Ends that come in the midst of things, and what must not be taken for one.

use crate::statics::untouched;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

/// Eight threads end the activity at the same moment.
pub fn all_exit() {
    let together = Arc::new(Barrier::new(8));
    for _ in 0..8 {
        let together = together.clone();
        thread::spawn(move || {
            together.wait();
            std::process::exit(3)
        });
    }
    thread::sleep(Duration::MAX);
}

/// An invalid instruction, with a frame pointer that leads to a static which nobody has touched.
pub fn lost_frame() {
    let frame = untouched();
    // SAFETY: it stops there.
    #[expect(unsafe_code, reason = "spoils what only assembly can spoil")]
    unsafe {
        std::arch::asm!("mov rbp, {}", "ud2", in(reg) frame, options(noreturn))
    }
}

/// A thread-local that panics when it is dropped.
struct Explosive;

impl Drop for Explosive {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

thread_local! {
    static EXPLOSIVE: Explosive = const { Explosive };
}

/// Returns from `main` with such a thread-local.
pub fn explosive() {
    EXPLOSIVE.with(|_| println!("armed"));
}

/// The first half of a word of the cluster's pool.
fn shared_word() -> &'static AtomicU32 {
    let word = &cyanea::pool().expect("a node has its cluster's pool")[8];
    // SAFETY: half of an atomic word that stays; all use this half alone.
    #[expect(unsafe_code, reason = "the ABI waits at 32 bits")]
    unsafe {
        AtomicU32::from_ptr(word.as_ptr().cast())
    }
}

/// Activity 0 waits, by the ABI, at memory that activity 1 of the same node writes to.
pub fn shared_futex() {
    let word = shared_word();
    let waits = cyanea::activity().index == 0;
    if !waits {
        thread::sleep(Duration::from_millis(300));
        word.store(1, SeqCst);
    }
    // SAFETY: the word stays.
    #[expect(unsafe_code, reason = "the ABI's own calls")]
    unsafe {
        while waits && word.load(SeqCst) == 0 {
            hermit_abi::futex_wait(word.as_ptr(), 0, std::ptr::null(), 0);
        }
        hermit_abi::futex_wake(word.as_ptr(), 1);
    }
    if waits {
        word.store(0, SeqCst);
    }
    println!("activity {} goes on", cyanea::activity().index);
}
