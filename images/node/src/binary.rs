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
use crate::activity::held;
use runtime::thread::within_call;
use std::collections::HashMap;
use std::ffi::{CString, c_char, c_int};
use std::ptr;
use std::sync::Mutex;

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
    let words = std::iter::once(name().into()).chain(cyanea::args()).collect();
    let words = within_call(|| Words::of(words));
    // SAFETY: both describe a list of words, which stays for good. `std` does
    // nothing before or after a `main` that may not be done once per activity: it
    // notes the thread and the words in statics that are the activity's own, and
    // no buffer is left to be flushed.
    unsafe { own_main(words.list.len() as isize - 1, words.list.as_ptr()) }
}

/// Words as C has them: each ends with a zero, the list with a null.
#[derive(Clone, Copy)]
struct Words {
    list: &'static [*const c_char],
}

// SAFETY: what the pointers point to is never changed.
unsafe impl Send for Words {}

impl Words {
    /// These words. `std` keeps the list, so it stays for good; for the same words
    /// it is the same list.
    fn of(words: Vec<String>) -> Self {
        static ALL: Mutex<Option<HashMap<Vec<String>, Words>>> = Mutex::new(None);
        let mut all = held(&ALL);
        let all = all.get_or_insert_default();
        *all.entry(words).or_insert_with_key(|words| Self::new(words))
    }

    fn new(words: &[String]) -> Self {
        // No word holds a zero: it came as one from a command line.
        let words = words.iter().map(|word| CString::new(word.as_str()).unwrap_or_default());
        let pointers = words.map(|word| word.into_raw().cast_const());
        let list: Vec<*const c_char> = pointers.chain([ptr::null()]).collect();
        Self { list: list.leak() }
    }
}
