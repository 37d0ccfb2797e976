//! The heap: many blocks, large ones, odd ones, from many threads.

use crate::{Outcome, checksum, say};
use std::alloc::Layout;
use std::collections::TryReserveError;
use std::sync::mpsc;
use std::thread;

pub fn main() -> Outcome {
    many();
    large();
    growing();
    aligned();
    across_threads();
    refused();
    Ok(())
}

/// 20,000 blocks of all sizes up to 2 KiB, freed in another order.
fn many() {
    let mut blocks: Vec<Vec<u8>> = (0..20_000usize).map(|i| vec![i as u8; i * 7919 % 2048]).collect();
    let whole = blocks.iter().enumerate().all(|(i, block)| block.iter().all(|&byte| byte == i as u8));
    say("many blocks are whole", whole);
    say("bytes in them", blocks.iter().map(Vec::len).sum::<usize>());
    let mut kept = Vec::new();
    while let Some(block) = blocks.pop() {
        if blocks.len().is_multiple_of(3) {
            kept.push(block);
        }
    }
    let again: Vec<Box<[u8]>> = (0..5000).map(|i| vec![1; i % 700].into_boxed_slice()).collect();
    say("kept", (kept.len(), checksum(kept.iter().flatten().copied())));
    say("again", again.iter().map(|block| block.len()).sum::<usize>());
}

fn large() {
    let mut block = vec![0u8; 16 << 20];
    say("a large block is zeroed", block.iter().all(|&byte| byte == 0));
    block.iter_mut().enumerate().for_each(|(i, byte)| *byte = (i / 4096) as u8);
    say("a large block", checksum(block.iter().step_by(4096).copied()));
    drop(block);
    for _ in 0..50 {
        std::hint::black_box(vec![1u8; 8 << 20]);
    }
    say("a large block, 50 times", true);
}

fn growing() {
    let mut bytes = Vec::new();
    for i in 0..1_000_000u32 {
        bytes.push(i as u8);
    }
    bytes.shrink_to_fit();
    say("a vector that grew", (bytes.len(), bytes.capacity(), checksum(bytes.iter().copied())));
    bytes.truncate(10);
    bytes.shrink_to_fit();
    say("a vector that shrank", bytes);
    let mut text = String::new();
    (0..10_000).for_each(|i| text.push_str(&i.to_string()));
    say("a text that grew", (text.len(), checksum(text.bytes())));
}

#[repr(align(4096))]
struct Page([u8; 4096]);

#[repr(align(64))]
#[derive(Clone)]
struct Line(u64);

fn aligned() {
    let pages: Vec<Box<Page>> = (0..50).map(|i| Box::new(Page([i; 4096]))).collect();
    let starts = pages.iter().all(|page| (&raw const **page as usize).is_multiple_of(4096));
    say("pages are aligned", starts && pages.iter().zip(0..).all(|(page, i)| page.0 == [i; 4096]));
    let lines = vec![Line(7); 1000];
    say("lines are aligned", lines.iter().all(|line| (&raw const line.0 as usize).is_multiple_of(64)));
    say("layouts", (Layout::new::<Page>().align(), Layout::from_size_align(8, 3).is_err()));
}

/// What one thread allocates another one frees.
fn across_threads() {
    let (sender, receiver) = mpsc::sync_channel::<Vec<u64>>(16);
    let makers: Vec<_> = (0..4u64)
        .map(|maker| {
            let sender = sender.clone();
            thread::spawn(move || {
                (0..1000).for_each(|i| sender.send(vec![maker; (i % 100) as usize]).unwrap());
            })
        })
        .collect();
    drop(sender);
    let sum: u64 = receiver.iter().map(|block| block.iter().sum::<u64>()).sum();
    makers.into_iter().for_each(|maker| maker.join().unwrap());
    say("across threads", sum);
}

fn refused() {
    let reserve = |count| -> Result<(), TryReserveError> { Vec::<u64>::new().try_reserve(count) };
    say("too much for an address", reserve(usize::MAX).map_err(|error| error.to_string()));
    say("too much for a machine", reserve(1 << 58).is_err());
    say("a little", reserve(1000).is_ok());
}
