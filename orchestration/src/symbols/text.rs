//! A backtrace as people read it: what stands between the program and its
//! fault, without what stands under every program.

use super::{Image, NoSymbols, Place};
use std::fmt;

/// Most lines that a backtrace becomes.
const MOST_LINES: usize = 32;
/// How many of these are the innermost calls, if there are more.
const INNER_LINES: usize = 20;
/// `std`'s marks: outside of them is what is the same in every backtrace.
const BEGIN: &str = "__rust_begin_short_backtrace";
const END: &str = "__rust_end_short_backtrace";
/// Where the standard library's files are.
const LIBRARY: &str = "library/";
/// How names of the runtime's functions begin.
const RUNTIME: [&str; 3] = ["runtime::", "<runtime::", "sys_"];

impl Image {
    /// A backtrace, a line for each call; without symbols, the addresses and why.
    pub fn lines(&self, addresses: &[u64]) -> Vec<String> {
        match self.places(addresses) {
            Ok(places) => lines(&places),
            Err(why) => without(addresses, &why),
        }
    }

    /// The innermost call that is the program's own: function, file and line.
    pub fn culprit(&self, addresses: &[u64]) -> Option<String> {
        let places = self.places(addresses).ok()?;
        let shown = shown(&places);
        let own = shown.iter().find(|place| !is_system(place)).or(shown.first())?;
        own.function.is_some().then(|| Call(own).to_string())
    }
}

/// Function, file and line.
struct Call<'a>(&'a Place);

impl fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.function.as_deref().unwrap_or("(unknown)"))?;
        self.0.line.iter().try_for_each(|line| write!(f, " ({line})"))
    }
}

/// Whether it is of the standard library or the runtime. What has a name and no
/// line is the runtime's assembly, or has no debug information: then all is so.
fn is_system(place: &Place) -> bool {
    is_runtime(place) || place.line.as_ref().is_none_or(|line| line.starts_with(LIBRARY))
}

fn is_runtime(place: &Place) -> bool {
    place.function.as_ref().is_some_and(|name| RUNTIME.iter().any(|start| name.starts_with(start)))
}

/// What is shown: what stands between `std`'s marks, and not what the runtime
/// does to report.
fn shown(places: &[Place]) -> &[Place] {
    let has = |place: &Place, mark: &str| place.function.as_ref().is_some_and(|name| name.contains(mark));
    let start = places.iter().rposition(|place| has(place, END)).map_or(0, |mark| mark + 1);
    let start = start + places[start..].iter().take_while(|place| is_runtime(place)).count();
    let end =
        places[start..].iter().position(|place| has(place, BEGIN)).map_or(places.len(), |at| start + at);
    if start < end { &places[start..end] } else { places }
}

fn lines(places: &[Place]) -> Vec<String> {
    let mut lines = Vec::new();
    // A function that calls itself is one line.
    for same in shown(places).chunk_by(|one, next| (&one.function, &one.line) == (&next.function, &next.line))
    {
        let times = if same.len() > 1 { format!(", {} times", same.len()) } else { String::new() };
        let address = same[0].address.map_or("inlined".into(), |address| format!("{address:#x}"));
        lines.push(format!("{address:>10}  {}{times}", Call(&same[0])));
    }
    if let Some(more @ 1..) = lines.len().checked_sub(MOST_LINES) {
        lines.splice(INNER_LINES..INNER_LINES + more, [format!("{:>10}  {more} more", "...")]);
    }
    lines
}

fn without(addresses: &[u64], why: &NoSymbols) -> Vec<String> {
    let words: Vec<_> = addresses.iter().map(|address| format!("{address:#x}")).collect();
    vec![words.join(" "), format!("({why})")]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(function: &str) -> Place {
        Place { address: Some(0x20_0000), function: Some(function.into()), line: Some("a.rs:1".into()) }
    }

    #[test]
    fn what_stands_under_every_program_is_left_out() {
        let names = [
            "runtime::fault::abort",
            "std::sys::backtrace::__rust_end_short_backtrace",
            "core::panicking::panic_fmt",
            "mine::inner",
            "mine::outer",
            "std::sys::backtrace::__rust_begin_short_backtrace",
            "std::thread::start",
        ];
        let places = names.map(place);
        let names: Vec<_> = shown(&places).iter().map(|place| place.function.clone().unwrap()).collect();
        assert_eq!(names, ["core::panicking::panic_fmt", "mine::inner", "mine::outer"]);
        let waiting =
            ["runtime::threads::futex::wait", "sys_futex_wait", "std::sys::futex", "mine"].map(place);
        assert_eq!(shown(&waiting)[0], place("std::sys::futex"));
        // Nothing but the system's: all of it.
        assert_eq!(shown(&places[..1]).len(), 1);
    }

    #[test]
    fn long_backtraces_are_cut() {
        let places: Vec<_> = (0..MOST_LINES + 5).map(|number| place(&format!("f{number}"))).collect();
        let long = lines(&places);
        assert_eq!(long[0], "  0x200000  f0 (a.rs:1)");
        assert_eq!(
            long[INNER_LINES - 1..][..3],
            ["  0x200000  f19 (a.rs:1)", "       ...  5 more", "  0x200000  f25 (a.rs:1)"]
        );
        assert_eq!(long.len(), MOST_LINES + 1);
        assert_eq!(lines(&vec![place("deep"); 100]), ["  0x200000  deep (a.rs:1), 100 times"]);
    }
}
