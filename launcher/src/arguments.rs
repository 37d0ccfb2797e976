//! The command line.

use clap::{Args, Parser, Subcommand};
use orchestration::host::Accelerator;
use std::ffi::OsString;
use std::path::PathBuf;

/// Cyanea: a distributed operating system made of unikernels
#[derive(Parser)]
#[command(name = "cyanea", version, max_term_width = 100, subcommand_required = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Make a crate for a program of your own
    New(New),
    /// Make the node images of a crate's binaries
    Build(Build),
    /// Say whether the machine that a file describes could be started here
    Check(Check),
    /// Start the machine that a file describes
    Up(Up),
    /// Run a program on a machine, or a crate's program on one of its own
    Run(Run),
    /// Make messages cost what the machine's file says
    Calibrate(Calibrate),
    /// Copy a file between host and machine
    Cp(Cp),
    /// List a directory of a machine
    Ls(Ls),
    /// Show a machine's VMs
    Ps(Ps),
    /// Show what a VM wrote to its console
    Logs(Logs),
    /// End a VM at once, as a power cut would
    Kill(Kill),
    /// Cut two clusters off from each other
    Partition(Partition),
    /// End a partition
    Heal(Heal),
    /// End a machine
    Down(Down),
    /// Check what this host has for building programs and running machines
    Doctor(Doctor),
}

/// Which machine is meant.
#[derive(Args)]
pub struct Target {
    /// The machine's name [default: $CYANEA_MACHINE, or the one that is up]
    #[arg(long, short, value_name = "NAME", env = "CYANEA_MACHINE", hide_env = true)]
    pub machine: Option<String>,
}

#[derive(Args)]
#[command(after_help = "Examples:
  cyanea new hello
  cyanea run ./hello

The crate is an ordinary one: `cargo run` in its folder runs the program on the host. Its
machine.toml describes the machine that `cyanea run` boots for it.")]
pub struct New {
    /// The new crate's folder, whose name is the crate's
    #[arg(value_name = "NAME")]
    pub folder: PathBuf,
}

#[derive(Args)]
#[command(after_help = "Examples:
  cyanea build                                    the crate in the current folder
  cyanea build ../hello --bin server
  cyanea build -- --features fast --locked        behind --, arguments of cargo's, in the crate's folder

Each binary becomes an image, target/cyanea/NAME, which a machine file names as its nodes' and which
carries the program NAME. For the first one, Rust's standard library is built as well, which takes a
minute. Binaries whose main() calls node::main itself, to carry several programs, are listed in the
crate's manifest: [package.metadata.cyanea] nodes = [\"NAME\"].")]
pub struct Build {
    /// The crate's folder
    #[arg(default_value = ".")]
    pub folder: PathBuf,
    /// Only this binary
    #[arg(long, value_name = "NAME")]
    pub bin: Option<String>,
    /// What cargo is given as well
    #[arg(last = true, value_name = "ARGUMENT")]
    pub cargo: Vec<OsString>,
}

#[derive(Args)]
#[command(after_help = "Examples:
  cyanea check machines/two-clusters.toml

Refuses what `up` would refuse: in the file, of this host (QEMU, memory, open files, ports that are
to be forwarded), and images that the file names. Those that it does not name may yet be built.
Nothing is started.")]
pub struct Check {
    /// The machine file
    pub file: PathBuf,
}

#[derive(Args)]
#[command(after_help = "Examples:
  cyanea up machines/two-clusters.toml            in the foreground, until Ctrl-C or `cyanea down`
  cyanea up machines/two-clusters.toml --detach   returns when the machine is up")]
pub struct Up {
    /// The machine file
    pub file: PathBuf,
    /// Another name than the file gives, to have several of its kind
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Leave the machine running and return when it is up
    #[arg(long, short)]
    pub detach: bool,
    /// What runs the VMs' instructions: kvm or tcg [default: kvm where it works]
    #[arg(long)]
    pub accel: Option<Accelerator>,
    /// Folder of the images [default: $CYANEA_IMAGES, or those built beside this command]
    #[arg(long, value_name = "DIR")]
    pub images: Option<PathBuf>,
    /// Seconds that a VM may take to be ready
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0, value_parser = seconds)]
    pub boot_timeout: f64,
    /// Count VMs as ready as soon as they run (images that report nothing)
    #[arg(long, hide = true)]
    pub no_wait: bool,
    /// Report to the `up --detach` that started this one
    #[arg(long, hide = true, conflicts_with = "detach")]
    pub report: bool,
}

/// A length of time that makes sense.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.01..=1e6).contains(&seconds) => Ok(seconds),
        _ => Err("write a number of seconds, 0.01 or more".into()),
    }
}

#[derive(Args)]
#[command(after_help = "Examples:
  cyanea run wordcount /books/frankenstein.txt
  cyanea run wordcount /books --activities 4
  cyanea run --machine two-clusters wordcount /books
  cyanea run ./hello                              a crate's program, on a machine of its own

A PROGRAM with a slash in it, or `.`, which is also what is meant without one, is the folder of a crate:
its binary is built, run on a machine as its machine.toml describes it, and the machine ends with it.

What stands after the program's name is the program's own, but for --activities;
behind -- everything is. It ends with the program's exit code. Ctrl-C ends the program.")]
pub struct Run {
    #[command(flatten)]
    pub target: Target,
    /// How many activities the task force has
    #[arg(long, short, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub activities: u16,
    /// Which of the crate's binaries
    #[arg(long, value_name = "NAME")]
    pub bin: Option<String>,
    /// A program that the node images carry, or a crate's folder, and what it is given
    #[arg(trailing_var_arg = true, value_names = ["PROGRAM", "ARGUMENT"])]
    pub program: Vec<String>,
}

impl Run {
    /// How many activities, and the program's words: `--activities` may stand
    /// among these too, up to a `--`.
    ///
    /// # Errors
    /// One sentence if it is given without a number that makes sense.
    pub fn split(&self) -> Result<(u16, Vec<String>), String> {
        let (mut activities, mut words) = (self.activities, Vec::new());
        let mut rest = self.program.iter();
        while let Some(word) = rest.next() {
            let number = match (word.as_str(), word.strip_prefix("--activities=")) {
                ("--", _) => {
                    words.extend(rest.cloned());
                    break;
                }
                ("--activities", _) => rest.next().map(String::as_str).unwrap_or_default(),
                (_, Some(number)) => number,
                _ => {
                    words.push(word.clone());
                    continue;
                }
            };
            activities = match number.parse() {
                Ok(number) if number > 0 => number,
                _ => return Err(format!("--activities takes a number of 1 or more, not {number:?}")),
            };
        }
        Ok((activities, words))
    }
}

#[derive(Args)]
#[command(after_help = "Examples:
  cyanea calibrate
  cyanea calibrate --json | jq '.distances[] | {distance, ratio}'

Measures what an empty message costs between two activities on one node, within a cluster and
between clusters, and adds to each what it lacks so that they come out as [locality] in the
machine's file has it. `up` does it once; do it again when the host has become slower or faster.
NATURAL is what a message costs with nothing added; `cyanea run --activities 8 distance` measures
what it costs now. Programs that run meanwhile spoil the result.")]
pub struct Calibrate {
    #[command(flatten)]
    pub target: Target,
    /// As JSON, in nanoseconds
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
#[command(after_help = "Examples:
  cyanea cp host:books/frankenstein.txt /books/frankenstein.txt
  cyanea cp /results.txt host:results.txt")]
pub struct Cp {
    #[command(flatten)]
    pub target: Target,
    /// Where it is: a path in the machine, or host:PATH
    pub from: String,
    /// Where it shall be: a path in the machine, or host:PATH
    pub to: String,
}

#[derive(Args)]
#[command(after_help = "Examples:
  cyanea ls /
  cyanea ls --json /books")]
pub struct Ls {
    #[command(flatten)]
    pub target: Target,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// A path in the machine
    #[arg(default_value = "/")]
    pub path: String,
}

#[derive(Args)]
#[command(after_help = "Examples:
  cyanea ps
  cyanea ps --json | jq '.vms[] | select(.state == \"dead\") | .name'
  cyanea ps --clocks
  cyanea ps --channels
  cyanea ps --channels --json | jq '.channels[] | select(.errors != {})'

With --clocks, a line for each VM: what its clock showed when it was asked, by how much that may be
wrong, its ticks' offset and frequency, and from how many rounds with the launcher that is known;
CONTRADICTIONS are times that the ticks stood still or jumped.

With --channels, a line for each end of a channel that something passed through: what its VM has
sent to the other since it started and received from it; DELAYED messages did not go out at once,
BLOCKED ones were refused, DROPPED ones were not completely sent when the other VM died, DEATHS of
which there were so many. ERRORS say what of the other VM's made no sense:
  slot, order, too_long, too_short, header, reference, position, broken   nonsense on the way itself
  stale    slots or frames of another generation of either VM, messages to ends of pipes that are gone
  body     requests and notices that do not decode      limit    requests with more in them than is taken
  pipe     requests to pipes that do not exist          flood    requests beyond what is served at a time
  reply    replies to nothing that was asked            notice   notices that nobody takes
  rights   pipes that are not for whoever asked         credit   messages beyond what a pipe takes unread")]
pub struct Ps {
    #[command(flatten)]
    pub target: Target,
    /// Show what has passed between the VMs instead, and what was wrong with it
    #[arg(long)]
    pub channels: bool,
    /// Show what the VMs know of their clocks instead
    #[arg(long, conflicts_with = "channels")]
    pub clocks: bool,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
#[command(after_help = "Examples:
  cyanea logs node-a0
  cyanea logs --follow files-b0
  cyanea logs --machine two-clusters node-a0   also when that machine is no longer up")]
pub struct Logs {
    #[command(flatten)]
    pub target: Target,
    /// Go on with lines as they come
    #[arg(long, short)]
    pub follow: bool,
    /// The VM's name
    pub vm: String,
}

#[derive(Args)]
#[command(after_help = "Examples:
  cyanea kill files-a0")]
pub struct Kill {
    #[command(flatten)]
    pub target: Target,
    /// The VM's name
    pub vm: String,
}

#[derive(Args)]
#[command(after_help = "Examples:
  cyanea partition a b
  cyanea heal a b

The machine file declares the link between the two as virtio-net. Messages between their VMs wait
until `cyanea heal`; the launcher still reaches all of them.")]
pub struct Partition {
    #[command(flatten)]
    pub clusters: Clusters,
}

#[derive(Args)]
#[command(after_help = "Examples:
  cyanea heal a b
  cyanea heal --machine two-hosts a b")]
pub struct Heal {
    #[command(flatten)]
    pub clusters: Clusters,
}

/// Two clusters of a machine.
#[derive(Args)]
pub struct Clusters {
    #[command(flatten)]
    pub target: Target,
    /// A cluster's name
    pub a: String,
    /// Another cluster's name
    pub b: String,
}

impl Clusters {
    /// Their names.
    pub fn names(&self) -> [String; 2] {
        [self.a.clone(), self.b.clone()]
    }
}

#[derive(Args)]
#[command(after_help = "Examples:
  cyanea down
  cyanea down --machine two-clusters")]
pub struct Down {
    #[command(flatten)]
    pub target: Target,
}

#[derive(Args)]
#[command(after_help = "Examples:
  cyanea doctor
  cyanea doctor --json")]
pub struct Doctor {
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// Folder of the images
    #[arg(long, value_name = "DIR")]
    pub images: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn a_programs_options_are_its_own() {
        let line = ["cyanea", "run", "-a", "2", "wc", "--machine", "x", "-a"];
        let Command::Run(run) = Arguments::try_parse_from(line).unwrap().command else { panic!() };
        assert_eq!((run.activities, run.target.machine), (2, None));
        assert_eq!(run.program, ["wc", "--machine", "x", "-a"]);
        assert!(Arguments::try_parse_from(["cyanea", "run", "--bogus"]).is_err());
    }

    #[test]
    fn activities_may_stand_behind_the_program() {
        let split = |words: &[&str]| {
            let line = ["cyanea", "run"].iter().chain(words);
            let Command::Run(run) = Arguments::try_parse_from(line).unwrap().command else { panic!() };
            run.split()
        };
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(split(&["wc", "/in", "--activities", "4"]), Ok((4, words(&["wc", "/in"]))));
        assert_eq!(split(&["wc", "--activities=4", "-x"]), Ok((4, words(&["wc", "-x"]))));
        assert_eq!(split(&["-a", "2", "wc", "--", "--activities"]), Ok((2, words(&["wc", "--activities"]))));
        assert!(split(&["wc", "--activities", "0"]).is_err() && split(&["wc", "--activities"]).is_err());
    }
}
