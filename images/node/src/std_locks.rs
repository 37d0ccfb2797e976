//! Frees the locks of `std`'s standard output and error when a thread ends that
//! holds one.
//!
//! All activities of a node share these locks, and a thread that ends without
//! unwinding (it panicked, called `exit`, or was ended) drops no guard: nobody
//! on this node could print again. `std` has no call for that, so this module
//! learns at boot what such a lock looks like when it is free and when it is
//! held, and makes it look free again. It knows no more of `std` than that a
//! `Stdout` is a reference to a `ReentrantLock`, whose owner is a thread id.
//!
//! The one module of this crate with `unsafe`.
#![expect(unsafe_code, reason = "reads and writes the words of a lock that std keeps to itself")]

use std::cell::RefCell;
use std::io::{self, Empty, LineWriter, Stderr, Stdout};
use std::mem::{size_of, transmute_copy};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{OnceLock, ReentrantLock};

/// A lock of `std`, and what its words are when nobody holds it.
struct ConsoleLock {
    words: &'static [AtomicU64],
    /// The word that holds the owner's thread id.
    owner: usize,
    /// Every word that locking changes, with its value when free: first those that
    /// the holder alone looks at, last the one that others wait for. As soon as that
    /// is free, others (on other cores) take the lock and write the words anew.
    free: Vec<(usize, u64)>,
}

const _: () = assert!(size_of::<Stdout>() == size_of::<usize>() && size_of::<Stderr>() == size_of::<usize>());

static LOCKS: OnceLock<Vec<ConsoleLock>> = OnceLock::new();

/// Learns what the locks look like. At boot, while nobody prints.
pub fn learn() {
    let locks = [
        learn_one(stdout_words(), || Held::look(|| io::stdout().lock(), stdout_words())),
        learn_one(stderr_words(), || Held::look(|| io::stderr().lock(), stderr_words())),
    ];
    let _ = LOCKS.set(locks.into_iter().flatten().collect());
    runtime::thread::at_end(release_own);
}

/// Frees what the calling thread holds; it is about to end.
fn release_own() {
    let own = own_id();
    for lock in LOCKS.get().into_iter().flatten() {
        if lock.words[lock.owner].load(SeqCst) == own {
            lock.release();
        }
    }
}

impl ConsoleLock {
    fn release(&self) {
        for &(word, value) in &self.free {
            self.words[word].store(value, SeqCst);
        }
        for &(word, _) in &self.free {
            // Whichever half of these words they wait at.
            let futex = self.words[word].as_ptr().cast::<u32>();
            for half in 0..2 {
                // SAFETY: both halves lie within a word of the lock, which is static.
                unsafe { hermit_abi::futex_wake(futex.add(half), i32::MAX) };
            }
        }
    }
}

fn own_id() -> u64 {
    std::thread::current().id().as_u64().get()
}

fn look(words: &[AtomicU64]) -> Vec<u64> {
    words.iter().map(|word| word.load(SeqCst)).collect()
}

/// What the words of a lock are while it is held.
struct Held {
    once: Vec<u64>,
    /// While its holder has it twice: then the count has changed, and nothing else.
    twice: Vec<u64>,
    /// Who holds it.
    id: u64,
}

impl Held {
    fn look<G>(lock: impl Fn() -> G, words: &[AtomicU64]) -> Self {
        let _first = lock();
        let once = look(words);
        let _second = lock();
        Self { once, twice: look(words), id: own_id() }
    }
}

/// `None` if the lock is not as this module expects; then it stays as it is.
fn learn_one(
    words: &'static [AtomicU64],
    while_held: impl FnOnce() -> Held + Send + 'static,
) -> Option<ConsoleLock> {
    let free = look(words);
    // On a thread of its own: this one's id may be 1, as the count of locks is.
    let Held { once, twice, id } = std::thread::spawn(while_held).join().ok()?;
    let owner = once.iter().position(|&word| word == id)?;
    let changed = free.iter().zip(&once).enumerate().filter(|(_, (free, held))| free != held);
    let mut changed: Vec<_> = changed.map(|(word, (&free, _))| (word, free)).collect();
    // The count may share its word with what others wait for.
    let count = once.iter().zip(&twice).position(|(once, twice)| once != twice)?;
    changed.sort_by_key(|&(word, _)| (word != owner, word != count));
    let known = free[owner] == 0 && (2..=3).contains(&changed.len()) && look(words) == free;
    known.then_some(ConsoleLock { words, owner, free: changed })
}

fn stdout_words() -> &'static [AtomicU64] {
    // SAFETY: a `Stdout` is a reference to a static lock of at least this size
    // (`Empty` has no size, as the raw output has none), aligned to 8 for the
    // owner's sake; its words are atomics, or are changed by their holder alone
    // and only read here.
    unsafe {
        let first = transmute_copy::<Stdout, *const AtomicU64>(&io::stdout());
        std::slice::from_raw_parts(first, size_of::<ReentrantLock<RefCell<LineWriter<Empty>>>>() / 8)
    }
}

fn stderr_words() -> &'static [AtomicU64] {
    // SAFETY: as for `stdout_words`, but what the lock guards has no buffer.
    unsafe {
        let first = transmute_copy::<Stderr, *const AtomicU64>(&io::stderr());
        std::slice::from_raw_parts(first, size_of::<ReentrantLock<RefCell<Empty>>>() / 8)
    }
}
