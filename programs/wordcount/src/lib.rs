//! Counts lines, words and bytes of the Rust source files below a directory,
//! and the twenty most frequent words, with as many activities as it is given.
//!
//! Every activity walks the tree and takes every `count`-th file as its share;
//! all send what they counted to activity 0, which adds it up and prints it.
//! Words are maximal runs of bytes that are not ASCII white space.
//!
//! This is ordinary Rust: it reads files through `std::fs`, and asks `cyanea`
//! only for its index, its arguments, and to send and receive messages.
#![forbid(unsafe_code)]

mod counts;
mod walk;

use counts::Counts;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

/// How many of the most frequent words are printed.
const TOP: usize = 20;

/// The program: `wordcount DIRECTORY`.
pub fn main() -> ExitCode {
    let arguments = cyanea::args();
    let [directory] = arguments.as_slice() else {
        eprintln!("wordcount: one argument is expected, the directory; for example: wordcount /input");
        return ExitCode::from(2);
    };
    match run(Path::new(directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wordcount: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(directory: &Path) -> Result<(), String> {
    let start = Instant::now();
    let me = cyanea::activity();
    let mut counts = Counts::default();
    for path in walk::share(directory, me.index, me.count)? {
        let text = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        counts.add_file(&text);
    }
    if me.index > 0 {
        return report(&counts).map_err(|error| format!("reporting to activity 0: {error}"));
    }
    gather(&mut counts, me.count)?;
    print(&counts, me.count, start.elapsed().as_secs_f64());
    Ok(())
}

/// Sends everything counted to activity 0; an empty message ends it.
fn report(counts: &Counts) -> Result<(), cyanea::Error> {
    for message in counts.messages(cyanea::MAX_MESSAGE) {
        cyanea::send(0, &message)?;
    }
    cyanea::send(0, &[])
}

/// Adds up what the other activities counted.
fn gather(counts: &mut Counts, activities: usize) -> Result<(), String> {
    let mut reporting = activities - 1;
    while reporting > 0 {
        let message =
            cyanea::receive().map_err(|error| format!("waiting for the others' counts: {error}"))?;
        if message.body.is_empty() {
            reporting -= 1;
        } else if counts.add_message(&message.body).is_none() {
            return Err(format!("activity {} sent a message that does not decode", message.from));
        }
    }
    Ok(())
}

fn print(counts: &Counts, activities: usize, seconds: f64) {
    for (word, count) in counts.most_frequent(TOP) {
        println!("{count:>9} {}", String::from_utf8_lossy(word));
    }
    println!(
        "wordcount: {} files {} bytes {} lines {} words, {activities} activities, {seconds:.1} s",
        counts.files, counts.bytes, counts.lines, counts.words
    );
}
