//! The activities on this node, from start to end.
//!
//! ```text
//! Start ──> running ──> ended, being reported ──> remembered as ended
//!              │                   ▲
//!              └─ Stop, or it ends ┘
//! ```
//! Whoever ends an activity first reports its end, once: its own thread, or the
//! node when it is told to stop it, whose threads then end without a word.
//!
//! An activity stays in the table until `tasks` has recorded its end; after
//! that its key is remembered for a while, so that a `Start` that was under way
//! twice does not run it twice.

use crate::activity::{Activity, Key, Placement, held};
use crate::descriptors::Descriptors;
use crate::faults;
use crate::program::Program;
use kernel::membership::Utility;
use kernel::messenger::{CallError, Messenger};
use kernel::pipe::Pipes;
use kernel::protocol::fault::{Kind, Report};
use kernel::protocol::tasks::{End, TaskForceId};
use kernel::protocol::{encode, node, tasks};
use runtime::thread::within_call;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// How many ended activities are remembered.
const REMEMBERED: usize = 4096;
/// Bytes of stack of an activity's first thread, as a `main` has on Linux. Only
/// what is touched takes memory.
const STACK_BYTES: usize = 8 * 1024 * 1024;

/// How long an end waits for the activity's memory, and between two looks whether it is free.
const GONE_NS: u64 = 1_000_000_000;
const SHORTEST_LOOK_NS: u64 = 20_000;
const LONGEST_LOOK_NS: u64 = 1_000_000;

/// What threads carry whose activity has ended.
pub const OVER: u64 = u64::MAX;

/// The activities on this node.
pub struct Activities {
    /// How this node talks to the others.
    pub messenger: Arc<Messenger>,
    /// The ends of pipes on this node.
    pub pipes: Arc<Pipes>,
    descriptors: Arc<Descriptors>,
    programs: Vec<Program>,
    table: Mutex<Table>,
    next_tag: AtomicU64,
}

#[derive(Default)]
struct Table {
    running: HashMap<Key, Arc<Activity>>,
    by_tag: HashMap<u64, Arc<Activity>>,
    ended: VecDeque<Key>,
}

impl Activities {
    /// A node that carries `programs` and runs nothing yet.
    pub fn new(
        messenger: Arc<Messenger>,
        descriptors: Arc<Descriptors>,
        programs: Vec<Program>,
    ) -> Arc<Self> {
        let pipes = Pipes::new(messenger.clone());
        messenger.on_notice(pipes.clone());
        let (table, next_tag) = (Mutex::default(), AtomicU64::new(1));
        Arc::new(Self { messenger, pipes, descriptors, programs, table, next_tag })
    }

    /// The activity whose threads carry `tag`.
    pub fn tagged(&self, tag: u64) -> Option<Arc<Activity>> {
        held(&self.table).by_tag.get(&tag).cloned()
    }

    /// A call on a thread of an activity, unless its end has been reported.
    fn with<T>(&self, tag: u64, call: impl FnOnce(&Arc<Activity>) -> T) -> Option<T> {
        within_call(|| self.tagged(tag).map(|activity| call(&activity)))
    }

    /// The activities of a task force that are here.
    pub fn of(&self, task_force: TaskForceId) -> Vec<Arc<Activity>> {
        let table = held(&self.table);
        table.running.values().filter(|a| a.placement.key.0 == task_force).cloned().collect()
    }

    /// Starts an activity, unless it was started before.
    ///
    /// # Errors
    /// If the image does not carry the program, or the activity has ended.
    pub fn start(self: &Arc<Self>, placement: Placement) -> node::Response {
        let Some(&program) = self.programs.iter().find(|program| program.name == placement.program.name)
        else {
            let known = self.programs.iter().map(|program| program.name.to_string()).collect();
            return Err(node::Refusal::UnknownProgram(known));
        };
        if held(&self.table).running.contains_key(&placement.key) {
            return Ok(());
        }
        if held(&self.table).ended.contains(&placement.key) {
            return Err(node::Refusal::Ended);
        }
        let tag = self.next_tag.fetch_add(1, Ordering::Relaxed);
        let activity = Activity::new(placement, tag, &self.pipes).ok_or(node::Refusal::Ended)?;
        {
            let mut table = held(&self.table);
            table.by_tag.insert(activity.tag, activity.clone());
            table.running.insert(activity.placement.key, activity.clone());
        }
        self.messenger.spawn(activity.clone().carry_output(self.messenger.clone()));
        self.run(activity, program);
        Ok(())
    }

    /// Runs an activity on threads of its own.
    fn run(self: &Arc<Self>, activity: Arc<Activity>, program: Program) {
        let (activities, tag) = (self.clone(), activity.tag);
        match runtime::thread::begin_activity(tag, move || activities.begin(tag, program)) {
            Ok(remains) => activity.begins(remains),
            Err(_) => {
                let text = format!("{}: no memory for the activity's statics\n", program.name);
                self.cannot_begin(activity, text, 0);
            }
        }
    }

    /// On a new activity's thread: has one of `std`'s run the program, so that all
    /// which `std` keeps of that is the activity's.
    fn begin(self: Arc<Self>, tag: u64, program: Program) {
        // It may have been stopped before this thread had the tag by which it would have been ended.
        if self.with(tag, |activity| activity.is_stopped()) != Some(false) {
            return;
        }
        let activities = self.clone();
        // As everywhere, the first thread is called so.
        let thread = std::thread::Builder::new().name("main".into()).stack_size(STACK_BYTES);
        let made = thread.spawn(move || {
            let code = (program.main)();
            activities.with(tag, |activity| activities.ended(activity, End::Exited(code), None));
        });
        if let Err(error) = made {
            let text = format!("{}: no thread for the activity: {error}\n", program.name);
            self.with(tag, |activity| self.cannot_begin(activity.clone(), text.clone(), STACK_BYTES));
        }
    }

    /// Ends an activity that lacks memory to begin.
    fn cannot_begin(self: &Arc<Self>, activity: Arc<Activity>, text: String, bytes: usize) {
        let activities = self.clone();
        self.messenger.spawn(async move {
            activity.write(2, text.as_bytes()).await;
            if activity.is_first_to_end() {
                let lacking = Kind::OutOfMemory(bytes as u64);
                activities.report(&activity, End::Faulted(lacking)).await;
            }
        });
    }

    /// What an activity's thread does last, within a call: the end becomes known,
    /// with what led to it if that was a fault.
    pub fn ended(self: &Arc<Self>, activity: &Arc<Activity>, end: End, fault: Option<Report>) {
        // Nobody is told of what is left to it (destructors of thread-locals), and nobody ends it.
        runtime::thread::set_activity(OVER);
        self.end(activity, end, fault);
    }

    /// Ends an activity from outside.
    pub fn stop(self: &Arc<Self>, activity: &Arc<Activity>) {
        self.end(activity, End::Killed, None);
    }

    /// Ends an activity's other threads, and reports its end if nobody has.
    fn end(self: &Arc<Self>, activity: &Arc<Activity>, end: End, fault: Option<Report>) {
        let is_first = activity.is_first_to_end();
        if is_first {
            if let Some(report) = fault {
                faults::log(activity, &report);
                activity.say(report);
            }
            // Whoever of it waits for a message or for room ends too.
            activity.stop();
        }
        runtime::thread::cancel(activity.tag);
        if is_first {
            let (activities, activity) = (self.clone(), activity.clone());
            self.messenger.spawn(async move { activities.report(&activity, end).await });
        }
    }

    /// Waits until an activity's memory is free, so that the next one finds it.
    /// For a thread that is long in a call, nobody waits.
    async fn until_gone(&self, activity: &Activity) {
        let mut pause = SHORTEST_LOOK_NS;
        let until = self.messenger.now_ns() + GONE_NS;
        while !activity.is_gone() && self.messenger.now_ns() < until {
            self.messenger.sleep_until(self.messenger.now_ns() + pause).await;
            pause = (2 * pause).min(LONGEST_LOOK_NS);
        }
    }

    async fn report(&self, activity: &Activity, end: End) {
        // In this order: what is opened meanwhile is closed by one of both sides.
        held(&self.table).by_tag.remove(&activity.tag);
        activity.ends.close();
        self.descriptors.close_all(activity.tag);
        activity.close_output();
        self.until_gone(activity).await;
        activity.flush().await;
        let (task_force, index) = activity.placement.key;
        let request = encode(&tasks::Request::ActivityEnded { task_force, index, end });
        loop {
            let seen = self.messenger.changes();
            match self.messenger.call_utility(Utility::Tasks, &request).await {
                // One may start again, and must learn of it.
                Err(CallError::NoActivity(_)) => self.messenger.changed_since(seen).await,
                _ => break,
            }
        }
        let mut table = held(&self.table);
        table.running.remove(&activity.placement.key);
        table.ended.push_back(activity.placement.key);
        if table.ended.len() > REMEMBERED {
            table.ended.pop_front();
        }
    }
}
