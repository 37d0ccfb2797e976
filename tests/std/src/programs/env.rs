//! `std::env`: variables, paths, and what a process knows of itself.
#![expect(unsafe_code, reason = "to set a variable is unsafe where other threads read them")]

use crate::{Outcome, say, tell, text};
use std::env;

pub fn main() -> Outcome {
    variables();
    text("no such variable", env::var("STD_SUITE_NOTHING"));
    say("there is an argument before all", env::args().len() >= 1);
    say("arguments of the program", cyanea::args().pop().is_some_and(|last| last.starts_with('/')));
    tell("working directory", env::current_dir());
    tell("to another directory", env::set_current_dir("/"));
    say("directory of scratch files", env::temp_dir());
    say("there is an executable", env::current_exe().is_ok());
    say("system", (env::consts::OS, env::consts::FAMILY, env::consts::ARCH));
    say("joined", env::join_paths(["/a", "/b"]).map_err(|error| error.to_string()));
    say("a debug build", cfg!(debug_assertions));
    Ok(())
}

/// Variables are the process's: those of a node are shared by all of its activities.
fn variables() {
    const NAME: &str = "STD_SUITE_VARIABLE";
    // SAFETY: this program has no other thread; on a node, `std` keeps variables under a lock.
    unsafe { env::set_var(NAME, "a value = with ünïcödé") };
    say("set", env::var(NAME));
    say("among all", env::vars().filter(|(name, _)| name == NAME).collect::<Vec<_>>());
    // SAFETY: as above.
    unsafe { env::remove_var(NAME) };
    say("removed", env::var_os(NAME));
    say("empty name", env::var("").is_err());
    say("name with =", env::var("a=b").is_err());
    say("optional", option_env!("STD_SUITE_NOTHING"));
    say("no text of it", env::var_os("STD_SUITE_NOTHING"));
    say("listed", env::vars().any(|(name, _)| name == "STD_SUITE_NOTHING"));
}
