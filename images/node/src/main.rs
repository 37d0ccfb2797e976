//! The node image that comes with Cyanea, and the programs that it carries.

fn main() {
    node::main(&[node::program!(webserver), node::program!(wordcount)])
}
