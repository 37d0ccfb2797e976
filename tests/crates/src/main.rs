//! A node image whose programs use well-known crates as they are, and std's sockets.

mod http;

use node::program;

fn main() {
    node::main(&[program!("http", http::serve), program!("listener", http::listener)])
}
