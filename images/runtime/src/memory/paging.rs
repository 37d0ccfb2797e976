//! The page tables: who may do what with which address.
//!
//! ```text
//! 0 ... 2 MiB             nothing: null pointers fault
//! 2 MiB ... image_end     the image, in 4 KiB pages: text R+X, constants R, data R+W
//!                         among the data, the statics of programs: see segment.rs
//! ... end of RAM          identity map, in 2 MiB pages, R+W: heap and frames
//! MAPPINGS ...            devices and regions, mapped when asked for, one guard page between
//! AREAS ...               what programs map (areas.rs), one guard page between
//! STACKS ...              thread stacks (threads/stack.rs): guard page below, frames on first touch
//! ```
//!
//! No page is both writable and executable. A page of a stack that was never
//! touched has a *demand* entry, a guard page has a *guard* entry: both are not
//! present, and tell the page-fault handler what it has met.
//!
//! All cores use the same tables but for the data segments of activities: from
//! the first one on each core has a root of its own, and sees one of them.

pub mod segment;

use super::{PAGE, frames};
use crate::boot::start_info::MAX_RAM;
use crate::processor::cores::MAX_CORES;
use crate::processor::critical::{self, Locked};
use crate::processor::shootdown;
use crate::threads::scheduler;
use crate::threads::thread::Own;
use core::ops::Range;
use x86_64::instructions::tlb;
use x86_64::registers::control::{Cr3, Cr3Flags};
use x86_64::structures::paging::PageTableFlags as Flags;
use x86_64::structures::paging::page_table::{PageTable, PageTableEntry};
use x86_64::structures::paging::{PhysFrame, Size4KiB};
use x86_64::{PhysAddr, VirtAddr};

/// Bytes of a large page.
const LARGE: usize = 2 << 20;
/// Where devices and regions are mapped.
const MAPPINGS: usize = 0x6000_0000_0000;
/// Where programs' areas are.
pub const AREAS: Range<usize> = 0x6800_0000_0000..STACKS;
/// Where thread stacks are mapped.
pub const STACKS: usize = 0x7000_0000_0000;
/// The end of the addresses for thread stacks.
const STACKS_END: usize = 0x7fff_0000_0000;
/// A software bit of an entry that is not present: map a frame on first touch.
const DEMAND: Flags = Flags::BIT_9;
/// A software bit of an entry that is not present: the guard page below a stack.
const GUARD: Flags = Flags::BIT_10;
/// A software bit of an entry that is not present: the page has its frame, but nobody may use it.
const KEPT: Flags = Flags::BIT_11;

/// An entry that leads to another table.
const TABLE: Flags = Flags::PRESENT.union(Flags::WRITABLE);

/// How a mapping treats the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// Registers of a device: every access reaches it, in order.
    Uncached,
    /// Memory.
    WriteBack,
}

/// What may be done with a page of an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    None,
    /// It is read.
    Read,
    /// It is read and written.
    Write,
    /// It is read and executed.
    Execute,
}

impl Access {
    fn flags(self) -> Flags {
        match self {
            Self::None => KEPT,
            Self::Read => Flags::PRESENT | Flags::NO_EXECUTE,
            Self::Write => Flags::PRESENT | Flags::WRITABLE | Flags::NO_EXECUTE,
            Self::Execute => Flags::PRESENT,
        }
    }
}

/// There is no frame left for a page or a page table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfFrames;

/// What a page fault met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// The next page of a stack or a data segment, which is mapped now.
    Grown,
    /// Such a page, for which there is no frame.
    OutOfFrames,
    /// The guard page below a stack.
    StackGuard,
    /// A page that has a frame and may not be used at all.
    Protected,
    /// An address where nothing is.
    Nothing,
}

/// The tables, and how far the windows have been given out.
struct AddressSpace {
    root: usize,
    /// The cores' own; 0 where a core has none yet.
    roots: [usize; MAX_CORES],
    /// Where the first data segment is mapped as well; 0 if it is not yet.
    first_segment: usize,
    next_mapping: usize,
    next_stack: usize,
}

static SPACE: Locked<AddressSpace> = Locked::new(AddressSpace {
    root: 0,
    roots: [0; MAX_CORES],
    first_segment: 0,
    next_mapping: MAPPINGS,
    next_stack: STACKS,
});

unsafe extern "C" {
    safe static image_start: u8;
    safe static constants_start: u8;
    safe static data_start: u8;
    safe static segment_start: u8;
    safe static segment_end: u8;
    safe static image_end: u8;
}

/// The physical address of the tables that all cores use; below 4 GiB.
pub fn root() -> usize {
    SPACE.with(|space| space.root)
}

/// The first address after the image.
pub fn end_of_image() -> usize {
    &raw const image_end as usize
}

impl AddressSpace {
    /// The table at physical `address`.
    fn table(&mut self, address: usize) -> &mut PageTable {
        // SAFETY: tables are frames in the identity map (or in the boot's map of
        // the first GiB), used as tables alone, and reached through `self` only.
        unsafe { &mut *(address as *mut PageTable) }
    }

    /// The table with the entry for the page at `address`: for its 2 MiB page if
    /// `large`, else for its 4 KiB page. Missing tables are made of frames from `take`.
    fn table_for(
        &mut self,
        address: usize,
        large: bool,
        take: fn() -> Option<usize>,
    ) -> Result<&mut PageTable, OutOfFrames> {
        let mut table = self.root;
        for shift in [39, 30, 21].into_iter().take(if large { 2 } else { 3 }) {
            let entry = &self.table(table)[address >> shift & 511];
            if entry.is_unused() {
                let fresh = take().ok_or(OutOfFrames)?;
                self.table(fresh).zero();
                let lower = |entry: &mut PageTableEntry| entry.set_addr(PhysAddr::new(fresh as u64), TABLE);
                lower(&mut self.table(table)[address >> shift & 511]);
                if shift == 39 {
                    for root in self.roots.into_iter().filter(|&root| root != 0) {
                        lower(&mut self.table(root)[address >> shift & 511]);
                    }
                }
                table = fresh;
            } else {
                table = entry.addr().as_u64() as usize;
            }
        }
        Ok(self.table(table))
    }

    /// The entry for the page at `address`, as [`Self::table_for`] finds its table.
    fn entry(
        &mut self,
        address: usize,
        large: bool,
        take: fn() -> Option<usize>,
    ) -> Result<&mut PageTableEntry, OutOfFrames> {
        let shift = if large { 21 } else { 12 };
        Ok(&mut self.table_for(address, large, take)?[address >> shift & 511])
    }

    /// The table for the 4 KiB page at `address`, if there is one.
    fn find_table(&mut self, address: usize) -> Option<&mut PageTable> {
        let mut table = self.root;
        for shift in [39, 30, 21] {
            let entry = &self.table(table)[address >> shift & 511];
            if !entry.flags().contains(Flags::PRESENT) || entry.flags().contains(Flags::HUGE_PAGE) {
                return None;
            }
            table = entry.addr().as_u64() as usize;
        }
        Some(self.table(table))
    }

    /// The entry for the 4 KiB page at `address`, if there is a table for it.
    fn find(&mut self, address: usize) -> Option<&mut PageTableEntry> {
        Some(&mut self.find_table(address)?[address >> 12 & 511])
    }

    /// Maps `range` one to one in 4 KiB pages.
    fn identity(&mut self, range: Range<usize>, flags: Flags) -> Result<(), OutOfFrames> {
        for part in by_table(range) {
            let table = self.table_for(part.start, false, frames::take_low)?;
            for (page, entry) in entries(table, part) {
                entry.set_addr(PhysAddr::new(page as u64), flags);
            }
        }
        Ok(())
    }

    /// Maps the image, and the RAM beyond it.
    fn build(&mut self, ram: &[Range<u64>; MAX_RAM]) -> Result<(), OutOfFrames> {
        self.root = frames::take_low().ok_or(OutOfFrames)?;
        let root = self.root;
        self.table(root).zero();
        let text = &raw const image_start as usize..&raw const constants_start as usize;
        let constants = text.end..&raw const data_start as usize;
        let end = end_of_image();
        let data = Flags::PRESENT | Flags::WRITABLE | Flags::NO_EXECUTE;
        self.identity(text.clone(), Flags::PRESENT)?;
        self.identity(constants.clone(), Flags::PRESENT | Flags::NO_EXECUTE)?;
        self.identity(constants.end..end.next_multiple_of(LARGE), data)?;
        for stretch in ram {
            let first = (stretch.start as usize / LARGE * LARGE).max(end.next_multiple_of(LARGE));
            for page in (first..stretch.end as usize).step_by(LARGE) {
                let entry = self.entry(page, true, frames::take_low)?;
                entry.set_addr(PhysAddr::new(page as u64), data | Flags::HUGE_PAGE);
            }
        }
        Ok(())
    }
}

/// The parts of a range of 4 KiB pages that have a table each: many pages in a
/// row, as stacks have, need not look for theirs one by one.
fn by_table(range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let mut next = range.start;
    core::iter::from_fn(move || {
        let start = next;
        next = (start / LARGE * LARGE + LARGE).min(range.end);
        (start < range.end).then_some(start..next)
    })
}

/// The pages of one of these parts, each with its entry in the part's table.
fn entries(table: &mut PageTable, part: Range<usize>) -> impl Iterator<Item = (usize, &mut PageTableEntry)> {
    part.clone().step_by(PAGE).zip(table.iter_mut().skip(part.start >> 12 & 511))
}

/// Builds the page tables and switches to them. The first 2 MiB vanish.
pub fn initialize(ram: &[Range<u64>; MAX_RAM]) -> Result<(), OutOfFrames> {
    SPACE.with(|space| {
        space.build(ram)?;
        let root = PhysFrame::<Size4KiB>::containing_address(PhysAddr::new(space.root as u64));
        // SAFETY: the new tables map the image, its stacks and all RAM as before.
        unsafe { Cr3::write(root, Cr3Flags::empty()) };
        Ok(())
    })
}

/// Maps `bytes` bytes of physical memory at `physical`, for good.
///
/// Large pages are used where the physical address allows it.
///
/// # Safety
/// Nothing but devices or their memory is there, not the VM's RAM.
pub unsafe fn map(physical: u64, bytes: usize, caching: Caching) -> Result<*mut u8, OutOfFrames> {
    let mut flags = Flags::PRESENT | Flags::WRITABLE | Flags::NO_EXECUTE;
    if caching == Caching::Uncached {
        flags |= Flags::NO_CACHE | Flags::WRITE_THROUGH;
    }
    let physical = physical as usize;
    let large = physical.is_multiple_of(LARGE) && bytes >= LARGE;
    SPACE.with(|space| {
        let (step, flags) = if large { (LARGE, flags | Flags::HUGE_PAGE) } else { (PAGE, flags) };
        let start = space.next_mapping.next_multiple_of(step);
        let offset = physical % PAGE;
        let bytes = (offset + bytes).next_multiple_of(step);
        space.next_mapping = start + bytes + PAGE;
        for done in (0..bytes).step_by(step) {
            let target = PhysAddr::new((physical - offset + done) as u64);
            space.entry(start + done, large, frames::take)?.set_addr(target, flags);
        }
        Ok((start + offset) as *mut u8)
    })
}

/// Addresses for a stack of `bytes` bytes, a multiple of the page size, below
/// which there is a guard page: a fresh range, every page of which waits for
/// its first touch.
pub fn reserve_stack(bytes: usize) -> Result<Range<usize>, OutOfFrames> {
    let range = SPACE.with(|space| {
        let start = space.next_stack + PAGE;
        if bytes > STACKS_END - start {
            return Err(OutOfFrames);
        }
        space.next_stack = start + bytes;
        Ok(start..start + bytes)
    })?;
    arm_stack(&range)?;
    Ok(range)
}

/// Makes every page of a stack wait for its first touch, and guards it.
pub fn arm_stack(range: &Range<usize>) -> Result<(), OutOfFrames> {
    SPACE.with(|space| {
        space.entry(range.start - PAGE, false, frames::take)?.set_addr(PhysAddr::zero(), GUARD);
        for part in by_table(range.clone()) {
            let table = space.table_for(part.start, false, frames::take)?;
            entries(table, part).for_each(|(_, entry)| entry.set_addr(PhysAddr::zero(), DEMAND));
        }
        Ok(())
    })
}

/// How many frames a stack has.
pub fn frames_of(range: &Range<usize>) -> usize {
    SPACE.with(|space| {
        let present = |(_, entry): &(usize, &mut PageTableEntry)| entry.flags().contains(Flags::PRESENT);
        let count = |part: Range<usize>| {
            let table = space.find_table(part.start);
            table.map_or(0, |table| entries(table, part).filter(present).count())
        };
        by_table(range.clone()).map(count).sum()
    })
}

/// Frames that were taken away from stacks: each has the address of the one
/// before in its first word.
#[derive(Default)]
pub struct Taken {
    last: usize,
    /// How many there are.
    pub count: usize,
}

impl Taken {
    /// None.
    pub const NONE: Self = Self { last: 0, count: 0 };

    /// Gives them back.
    ///
    /// # Safety
    /// No core reaches them by a stack's address any more.
    pub unsafe fn give(mut self) {
        while self.last != 0 {
            let frame = self.last;
            // SAFETY: the frame came from `take` on a fault, it is mapped nowhere
            // (the caller's promise), and its first word is this list's.
            unsafe {
                self.last = *(frame as *const usize);
                frames::give(frame);
            }
        }
    }
}

/// Takes the frames of a stack away from it; its addresses then fault, on this
/// core. The others are still to forget them.
///
/// # Safety
/// Nobody uses the stack any more.
pub unsafe fn unmap_stack(range: &Range<usize>, taken: &mut Taken) {
    SPACE.with(|space| {
        for part in by_table(range.start - PAGE..range.end) {
            let Some(table) = space.find_table(part.start) else { continue };
            for (page, entry) in entries(table, part) {
                let present = entry.flags().contains(Flags::PRESENT);
                let frame = entry.addr().as_u64() as usize;
                entry.set_unused();
                if present {
                    tlb::flush(VirtAddr::new(page as u64));
                    // SAFETY: the caller's promise: nobody wants what is in the frame.
                    unsafe { *(frame as *mut usize) = taken.last };
                    *taken = Taken { last: frame, count: taken.count + 1 };
                }
            }
        }
    });
}

/// Puts `frame` under a page of [`AREAS`].
///
/// # Safety
/// The frame belongs to nobody else, and there is none under the page yet.
pub unsafe fn map_page(page: usize, frame: usize, access: Access) -> Result<(), OutOfFrames> {
    SPACE.with(|space| {
        let entry = space.entry(page, false, frames::take)?;
        entry.set_addr(PhysAddr::new(frame as u64), access.flags());
        Ok(())
    })
}

/// Changes what may be done with pages of [`AREAS`] that have frames, on every
/// core. The caller is inside of no `Locked`.
pub fn protect_pages(pages: Range<usize>, access: Access) {
    let _section = critical::enter();
    SPACE.with(|space| {
        for page in pages.step_by(PAGE) {
            if let Some(entry) = space.find(page)
                && entry.flags().intersects(Flags::PRESENT | KEPT)
            {
                entry.set_flags(access.flags());
                tlb::flush(VirtAddr::new(page as u64));
            }
        }
    });
    shootdown::elsewhere();
}

/// Takes the frame from under a page of [`AREAS`] to which nobody has access:
/// it is the caller's now.
pub fn unmap_page(page: usize) -> Option<usize> {
    SPACE.with(|space| {
        let entry = space.find(page)?;
        let frame = entry.flags().contains(KEPT).then(|| entry.addr().as_u64() as usize)?;
        entry.set_unused();
        Some(frame)
    })
}

/// What is at `address`, where a page fault happened; maps the page if it is the
/// next one of a stack or of a data segment.
pub fn resolve(address: usize) -> Met {
    if segment::range().contains(&address) {
        return segment::resolve(address);
    }
    SPACE.with(|space| {
        let Some(entry) = space.find(address) else { return Met::Nothing };
        let flags = entry.flags();
        if flags.contains(KEPT) {
            return Met::Protected;
        }
        if !(STACKS..STACKS_END).contains(&address) {
            return Met::Nothing;
        }
        if flags.contains(GUARD) {
            return Met::StackGuard;
        }
        if flags.contains(Flags::PRESENT) {
            // Another core met the same page at the same moment, and was first.
            return Met::Grown;
        }
        if !flags.contains(DEMAND) {
            return Met::Nothing;
        }
        let Some(frame) = take_for_touch() else { return Met::OutOfFrames };
        entry.set_addr(PhysAddr::new(frame as u64), Flags::PRESENT | Flags::WRITABLE | Flags::NO_EXECUTE);
        Met::Grown
    })
}

/// A frame for a page that the calling thread touches.
fn take_for_touch() -> Option<usize> {
    match scheduler::with_current(Own::is_in_own_code) {
        Some(true) => frames::take_for_program(),
        _ => frames::take(),
    }
}

/// The word at `address`, a multiple of 8, if it is in a 4 KiB page that is
/// there: all stacks are in such, and none in a data segment. For whoever looks
/// at a stack that may be spoilt.
pub fn read(address: u64) -> Option<u64> {
    // An impossible address would be found by its lower bits.
    let address = VirtAddr::try_new(address).ok().filter(|address| address.is_aligned(8u64))?;
    if segment::range().contains(&(address.as_u64() as usize)) {
        return None;
    }
    SPACE.try_with(|space| {
        let entry = space.find(address.as_u64() as usize)?;
        // SAFETY: aligned, and the page is there, as long as this is inside of the
        // page tables; whatever it holds is a number.
        entry.flags().contains(Flags::PRESENT).then(|| unsafe { address.as_ptr::<u64>().read_volatile() })
    })?
}

/// Whether devices and regions are mapped around `address`.
pub fn is_mapping(address: usize) -> bool {
    (MAPPINGS..AREAS.start).contains(&address)
}

/// Whether the image has code at `address`.
pub fn is_code(address: u64) -> bool {
    (&raw const image_start as u64..&raw const constants_start as u64).contains(&address)
}
