//! Areas: whole pages that a program asked for, with the access that it chose.
//!
//! Pages have their frames, zeroed, from the beginning: that memory is short is
//! an error where one asks, not a fault later. Addresses are the first that are
//! free, and one page between two areas is left out, so that whoever runs over
//! the end of one faults. A page without any access keeps its frame.
//!
//! Calls run one after the other, each whole: a thread that is to end does so afterwards.

use super::paging::{self, Access};
use super::{PAGE, frames};
use crate::thread::within_call;
use crate::threads::sync::Mutex;
use alloc::vec::Vec;
use core::ops::Range;

/// Why nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AreaError {
    /// No bytes, not whole pages, or pages that are in no area.
    Invalid,
    /// There are not as many frames or addresses.
    OutOfMemory,
}

/// The areas there are, in the order of their addresses.
static AREAS: Mutex<Vec<Range<usize>>> = Mutex::new(Vec::new());

/// Makes an area of at least `bytes` bytes: its first address.
pub fn map(bytes: usize, access: Access) -> Result<usize, AreaError> {
    if bytes == 0 {
        return Err(AreaError::Invalid);
    }
    let bytes = bytes.checked_next_multiple_of(PAGE).ok_or(AreaError::OutOfMemory)?;
    undivided(|areas| {
        areas.try_reserve(1).map_err(|_| AreaError::OutOfMemory)?;
        let (place, start) = free_addresses(areas, bytes)?;
        let range = start..start + bytes;
        for page in range.clone().step_by(PAGE) {
            if fill(page, access).is_none() {
                clear(start..page);
                return Err(AreaError::OutOfMemory);
            }
        }
        areas.insert(place, range);
        Ok(start)
    })
}

/// Gives pages back; an area may be given back in parts.
pub fn unmap(start: usize, bytes: usize) -> Result<(), AreaError> {
    undivided(|areas| {
        let (place, range) = find(areas, start, bytes)?;
        areas.try_reserve(1).map_err(|_| AreaError::OutOfMemory)?;
        clear(range.clone());
        let area = areas.remove(place);
        if range.end < area.end {
            areas.insert(place, range.end..area.end);
        }
        if area.start < range.start {
            areas.insert(place, area.start..range.start);
        }
        Ok(())
    })
}

/// Changes what may be done with pages.
pub fn protect(start: usize, bytes: usize, access: Access) -> Result<(), AreaError> {
    undivided(|areas| {
        let (_, range) = find(areas, start, bytes)?;
        paging::protect_pages(range, access);
        Ok(())
    })
}

fn undivided<T>(call: impl FnOnce(&mut Vec<Range<usize>>) -> T) -> T {
    within_call(|| AREAS.with(call))
}

/// The first addresses that are free, and the place of their area among the others.
fn free_addresses(areas: &[Range<usize>], bytes: usize) -> Result<(usize, usize), AreaError> {
    let mut start = paging::AREAS.start;
    for (place, area) in areas.iter().enumerate() {
        if area.start.saturating_sub(start) >= bytes.saturating_add(PAGE) {
            return Ok((place, start));
        }
        start = area.end + PAGE;
    }
    let room = paging::AREAS.end.saturating_sub(start);
    if room < bytes { Err(AreaError::OutOfMemory) } else { Ok((areas.len(), start)) }
}

/// The pages from `start` on, and the place of the area that has them all.
fn find(areas: &[Range<usize>], start: usize, bytes: usize) -> Result<(usize, Range<usize>), AreaError> {
    let end = start.checked_add(bytes).and_then(|end| end.checked_next_multiple_of(PAGE));
    let end = end.filter(|_| bytes > 0 && start.is_multiple_of(PAGE)).ok_or(AreaError::Invalid)?;
    let place = areas.iter().position(|area| area.start <= start && end <= area.end);
    Ok((place.ok_or(AreaError::Invalid)?, start..end))
}

/// Puts a zeroed frame under a page; `None` without one.
fn fill(page: usize, access: Access) -> Option<()> {
    let frame = frames::take_for_program()?;
    // SAFETY: the frame is RAM of nobody else, in the identity map.
    unsafe { (frame as *mut u8).write_bytes(0, PAGE) };
    // SAFETY: as above; no area had this page.
    let mapped = unsafe { paging::map_page(page, frame, access) };
    if mapped.is_err() {
        // SAFETY: it was taken above and is mapped nowhere.
        unsafe { frames::give(frame) };
    }
    mapped.ok()
}

/// Takes the frames of pages away, when no core reaches them any more.
fn clear(range: Range<usize>) {
    paging::protect_pages(range.clone(), Access::None);
    for frame in range.step_by(PAGE).filter_map(paging::unmap_page) {
        // SAFETY: it came from `take` in `fill` and is mapped nowhere any more.
        unsafe { frames::give(frame) };
    }
}
