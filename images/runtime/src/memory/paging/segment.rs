//! Data segments: the statics of programs, which each activity has to itself.
//!
//! ```text
//!               the same addresses, as the linker placed them
//! first         the image's own pages: what the boot left there, and every copy is made from
//! activity 1    table ──> pages of its own, each copied from the first's when it is touched
//! activity 2    table ──> ...
//! ```
//! So a program finds its statics fresh whenever it starts, whatever ran on the
//! node before, and beside others that run the same. What counts as a program's,
//! the linker script says. The OS has statics of its own and never looks at
//! these: its threads run before whichever segment the core saw last, and
//! switching to them costs nothing.
//!
//! A core sees one segment at a time. Its tables are those of all cores, down to
//! the directory that leads to the segment's pages: from there on [`see`] has it
//! lead to the segment's own tables, and forgets the pages of the one before.
//! Around them, these tables are copies: that part of the image never moves.
//!
//! With a segment an activity has a heap. That goes with its last thread, and the
//! segment when no core sees it any more.

use super::{
    AddressSpace, DEMAND, Met, OutOfFrames, PAGE, SPACE, TABLE, by_table, entries, segment_end, segment_start,
};
use crate::memory::heap::Heap;
use crate::memory::{frames, limbo};
use crate::processor::cores;
use crate::processor::critical::{self, Locked};
use crate::threads::scheduler;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use core::ptr::{self, copy_nonoverlapping};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicBool, AtomicUsize};
use x86_64::instructions::tlb;
use x86_64::registers::control::{Cr3, Cr3Flags};
use x86_64::structures::paging::page_table::PageTableEntry;
use x86_64::structures::paging::{PageTableFlags as Flags, PhysFrame, Size4KiB};
use x86_64::{PhysAddr, VirtAddr};

/// Up to so many pages are forgotten one by one, more by forgetting everything.
const FEW: usize = 32;

/// Where all data segments are.
pub fn range() -> Range<usize> {
    &raw const segment_start as usize..&raw const segment_end as usize
}

/// How many there are beside the first.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// How many segments there are beside the first: one for each activity.
pub fn count() -> usize {
    COUNT.load(Relaxed)
}

/// A data segment other than the first, and what else an activity has in memory.
pub struct Segment {
    /// `None` only when it is dropped.
    pages: Option<Box<Pages>>,
    /// What the activity allocates: it goes when no thread is left.
    pub heap: Heap,
    /// Goes after the heap.
    end: End,
}

/// When a segment goes, says so.
struct End(Arc<AtomicBool>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.store(true, Release);
    }
}

/// Whether a segment, and the heap in it, is still there.
#[derive(Clone, Debug)]
pub struct Remains(Arc<AtomicBool>);

impl Remains {
    /// Whether it is gone: its memory is others' again.
    pub fn are_gone(&self) -> bool {
        self.0.load(Acquire)
    }
}

/// What a segment is made of: it stays where it is until no core sees it.
pub struct Pages {
    /// For each part of 2 MiB, the table with its pages.
    tables: Vec<usize>,
    touched: Locked<Touched>,
    /// Others that are waited for with it ([`limbo`]).
    pub next: Option<Box<Pages>>,
}

/// The pages that a segment has a copy of.
struct Touched {
    /// The first of them.
    pages: [usize; FEW],
    count: usize,
}

impl Segment {
    /// A segment as the first one is now.
    pub fn new() -> Result<Arc<Self>, OutOfFrames> {
        SPACE.with(AddressSpace::prepare_segments)?;
        let touched = Locked::new(Touched { pages: [0; FEW], count: 0 });
        COUNT.fetch_add(1, Relaxed);
        let mut pages = Box::new(Pages { tables: Vec::new(), touched, next: None });
        for part in by_table(range()) {
            pages.tables.try_reserve(1).map_err(|_| OutOfFrames)?;
            pages.tables.push(SPACE.with(|space| space.segment_table(part))?);
        }
        Ok(Arc::new(Self { pages: Some(pages), heap: Heap::new(), end: End(Arc::default()) }))
    }

    /// Tells when it is gone.
    pub fn remains(&self) -> Remains {
        Remains(self.end.0.clone())
    }

    /// This core sees it from now on. Interrupts are off.
    #[inline]
    pub fn enter(&self) {
        let Some(pages) = &self.pages else { return };
        if !ptr::eq(cores::own().segment.load(Relaxed), &**pages) {
            see(Some(pages));
        }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        let Some(pages) = self.pages.take() else { return };
        let section = critical::enter();
        leave_unused();
        drop(section);
        // Others leave it when they are asked to forget.
        if cores::many() {
            limbo::add_segment(pages);
        }
    }
}

impl Pages {
    /// How many frames there are in it.
    pub fn frames(&self) -> usize {
        self.tables.len() + self.touched.with(|touched| touched.count)
    }

    /// Copies the page at `address` from the first segment, if it is touched for the first time.
    fn resolve(&self, address: usize) -> Met {
        let page = address / PAGE * PAGE;
        SPACE.with(|space| {
            let table = self.tables[(page >> 21) - (range().start >> 21)];
            let original = space.first_segment + (page - range().start);
            let entry = &mut space.table(table)[page >> 12 & 511];
            if entry.flags().contains(Flags::PRESENT) {
                // Another core met the same page at the same moment, and was first.
                return Met::Grown;
            }
            let Some(frame) = super::take_for_touch() else { return Met::OutOfFrames };
            // SAFETY: the first segment is mapped there, whole; the frame is nobody else's.
            unsafe { copy_nonoverlapping(original as *const u8, frame as *mut u8, PAGE) };
            entry.set_addr(PhysAddr::new(frame as u64), TABLE | Flags::NO_EXECUTE);
            self.touched.with(|touched| {
                touched.pages.iter_mut().skip(touched.count).take(1).for_each(|place| *place = page);
                touched.count += 1;
            });
            Met::Grown
        })
    }

    /// Has this core, which has seen it, forget its pages one by one; `false` if they are many.
    fn forget(&self) -> bool {
        self.touched.with(|touched| {
            let few = touched.pages.get(..touched.count);
            few.iter()
                .flat_map(|pages| pages.iter())
                .for_each(|&page| tlb::flush(VirtAddr::new(page as u64)));
            few.is_some()
        })
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        COUNT.fetch_sub(1, Relaxed);
        for (part, &table) in by_table(range()).zip(&self.tables) {
            SPACE.with(|space| {
                for (_, entry) in entries(space.table(table), part) {
                    if entry.flags().contains(Flags::PRESENT) {
                        // SAFETY: the frame came from `take`; no thread has the segment, no core sees it.
                        unsafe { frames::give(entry.addr().as_u64() as usize) };
                    }
                }
                // SAFETY: the same is so for the table.
                unsafe { frames::give(table) };
            });
        }
    }
}

/// What tells a word at this address from those at the same one in other
/// segments, for the calling thread: no address if it is in a segment's range.
pub fn tell_apart(address: usize) -> usize {
    if !range().contains(&address) {
        return address;
    }
    // The image lies below 2 GiB, a table below 64 GiB, and no address has the first bit alone.
    let apart = |pages: &Pages| (1 << 63) | ((pages.tables[0] / PAGE) << 31) | address;
    with_own(apart).unwrap_or(address)
}

/// Has this core see the first segment, unless the running thread has another.
/// Interrupts are off.
pub fn leave_unused() {
    let is_used = scheduler::with_current(|own| own.segment.is_some()) == Some(true);
    if !is_used && !cores::own().segment.load(Relaxed).is_null() {
        see(None);
    }
}

/// Has this core see a segment, or the first.
#[cold]
fn see(segment: Option<&Pages>) {
    let core = cores::own();
    // SAFETY: a segment stays as long as a core sees it.
    let before = unsafe { core.segment.load(Relaxed).as_ref() };
    SPACE.with(|space| {
        let root = space.roots[cores::index()];
        for (index, part) in by_table(range()).enumerate() {
            let first = space.directory_entry(space.root, part.start).addr().as_u64() as usize;
            let table = segment.map_or(first, |segment| segment.tables[index]);
            space.directory_entry(root, part.start).set_addr(PhysAddr::new(table as u64), TABLE);
            // Whichever page it is, with it goes where its table was.
            tlb::flush(VirtAddr::new(part.start as u64));
        }
        core.segment
            .store(segment.map_or(ptr::null_mut(), |segment| ptr::from_ref(segment).cast_mut()), Relaxed);
        if !before.is_some_and(Pages::forget) {
            let root = PhysFrame::<Size4KiB>::containing_address(PhysAddr::new(root as u64));
            // SAFETY: the core's own tables lead where all cores' do, and to this segment.
            unsafe { Cr3::write(root, Cr3Flags::empty()) };
        }
    });
}

/// What is at `address`, in a segment's range, where a page fault happened. A
/// thread of the OS has no segment of its own, and is shown the first.
pub(super) fn resolve(address: usize) -> Met {
    with_own(|pages| pages.resolve(address)).unwrap_or_else(|| {
        leave_unused();
        Met::Grown
    })
}

/// Runs `f` on the calling thread's own segment, if it has one.
fn with_own<R>(f: impl FnOnce(&Pages) -> R) -> Option<R> {
    scheduler::with_current(|own| own.segment.as_ref()?.pages.as_deref().map(f)).flatten()
}

impl AddressSpace {
    /// Before there is any but the first segment: a root for each core, and
    /// the first segment where it can be read whichever a core sees.
    fn prepare_segments(&mut self) -> Result<(), OutOfFrames> {
        if self.first_segment != 0 {
            return Ok(());
        }
        for core in 0..cores::count() {
            if self.roots[core] == 0 {
                self.roots[core] = self.copied(self.root)?;
            }
            for part in by_table(range()) {
                self.set_apart(self.root, self.roots[core], [39, 30], part.start)?;
            }
        }
        let (start, mapped) = (range().start, self.next_mapping);
        self.next_mapping += range().len() + PAGE;
        for part in by_table(mapped..mapped + range().len()) {
            let table = self.table_for(part.start, false, frames::take)?;
            for (page, entry) in entries(table, part) {
                let target = PhysAddr::new((start + page - mapped) as u64);
                entry.set_addr(target, Flags::PRESENT | Flags::NO_EXECUTE);
            }
        }
        self.first_segment = mapped;
        Ok(())
    }

    /// Below the root `own`, copies the tables that lead to `address` by these
    /// levels, where they are still those below `root`.
    fn set_apart(
        &mut self,
        root: usize,
        own: usize,
        levels: [usize; 2],
        address: usize,
    ) -> Result<(), OutOfFrames> {
        let (mut table, mut own) = (root, own);
        for level in levels {
            let index = address >> level & 511;
            let below = self.table(table)[index].addr();
            if self.table(own)[index].addr() == below {
                let copy = self.copied(below.as_u64() as usize)?;
                self.table(own)[index].set_addr(PhysAddr::new(copy as u64), TABLE);
            }
            own = self.table(own)[index].addr().as_u64() as usize;
            table = below.as_u64() as usize;
        }
        Ok(())
    }

    /// A table like this one.
    fn copied(&mut self, table: usize) -> Result<usize, OutOfFrames> {
        let copy = frames::take().ok_or(OutOfFrames)?;
        for index in 0..512 {
            let entry = self.table(table)[index].clone();
            self.table(copy)[index] = entry;
        }
        Ok(copy)
    }

    /// A table with the pages of a new segment: each waits for its first touch.
    fn segment_table(&mut self, part: Range<usize>) -> Result<usize, OutOfFrames> {
        let first = self.directory_entry(self.root, part.start).addr().as_u64() as usize;
        let table = self.copied(first)?;
        entries(self.table(table), part).for_each(|(_, entry)| entry.set_addr(PhysAddr::zero(), DEMAND));
        Ok(table)
    }

    /// What leads to the table for the page at `address`, below this root: the
    /// image is there, so all of it is.
    fn directory_entry(&mut self, root: usize, address: usize) -> &mut PageTableEntry {
        let mut table = root;
        for shift in [39, 30] {
            table = self.table(table)[address >> shift & 511].addr().as_u64() as usize;
        }
        &mut self.table(table)[address >> 21 & 511]
    }
}
