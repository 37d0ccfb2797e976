//! A node image with the programs that are measured: they print what they
//! found as `name: number` lines.
#![forbid(unsafe_code)]

use cyanea::pipe::{Name, Receiver, Sender};
use node::program;
use std::fs::File;
use std::hint::{black_box, spin_loop};
use std::io::{Read, Seek, SeekFrom};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

/// Bytes of each read: what `std::fs::copy` and readers with large buffers ask for.
const CHUNK: usize = 1 << 20;

fn main() {
    node::main(&[
        program!("throughput", throughput),
        program!("gap", gap),
        program!("bulk", bulk),
        program!("same", same),
        program!("late", late),
    ])
}

/// The program's argument at `index`.
fn argument(index: usize) -> String {
    cyanea::args().get(index).cloned().expect("the bench gives every argument")
}

/// Reads a file over and over, and copies as many bytes in memory in between:
/// `throughput FILE PASSES` prints nanoseconds of each pass.
fn throughput() -> std::io::Result<()> {
    let (path, passes) = (argument(0), argument(1).parse().unwrap_or(5));
    let mut file = File::open(path)?;
    let length = file.metadata()?.len() as usize;
    let (source, mut target) = (vec![1u8; length], vec![0u8; length]);
    for _ in 0..passes {
        let start = Instant::now();
        target.copy_from_slice(black_box(&source));
        println!("copy: {}", start.elapsed().as_nanos());
        black_box(&target);

        file.seek(SeekFrom::Start(0))?;
        let start = Instant::now();
        target.chunks_mut(CHUNK).try_for_each(|chunk| file.read_exact(chunk))?;
        println!("read: {}", start.elapsed().as_nanos());
        black_box(&target);
    }
    Ok(())
}

/// Activity 1 sends messages of the greatest length through a pipe; in between
/// activity 0 copies as many bytes in memory, and both hand as many over through
/// bare shared memory: `bulk MESSAGES PASSES` prints nanoseconds of each pass.
fn bulk() -> Result<(), Box<dyn std::error::Error>> {
    let (messages, passes) = (argument(0).parse::<usize>()?, argument(1).parse::<usize>()?);
    let (source, mut target) = (vec![1; cyanea::MAX_MESSAGE], vec![0; cyanea::MAX_MESSAGE]);
    let shared = Handover::open();
    if cyanea::activity().index > 0 {
        let sender = Sender::open(Name::try_from(&cyanea::receive()?.body[..])?)?;
        for _ in 0..passes {
            cyanea::receive()?;
            (0..messages).try_for_each(|_| sender.send(&source))?;
            cyanea::receive()?;
            (0..messages).for_each(|number| shared.write(number, &source));
            cyanea::send(0, b"done")?;
        }
        return Ok(());
    }
    let pipe = Receiver::new();
    cyanea::send(1, &pipe.name().to_bytes())?;
    for _ in 0..passes {
        let start = Instant::now();
        for _ in 0..messages {
            target.copy_from_slice(black_box(&source));
            black_box(&mut target);
        }
        println!("copy: {}", start.elapsed().as_nanos());
        let start = Instant::now();
        cyanea::send(1, b"go")?;
        for _ in 0..messages {
            pipe.receive_into(&mut target)?;
        }
        println!("pipe: {}", start.elapsed().as_nanos());
        let start = Instant::now();
        cyanea::send(1, b"go")?;
        (0..messages).for_each(|number| shared.read(number, &mut target));
        println!("shared: {}", start.elapsed().as_nanos());
        cyanea::receive()?;
        shared.reset();
    }
    Ok(())
}

/// What is measured on Linux as well: `same ROUNDS`.
fn same() {
    bench_same::measure(argument(0).parse().unwrap_or(1));
}

/// Sleeps: `late MILLISECONDS SLEEPS` prints by how many nanoseconds each was late.
fn late() {
    let [length, sleeps] = [0, 1].map(|index| argument(index).parse().unwrap_or(1));
    for late in bench_same::sleeps::late(Duration::from_millis(length), sleeps as usize) {
        println!("late: {late}");
    }
}

/// Blocks in the pool that one VM fills while the other one empties them, both
/// polling: the least that handing bytes over between two VMs can cost.
///
/// ```text
/// each block   line 0, word 0: how many messages were put in and taken out of it
///              lines 1...: the message
/// ```
struct Handover(&'static [AtomicU64]);

impl Handover {
    /// As many bytes as a pipe takes unread.
    const BLOCKS: usize = 4;
    const HEAD_WORDS: usize = 8;
    const BLOCK_WORDS: usize = Self::HEAD_WORDS + cyanea::MAX_MESSAGE / 8;

    fn open() -> Self {
        Self(cyanea::pool().expect("a cluster has a pool"))
    }

    /// The block of this message when it is its turn: to be filled if `turn` is
    /// 0, to be emptied if it is 1.
    fn block(&self, number: usize, turn: usize) -> (&AtomicU64, &[AtomicU64]) {
        let block = &self.0[number % Self::BLOCKS * Self::BLOCK_WORDS..][..Self::BLOCK_WORDS];
        let (head, words) = block.split_at(Self::HEAD_WORDS);
        let passed = (number / Self::BLOCKS * 2 + turn) as u64;
        // SYNC: bench-handover
        while head[0].load(Acquire) != passed {
            spin_loop();
        }
        (&head[0], words)
    }

    fn write(&self, number: usize, source: &[u8]) {
        let (head, words) = self.block(number, 0);
        for (word, bytes) in words.iter().zip(source.as_chunks().0) {
            word.store(u64::from_ne_bytes(*bytes), Relaxed);
        }
        // SYNC: bench-handover
        head.store(head.load(Relaxed) + 1, Release);
    }

    fn read(&self, number: usize, target: &mut [u8]) {
        let (head, words) = self.block(number, 1);
        for (word, bytes) in words.iter().zip(target.as_chunks_mut().0) {
            *bytes = word.load(Relaxed).to_ne_bytes();
        }
        black_box(target);
        // SYNC: bench-handover
        head.store(head.load(Relaxed) + 1, Release);
    }

    /// Makes all blocks fresh, when the other end is done with them.
    fn reset(&self) {
        (0..Self::BLOCKS).for_each(|block| self.0[block * Self::BLOCK_WORDS].store(0, Release));
    }
}

/// Reads a few bytes of a file over and over: `gap FILE MILLISECONDS` prints
/// the longest time between two answers.
fn gap() -> std::io::Result<()> {
    let (path, length) = (argument(0), argument(1).parse().unwrap_or(1000));
    let mut file = File::open(path)?;
    let (mut longest, mut answers) = (Duration::ZERO, 0u64);
    let mut bytes = [0; 64];
    let start = Instant::now();
    let mut last = start;
    println!("reading: 0");
    while start.elapsed() < Duration::from_millis(length) {
        file.seek(SeekFrom::Start(answers % 1024))?;
        file.read_exact(&mut bytes)?;
        let now = Instant::now();
        longest = longest.max(now - last);
        last = now;
        answers += 1;
    }
    println!("longest: {}", longest.as_nanos());
    println!("answers: {answers}");
    Ok(())
}
