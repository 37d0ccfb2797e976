//! `std::time`: clocks that go on, on all threads; sleeps that are not too short.

use crate::{Outcome, path, say};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub fn main() -> Outcome {
    instants();
    across_threads();
    sleeps();
    time_of_day()?;
    durations();
    Ok(())
}

fn instants() {
    let mut last = Instant::now();
    let mut back = 0;
    for _ in 0..100_000 {
        let now = Instant::now();
        back += u32::from(now < last);
        last = now;
    }
    say("steps back", back);
    let earlier = last - Duration::from_nanos(1);
    say(
        "differences",
        (last - earlier, last.checked_duration_since(last), earlier.saturating_duration_since(last)),
    );
    say("too far", last.checked_add(Duration::MAX));
    say("before it began", last.checked_sub(Duration::MAX));
    say("it has begun", last.elapsed() > Duration::ZERO || last.elapsed() == Duration::ZERO);
}

/// Whoever takes the lock later has the later time, on whatever thread.
fn across_threads() {
    let last = Mutex::new((Instant::now(), 0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    let mut last = last.lock().unwrap();
                    let now = Instant::now();
                    last.1 += u32::from(now < last.0);
                    last.0 = now;
                }
            });
        }
    });
    say("steps back across threads", last.into_inner().unwrap().1);
}

/// What a sleep takes is never less than it should; how much more depends on the host.
fn sleeps() {
    for micros in [0, 1, 50, 999, 1000, 5000, 20_000] {
        let wanted = Duration::from_micros(micros);
        let early = (0..10)
            .filter(|_| {
                let start = Instant::now();
                thread::sleep(wanted);
                start.elapsed() < wanted
            })
            .count();
        say(&format!("sleeps of {wanted:?} that were too short"), early);
    }
    let start = Instant::now();
    thread::scope(|scope| {
        for i in 1..=10 {
            scope.spawn(move || thread::sleep(Duration::from_millis(i)));
        }
    });
    say("ten at once are not too short", start.elapsed() >= Duration::from_millis(10));
}

fn time_of_day() -> Outcome {
    let now = SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH)?;
    let year = Duration::from_secs(365 * 24 * 3600);
    say("it is after 2024 and before 2100", since > 54 * year && since < 130 * year);
    let ahead = now + Duration::from_secs(5);
    say("ahead", ahead.duration_since(now));
    say("behind", now.duration_since(ahead).map_err(|error| error.duration()));
    say("far", now.checked_add(Duration::MAX));
    say("1970", UNIX_EPOCH + Duration::from_secs(1) < now);
    std::fs::write(path("file"), "x")?;
    let modified = std::fs::metadata(path("file"))?.modified()?;
    let apart = now.duration_since(modified).or_else(|error| Ok::<_, String>(error.duration()))?;
    say("files have the same clock", apart < Duration::from_secs(60));
    Ok(())
}

fn durations() {
    let span = Duration::new(3, 141_592_653);
    say("a span", (span, span * 2, span / 3, span.mul_f64(0.5)));
    say("as numbers", (span.as_millis(), span.subsec_micros(), span.as_secs_f64()));
    say(
        "limits",
        (
            Duration::MAX.checked_add(span),
            span.checked_sub(Duration::MAX),
            span.saturating_sub(Duration::MAX),
        ),
    );
    println!("written: {span:.2?} {:?} {:?}", Duration::from_micros(1500), Duration::from_nanos(17));
    say("from a float", Duration::try_from_secs_f64(-1.0).map_err(|error| error.to_string()));
}
