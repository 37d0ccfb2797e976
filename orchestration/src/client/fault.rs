//! A fault that ended an activity, as `cyanea run` tells it.

use super::Fault;
use kernel::protocol::fault::{Report, Thread};

impl Fault {
    /// `who` is program and activity. The first line says what happened, those
    /// below it where each thread was.
    pub(super) fn told(&self, who: &str, node: &str) -> String {
        let Report { kind, message, threads } = &self.report;
        let mut told = String::new();
        for (index, thread) in threads.iter().enumerate() {
            let name = self.name(thread);
            match index {
                0 if message.is_empty() => {
                    told = format!("{who} ({name} on {node}): {kind}{}", self.culprit(thread));
                }
                0 => told = format!("{who} ({name} on {node}): {kind} {}", one_line(message)),
                _ => told += &format!("\n  {name}{}", self.culprit(thread)),
            }
            for line in self.lines(thread) {
                told += &format!("\n    {line}");
            }
        }
        told
    }

    fn name(&self, thread: &Thread) -> String {
        match thread.name.as_str() {
            "" => format!("thread {}", thread.id),
            name => format!("thread '{}' {}", one_line(name), thread.id),
        }
    }

    /// Where, as the end of a sentence.
    fn culprit(&self, thread: &Thread) -> String {
        let culprit = self.image.as_ref().and_then(|image| image.culprit(&thread.addresses));
        match (culprit, thread.addresses.first()) {
            (Some(culprit), _) => format!(" at {culprit}"),
            (None, Some(address)) => format!(" at {address:#x}"),
            (None, None) => String::new(),
        }
    }

    fn lines(&self, thread: &Thread) -> Vec<String> {
        self.image.as_ref().map_or_else(Vec::new, |image| image.lines(&thread.addresses))
    }
}

/// What a guest says, as part of a line on a terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
