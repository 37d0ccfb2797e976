//! `distance` as a program of the host, where an activity is alone.

fn main() -> std::process::ExitCode {
    distance::main()
}
