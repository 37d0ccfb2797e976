//! What processes use of the host: memory and processor time, from `/proc`.

use anyhow::{Context, Result};
use std::fs;
use std::time::Duration;

/// Memory of a process in bytes. What several processes share is counted in parts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// All of it: the proportional set size.
    pub all: u64,
    /// All but files, which are QEMU's own program and libraries.
    pub without_files: u64,
}

/// The memory of a process.
pub fn memory(process: u32) -> Result<Memory> {
    let path = format!("/proc/{process}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))?;
    let field = |name: &str| -> Result<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        Ok(number.with_context(|| format!("{path} has no {name}"))? * 1024)
    };
    Ok(Memory { all: field("Pss:")?, without_files: field("Pss_Anon:")? + field("Pss_Shmem:")? })
}

/// The processor time of all threads that a process has now.
pub fn processor_time(process: u32) -> Result<Duration> {
    let path = format!("/proc/{process}/task");
    let threads = fs::read_dir(&path).with_context(|| format!("{path} cannot be read"))?;
    let mut nanoseconds = 0;
    for thread in threads.flatten() {
        // A thread that has just ended counts no more.
        let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        nanoseconds +=
            text.split_whitespace().next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Nanoseconds of processor time of several processes and of this one.
pub fn processor_time_of_all(processes: &[u32]) -> Result<Duration> {
    processes.iter().chain([&std::process::id()]).map(|&process| processor_time(process)).sum()
}
