//! `[locality]`: what distance shall cost.

use super::raw::{Raw, span, value_or};
use super::{Locality, Problem};
use std::ops::Range;

/// Most that a message may cost of a local one.
const MOST: u16 = 100;

/// What the file says, or the usual where it has the table and says nothing.
pub fn check(raw: &Raw) -> Result<Option<Locality>, Problem> {
    let Some(written) = &raw.locality else { return Ok(None) };
    let usual = Locality::default();
    let within = value_or(&written.within, usual.within);
    let between = value_or(&written.between, usual.between.max(within));
    for (value, place) in [(within, span(&written.within)), (between, span(&written.between))] {
        if !(1..=MOST).contains(&value) {
            let message = format!("{value} times a local message is no distance; write 1 to {MOST}");
            return Err(problem(place, message));
        }
    }
    if between < within {
        let message = format!(
            "another cluster cannot be nearer than the VM's own; write between = {within} or more, or a smaller within"
        );
        return Err(problem(span(&written.between), message));
    }
    Ok(Some(Locality { within, between }))
}

fn problem(span: Option<Range<usize>>, message: String) -> Problem {
    Problem { span, message }
}
