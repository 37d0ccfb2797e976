//! The scheduler's queues (`images/runtime/src/threads`), the very files, on
//! cores that are played here: random programs, interrupts late or early, and
//! what must hold whenever everything has settled.
//!
//! A step is what a core does under the scheduler's lock, so any order of steps
//! is one that several cores can bring about.
#![allow(dead_code, reason = "only a part of the runtime's modules is used here")]

extern crate alloc;

mod processor;
mod threads;

/// The runtime's clock.
mod clock {
    pub fn now_ns() -> u64 {
        crate::processor::STATE.with_borrow(|state| state.now)
    }

    pub fn jumps() -> u32 {
        crate::processor::STATE.with_borrow(|state| state.jumps)
    }
}

/// What programs name in comments.
mod thread {
    pub fn cancel() {}
}

/// No data segments: nothing has statics here. No regions either.
mod memory {
    pub mod paging {
        pub fn is_mapping(_address: usize) -> bool {
            false
        }
    }

    pub mod segment {
        pub struct Segment;
    }
}

use processor::{MOST, STATE, on_core};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use tests::input::Random;
use threads::context::Context;
use threads::list::Index;
use threads::queues::{Affinity, Queues};
use threads::stack::Stack;
use threads::thread::{Own, Priority, Thread, Waiting};

/// Longer than any thread is left waiting while a core is idle.
const PATIENCE: u64 = 150_000;
const STEPS: usize = 4000;

/// A VM with some cores.
struct Vm {
    queues: Box<Queues>,
    cores: usize,
    online: Vec<bool>,
    /// Ended, and not yet freed.
    gone: Vec<Index>,
}

impl Vm {
    fn new(cores: usize) -> Self {
        STATE.with_borrow_mut(|state| *state = Default::default());
        let online = (0..cores).map(|core| core == 0).collect();
        Self { queues: Box::new(Queues::new()), cores, online, gone: Vec::new() }
    }

    fn spawn(&mut self, priority: Priority, preference: Option<usize>) -> Index {
        let thread = Box::new(Thread {
            own: Own::new(),
            priority,
            core: preference.unwrap_or_else(processor::cores::index),
            begins_here: preference.is_some(),
            slice_left: None,
            links: Default::default(),
            waiting: Waiting::No,
            deadline: None,
            ended: Box::new(AtomicU32::new(0)),
            context: Context,
            stack: Stack,
            last_stack: None,
        });
        let (index, _) = self.queues.table.insert(thread).ok().expect("there is room");
        self.queues.place(index, if preference.is_some() { Affinity::Close } else { Affinity::None });
        if self.queues.current().is_some() {
            self.queues.set_timer();
        }
        index
    }

    fn make_room(&mut self) {
        if self.queues.current().is_some() && self.queues.must_yield() {
            self.queues.put_back();
            self.queues.pick();
        }
    }

    /// The end of an interrupt.
    fn leave_interrupt(&mut self) {
        if self.queues.must_yield() {
            if self.queues.current().is_some() {
                self.queues.put_back();
            }
            self.queues.pick();
        }
    }

    /// Delivers what is due on a core; whether there was anything.
    fn interrupt(&mut self, core: usize) -> bool {
        let (called, timer) = STATE.with_borrow_mut(|state| state.due(core));
        on_core(core, || {
            if timer {
                self.queues.on_timer();
            }
            if called {
                self.queues.on_look();
            }
            if timer || called {
                self.leave_interrupt();
            }
        });
        timer || called
    }

    /// Something that the thread running on this core does, if there is one.
    fn act(&mut self, core: usize, random: &mut Random) {
        on_core(core, || {
            let Some(index) = self.queues.current() else { return };
            let address = 64 * random.below(5) as usize;
            let deadline = clock::now_ns() + random.below(1_000_000);
            match random.below(10) {
                0 | 1 => {
                    self.queues.put_last();
                    self.queues.pick();
                }
                2 => self.sleep(Waiting::Futex(address), None),
                3 if self.queues.stand_in.is_none() && random.below(2) == 0 => {
                    self.queues.stand_in();
                    self.sleep(Waiting::Futex(address), Some(deadline));
                }
                3 => self.sleep(Waiting::Futex(address), Some(deadline)),
                4 => self.sleep(Waiting::Sleep, Some(deadline)),
                5..8 => {
                    self.queues.wake(address, 1 + random.below(3) as usize);
                    self.make_room();
                }
                8 if self.queues.table.len() < 20 => {
                    let preference = (random.below(2) == 0).then(|| random.below(self.cores as u64) as usize);
                    self.spawn(priority(random), preference);
                    self.make_room();
                }
                _ if self.queues.table.len() > 4 => {
                    self.queues.own().current = None;
                    self.queues.table.remove(index);
                    self.queues.pick();
                }
                _ => self.set_priority(index, priority(random)),
            }
        });
    }

    fn sleep(&mut self, waiting: Waiting, deadline: Option<u64>) {
        self.queues.wait(waiting, deadline);
        self.queues.pick();
    }

    fn set_priority(&mut self, index: Index, priority: Priority) {
        self.queues.change_priority(index, priority);
        self.queues.set_timer();
        self.make_room();
    }

    fn pass(&mut self, nanoseconds: u64) {
        STATE.with_borrow_mut(|state| state.now += nanoseconds);
    }

    /// Delivers what is due on all cores; whether there was anything.
    fn interrupt_all(&mut self) -> bool {
        let online = (0..self.cores).filter(|&core| self.online[core]).collect::<Vec<_>>();
        online.into_iter().filter(|&core| self.interrupt(core)).count() > 0
    }

    /// Delivers what is due, and what comes of that, until nothing is.
    fn deliver(&mut self) {
        let mut rounds = 0;
        while self.interrupt_all() {
            rounds += 1;
            assert!(rounds < 100, "interrupts without end");
        }
    }

    /// Delivers all interrupts, for long enough that nobody's patience is left.
    fn settle(&mut self) {
        for _ in 0..2 {
            self.deliver();
            self.pass(PATIENCE);
        }
        self.deliver();
    }

    /// Who runs on each core that is there.
    fn running(&mut self) -> Vec<Option<Index>> {
        let cores = (0..self.cores).filter(|&core| self.online[core]).collect::<Vec<_>>();
        cores.into_iter().map(|core| on_core(core, || self.queues.current())).collect()
    }

    /// What holds at any time.
    fn check(&mut self) {
        let running: Vec<Index> = self.running().into_iter().flatten().collect();
        let mut ready = 0;
        for index in self.queues.table.of(0).collect::<Vec<_>>() {
            let runs = running.iter().filter(|&&other| other == index).count();
            assert!(runs <= 1, "thread {index} runs on {runs} cores");
            let waits = self.queues.table.get(index).waiting != Waiting::No;
            assert!(runs == 0 || !waits, "thread {index} runs and waits");
            ready += usize::from(runs == 0 && !waits);
        }
        assert_eq!(self.queues.ready(), ready, "as many are queued as are ready");
    }

    /// Lets everybody compute for a while. Whoever was ready has run then, unless
    /// somebody more urgent has its core.
    fn check_turns(&mut self) {
        let is_ready = |vm: &Self, &index: &Index| vm.queues.table.get(index).waiting == Waiting::No;
        let mut waiting: Vec<Index> = self.queues.table.of(0).filter(|index| is_ready(self, index)).collect();
        for _ in 0..20 * (waiting.len() + 1) {
            self.pass(1_000_000);
            self.deliver();
            let running = self.running();
            waiting.retain(|index| !running.contains(&Some(*index)));
        }
        for index in waiting {
            let Thread { core, priority, .. } = *self.queues.table.get(index);
            if self.online[core] {
                let runs = on_core(core, || self.queues.current());
                let urgency = runs.map(|other| self.queues.table.get(other).priority);
                assert!(urgency > Some(priority), "thread {index} had no turn beside {runs:?} ({urgency:?})");
            }
        }
    }

    /// What holds when nothing is on its way.
    fn check_settled(&mut self) {
        self.check();
        let running = self.running();
        let threads: Vec<Index> = self.queues.table.of(0).collect();
        let waits = |vm: &Self, index: Index| vm.queues.table.get(index).waiting != Waiting::No;
        for index in threads.into_iter().filter(|index| !running.contains(&Some(*index))) {
            let thread = self.queues.table.get(index);
            if waits(self, index) {
                assert!(thread.deadline.is_none_or(|at| at > clock::now_ns()), "thread {index} overslept");
                continue;
            }
            let begins_elsewhere = thread.begins_here && !self.online[thread.core];
            for (core, other) in running.iter().enumerate() {
                let urgency = other.map(|other| self.queues.table.get(other).priority);
                assert!(
                    begins_elsewhere || urgency.is_some_and(|urgency| urgency >= thread.priority),
                    "thread {index} ({:?}) is ready on core {}, {}, core {core} runs {urgency:?}",
                    thread.priority,
                    thread.core,
                    thread.begins_here,
                );
            }
        }
    }
}

fn priority(random: &mut Random) -> Priority {
    [Priority::Low, Priority::Normal, Priority::Normal, Priority::High][random.below(4) as usize]
}

#[test]
fn no_core_is_idle_while_a_thread_is_ready() {
    let mut random = Random::seeded();
    for cores in [1, 2, 3, MOST] {
        let mut vm = Vm::new(cores);
        on_core(0, || {
            for _ in 0..6 {
                vm.spawn(priority(&mut random), None);
            }
            vm.queues.pick();
        });
        for _ in 0..STEPS {
            let core = random.below(cores as u64) as usize;
            match random.below(13) {
                _ if !vm.online[core] => {
                    vm.online[core] = true;
                    on_core(core, || {
                        vm.queues.join();
                        vm.queues.pick();
                    });
                }
                0 => vm.pass(random.below(200_000)),
                1 => vm.pass(random.below(20_000_000)),
                2..5 => drop(vm.interrupt(core)),
                5 => {
                    vm.settle();
                    vm.check_settled();
                    if random.below(10) == 0 {
                        vm.check_turns();
                    }
                }
                6 => STATE.with_borrow_mut(|state| state.jump(random.below(1_000_000))),
                _ => vm.act(core, &mut random),
            }
            vm.check();
        }
    }
}

#[test]
fn a_thread_that_sleeps_stays_where_it_was_and_nothing_else_ticks() {
    let mut vm = Vm::new(4);
    for core in 1..4 {
        vm.online[core] = true;
        on_core(core, || {
            vm.queues.join();
            vm.queues.pick();
        });
    }
    on_core(2, || {
        vm.spawn(Priority::Normal, None);
        vm.queues.pick();
    });
    vm.settle();
    for _ in 0..100 {
        on_core(2, || {
            assert!(vm.queues.current().is_some(), "it moved");
            vm.sleep(Waiting::Sleep, Some(clock::now_ns() + 10_000));
        });
        vm.pass(10_000);
        assert!(vm.interrupt(2));
        assert!([0, 1, 3].iter().all(|&core| !vm.interrupt(core)), "another core was interrupted");
    }
    // Alone it has no time slices.
    vm.pass(100_000_000);
    assert!((0..4).all(|core| !vm.interrupt(core)), "somebody ticks");
}

#[test]
fn equals_take_turns_after_another_was_taken_away() {
    let mut vm = Vm::new(2);
    vm.online[1] = true;
    on_core(0, || {
        for _ in 0..3 {
            vm.spawn(Priority::Normal, None);
        }
        vm.queues.pick();
    });
    on_core(1, || {
        vm.queues.join();
        vm.queues.pick();
        assert!(vm.queues.current().is_some());
        // What waits behind the other core's thread is taken.
        vm.sleep(Waiting::Futex(64), None);
        assert!(vm.queues.current().is_some());
    });
    vm.pass(20_000_000);
    vm.deliver();
    on_core(1, || vm.spawn(Priority::Normal, None));
    vm.check_turns();
}

#[test]
fn equals_take_turns_however_often_somebody_more_urgent_runs() {
    for period in [100_000, 1_000_000, 7_000_000] {
        let mut vm = Vm::new(1);
        on_core(0, || {
            let often = vm.spawn(Priority::High, None);
            let equals = [vm.spawn(Priority::Normal, None), vm.spawn(Priority::Normal, None)];
            vm.queues.pick();
            let mut ran = [0, 0];
            for _ in 0..1_000_000_000 / period {
                assert_eq!(vm.queues.current(), Some(often));
                vm.sleep(Waiting::Sleep, Some(clock::now_ns() + period));
                let end = clock::now_ns() + period;
                while clock::now_ns() < end {
                    vm.pass(50_000);
                    let now = vm.queues.current();
                    (0..2).filter(|&equal| now == Some(equals[equal])).for_each(|equal| ran[equal] += 50_000);
                    vm.interrupt(0);
                }
            }
            assert!(ran.iter().all(|&ran| ran >= 400_000_000), "every {period} ns: {ran:?} ns");
        });
    }
}

#[test]
fn the_stand_in_goes_on_before_a_core_halts_on_which_others_ran() {
    let mut vm = Vm::new(1);
    on_core(0, || {
        let stand_in = vm.spawn(Priority::High, None);
        let other = vm.spawn(Priority::Normal, None);
        vm.queues.pick();
        let stand_by = |vm: &mut Vm| {
            assert_eq!(vm.queues.current(), Some(stand_in));
            vm.queues.stand_in();
            vm.sleep(Waiting::Futex(64), None);
        };
        stand_by(&mut vm);
        for _ in 0..3 {
            assert_eq!(vm.queues.current(), Some(other));
            vm.sleep(Waiting::Sleep, Some(clock::now_ns() + 10_000));
            // It goes on, and if nothing has come of it the core halts.
            stand_by(&mut vm);
            assert_eq!(vm.queues.current(), None);
            vm.queues.pick();
            assert_eq!(vm.queues.current(), None, "nobody has run since");
            vm.pass(10_000);
            vm.queues.on_timer();
            vm.leave_interrupt();
        }
        // Woken, it is none any more.
        assert_eq!(vm.queues.wake(64, 1), 1);
        vm.make_room();
        vm.sleep(Waiting::Futex(64), None);
        vm.sleep(Waiting::Futex(128), None);
        assert_eq!(vm.queues.current(), None);
    });
}

#[test]
fn a_stand_in_is_not_called_while_another_core_runs_on() {
    let mut vm = Vm::new(2);
    vm.online[1] = true;
    on_core(0, || {
        vm.spawn(Priority::High, None);
        vm.queues.pick();
    });
    on_core(1, || {
        vm.queues.join();
        vm.queues.pick();
        vm.spawn(Priority::Normal, None);
        vm.queues.pick();
        assert!(vm.queues.current().is_some());
    });
    on_core(0, || {
        vm.queues.stand_in();
        vm.sleep(Waiting::Futex(64), None);
        assert_eq!(vm.queues.current(), None, "it goes on at once");
    });
    vm.settle();
    assert_eq!(on_core(0, || vm.queues.current()), None);
    // It goes on where somebody has run, when that one waits.
    on_core(1, || {
        vm.sleep(Waiting::Futex(128), None);
        assert!(vm.queues.current().is_some());
    });
    assert!(!vm.interrupt(0), "the other core was called");
}

#[test]
fn what_a_running_thread_wakes_waits_a_moment_for_its_core() {
    let mut vm = Vm::new(2);
    vm.online[1] = true;
    on_core(0, || {
        vm.spawn(Priority::Normal, None);
        vm.spawn(Priority::Normal, None);
        vm.queues.pick();
        vm.sleep(Waiting::Futex(64), None);
    });
    on_core(1, || {
        vm.queues.join();
        vm.queues.pick();
    });
    on_core(0, || assert_eq!(vm.queues.wake(64, 1), 1));
    assert!(!vm.interrupt(1), "the idle core was called at once");
    vm.pass(PATIENCE);
    assert!(vm.interrupt(0) && vm.interrupt(1), "the idle core was not called");
    assert_eq!(vm.running().into_iter().flatten().count(), 2);
}

#[test]
fn a_clock_that_jumps_ahead_leaves_nobody_asleep() {
    let mut vm = Vm::new(3);
    for core in 0..3 {
        vm.online[core] = true;
        on_core(core, || {
            if core > 0 {
                vm.queues.join();
            }
            vm.queues.pick();
            vm.spawn(Priority::Normal, None);
            vm.queues.pick();
        });
    }
    vm.settle();
    // Two sleep for a second, which is over all at once.
    for core in 1..3 {
        on_core(core, || vm.sleep(Waiting::Sleep, Some(clock::now_ns() + 1_000_000_000)));
    }
    vm.pass(1000);
    STATE.with_borrow_mut(|state| state.jump(1_000_000_000));
    vm.settle();
    assert_eq!(vm.running().into_iter().flatten().count(), 3, "somebody oversleeps");
}

/// Whether all threads of an activity wait for threads.
fn is_deadlocked(vm: &Vm, activity: u64) -> bool {
    let threads = vm.queues.table.of(activity).map(|index| vm.queues.table.get(index));
    let alive: Vec<&Thread> = threads.filter(|thread| thread.ended.load(Relaxed) == 0).collect();
    !alive.is_empty() && alive.iter().all(|thread| thread.waits_for_threads())
}

impl Vm {
    /// What a thread of an activity does, on the only core.
    fn act_for(&mut self, index: Index, random: &mut Random) {
        let own = &self.queues.table.get(index).own;
        let activity = own.activity.load(Relaxed);
        own.calls.store(0, Relaxed);
        let address = 64 * random.below(8) as usize;
        let deadline = Some(clock::now_ns() + random.below(10_000));
        match random.below(16) {
            _ if own.cancelled.load(Relaxed) => self.end(index),
            0..8 => self.sleep(Waiting::Futex(address), None),
            8 => self.sleep(Waiting::Futex(address), deadline),
            9 => self.sleep(Waiting::Sleep, deadline),
            10 => {
                own.calls.store(1, Relaxed);
                self.sleep(Waiting::Futex(address), deadline);
            }
            11 => drop(self.queues.wake(address, 1)),
            12 => self.end(index),
            _ => {
                let other = self.spawn(Priority::Normal, None);
                self.queues.table.get(other).own.activity.store(activity, Relaxed);
            }
        }
    }

    fn end(&mut self, index: Index) {
        let thread = self.queues.table.get(index);
        thread.ended.store(1, Relaxed);
        self.queues.suspects.add(thread.own.activity.load(Relaxed));
        self.queues.own().current = None;
        // Another core may have to free it, and not come to that for a while.
        match index % 2 {
            0 => drop(self.queues.table.remove(index)),
            _ => self.gone.push(index),
        }
        self.queues.pick();
    }

    /// The idle core looks until it halts; how many deadlocks it has found.
    fn find_deadlocks(&mut self) -> usize {
        let mut found = 0;
        while self.queues.current().is_none() {
            let before: Vec<u64> =
                (1..=ACTIVITIES).filter(|&activity| is_deadlocked(self, activity)).collect();
            if self.queues.pick_or_break_deadlock().is_null() {
                assert!(before.is_empty(), "{before:?} are in a deadlock and nobody says so");
                return found;
            }
            let index = self.queues.current().expect("it was picked");
            let own = &self.queues.table.get(index).own;
            let activity = own.activity.load(Relaxed);
            assert_eq!(own.deadlocked.swap(false, Relaxed), !before.is_empty());
            assert!(before.is_empty() || before.contains(&activity), "activity {activity} is in no deadlock");
            if !before.is_empty() {
                found += 1;
                self.cancel(activity);
            }
        }
        found
    }

    fn cancel(&mut self, activity: u64) {
        for index in self.queues.table.of(activity).collect::<Vec<_>>() {
            let thread = self.queues.table.get(index);
            thread.own.cancelled.store(true, Relaxed);
            if thread.waiting != Waiting::No {
                self.queues.end_wait(index, false);
            }
        }
    }
}

/// More than are suspected by name.
const ACTIVITIES: u64 = 12;

#[test]
fn an_activity_is_in_a_deadlock_when_all_its_threads_wait_for_one_another() {
    let mut random = Random::seeded();
    let mut found = 0;
    for _ in 0..200 {
        let mut vm = Vm::new(1);
        on_core(0, || {
            for activity in 1..=ACTIVITIES {
                for _ in 0..=random.below(3) {
                    let index = vm.spawn(Priority::Normal, None);
                    vm.queues.table.get(index).own.activity.store(activity, Relaxed);
                }
            }
            vm.queues.pick();
            for _ in 0..STEPS {
                match vm.queues.current() {
                    Some(index) => vm.act_for(index, &mut random),
                    None if vm.queues.table.len() == 0 => break,
                    None => {
                        found += vm.find_deadlocks();
                        let gone = std::mem::take(&mut vm.gone);
                        gone.into_iter().for_each(|index| drop(vm.queues.table.remove(index)));
                        vm.pass(10_000);
                        vm.queues.on_timer();
                        vm.leave_interrupt();
                    }
                }
            }
        });
    }
    assert!(found > 500, "{found} deadlocks are too few to say anything");
}
