//! A node image with programs that use well-known crates, and sockets.

mod edges;
mod events;
mod http;
mod outside;
mod pattern;
mod waiting;

use crates_image::{Outcome, crates, sockets};
use node::program;
use std::io::stdout;

fn main() {
    node::main(&[
        program!("crates", || crates::all(&mut stdout())),
        program!("packed", packed),
        program!("sockets", || sockets::all(&mut stdout())),
        program!("events", events::all),
        program!("http", http::serve),
        program!("pattern", pattern::hold),
        program!("outside", outside::call),
        program!("asks", outside::ask),
        program!("waiting", waiting::in_every_way),
        program!("thief", waiting::thief),
        program!("greedy", edges::greedy),
        program!("lingers", edges::lingers),
    ])
}

/// Leaves a file that other programs can unpack.
fn packed() -> Outcome {
    Ok(std::fs::write("/packed.gz", crates::packed()?)?)
}
