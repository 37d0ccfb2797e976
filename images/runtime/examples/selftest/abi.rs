//! The calls of the ABI that `std` does not use, or not with such arguments.

use hermit_abi::{errno, timespec};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, SystemTime};

/// Bytes of a page.
const PAGE: usize = 4096;

/// A pointer that threads share.
#[derive(Clone, Copy)]
struct Shared<T>(*mut T);

// SAFETY: what is behind it is used through calls that are made for many threads.
unsafe impl<T> Sync for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Send for Shared<T> {}

impl<T> Shared<T> {
    fn get(&self) -> *mut T {
        self.0
    }
}

/// Zeroed pages, with this protection.
fn map(bytes: usize, protection: u32) -> Result<*mut u8, i32> {
    let mut start = null_mut();
    // SAFETY: the variable is ours.
    match unsafe { hermit_abi::mmap(bytes, protection, &mut start) } {
        0 => Ok(start),
        error => Err(-error),
    }
}

/// Pages are zeroed, apart from each other, given back whole or in part, and protected.
pub fn pages() {
    use hermit_abi::{PROT_EXEC, PROT_NONE, PROT_READ, PROT_WRITE, mprotect, munmap};
    let (read, write) = (PROT_READ, PROT_READ | PROT_WRITE);
    assert_eq!(map(0, write), Err(errno::EINVAL));
    assert_eq!(map(1, 1 << 7), Err(errno::EINVAL));
    assert_eq!(map(1, PROT_WRITE | PROT_EXEC), Err(errno::EACCES));
    assert_eq!(map(1 << 40, write), Err(errno::ENOMEM));
    assert_eq!(map(usize::MAX, write), Err(errno::ENOMEM));
    let before = runtime::untouched_memory();
    for _ in 0..200 {
        let (a, b) = (map(3 * PAGE, write).unwrap(), map(1, write).unwrap());
        assert!(b as usize >= a as usize + 4 * PAGE, "there is a page between");
        // SAFETY: the pages are ours until they are given back, and no longer used then.
        unsafe {
            let bytes = std::slice::from_raw_parts_mut(a, 3 * PAGE);
            assert!(bytes.iter().all(|&byte| byte == 0));
            bytes.fill(7);
            assert_eq!(mprotect(a.add(PAGE), PAGE, PROT_NONE), 0);
            assert_eq!(mprotect(a.add(PAGE), PAGE, read), 0);
            assert_eq!(bytes[PAGE], 7, "a page without access keeps what is in it");
            assert_eq!(mprotect(a, 4 * PAGE, read), -errno::EINVAL);
            assert_eq!(mprotect(a.add(1), 1, read), -errno::EINVAL);
            assert_eq!(munmap(a.add(PAGE), PAGE), 0);
            assert_eq!(munmap(a, 3 * PAGE), -errno::EINVAL, "the middle is gone");
            let c = map(PAGE, write).unwrap();
            assert!(c > b, "a hole of one page has no room for one and what is left out");
            assert_eq!((munmap(a, PAGE), munmap(a.add(2 * PAGE), PAGE)), (0, 0));
            assert_eq!((munmap(b, 1), munmap(c, PAGE), munmap(c, PAGE)), (0, 0, -errno::EINVAL));
        }
    }
    // Page tables stay, 12 KiB of them; frames are used again.
    assert!(runtime::untouched_memory() + 64 * PAGE >= before);
    code_that_is_written();
}

/// Code is written, made executable, and run.
fn code_that_is_written() {
    let code = map(1, hermit_abi::PROT_WRITE).unwrap();
    // mov eax, 42; ret
    let bytes = [0xb8, 42, 0, 0, 0, 0xc3];
    // SAFETY: the page is ours, and what is called is the function written above.
    let answer = unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), code, bytes.len());
        assert_eq!(hermit_abi::mprotect(code, PAGE, hermit_abi::PROT_EXEC), 0);
        let function: extern "C" fn() -> i32 = std::mem::transmute(code);
        let answer = function();
        assert_eq!(hermit_abi::munmap(code, PAGE), 0);
        answer
    };
    assert_eq!(answer, 42);
}

/// Writes to a page that may only be read: the VM ends.
pub fn write_to_protected() -> *mut u8 {
    map(PAGE, hermit_abi::PROT_READ).unwrap()
}

/// A page that another core writes to all the time may only be read from now on: the VM ends.
pub fn protect_from_another_core() {
    let page = map(PAGE, hermit_abi::PROT_READ | hermit_abi::PROT_WRITE).unwrap() as usize;
    let written = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                // SAFETY: the page is nobody else's, until it may not be written.
                unsafe { (page as *mut u8).write_volatile(1) };
                written.fetch_add(1, SeqCst);
            }
        });
        while written.load(SeqCst) < 1000 {
            std::hint::spin_loop();
        }
        // SAFETY: the page is ours.
        assert_eq!(unsafe { hermit_abi::mprotect(page as *mut u8, PAGE, hermit_abi::PROT_READ) }, 0);
        let last = written.load(SeqCst);
        while written.load(SeqCst) <= last + 1 {
            std::hint::spin_loop();
        }
        println!("selftest: it is written still");
        std::process::exit(0);
    });
}

/// The heap's calls by their other names, random bytes, the size of a page.
pub fn memory_calls() {
    // SAFETY: what is allocated is used as it was asked for, and given back once.
    unsafe {
        assert_eq!(hermit_abi::getpagesize(), PAGE as i32);
        let block = hermit_abi::alloc(100, 64);
        assert!(!block.is_null() && (block as usize).is_multiple_of(64));
        block.write_bytes(9, 100);
        hermit_abi::dealloc(block, 100, 64);
        let zeroed = hermit_abi::alloc_zeroed(100, 64);
        assert!(std::slice::from_raw_parts(zeroed, 100).iter().all(|&byte| byte == 0));
        hermit_abi::dealloc(zeroed, 100, 64);
        assert!(hermit_abi::alloc(1 << 50, 8).is_null() && hermit_abi::alloc(8, 3).is_null());
        let mut random = [0; 64];
        assert_eq!(hermit_abi::read_entropy(random.as_mut_ptr(), 64, 0), 64);
        assert_ne!(random, [0; 64]);
        assert_eq!(hermit_abi::read_entropy(random.as_mut_ptr(), 64, 1), -(errno::EINVAL as isize));
        assert_eq!(hermit_abi::read_entropy(null_mut(), 64, 0), -(errno::EINVAL as isize));
    }
}

/// Counts in the variable that it is given.
extern "C" fn count(at: usize) {
    // SAFETY: the variable outlives the thread, which is waited for.
    unsafe { &*(at as *const AtomicUsize) }.fetch_add(1, SeqCst);
}

/// Threads made, named and awaited by numbers; futexes with odd arguments; sleeps.
pub fn thread_calls() {
    let counted = AtomicUsize::new(0);
    let mut id = 0;
    // SAFETY: the variables outlive the calls and the thread.
    unsafe {
        let argument = &raw const counted as usize;
        assert_eq!(hermit_abi::spawn(&mut id, count, argument, 2, -1), 0);
        assert_eq!((hermit_abi::join(id), hermit_abi::join(id)), (0, 0));
        assert_eq!(counted.load(SeqCst), 1);
        assert_eq!(hermit_abi::getpid() as u32, runtime::thread::current());
        #[expect(deprecated)]
        let processors = hermit_abi::get_processor_count();
        assert_eq!(processors, hermit_abi::available_parallelism());
        let own = hermit_abi::getpid() as u32;
        let usual = hermit_abi::get_priority();
        hermit_abi::set_priority(own, hermit_abi::Priority::from(3));
        assert_eq!(hermit_abi::get_priority().into(), 3);
        hermit_abi::set_priority(own, usual);
        odd_futexes();
        hermit_abi::usleep(1000);
    }
}

/// # Safety
/// None is needed: every address is a variable's, or is refused.
unsafe fn odd_futexes() {
    use hermit_abi::{FUTEX_RELATIVE_TIMEOUT, futex_wait, futex_wake};
    let mut word = 5u32;
    let at = &raw mut word;
    let soon = timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    let negative = timespec { tv_sec: -1, tv_nsec: 0 };
    // SAFETY: as the caller knows.
    unsafe {
        assert_eq!(futex_wait(at, 6, null(), 0), -errno::EAGAIN);
        assert_eq!(futex_wait(at, 5, &soon, FUTEX_RELATIVE_TIMEOUT), -errno::ETIMEDOUT);
        assert_eq!(futex_wait(at, 5, &soon, 0), -errno::ETIMEDOUT, "long ago");
        assert_eq!(futex_wait(at, 5, &negative, FUTEX_RELATIVE_TIMEOUT), -errno::EINVAL);
        assert_eq!(futex_wait(at, 5, &soon, 1 << 9), -errno::EINVAL);
        assert_eq!(futex_wait(null_mut(), 5, null(), 0), -errno::EINVAL);
        assert_eq!(futex_wake(at, i32::MAX), 0);
        assert_eq!((futex_wake(null_mut(), 1), futex_wake(at, -1)), (-errno::EINVAL, -errno::EINVAL));
    }
}

/// A time of day so far from now.
fn in_the_future(span: Duration) -> timespec {
    let then = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + span;
    timespec { tv_sec: then.as_secs() as i64, tv_nsec: then.subsec_nanos() as i32 }
}

/// Units are neither lost nor made; waits end in time; errors are POSIX's.
pub fn semaphores() {
    use hermit_abi::{sem_destroy, sem_init, sem_post, sem_t, sem_timedwait, sem_trywait};
    let mut word: sem_t = null();
    let shared = Shared(&raw mut word);
    let semaphore = shared.get();
    // SAFETY: the variable outlives the threads of the scope, and is a semaphore from here on.
    unsafe {
        assert_eq!(sem_init(semaphore, 1, 0), -errno::ENOSYS);
        assert_eq!(sem_init(semaphore, 0, 1 << 31), -errno::EINVAL);
        assert_eq!((sem_init(null_mut(), 0, 1), sem_post(null_mut())), (-errno::EINVAL, -errno::EINVAL));
        assert_eq!(sem_init(semaphore, 0, (1 << 31) - 1), 0);
        assert_eq!(sem_post(semaphore), -errno::EOVERFLOW);
        assert_eq!(sem_init(semaphore, 0, 2), 0);
        let taken = [(); 3].map(|()| sem_trywait(semaphore));
        assert_eq!(taken, [0, 0, -errno::EAGAIN]);
        assert_eq!(sem_timedwait(semaphore, &in_the_future(Duration::from_millis(3))), -errno::ETIMEDOUT);
        assert_eq!(sem_timedwait(semaphore, &timespec { tv_sec: 0, tv_nsec: -1 }), -errno::EINVAL);
    }
    let within = AtomicUsize::new(0);
    let pass = || {
        for _ in 0..200 {
            // SAFETY: as above.
            assert_eq!(unsafe { sem_timedwait(shared.get(), null()) }, 0);
            assert!(within.fetch_add(1, SeqCst) < 3, "more are in than there are units");
            thread::yield_now();
            within.fetch_sub(1, SeqCst);
            // SAFETY: as above.
            assert_eq!(unsafe { sem_post(shared.get()) }, 0);
        }
    };
    thread::scope(|scope| {
        (0..8).for_each(|_| drop(scope.spawn(pass)));
        // SAFETY: as above; a semaphore that is ended while nobody waits can be ended again.
        unsafe {
            while sem_destroy(semaphore) != -errno::EBUSY {
                thread::yield_now();
            }
            (0..3).for_each(|_| assert_eq!(sem_post(semaphore), 0));
        }
    });
    // SAFETY: as above.
    unsafe {
        assert_eq!([(); 4].map(|()| sem_trywait(semaphore)), [0, 0, 0, -errno::EAGAIN]);
        assert_eq!(sem_destroy(semaphore), 0);
    }
}

/// A wake-up that comes before the wait is kept; each wakes one; blocked threads go on.
pub fn queues() {
    use hermit_abi::{add_queue, destroy_queue, init_queue, notify, wait};
    let mut word = 0usize;
    let id = &raw mut word as usize;
    let passed = AtomicU32::new(0);
    // SAFETY: the variable outlives the threads of the scope.
    unsafe {
        assert_eq!((init_queue(0), wait(1), notify(0, 1)), (-errno::EINVAL, -errno::EINVAL, -errno::EINVAL));
        assert_eq!((init_queue(id), add_queue(id, 5)), (0, -errno::ENOSYS));
        assert_eq!((add_queue(id, -1), destroy_queue(id)), (0, -errno::EBUSY));
        assert_eq!((notify(id, 5), wait(id), destroy_queue(id)), (0, 0, 0));
        thread::scope(|scope| {
            for _ in 0..5 {
                assert_eq!(add_queue(id, 0), 0);
                scope.spawn(|| {
                    assert_eq!(wait(id), 0);
                    passed.fetch_add(1, SeqCst);
                });
            }
            assert_eq!(notify(id, 2), 0);
            wait_for(&passed, 2);
            assert_eq!(notify(id, -1), 0);
            wait_for(&passed, 5);
        });
        assert_eq!(destroy_queue(id), 0);
    }
    blocked_threads();
}

fn wait_for(counter: &AtomicU32, value: u32) {
    while counter.load(SeqCst) < value {
        thread::sleep(Duration::from_millis(1));
    }
}

fn blocked_threads() {
    let (id, passed) = (AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            // SAFETY: these calls have no arguments that could be wrong.
            unsafe {
                hermit_abi::block_current_task_with_timeout(2);
                hermit_abi::yield_now();
                hermit_abi::block_current_task();
                hermit_abi::wakeup_task(hermit_abi::getpid() as u32);
                hermit_abi::yield_now();
                hermit_abi::block_current_task();
                id.store(hermit_abi::getpid() as u32, SeqCst);
                hermit_abi::yield_now();
            }
            passed.store(1, SeqCst);
        });
        wait_for(&id, 1);
        thread::sleep(Duration::from_millis(2));
        assert_eq!(passed.load(SeqCst), 0, "it blocks until it is woken");
        // SAFETY: as above.
        unsafe { hermit_abi::wakeup_task(id.load(SeqCst)) };
        wait_for(&passed, 1);
    });
}

/// What there is nothing of says so.
pub fn refusals() {
    // SAFETY: what is refused looks at no argument.
    unsafe {
        assert_eq!(hermit_abi::fcntl(1, 99, 0), -errno::ENOSYS);
        assert_eq!((hermit_abi::get_errno(), hermit_abi::errno()), (errno::ENOSYS, errno::ENOSYS));
        assert_eq!(hermit_abi::ioctl(1, 0, null_mut()), -errno::ENOSYS);
    }
}
