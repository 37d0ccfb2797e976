//! A command under way, and what became of it.

use crate::PATIENCE;
use rustix::process::{Pid, Signal, kill_process};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What a command wrote so far.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn gather(&self, mut from: impl Read + Send + 'static) -> JoinHandle<()> {
        let written = self.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                written.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..count]);
            }
        })
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

/// A command under way. It is killed if it is dropped before it has ended.
pub struct Running {
    line: String,
    child: Child,
    out: Written,
    err: Written,
    gatherers: Vec<JoinHandle<()>>,
    started: Instant,
}

/// A command that has ended.
#[derive(Debug)]
pub struct Ended {
    /// What was called.
    pub line: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub out: String,
    /// What it wrote to standard error.
    pub err: String,
    /// How long it took.
    pub took: Duration,
}

impl Running {
    /// Starts a command.
    pub fn start(mut command: Command) -> Self {
        let line = format!("{command:?}");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{line}: {error}"));
        let (out, err) = (Written::default(), Written::default());
        let gatherers = vec![
            out.gather(child.stdout.take().expect("its output is piped")),
            err.gather(child.stderr.take().expect("its errors are piped")),
        ];
        Self { line, child, out, err, gatherers, started: Instant::now() }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard output by now.
    pub fn out(&self) -> String {
        self.out.text()
    }

    /// Whether it has ended.
    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_some()
    }

    /// Waits until standard output contains `text`.
    ///
    /// # Panics
    /// If it ends without, or takes longer than [`PATIENCE`].
    pub fn wait_for(&mut self, text: &str) {
        crate::wait_until(&format!("{} writes {text:?}", self.line), || {
            // In this order: what an ended command wrote is there before its end.
            let over = self.is_over();
            let there = self.out().contains(text);
            assert!(
                there || !over,
                "{} ended and did not write {text:?}: {}{}",
                self.line,
                self.out(),
                self.err.text()
            );
            there
        });
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        signal_process(self.child.id(), signal);
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it takes longer than [`PATIENCE`]; it is killed then.
    pub fn end(self) -> Ended {
        self.end_within(PATIENCE)
    }

    /// Waits for its end; it may take so long.
    ///
    /// # Panics
    /// If it takes longer; it is killed then.
    pub fn end_within(mut self, patience: Duration) -> Ended {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                break status;
            }
            if start.elapsed() > patience {
                let (out, err) = (self.out(), self.err.text());
                panic!("{} has not ended after {patience:?}; it wrote: {out}{err}", self.line);
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let took = self.started.elapsed();
        for gatherer in self.gatherers.drain(..) {
            let _ = gatherer.join();
        }
        Ended { line: self.line.clone(), status, out: self.out.text(), err: self.err.text(), took }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Ended {
    /// Its exit code; `None` if a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The signal that ended it.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// What it wrote, if it did well.
    ///
    /// # Panics
    /// If it did not.
    pub fn well(self) -> String {
        assert!(self.status.success(), "{}: {}\n{}{}", self.line, self.status, self.out, self.err);
        self.out
    }

    /// Its one sentence of complaint, if it failed with code 1.
    ///
    /// # Panics
    /// If it did not fail, or said more or less than a sentence.
    pub fn sentence(self) -> String {
        assert_eq!(self.code(), Some(1), "{}: {}{}", self.line, self.out, self.err);
        // A slow start may have said how far it was.
        let said: String =
            self.err.split_inclusive('\n').filter(|line| !line.contains(" VMs ready (")).collect();
        let sentence = said.strip_prefix("cyanea: ").and_then(|text| text.strip_suffix('\n'));
        let sentence = sentence.unwrap_or_else(|| panic!("{}: no sentence: {:?}", self.line, self.err));
        assert!(!sentence.contains('\n'), "{}: more than a sentence: {}", self.line, self.err);
        sentence.into()
    }
}

/// Sends a process a signal.
pub fn signal_process(id: u32, signal: Signal) {
    let id = Pid::from_raw(id as i32).expect("a process id is not 0");
    kill_process(id, signal).expect("the process is ours");
}
