//! What ended an activity, in the words of its report.
//!
//! `std` tells of a panic and of a lack of memory before it aborts, and the
//! abort itself does not say which it was: so each is noted on its thread.
//! A program that installs a panic hook of its own keeps the message to itself.

use crate::activity::Activity;
use kernel::protocol::fault::{Backtrace, Kind, MOST_MESSAGE, MOST_NAME, Report, Thread, beginning};
use runtime::fault::Fault;
use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::fmt::Write;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;

thread_local! {
    /// What this thread said when it panicked, and where.
    static MESSAGE: RefCell<String> = const { RefCell::new(String::new()) };
    /// Of how many bytes there were none left when it asked for them.
    static LACKING: Cell<Option<usize>> = const { Cell::new(None) };
}

/// A panic hook.
type Hook = Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>;

/// What `std` does by itself when a thread panics, and when an allocation fails.
static PANICKED: OnceLock<Hook> = OnceLock::new();
static BEFORE: OnceLock<fn(Layout)> = OnceLock::new();

/// Listens to what `std` says before it aborts.
///
/// Every activity has a copy of `std`'s panic hook, and may replace it: so the
/// hook is a function, with nothing on the heap that a copy would own as well.
pub fn listen() {
    let _ = PANICKED.set(std::panic::take_hook());
    std::panic::set_hook(Box::new(panicked));
    let _ = BEFORE.set(std::alloc::take_alloc_error_hook());
    std::alloc::set_alloc_error_hook(|layout| {
        LACKING.set(Some(layout.size()));
        if let Some(tell) = BEFORE.get() {
            tell(layout);
        }
    });
}

fn panicked(info: &PanicHookInfo<'_>) {
    note(info);
    if let Some(tell) = PANICKED.get() {
        tell(info);
    }
}

fn note(info: &PanicHookInfo<'_>) {
    let mut text = info.location().map_or_else(String::new, |location| format!("at {location}: "));
    text += info.payload_as_str().unwrap_or("(no text)");
    // One that panics while it panics has said the first thing.
    MESSAGE.with(|message| message.try_borrow_mut().map(|mut message| *message = text)).ok();
}

/// The report of a fault of the calling thread.
pub fn report(fault: Fault) -> Report {
    let kind = match (fault.kind, LACKING.get()) {
        (Kind::Abort, Some(bytes)) => Kind::OutOfMemory(bytes as u64),
        (Kind::Abort, None) if std::thread::panicking() => Kind::Panic,
        (kind, _) => kind,
    };
    let message = match kind {
        Kind::Panic => MESSAGE.with(|message| message.try_borrow().map(|text| text.clone())),
        _ => Ok(String::new()),
    };
    let own = std::thread::current();
    let thread = |id, name: &str, backtrace: Backtrace| Thread {
        id,
        name: beginning(name, MOST_NAME).into(),
        addresses: backtrace.addresses().to_vec(),
    };
    let first = thread(runtime::thread::current(), own.name().unwrap_or_default(), fault.backtrace);
    let others = fault.others.into_iter().map(|(id, backtrace)| thread(id, "", backtrace));
    Report {
        kind,
        message: beginning(&message.unwrap_or_default(), MOST_MESSAGE).into(),
        threads: std::iter::once(first).chain(others).collect(),
    }
}

/// Writes it to the VM's log; the launcher says there what the addresses are.
pub fn log(activity: &Activity, report: &Report) {
    let (task_force, index) = activity.placement.key;
    let mut text = format!(
        "fault: {}: activity {index} of task force {}: {}",
        activity.placement.program.name, task_force.0, report.kind
    );
    if !report.message.is_empty() {
        let _ = write!(text, " {}", report.message.escape_debug());
    }
    text.push('\n');
    for thread in &report.threads {
        let backtrace: Backtrace = thread.addresses.iter().copied().collect();
        let _ = writeln!(text, "thread {:?} {}\n{backtrace}", thread.name, thread.id);
    }
    runtime::console::write(true, text.as_bytes());
}
