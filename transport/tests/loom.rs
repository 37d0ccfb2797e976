//! Every interleaving of the ring's protocol, as far as small models go.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p transport --release --target-dir target/loom loom`
//!
//! Each message is one word that says who sent it and as which one, so that a
//! torn, stale, lost or doubled one shows. Threads stand for VMs, a new `Writer`
//! or `Reader` on the same memory for a restart, an atomic for the liveness
//! table, and a latch for the doorbell.
#![cfg(loom)]

use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use transport::link::Gather;
use transport::memory::SharedMemory;
use transport::pages::{Borrower, Lease, Lender, window_bytes};
use transport::ring::{BY_REFERENCE, Epoch, Place, Reader, Slot, Writer, payload, sleep_fence};
use transport::{Doorbell, Endpoint, Event, Header, Kind, PeerAddress, Windows};

/// Most preemptions in a run of a model. Two find every mutation that is known
/// of; three are affordable.
fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

fn ring(slots: usize) -> SharedMemory {
    SharedMemory::heap((2 + slots) * 64)
}

fn writer(memory: &SharedMemory, writer: u32, reader: u32) -> Writer {
    let mut end = Writer::new(memory.clone()).unwrap();
    end.synchronise(Epoch { writer, reader });
    end
}

fn reader(memory: &SharedMemory, writer: u32, reader: u32) -> Reader {
    let mut end = Reader::new(memory.clone()).unwrap();
    end.synchronise(Epoch { writer, reader });
    end
}

fn push(writer: &mut Writer, message: u64) -> bool {
    let slot = Slot { place: Place::WHOLE, used: 8 };
    writer.push(slot, &payload(&message.to_le_bytes())).is_ok()
}

fn pop(reader: &mut Reader) -> Option<u64> {
    let (slot, payload) = reader.pop()?;
    assert_eq!((slot.place, slot.used), (Place::WHOLE, 8));
    Some(payload[0])
}

/// A doorbell: rung any number of times, it ends one sleep.
#[derive(Clone)]
struct Latch(Arc<(Mutex<bool>, Condvar)>);

impl Latch {
    fn new() -> Self {
        Self(Arc::new((Mutex::new(false), Condvar::new())))
    }

    fn ring(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_one();
    }

    /// Whether it was rung since the last sleep or such question.
    fn rang(&self) -> bool {
        std::mem::take(&mut *self.0.0.lock().unwrap())
    }

    /// Sleeps until it was rung. If it never is, the model checker reports a
    /// deadlock.
    fn sleep(&self) {
        let mut rung = self.0.0.lock().unwrap();
        while !*rung {
            rung = self.0.1.wait(rung).unwrap();
        }
        *rung = false;
    }
}

impl Doorbell for Latch {
    fn ring(&self, _: u16) {
        Latch::ring(self);
    }
}

/// Beyond what arrives: a slot is written again only after its message was
/// copied. The model checker runs each thread in its program's order, so that
/// no copy ever sees the future; the reader's mark stands for its copy.
#[test]
fn loom_messages_arrive_whole_and_in_order_around_the_ring() {
    check(3, || {
        let memory = ring(2);
        let mut to = writer(&memory, 1, 1);
        let mut from = reader(&memory, 1, 1);
        let copied: Arc<[AtomicU32; 5]> = Arc::default();
        let marks = copied.clone();
        let sender = thread::spawn(move || {
            for message in 1..=4 {
                while !push(&mut to, message) {
                    thread::yield_now();
                }
                if let Some(before) = message.checked_sub(2).filter(|&before| before > 0) {
                    assert_eq!(copied[before as usize].load(Ordering::Relaxed), 1, "overwritten too early");
                }
            }
        });
        for message in 1..=4 {
            marks[message as usize].store(1, Ordering::Relaxed);
            let got = loop {
                match pop(&mut from) {
                    Some(got) => break got,
                    None => thread::yield_now(),
                }
            };
            assert_eq!(got, message);
        }
        assert_eq!(from.torn(), 0);
        sender.join().unwrap();
    });
}

#[test]
fn loom_a_reader_that_sleeps_is_woken() {
    check(3, || {
        let memory = ring(4);
        let bell = Latch::new();
        let mut to = writer(&memory, 1, 1);
        let mut from = reader(&memory, 1, 1);
        let ring = bell.clone();
        let sender = thread::spawn(move || {
            for message in 1..=3 {
                assert!(push(&mut to, message));
                if to.bell_due() {
                    ring.ring();
                }
            }
        });
        let mut next = 1;
        while next <= 3 {
            while let Some(got) = pop(&mut from) {
                assert_eq!(got, next);
                next += 1;
            }
            if next > 3 {
                break;
            }
            if !from.is_armed() {
                from.arm();
                sleep_fence();
                if from.is_ready() {
                    continue;
                }
            }
            bell.sleep();
        }
        sender.join().unwrap();
    });
}

#[test]
fn loom_a_writer_that_waits_for_space_is_woken() {
    check(3, || {
        let memory = ring(2);
        let bell = Latch::new();
        let mut to = writer(&memory, 1, 1);
        let mut from = reader(&memory, 1, 1);
        let ring = bell.clone();
        let receiver = thread::spawn(move || {
            for message in 1..=4 {
                let got = loop {
                    match pop(&mut from) {
                        Some(got) => break got,
                        None => thread::yield_now(),
                    }
                };
                assert_eq!(got, message);
                if from.bell_due() {
                    ring.ring();
                }
            }
        });
        for message in 1..=4 {
            while !push(&mut to, message) {
                to.wait_for_space();
                sleep_fence();
                if to.free() == 0 {
                    bell.sleep();
                }
            }
        }
        receiver.join().unwrap();
    });
}

/// The writer is replaced while the reader may be copying. The reader gets a
/// prefix of what the old one sent, whole, and all of what the new one sent.
#[test]
fn loom_a_writer_restarts_under_its_reader() {
    check(3, || {
        let memory = ring(2);
        let table = Arc::new(AtomicU32::new(1));
        let mut from = reader(&memory, 1, 1);
        let (theirs, launcher) = (memory.clone(), table.clone());
        let sender = thread::spawn(move || {
            let mut old = writer(&theirs, 1, 1);
            assert!(push(&mut old, 101));
            assert!(push(&mut old, 102));
            drop(old);
            launcher.store(2, Ordering::Release);
            let mut new = writer(&theirs, 2, 1);
            assert!(push(&mut new, 201));
            assert!(push(&mut new, 202));
        });
        let mut next = 101;
        loop {
            let known = table.load(Ordering::Acquire);
            while let Some(got) = pop(&mut from) {
                assert_eq!(got, next);
                next += 1;
            }
            if known == 2 {
                break;
            }
            thread::yield_now();
        }
        from.synchronise(Epoch { writer: 2, reader: 1 });
        for message in [201, 202] {
            let got = loop {
                match pop(&mut from) {
                    Some(got) => break got,
                    None => thread::yield_now(),
                }
            };
            assert_eq!(got, message);
        }
        sender.join().unwrap();
    });
}

/// The reader is replaced while the writer is sending. The new one gets all
/// that was sent to it, and nothing that was sent to the old one; a position of
/// the old one frees no slot of the new epoch.
#[test]
fn loom_a_reader_restarts_under_its_writer() {
    check(3, || {
        let memory = ring(2);
        let table = Arc::new(AtomicU32::new(1));
        let mut to = writer(&memory, 1, 1);
        let (theirs, launcher) = (memory.clone(), table.clone());
        let receiver = thread::spawn(move || {
            let mut old = reader(&theirs, 1, 1);
            if let Some(got) = pop(&mut old) {
                assert_eq!(got, 101);
            }
            drop(old);
            launcher.store(2, Ordering::Release);
            let mut new = reader(&theirs, 1, 2);
            for message in 201..=203 {
                let got = loop {
                    match pop(&mut new) {
                        Some(got) => break got,
                        None => thread::yield_now(),
                    }
                };
                assert_eq!(got, message);
            }
        });
        let mut old = 101;
        while table.load(Ordering::Acquire) == 1 {
            old += u64::from(push(&mut to, old));
            thread::yield_now();
        }
        to.synchronise(Epoch { writer: 1, reader: 2 });
        for message in 201..=203 {
            while !push(&mut to, message) {
                thread::yield_now();
            }
        }
        receiver.join().unwrap();
    });
}

/// The reader's first incarnation sleeps and is rung for; the second one sleeps
/// too, and is rung again although the writer never saw it awake.
#[test]
fn loom_a_restarted_reader_that_sleeps_is_woken() {
    check(3, || {
        let memory = ring(2);
        let bell = Latch::new();
        let mut old = reader(&memory, 1, 1);
        old.arm();
        drop(old);
        // The writer knows the new incarnation before it runs.
        let mut to = writer(&memory, 1, 2);
        assert!(push(&mut to, 201));
        assert!(!to.bell_due(), "what the old one left is not for the new one");
        let ring = bell.clone();
        let sender = thread::spawn(move || {
            assert!(push(&mut to, 202));
            if to.bell_due() {
                ring.ring();
            }
        });
        let mut new = reader(&memory, 1, 2);
        assert_eq!(pop(&mut new), Some(201));
        let got = loop {
            if let Some(got) = pop(&mut new) {
                break got;
            }
            if !new.is_armed() {
                new.arm();
                sleep_fence();
                if new.is_ready() {
                    continue;
                }
            }
            bell.sleep();
        };
        assert_eq!(got, 202);
        sender.join().unwrap();
    });
}

/// A reader sleeps while the writer restarts. The launcher rings after it
/// changed the table; from then on the new writer's message is not missed.
#[test]
fn loom_a_reader_that_sleeps_over_a_restart_of_its_writer_is_woken() {
    check(2, || {
        let memory = ring(2);
        let table = Arc::new(AtomicU32::new(1));
        let bell = Latch::new();
        let mut from = reader(&memory, 1, 1);
        let (theirs, launcher, ring) = (memory.clone(), table.clone(), bell.clone());
        let sender = thread::spawn(move || {
            let mut old = writer(&theirs, 1, 1);
            assert!(push(&mut old, 101));
            if old.bell_due() {
                ring.ring();
            }
            drop(old);
            launcher.store(2, Ordering::Release);
            ring.ring();
            let mut new = writer(&theirs, 2, 1);
            assert!(push(&mut new, 201));
            if new.bell_due() {
                ring.ring();
            }
        });
        let (mut epoch, mut next) = (1, 101);
        loop {
            let known = table.load(Ordering::Acquire);
            if known != epoch {
                while let Some(got) = pop(&mut from) {
                    assert_eq!(got, next);
                    next += 1;
                }
                (epoch, next) = (known, 201);
                from.synchronise(Epoch { writer: known, reader: 1 });
            }
            while let Some(got) = pop(&mut from) {
                assert_eq!(got, next);
                next += 1;
            }
            if next > 201 {
                break;
            }
            if !from.is_armed() {
                from.arm();
                sleep_fence();
                if from.is_ready() {
                    continue;
                }
            }
            bell.sleep();
        }
        sender.join().unwrap();
    });
}

/// A window with exactly so many pages.
fn pages(count: usize) -> SharedMemory {
    SharedMemory::heap(window_bytes(count)).window(0, window_bytes(count)).unwrap()
}

/// Lends a body of one word, and hands it over.
fn lend(to: &mut Writer, lender: &mut Lender, message: u64) -> bool {
    let body = message.to_le_bytes();
    let parts = [&body[..]];
    let message = Gather::new([0; 3], &parts).unwrap();
    if !lender.has_room(body.len()) {
        return false;
    }
    let payload = lender.lend(&message).expect("there is room");
    to.push(Slot { place: Place::WHOLE, used: BY_REFERENCE }, &payload).is_ok()
}

/// Takes the next body that goes by reference.
fn borrow(from: &mut Reader, borrower: &mut Borrower) -> Option<Lease> {
    let mut lease = None;
    from.pop_if(|_, payload| lease = borrower.claim(payload))?;
    Some(lease.expect("nobody lies here"))
}

fn read(lease: &Lease) -> u64 {
    let mut bytes = [0; 8];
    assert_eq!(lease.copy(0, &mut bytes), 8);
    u64::from_le_bytes(bytes)
}

fn lender(memory: &SharedMemory, writer: u32, reader: u32) -> Lender {
    let mut end = Lender::new(memory.clone()).unwrap();
    end.synchronise(Epoch { writer, reader });
    end
}

fn borrower(memory: &SharedMemory, doorbell: &Latch) -> Borrower {
    let doorbell = std::sync::Arc::new(doorbell.clone());
    let mut end = Borrower::new(memory.clone(), 0, doorbell).unwrap();
    end.synchronise(Epoch { writer: 1, reader: 1 });
    end
}

/// pages.rs, 1 and 5: a page is written again only when it was given back, and
/// a lender that waits for that is rung. The mark stands for the borrower's copy,
/// as above.
#[test]
fn loom_a_page_is_lent_again_when_it_was_given_back() {
    check(3, || {
        let (slots, pages, bell) = (ring(2), pages(1), Latch::new());
        let (mut to, mut from) = (writer(&slots, 1, 1), reader(&slots, 1, 1));
        let (mut lends, mut borrows) = (lender(&pages, 1, 1), borrower(&pages, &bell));
        let copied = Arc::new(AtomicU32::new(0));
        let mark = copied.clone();
        let sender = thread::spawn(move || {
            for message in 1..=2 {
                while !lend(&mut to, &mut lends, message) {
                    lends.wait_for_pages();
                    sleep_fence();
                    if !lends.has_room(8) {
                        bell.sleep();
                    }
                    lends.wait_no_more();
                }
                assert!(copied.load(Ordering::Relaxed) + 1 >= message as u32, "lent again too early");
            }
        });
        for message in 1..=2 {
            let lease = loop {
                match borrow(&mut from, &mut borrows) {
                    Some(lease) => break lease,
                    None => thread::yield_now(),
                }
            };
            assert_eq!(read(&lease), message);
            assert_eq!(read(&lease), message, "it changed under its reader");
            mark.store(message as u32, Ordering::Relaxed);
        }
        sender.join().unwrap();
    });
}

/// pages.rs, 3: whatever the old lender handed over and the borrower took, the
/// new lender leaves alone.
#[test]
fn loom_a_new_lender_does_not_write_what_the_borrower_took() {
    check(3, || {
        let (slots, pages, bell) = (ring(2), pages(2), Latch::new());
        let (mut old, mut from) = (writer(&slots, 1, 1), reader(&slots, 1, 1));
        let mut borrows = borrower(&pages, &bell);
        assert!(lend(&mut old, &mut lender(&pages, 1, 1), 101));
        let (their_slots, their_pages) = (slots.clone(), pages.clone());
        let restarted = thread::spawn(move || {
            let mut new = writer(&their_slots, 2, 1);
            let mut lends = lender(&their_pages, 2, 1);
            // Whatever is free it writes.
            while lend(&mut new, &mut lends, 201) {}
        });
        if let Some(lease) = borrow(&mut from, &mut borrows) {
            assert_eq!(read(&lease), 101);
            thread::yield_now();
            assert_eq!(read(&lease), 101, "it changed under its reader");
        }
        restarted.join().unwrap();
    });
}

/// endpoint.rs: a channel that became cold between polls, a sender that rings
/// only with its next poll, a sleeper: the message is heard, whatever overlaps.
#[test]
fn loom_a_message_through_a_channel_that_becomes_cold_is_heard() {
    check(2, || {
        let rings = [ring(1), ring(1)];
        let bells = [Latch::new(), Latch::new()];
        let endpoint = |own: usize| {
            let (address, bell) = (PeerAddress { peer: own as u16, generation: 1 }, bells[1 - own].clone());
            let mut endpoint = Endpoint::new(address, std::sync::Arc::new(bell));
            let (outgoing, incoming) = (rings[own].clone(), rings[1 - own].clone());
            endpoint.attach(1 - own as u16, Windows { outgoing, incoming, pages: None }).unwrap();
            endpoint.set_peer(1 - own as u16, Some(1));
            endpoint
        };
        let (mut sender, mut hearer) = (endpoint(0), endpoint(1));
        let sending = thread::spawn(move || {
            let header = Header { kind: Kind::Notice, pipe: 1, request: 7, trace: 0 };
            sender.send(PeerAddress { peer: 1, generation: 1 }, header, &[]).unwrap();
            sender.poll(0, false, |_| {});
        });
        let own = bells[1].clone();
        let mut heard = false;
        let mut rang = false;
        while !heard {
            let moved = hearer.poll(0, own.rang() | rang, |event| {
                let Event::Message { header, .. } = event else { panic!("{event:?}") };
                assert_eq!(header.request, 7);
                heard = true;
            });
            rang = false;
            if !moved && hearer.prepare_sleep() {
                own.sleep();
                rang = true;
            }
        }
        sending.join().unwrap();
    });
}
