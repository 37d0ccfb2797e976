//! An image that is an ordinary binary, with a `main` of its own that knows of no
//! node: what `cyanea build` makes.
//!
//! Its linker is told `--wrap=main`. Then what `std` enters as `main` is
//! [`enter`], which makes the VM a node that carries one program; and the
//! binary's own `main`, with all that `std` does around one, is the program: it
//! runs once for every activity, on that activity's thread. Images that call
//! [`crate::main`] themselves are linked without the option and without both.
#![expect(unsafe_code, reason = "calls the binary's main as the C function that std makes of it")]

use crate::Program;
use std::ffi::{CString, c_char, c_int};
use std::ptr;

/// What the program is called where nobody says which file the image is.
const UNNAMED: &str = "program";

unsafe extern "C" {
    #[link_name = "__real_main"]
    fn own_main(count: isize, words: *const *const c_char) -> c_int;
}

#[unsafe(export_name = "__wrap_main")]
extern "C" fn enter(_count: isize, _words: *const *const c_char) -> c_int {
    crate::main(&[Program::new(name(), run)])
}

/// The program's name: that of the image's file, as everywhere.
fn name() -> &'static str {
    runtime::boot::parameter("image").unwrap_or(UNNAMED)
}

/// Runs the binary's `main` as the calling thread's activity.
fn run() -> i32 {
    let words = std::iter::once(name().into()).chain(cyanea::args());
    // No word holds a zero: it came as one from a command line.
    let words = words.map(|word: String| CString::new(word).unwrap_or_default());
    let pointers = words.map(|word| word.into_raw().cast_const());
    // As C has them: a null ends the list. They go with the activity.
    let list: Vec<*const c_char> = pointers.chain([ptr::null()]).collect();
    let list = list.leak();
    // SAFETY: a list of words, which stays as long as the activity. `std` does
    // nothing before or after a `main` that may not be done once per activity: it
    // notes the thread and the words in statics that are the activity's own, and
    // no buffer is left to be flushed.
    unsafe { own_main(list.len() as isize - 1, list.as_ptr()) }
}
