use super::*;
use crate::ring::{BY_REFERENCE, Place, Slot};
use std::sync::Mutex;

#[derive(Default)]
struct Rung(Mutex<u32>);

impl Doorbell for Rung {
    fn ring(&self, peer: u16) {
        assert_eq!(peer, 7);
        *self.0.lock().unwrap() += 1;
    }
}

impl Rung {
    fn take(&self) -> u32 {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

const EPOCH: Epoch = Epoch { writer: 1, reader: 1 };

fn lender(memory: &SharedMemory, epoch: Epoch) -> Lender {
    let mut lender = Lender::new(memory.clone()).unwrap();
    lender.synchronise(epoch);
    lender
}

fn borrower(memory: &SharedMemory, epoch: Epoch, doorbell: &Arc<Rung>) -> Borrower {
    let mut borrower = Borrower::new(memory.clone(), 7, doorbell.clone()).unwrap();
    borrower.synchronise(epoch);
    borrower
}

fn ends(pages: usize) -> (SharedMemory, Lender, Borrower, Arc<Rung>) {
    let memory = SharedMemory::heap(window_bytes(pages));
    let rung = Arc::new(Rung::default());
    let ends = (lender(&memory, EPOCH), borrower(&memory, EPOCH, &rung));
    (memory, ends.0, ends.1, rung)
}

fn lend(lender: &mut Lender, parts: &[&[u8]]) -> Option<Payload> {
    let message = Gather::new([1, 2, 3], parts).unwrap();
    lender.has_room(message.body_len()).then(|| lender.lend(&message)).flatten()
}

fn bytes(lease: &Lease) -> Vec<u8> {
    let mut bytes = vec![0; lease.len()];
    assert_eq!(lease.copy(0, &mut bytes), lease.len());
    bytes
}

#[test]
fn bodies_of_many_parts_arrive_as_they_were_and_can_be_read_from_anywhere() {
    let (_, mut lender, mut borrower, _) = ends(20);
    let body: Vec<u8> = (0..60_000_u32).map(|byte| ((byte * 7) >> 3) as u8).collect();
    for cuts in [[0, 0, 0], [1, 2, 3], [5, 8191, 8192], [8190, 8195, 30_001], [60_000, 60_000, 60_000]] {
        let parts = [&body[..cuts[0]], &body[cuts[0]..cuts[1]], &body[cuts[1]..cuts[2]], &body[cuts[2]..]];
        let payload = lend(&mut lender, &parts).unwrap();
        assert_eq!(payload[..3], [1, 2, 3]);
        let lease = borrower.claim(&payload).unwrap();
        assert_eq!(bytes(&lease), body);
        for (from, length) in [(0, 5), (3, 10), (8185, 20), (59_990, 10), (59_990, 100), (70_000, 4)] {
            let mut target = vec![0; length];
            let count = lease.copy(from, &mut target);
            let expected = &body[from.min(body.len())..(from + length).min(body.len())];
            assert_eq!(&target[..count], expected);
        }
    }
}

#[test]
fn pages_come_back_when_a_lease_is_dropped_and_the_waiting_lender_is_rung_once() {
    let (_, mut lender, mut borrower, rung) = ends(8);
    let payloads: Vec<Payload> = (0..8).map(|byte| lend(&mut lender, &[&[byte; 600]]).unwrap()).collect();
    assert_eq!(lend(&mut lender, &[&[8; 600]]), None);
    let mut leases: Vec<Lease> = payloads.iter().map(|payload| borrower.claim(payload).unwrap()).collect();
    leases.pop();
    assert_eq!(rung.take(), 0, "nobody waits");
    assert!(lend(&mut lender, &[&[9; 600]]).is_some());
    lender.wait_for_pages();
    leases.pop();
    leases.pop();
    assert_eq!(rung.take(), 1);
    assert!(lender.has_room(2 * PAGE_BYTES) && !lender.has_room(3 * PAGE_BYTES));
    lender.wait_for_pages();
    leases.pop();
    assert_eq!(rung.take(), 1, "each wait is rung for");
    lender.wait_no_more();
    leases.pop();
    assert_eq!(rung.take(), 0);
    assert_eq!(bytes(&leases[0]), [0; 600]);
}

#[test]
fn a_new_lender_leaves_alone_what_the_borrower_holds() {
    let (memory, mut first, mut borrower, _) = ends(8);
    let held = borrower.claim(&lend(&mut first, &[&[1; 3 * PAGE_BYTES]]).unwrap()).unwrap();
    let dropped = borrower.claim(&lend(&mut first, &[&[2; 600]]).unwrap()).unwrap();
    drop(dropped);
    let next = Epoch { writer: 2, reader: 1 };
    let mut second = lender(&memory, next);
    assert!(second.has_room(5 * PAGE_BYTES) && !second.has_room(6 * PAGE_BYTES));
    borrower.synchronise(next);
    let all = lend(&mut second, &[&[3; 5 * PAGE_BYTES]]).unwrap();
    assert_eq!(bytes(&held), [1; 3 * PAGE_BYTES]);
    let lease = borrower.claim(&all).unwrap();
    drop(held);
    assert!(second.has_room(3 * PAGE_BYTES));
    let again = lend(&mut second, &[&[4; 3 * PAGE_BYTES]]).unwrap();
    assert_eq!(bytes(&lease), [3; 5 * PAGE_BYTES]);
    assert_eq!(bytes(&borrower.claim(&again).unwrap()), [4; 3 * PAGE_BYTES]);
    drop(lease);
    assert!(second.has_room(8 * PAGE_BYTES));
}

#[test]
fn what_a_dead_borrower_held_is_free() {
    let (memory, mut lender, mut first, rung) = ends(8);
    let lease = first.claim(&lend(&mut lender, &[&[1; 8 * PAGE_BYTES]]).unwrap()).unwrap();
    std::mem::forget(lease); // its VM died
    assert!(!lender.has_room(1));
    let next = Epoch { writer: 1, reader: 2 };
    lender.synchronise(next);
    assert!(lender.has_room(8 * PAGE_BYTES));
    let payload = lend(&mut lender, &[&[2; 600]]).unwrap();
    assert_eq!(bytes(&borrower(&memory, next, &rung).claim(&payload).unwrap()), [2; 600]);
}

#[test]
fn payloads_that_make_no_sense_are_refused() {
    let (_, mut lender, mut borrower, _) = ends(8);
    let good = lend(&mut lender, &[&[1; 9000]]).unwrap();
    let with = |word: usize, value: u64| {
        let mut payload = good;
        payload[word] = value;
        payload
    };
    let most = (MAX_PAGES * PAGE_BYTES) as u64;
    for bad in [with(3, 0), with(3, most + 1), with(3, u64::MAX), with(4, 8), with(4, 0xffff << 16)] {
        assert!(borrower.claim(&bad).is_none(), "{bad:x?}");
    }
    assert_eq!(bytes(&borrower.claim(&good).unwrap()), [1; 9000]);
}

#[test]
fn whatever_the_borrower_writes_the_lender_goes_on() {
    let (memory, mut lender, _, _) = ends(8);
    while lend(&mut lender, &[&[1; 600]]).is_some() {}
    for value in [0, 1, u64::MAX, u64::from(EPOCH.tag()) << 32, u64::from(EPOCH.tag()) << 32 | 1] {
        (0..8).for_each(|page| taken_word(&memory, page).store(value, Relaxed));
        let freed = (0..100).take_while(|_| lend(&mut lender, &[&[1; 600]]).is_some()).count();
        assert!(freed <= 8, "{freed} pages came back for {value:x}");
    }
}

#[test]
fn a_window_without_room_for_a_long_body_is_refused() {
    assert!(Lender::new(SharedMemory::heap(window_bytes(MAX_PAGES) - 64)).is_err());
    let memory = SharedMemory::heap(window_bytes(64));
    assert_eq!(pages_in(&memory), Ok(64));
    assert_eq!(pages_in(&SharedMemory::heap(64 << 20)), Ok(MOST as u16));
}

#[test]
fn a_slot_can_say_that_it_goes_by_reference() {
    let memory = SharedMemory::heap(1024);
    let mut writer = crate::ring::Writer::new(memory.clone()).unwrap();
    let mut reader = crate::ring::Reader::new(memory).unwrap();
    writer.synchronise(EPOCH);
    reader.synchronise(EPOCH);
    let slot = Slot { place: Place::WHOLE, used: BY_REFERENCE };
    writer.push(slot, &[1, 2, 3, 4, 5, 6, 7]).unwrap();
    assert_eq!(reader.pop(), Some((slot, [1, 2, 3, 4, 5, 6, 7])));
}

#[test]
fn windows_are_what_the_page_says() {
    let page = include_str!("../../../docs/protocol.md");
    assert!(page.contains(&format!("| `pages::MOST` | {MOST} |")));
    assert!(page.contains(&format!("| `pages::START` | {START} |")));
}

#[test]
fn what_a_dead_lender_wrote_for_its_successor_gives_no_page_back() {
    const PAGES: usize = 20;
    let (memory, dead, _borrower, _) = ends(PAGES);
    drop(dead);
    let next = Epoch { writer: 2, reader: 1 };
    // As if the borrower had given back every page that is lent first in the next epoch.
    for page in 0..PAGES as u16 {
        taken_word(&memory, page).store(tagged(next.tag(), 1), Relaxed);
    }
    let mut lender = lender(&memory, next);
    let lent = (0..2 * PAGES).filter(|_| lend(&mut lender, &[&[1; PAGE_BYTES]]).is_some()).count();
    assert_eq!(lent, PAGES, "nobody has taken one, so none is lent twice");
}
