//! What a fault of an activity's thread does: it ends that activity and nothing else.

use crate::system::LEAST;
use crate::{divide, execute_data, overflow, write_to};
use runtime::fault::{Access, Fault, Kind, Place};
use std::hint::black_box;
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::Duration;

/// Runs `end` on a thread of activity `tag` until that is the only one left, and
/// returns how the activity ended, if it did.
fn ends(tag: u64, end: fn()) -> Option<Fault> {
    let activity = thread::spawn(move || {
        runtime::thread::set_activity(tag);
        end();
    });
    while runtime::thread::count() > 1 {
        thread::sleep(Duration::from_millis(1));
    }
    // If it ended in its midst, it left no result to join for.
    std::mem::forget(activity);
    let mut ended = std::mem::take(&mut *LEAST.ended.lock().unwrap());
    let (_, fault) = ended.pop()?;
    assert!(ended.is_empty(), "a second end: {ended:?}");
    Some(fault.expect_err("it did not exit"))
}

/// Every kind of fault ends its activity, and is what it is called.
pub fn end_their_activities() {
    let access = |kind| match kind {
        Kind::Access { access, place, .. } => (access, place),
        other => panic!("no access: {other}"),
    };
    let accesses: [(fn(), Access, Place); 6] = [
        (|| write_to(black_box(8) as *mut u8), Access::Write, Place::Nothing),
        (copy_from_nowhere, Access::Read, Place::Nothing),
        (|| write_to(black_box(crate::main as fn()) as *mut u8), Access::Write, Place::Protected),
        (|| write_to(black_box("constant").as_ptr().cast_mut()), Access::Write, Place::Protected),
        (execute_data, Access::Execute, Place::Protected),
        (|| println!("{}", overflow(0)), Access::Write, Place::StackGuard),
    ];
    for (number, (end, how, place)) in accesses.into_iter().enumerate() {
        let fault = ends(7, end).expect("it ends by a fault");
        assert_eq!(access(fault.kind), (how, place), "{number}: {}", fault.kind);
        assert!(fault.backtrace.addresses().len() > 3, "{number}: {}", fault.backtrace);
    }
    let others: [(fn(), Kind); 5] = [
        (|| println!("{}", divide(black_box(0))), Kind::Divide),
        // SAFETY: none: it stops there.
        (|| unsafe { std::arch::asm!("ud2") }, Kind::Instruction),
        // SAFETY: none: no page has this address.
        (|| unsafe { (black_box(1u64 << 63) as *mut u8).write_volatile(1) }, Kind::Protection),
        (|| std::process::abort(), Kind::Abort),
        (|| panic!("on purpose"), Kind::Abort),
    ];
    for (end, kind) in others {
        assert_eq!(ends(7, end).map(|fault| fault.kind), Some(kind));
    }
    // With a stack that is spoilt, there is at least where it was.
    let spoilt = ends(7, spoil).expect("it ends by a fault");
    assert_eq!(spoilt.backtrace.addresses().len(), 1, "{}", spoilt.backtrace);
    // As many as there is memory for once; so the stacks of their ends come back.
    for _ in 0..500 {
        assert!(ends(7, || write_to(black_box(8) as *mut u8)).is_some());
    }
}

/// The address is that of the routine that copies; the backtrace has its caller.
fn copy_from_nowhere() {
    let mut target = [0u8; 100];
    // SAFETY: none: nothing is there.
    unsafe { std::ptr::copy_nonoverlapping(black_box(16 as *const u8), target.as_mut_ptr(), black_box(100)) };
    black_box(target);
}

/// Faults with a frame pointer that leads nowhere.
fn spoil() {
    // SAFETY: none: it never comes back.
    unsafe {
        std::arch::asm!("mov rbp, 0x123456789abcdef0", "mov rsp, 0x10", "mov rax, [0x20]", options(noreturn))
    }
}

/// Threads that wait for one another for good are found; others are let be.
pub fn deadlocks() {
    deadlocked();
    only_waiting();
}

fn deadlocked() {
    let two = ends(7, || {
        let locks = Arc::new([Mutex::new(()), Mutex::new(())]);
        let theirs = locks.clone();
        let other = thread::spawn(move || {
            let _second = theirs[1].lock().unwrap();
            thread::sleep(Duration::from_millis(10));
            let _first = theirs[0].lock().unwrap();
        });
        let _first = locks[0].lock().unwrap();
        thread::sleep(Duration::from_millis(10));
        let _second = locks[1].lock().unwrap();
        other.join().unwrap();
    });
    let two = two.expect("they wait for one another");
    assert_eq!((two.kind, two.others.len()), (Kind::Deadlock, 1));
    assert!(two.backtrace.addresses().len() > 3 && two.others[0].1.addresses().len() > 3);
    let alone: [fn(); 3] = [
        || thread::park(),
        || {
            let (lock, changed) = (Mutex::new(()), Condvar::new());
            drop(changed.wait(lock.lock().unwrap()));
        },
        || {
            let (sender, receiver) = mpsc::channel::<()>();
            let _ = receiver.recv();
            drop(sender);
        },
    ];
    let found: Vec<_> = alone.into_iter().map(|end| ends(7, end).map(|fault| fault.kind)).collect();
    assert_eq!(found, [Some(Kind::Deadlock); 3]);
}

fn only_waiting() {
    let none: [fn(); 4] = [
        || thread::park_timeout(Duration::from_millis(20)),
        || {
            let (sender, receiver) = mpsc::channel();
            let sender = thread::spawn(move || {
                thread::sleep(Duration::from_millis(20));
                sender.send(()).unwrap();
            });
            receiver.recv().unwrap();
            sender.join().unwrap();
        },
        || drop(thread::spawn(|| thread::sleep(Duration::from_millis(20))).join()),
        || {
            // As in a call of the OS: somebody of the OS wakes it.
            let own = thread::current();
            runtime::thread::within_call(|| {
                *WAITER.lock().unwrap() = Some(own);
                thread::park();
            });
        },
    ];
    let waker = thread::spawn(|| {
        loop {
            if let Some(waiter) = WAITER.lock().unwrap().take() {
                // Long enough for everything to be asleep.
                thread::sleep(Duration::from_millis(20));
                return waiter.unpark();
            }
            thread::sleep(Duration::from_millis(1));
        }
    });
    for end in none {
        let activity = thread::spawn(move || {
            runtime::thread::set_activity(7);
            end();
        });
        activity.join().unwrap();
    }
    waker.join().unwrap();
    assert!(LEAST.ended.lock().unwrap().is_empty(), "a false alarm");
}

static WAITER: Mutex<Option<thread::Thread>> = Mutex::new(None);
