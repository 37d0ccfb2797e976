//! Coroutines: the operating system's own work in a VM runs as async tasks on
//! one thread, the one that calls [`Executor::run_ready`].
//!
//! A task that is woken goes to the end of the queue; a wake-up from another
//! thread calls the `poke` that the executor was made with, so that a sleeping
//! executor thread looks at its queue. [`block_on`] is for the other threads.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};

type Coroutine = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs coroutines.
pub struct Executor {
    queue: Arc<Queue>,
    /// Those that are being run; kept for its memory.
    batch: Mutex<Vec<Arc<Task>>>,
}

struct Queue {
    ready: Mutex<Vec<Arc<Task>>>,
    /// There are some. Written under the lock.
    any: AtomicBool,
    poke: Box<dyn Fn() + Send + Sync>,
}

struct Task {
    /// `None` once it has finished. Locked while it runs.
    coroutine: Mutex<Option<Coroutine>>,
    queue: Weak<Queue>,
}

impl Executor {
    /// An executor whose thread looks at its queue after a call of `poke`.
    pub fn new(poke: impl Fn() + Send + Sync + 'static) -> Self {
        let queue = Queue { ready: Mutex::default(), any: AtomicBool::new(false), poke: Box::new(poke) };
        Self { queue: Arc::new(queue), batch: Mutex::default() }
    }

    /// Starts a coroutine; from any thread.
    pub fn spawn(&self, coroutine: impl Future<Output = ()> + Send + 'static) {
        let coroutine = Mutex::new(Some(Box::pin(coroutine) as Coroutine));
        Arc::new(Task { coroutine, queue: Arc::downgrade(&self.queue) }).wake();
    }

    /// Whether no coroutine is ready.
    pub fn is_idle(&self) -> bool {
        !self.queue.any.load(Ordering::Acquire)
    }

    /// Runs every coroutine that is ready now, each for one turn. Returns
    /// whether there was any.
    pub fn run_ready(&self) -> bool {
        if self.is_idle() {
            return false;
        }
        let mut batch = lock(&self.batch);
        {
            let mut ready = lock(&self.queue.ready);
            self.queue.any.store(false, Ordering::Release);
            std::mem::swap(&mut *ready, &mut *batch);
        }
        batch.drain(..).for_each(Task::run);
        true
    }
}

impl Task {
    fn run(self: Arc<Self>) {
        // Nobody else has it: this is the executor's thread.
        let mut slot = lock(&self.coroutine);
        let Some(coroutine) = slot.as_mut() else { return };
        let waker = Waker::from(self.clone());
        if coroutine.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            *slot = None;
        }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let Some(queue) = self.queue.upgrade() else { return };
        {
            let mut ready = lock(&queue.ready);
            ready.push(self);
            queue.any.store(true, Ordering::Release);
        }
        (queue.poke)();
    }
}

/// Waits for a future on the calling thread, which sleeps meanwhile.
pub fn block_on<F: Future>(future: F) -> F::Output {
    /// Whoever keeps the waker may do so for longer than the thread and what it
    /// had are there: so it holds no handle of the thread, which is a program's.
    #[derive(Default)]
    struct Alarm {
        rang: Mutex<bool>,
        rings: Condvar,
    }
    impl Wake for Alarm {
        fn wake(self: Arc<Self>) {
            *lock(&self.rang) = true;
            self.rings.notify_one();
        }
    }
    let alarm = Arc::new(Alarm::default());
    let waker = Waker::from(alarm.clone());
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        let rang = alarm.rings.wait_while(lock(&alarm.rang), |rang| !*rang);
        *rang.unwrap_or_else(PoisonError::into_inner) = false;
    }
}

/// Locks a mutex whose data stays sound even if a holder panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::task::Poll;
    use std::thread;

    /// Gives way once.
    async fn give_way() {
        let mut first = true;
        std::future::poll_fn(|context| {
            if std::mem::take(&mut first) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }

    #[test]
    fn coroutines_take_turns_and_finish() {
        let pokes = Arc::new(AtomicUsize::new(0));
        let counted = pokes.clone();
        let executor = Executor::new(move || {
            counted.fetch_add(1, SeqCst);
        });
        let log = Arc::new(Mutex::new(Vec::new()));
        for name in ["a", "b"] {
            let log = log.clone();
            executor.spawn(async move {
                for turn in 0..2 {
                    lock(&log).push((turn, name));
                    give_way().await;
                }
            });
        }
        while executor.run_ready() {}
        assert_eq!(*lock(&log), [(0, "a"), (0, "b"), (1, "a"), (1, "b")]);
        assert_eq!(pokes.load(SeqCst), 6);
    }

    #[test]
    fn a_wake_up_while_it_runs_is_not_lost() {
        // The waker is called by another thread while the task is being polled.
        let executor = Executor::new(|| {});
        let done = Arc::new(AtomicUsize::new(0));
        let seen = done.clone();
        executor.spawn(async move {
            let mut polls = 0;
            std::future::poll_fn(|context| {
                polls += 1;
                let waker = context.waker().clone();
                thread::spawn(move || waker.wake()).join().unwrap();
                if polls < 100 { Poll::Pending } else { Poll::Ready(()) }
            })
            .await;
            seen.store(1, SeqCst);
        });
        while executor.run_ready() {}
        assert_eq!(done.load(SeqCst), 1);
    }

    #[test]
    fn block_on_waits_for_another_thread() {
        let (sender, mut slot) = (Arc::new(Mutex::new(None::<Waker>)), None);
        let shared = sender.clone();
        let value = block_on(std::future::poll_fn(move |context| {
            if slot.is_some() {
                return Poll::Ready(7);
            }
            slot = Some(());
            *lock(&shared) = Some(context.waker().clone());
            let waker = lock(&sender).take().unwrap();
            thread::spawn(move || waker.wake());
            Poll::Pending
        }));
        assert_eq!(value, 7);
    }
}
