//! Verifies the file system's invariants, all of them, from the region alone.

use super::FileSystem;
use super::inode::{Field, Inode};
use super::layout::{BLOCK, Counter};
use super::map::{DIRECT, DOUBLE_START, Pointer, TABLE};
use super::names::{hash, name_of};
use super::openings::{COUNT, HOLDER, INODE, NEXT, OWNER, SHARED};
use super::path::ROOT;
use crate::shared::cells::{Cells, View};
use kernel::protocol::files::FileKind;
use std::collections::{HashMap, HashSet};

/// What a clean file system holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Files, those without a name included.
    pub files: u64,
    /// Directories, the root included.
    pub directories: u64,
    /// Symbolic links.
    pub links: u64,
    /// Blocks used, tables of pointers included.
    pub blocks: u64,
    /// Openings: pairs of a client and an inode.
    pub openings: u64,
    /// Locks of files.
    pub locks: u64,
}

/// What is wrong, and with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// An inode that cannot be, or that is reached and free.
    Inode(u64),
    /// Two owners of this block, or none although it is used, or it is free
    /// although it has one.
    Block(u32),
    /// A block behind the end of this file, or its count of blocks is wrong.
    Blocks(u32),
    /// The summary is wrong about this word of the bitmap.
    Summary(usize),
    /// This inode's number of links, or of names in it, is wrong.
    Count(u32),
    /// This directory's list is broken.
    List(u32),
    /// This inode's name is not found, or not where it is looked for.
    Name(u32),
    /// This inode has neither a name nor an opening.
    Orphan(u32),
    /// This opening, or a chain that leads to it, is wrong.
    Opening(u64),
    /// This file's locks exclude each other, or are of somebody who does not have it open.
    Locks(u32),
    /// A count of used things, or a list of free ones, is wrong.
    Free,
}

impl FileSystem {
    /// Verifies the whole file system, under the lock.
    pub fn check(&self) -> Result<Report, Vec<Problem>> {
        let change = self.begin();
        let mut check = Check::new(self, change.cells());
        check.inodes();
        check.directories();
        check.buckets();
        check.bitmap();
        check.free_inodes();
        check.openings();
        if check.problems.is_empty() { Ok(check.report) } else { Err(check.problems) }
    }
}

struct Check<'f> {
    fs: &'f FileSystem,
    cells: &'f Cells,
    report: Report,
    problems: Vec<Problem>,
    /// All inodes in use.
    used: HashMap<u32, (Inode, FileKind)>,
    /// Inodes found in a directory's list.
    named: HashSet<u32>,
    /// Blocks that belong to a file.
    blocks: HashSet<u32>,
    touched: u64,
}

impl<'f> Check<'f> {
    fn new(fs: &'f FileSystem, cells: &'f Cells) -> Self {
        let touched = fs.counter(cells, Counter::InodesTouched).min(fs.layout.inode_count as u64);
        Self {
            fs,
            cells,
            report: Report::default(),
            problems: Vec::new(),
            used: HashMap::new(),
            named: HashSet::new(),
            blocks: HashSet::new(),
            touched,
        }
    }

    fn wrong(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Collects the inodes in use, and the blocks of the files among them.
    fn inodes(&mut self) {
        for number in 1..=self.touched {
            let Ok(inode) = self.fs.layout.inode(number) else { return };
            match inode.kind(self.cells) {
                Ok(None) => {}
                Err(_) => self.wrong(Problem::Inode(number)),
                Ok(Some(kind)) => {
                    self.used.insert(inode.number, (inode, kind));
                    match kind {
                        FileKind::Directory => self.report.directories += 1,
                        FileKind::Regular => {
                            self.report.files += 1;
                            self.file(inode);
                        }
                        FileKind::Link => self.link(inode),
                    }
                }
            }
        }
        if self.fs.counter(self.cells, Counter::UsedInodes) != self.used.len() as u64
            || self.fs.counter(self.cells, Counter::InodesTouched) != self.touched
        {
            self.wrong(Problem::Free);
        }
    }

    /// A link stands for something, and its blocks are a file's.
    fn link(&mut self, inode: Inode) {
        self.report.links += 1;
        if self.fs.link_target(self.cells, inode).is_err() {
            self.wrong(Problem::Inode(inode.number.into()));
        }
        self.file(inode);
    }

    /// Collects the blocks of one file.
    fn file(&mut self, inode: Inode) {
        let keep = inode.get(self.cells, Field::Size).div_ceil(BLOCK as u64);
        let mut count = 0;
        for index in 0..DIRECT {
            let pointer = Pointer::of_inode(inode, index);
            self.leaf(inode, pointer, index < keep, &mut count);
        }
        self.table(inode, Pointer::single(inode), DIRECT, keep, &mut count);
        if let Some(tables) = self.own(Pointer::double(inode), &mut count) {
            for index in 0..TABLE {
                let start = DOUBLE_START + index * TABLE;
                self.table(inode, Pointer::of_table(tables, index), start, keep, &mut count);
            }
        }
        if count != inode.get(self.cells, Field::Blocks) {
            self.wrong(Problem::Blocks(inode.number));
        }
    }

    fn table(&mut self, inode: Inode, pointer: Pointer, start: u64, keep: u64, count: &mut u64) {
        let Some(table) = self.own(pointer, count) else { return };
        if start >= keep {
            self.wrong(Problem::Blocks(inode.number));
        }
        for index in 0..TABLE {
            self.leaf(inode, Pointer::of_table(table, index), start + index < keep, count);
        }
    }

    fn leaf(&mut self, inode: Inode, pointer: Pointer, within: bool, count: &mut u64) {
        if self.own(pointer, count).is_some() && !within {
            self.wrong(Problem::Blocks(inode.number));
        }
    }

    /// Notes that a block has an owner; where it is, if there is one.
    fn own(&mut self, pointer: Pointer, count: &mut u64) -> Option<usize> {
        let block = pointer.get(self.cells);
        if block == 0 {
            return None;
        }
        *count += 1;
        let at = self.fs.layout.block(block).ok().filter(|_| self.blocks.insert(block));
        if at.is_none() {
            self.wrong(Problem::Block(block));
        }
        at
    }

    /// Follows every directory's list.
    fn directories(&mut self) {
        let all: Vec<(Inode, FileKind)> = self.used.values().copied().collect();
        for &(inode, kind) in &all {
            if kind == FileKind::Directory {
                self.directory(inode);
            }
        }
        for (inode, kind) in all {
            let named = self.named.contains(&inode.number) || u64::from(inode.number) == ROOT;
            if !named && inode.get(self.cells, Field::Openings) == 0 {
                self.wrong(Problem::Orphan(inode.number));
            }
            let links = inode.get(self.cells, Field::Links);
            if (links > 0) != named || (kind != FileKind::Directory && links > 1) {
                self.wrong(Problem::Count(inode.number));
            }
            let above =
                self.fs.layout.inode(ROOT).and_then(|root| self.fs.is_within(self.cells, inode, root));
            if kind == FileKind::Directory && named && above != Ok(true) {
                self.wrong(Problem::List(inode.number));
            }
        }
    }

    /// Follows one directory's list, forth, and checks what leads back.
    fn directory(&mut self, directory: Inode) {
        let (mut previous, mut place, mut names, mut subdirectories) = (0, 0, 0, 0);
        let mut next = directory.get(self.cells, Field::First);
        while next != 0 {
            let found = u32::try_from(next).ok().and_then(|number| self.used.get(&number)).copied();
            let Some((inode, kind)) = found else { return self.wrong(Problem::Inode(next)) };
            let fits = inode.get(self.cells, Field::Parent) == u64::from(directory.number)
                && inode.get(self.cells, Field::Previous) == previous
                && inode.get(self.cells, Field::Place) > place
                && self.named.insert(inode.number);
            if !fits {
                return self.wrong(Problem::List(directory.number));
            }
            (previous, place) = (next, inode.get(self.cells, Field::Place));
            names += 1;
            subdirectories += u64::from(kind == FileKind::Directory);
            next = inode.get(self.cells, Field::Next);
        }
        if directory.get(self.cells, Field::Last) != previous
            || directory.get(self.cells, Field::NextPlace) <= place
        {
            self.wrong(Problem::List(directory.number));
        }
        let links = directory.get(self.cells, Field::Links);
        if directory.get(self.cells, Field::Size) != names
            || (links != subdirectories + 2 && (links, names) != (0, 0))
        {
            self.wrong(Problem::Count(directory.number));
        }
    }

    /// Follows the chains of all hashes.
    fn buckets(&mut self) {
        let mut found = HashSet::new();
        for bucket in 0..self.fs.layout.bucket_count as u64 {
            let mut next = self.cells.word(self.fs.layout.bucket(bucket));
            while next != 0 {
                let Ok(inode) = self.fs.layout.inode(next) else {
                    return self.wrong(Problem::Inode(next));
                };
                if !found.insert(inode.number) || !self.is_in_bucket(inode, bucket) {
                    return self.wrong(Problem::Name(inode.number));
                }
                next = inode.get(self.cells, Field::Chain);
            }
        }
        for &number in found.symmetric_difference(&self.named) {
            self.problems.push(Problem::Name(number));
        }
    }

    /// Whether an inode belongs into this chain.
    fn is_in_bucket(&self, inode: Inode, bucket: u64) -> bool {
        let parent = self.fs.layout.inode(inode.get(self.cells, Field::Parent));
        let (Ok(parent), Ok(name)) = (parent, name_of(self.cells, inode)) else { return false };
        let hash = hash(parent, &name);
        inode.get(self.cells, Field::Hash) == hash
            && self.fs.layout.bucket(hash) == self.fs.layout.bucket(bucket)
            && self.fs.lookup(self.cells, parent, &name) == Ok(Some(inode))
    }

    /// Compares the bitmap with the blocks that were found.
    fn bitmap(&mut self) {
        for word in 0..self.fs.layout.bitmap_words {
            let bits = self.cells.word(self.fs.layout.bitmap + word * 8);
            for bit in 0..64 {
                let block = (word * 64 + bit + 1) as u32;
                if (bits >> bit & 1 == 1) != self.blocks.contains(&block) {
                    self.wrong(Problem::Block(block));
                }
            }
            let (summary, mask) = self.fs.summary_of(word);
            if (self.cells.word(summary) & mask != 0) != (bits == u64::MAX) {
                self.wrong(Problem::Summary(word));
            }
        }
        self.report.blocks = self.blocks.len() as u64;
        if self.fs.counter(self.cells, Counter::UsedBlocks) != self.report.blocks {
            self.wrong(Problem::Free);
        }
    }

    /// Follows the list of free inodes: with those in use, it has all.
    fn free_inodes(&mut self) {
        let mut free = HashSet::new();
        let mut next = self.fs.counter(self.cells, Counter::FreeInode);
        while next != 0 {
            let Ok(inode) = self.fs.layout.inode(next) else { return self.wrong(Problem::Inode(next)) };
            if next > self.touched || self.used.contains_key(&inode.number) || !free.insert(next) {
                return self.wrong(Problem::Inode(next));
            }
            next = inode.get(self.cells, Field::Chain);
        }
        if (free.len() + self.used.len()) as u64 != self.touched {
            self.wrong(Problem::Free);
        }
    }

    /// Follows the chains of openings and the list of free ones.
    fn openings(&mut self) {
        let mut found = HashSet::new();
        let all: Vec<Inode> = self.used.values().map(|&(inode, _)| inode).collect();
        for inode in all {
            let (mut owners, mut locks) = (HashSet::new(), Vec::new());
            let mut next = inode.get(self.cells, Field::Openings);
            while next != 0 {
                let Ok(at) = self.fs.layout.opening(next) else { return self.wrong(Problem::Opening(next)) };
                let word = |field: usize| self.cells.word(at + field);
                let fits = word(INODE) == u64::from(inode.number) && word(COUNT) > 0 && word(OWNER) != 0;
                if !fits || !owners.insert((word(OWNER), word(HOLDER))) || !found.insert(next) {
                    return self.wrong(Problem::Opening(next));
                }
                if word(HOLDER) != 0 {
                    locks.push((word(OWNER), word(COUNT)));
                }
                next = word(NEXT);
            }
            let exclusive = locks.iter().any(|&(_, kind)| kind != SHARED);
            if locks.iter().any(|&(owner, _)| !owners.contains(&(owner, 0))) || exclusive && locks.len() > 1 {
                return self.wrong(Problem::Locks(inode.number));
            }
            self.report.locks += locks.len() as u64;
        }
        self.report.openings = found.len() as u64 - self.report.locks;
        let mut next = self.fs.counter(self.cells, Counter::FreeOpening);
        while next != 0 {
            let Ok(at) = self.fs.layout.opening(next) else { return self.wrong(Problem::Opening(next)) };
            if self.cells.word(at + OWNER) != 0 || !found.insert(next) {
                return self.wrong(Problem::Opening(next));
            }
            next = self.cells.word(at + NEXT);
        }
        if found.len() as u64 != self.fs.counter(self.cells, Counter::OpeningsTouched) {
            self.wrong(Problem::Free);
        }
    }
}
