//! A node image with the programs that the whole-machine tests run. It is also
//! an example of an image of one's own.

mod clocks;
mod cores;
mod ends;
mod faults;
mod files;
mod hoard;
mod isolation;
mod life;
mod locks;
mod nonsense;
mod pipes;
mod scribbler;
mod sharing;
mod statics;

use node::{Program, program};

fn main() {
    let own = [
        program!("hello", life::hello),
        program!("cores", cores::cores),
        program!("leaver", life::leaver),
        program!("watcher", life::watcher),
        program!("locker", life::locker),
        program!("panicker", life::panicker),
        program!("faulty", faults::faulty),
        program!("rounds", faults::rounds),
        program!("patient", faults::patient),
        program!("exit", life::exit),
        program!("sleeper", life::sleeper),
        program!("spinner", life::spinner),
        program!("receiver", life::receiver),
        program!("receiver-forever", life::receiver_forever),
        program!("chatter", sharing::chatter),
        program!("files-for-ever", files::for_ever),
        program!("talker", life::talker),
        program!("computer", life::computer),
        program!("echo", sharing::echo),
        program!("adder", sharing::adder),
        program!("pipes", pipes::many),
        program!("pipe-sum", pipes::pipe_sum),
        program!("pipe-errors", pipes::errors),
        program!("sink", pipes::sink),
        program!("source", pipes::source),
        program!("private", pipes::private),
        program!("intruder", isolation::intruder),
        program!("pool", isolation::pool),
        program!("nonsense", nonsense::nonsense),
        program!("scribbler", scribbler::scribbler),
        program!("clocks", clocks::clocks),
        program!("files", files::conformance),
        program!("files-and-echo", files_and_echo),
        program!("filler", files::filler),
        program!("links", files::links),
        program!("tree-and-link", files::tree_and_link),
        program!("count-under-lock", locks::count_under_lock),
        program!("hold-lock", locks::hold_lock),
        program!("want-lock", locks::want_lock),
        program!("statics", statics::statics),
        program!("own-hook", statics::own_hook),
        program!("all-exit", ends::all_exit),
        program!("lost-frame", ends::lost_frame),
        program!("explosive", ends::explosive),
        program!("shared-futex", ends::shared_futex),
        program!("hoard", hoard::hoard),
        program!("hoard-mail", hoard::mail),
        program!("hoard-all", hoard::all),
        program!("hoard-and-receive", hoard::and_receive),
        program!(wordcount),
    ];
    let suite = std_suite::PROGRAMS.iter().map(|program| Program::new(program.name, program.main));
    node::main(&own.into_iter().chain(suite).collect::<Vec<_>>())
}

/// Both, one after the other.
fn files_and_echo() -> std::io::Result<()> {
    sharing::echo();
    files::conformance()
}
