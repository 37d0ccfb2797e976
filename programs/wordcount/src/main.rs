//! `wordcount` as a program of the host, for a look without a machine.

fn main() -> std::process::ExitCode {
    wordcount::main()
}
