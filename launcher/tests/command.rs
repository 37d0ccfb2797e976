//! The command as a user has it: machines of tiny images under the real QEMU.

#[path = "../../orchestration/tests/support/mod.rs"]
mod support;

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use support::{executable, fake_qemu, idle_images, process_exists, wait_until};
use tempfile::TempDir;

/// A state directory, images, machine files, and the command on them.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        idle_images(folder.path());
        let bench = Self { folder };
        bench.machine("small");
        bench
    }

    /// Writes a machine file.
    fn machine(&self, name: &str) -> PathBuf {
        let text = format!(
            "name = \"{name}\"\n[clusters.a]\nnodes = 1\n[vm]\nmemory = \"16 MiB\"\n\
             [files]\ncapacity = \"1 MiB\"\n[pool]\nsize = \"1 MiB\"\n"
        );
        let path = self.folder.path().join(format!("{name}.toml"));
        fs::write(&path, text).unwrap();
        path
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cyanea"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("CYANEA_STATE", self.folder.path().join("state"));
        command.env("CYANEA_IMAGES", self.folder.path().join("images"));
        command
    }

    /// The same, after a shell has done something.
    fn command_after(&self, before: &str, arguments: &[&str]) -> Command {
        let mut command = self.command(&[]);
        let program = std::mem::replace(&mut command, Command::new("sh"));
        command.args(["-c", &format!("{before} && exec \"$0\" \"$@\"")]).arg(program.get_program());
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What a command that must do well says.
    fn says(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a command that must fail complains of.
    fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Starts a machine in the foreground and waits until it answers.
    fn up(&self, name: &str) -> Foreground {
        let file = self.machine(name);
        let mut command = self.command(&["up", "--no-wait", file.to_str().unwrap()]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait_until("the machine answers", || self.run(&["ps", "--machine", name]).status.success());
        Foreground(Some(child))
    }

    /// The machine as `ps --json` tells.
    fn status(&self, name: &str) -> serde_json::Value {
        serde_json::from_str(&self.says(&["ps", "--json", "--machine", name])).unwrap()
    }

    /// Its QEMUs.
    fn processes(&self, name: &str) -> Vec<u32> {
        let status = self.status(name);
        let vms = status["vms"].as_array().unwrap();
        vms.iter().filter_map(|vm| vm["process"].as_u64()).map(|id| id as u32).collect()
    }
}

/// A launcher in the foreground; killed when dropped.
struct Foreground(Option<Child>);

impl Foreground {
    fn signal(&self, signal: Signal) {
        let id = Pid::from_child(self.0.as_ref().unwrap());
        kill_process(id, signal).unwrap();
    }

    fn output(mut self) -> Output {
        self.0.take().unwrap().wait_with_output().unwrap()
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn all_gone(processes: &[u32]) -> bool {
    processes.iter().all(|&id| !process_exists(id))
}

#[test]
fn ctrl_c_and_sigterm_end_a_machine_cleanly() {
    for signal in [Signal::INT, Signal::TERM] {
        let bench = Bench::new();
        let launcher = bench.up("small");
        let processes = bench.processes("small");
        assert_eq!(processes.len(), 5);
        launcher.signal(signal);
        let output = launcher.output();
        assert_eq!(output.status.code(), Some(0));
        assert!(all_gone(&processes));
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.starts_with("small: 5 VMs up in "), "{said}");
        let folder = bench.folder.path().join("state/small");
        assert!(!folder.join("control.sock").exists() && !folder.join("machine.json").exists());
        assert!(folder.join("logs/node-a0.log").exists());
    }
}

#[test]
fn a_closed_terminal_ends_a_machine_but_not_under_nohup() {
    for ignored in [false, true] {
        let bench = Bench::new();
        let before = if ignored { "trap '' HUP" } else { "true" };
        let mut command = bench.command_after(before, &["up", "--no-wait", "small.toml"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let launcher = Foreground(Some(command.spawn().unwrap()));
        wait_until("the machine answers", || bench.run(&["ps"]).status.success());
        let id = launcher.0.as_ref().unwrap().id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
        // Hanging up is signal 1.
        assert_eq!(u64::from_str_radix(mask, 16).unwrap() & 1 != 0, ignored);
        launcher.signal(Signal::HUP);
        if ignored {
            launcher.signal(Signal::TERM);
        }
        assert_eq!(launcher.output().status.code(), Some(0));
    }
}

#[test]
fn a_killed_launcher_leaves_no_qemu_and_blocks_nobody() {
    let bench = Bench::new();
    let launcher = bench.up("small");
    let processes = bench.processes("small");
    launcher.signal(Signal::KILL);
    launcher.output();
    wait_until("every QEMU is gone", || all_gone(&processes));
    assert!(bench.folder.path().join("state/small/control.sock").exists(), "what is stale must not matter");
    assert_eq!(bench.fails(&["ps"]), "cyanea: no machine is up; `cyanea up FILE` starts one\n");
    let again = bench.up("small");
    assert_eq!(bench.processes("small").len(), 5);
    again.signal(Signal::TERM);
    assert!(again.output().status.success());
}

#[test]
fn a_detached_machine_runs_until_down() {
    let bench = Bench::new();
    let said = bench.says(&["up", "--detach", "--no-wait", "small.toml"]);
    assert!(said.starts_with("small: 5 VMs up in "), "{said}");
    let processes = bench.processes("small");
    assert!(bench.folder.path().join("state/small/machine.json").exists());
    wait_until("the node has said something", || bench.says(&["logs", "node-a0"]) == "node here\n");

    bench.says(&["kill", "files-a1"]);
    let status = bench.status("small");
    let vm = status["vms"].as_array().unwrap().iter().find(|vm| vm["name"] == "files-a1").unwrap();
    assert_eq!((vm["state"].as_str(), vm["death"].as_str()), (Some("dead"), Some("was killed")));
    assert!(bench.says(&["ps"]).contains("dead: was killed"));
    assert!(bench.fails(&["kill", "files-a1"]).contains("files-a1 does not run"));
    assert!(bench.fails(&["logs", "nobody"]).contains("this machine has no VM \"nobody\""));

    bench.says(&["down"]);
    assert!(all_gone(&processes));
    assert_eq!(
        bench.says(&["logs", "--machine", "small", "node-a0"]),
        "node here\n-- node-a0 ended with the machine\n"
    );
    // The name is free at once.
    bench.says(&["up", "--detach", "--no-wait", "small.toml"]);
    bench.says(&["down", "--machine", "small"]);
}

#[test]
fn a_follower_sees_lines_as_they_come_and_the_end() {
    let bench = Bench::new();
    let launcher = bench.up("small");
    let mut command = bench.command(&["logs", "--follow", "node-a0"]);
    let follower = command.stdout(Stdio::piped()).spawn().unwrap();
    let follower = Foreground(Some(follower));
    wait_until("the node has said something", || bench.says(&["logs", "node-a0"]) == "node here\n");
    bench.says(&["kill", "node-a0"]);
    launcher.signal(Signal::TERM);
    launcher.output();
    let seen = String::from_utf8(follower.output().stdout).unwrap();
    assert_eq!(seen, "node here\n-- node-a0 was killed\n");
}

#[test]
fn machines_of_two_names_run_side_by_side_but_not_two_of_one() {
    let bench = Bench::new();
    let (one, _two) = (bench.up("one"), bench.up("two"));
    let refused = bench.fails(&["up", "--no-wait", "one.toml"]);
    let id = one.0.as_ref().unwrap().id();
    let expected = format!(
        "cyanea: a machine called one runs already (launcher: process {id}); \
         end it with `cyanea down --machine one`, or give this one another name\n"
    );
    assert_eq!(refused, expected);
    assert_eq!(bench.fails(&["up", "--detach", "--no-wait", "one.toml"]), expected);
    let several = bench.fails(&["ps"]);
    assert_eq!(several, "cyanea: several machines are up (one, two); say which with --machine NAME\n");
    bench.says(&["down", "--machine", "one"]);
    assert_eq!(bench.processes("two").len(), 5);
}

#[test]
fn a_machine_that_does_not_come_up_leaves_nothing() {
    let bench = Bench::new();
    let qemu =
        fake_qemu(bench.folder.path(), "9.0.0", "echo \"$$\" >> pids; echo last words; exec sleep 1000");
    for detach in [false, true] {
        let mut command = bench.command(&["up", "--boot-timeout", "0.5", "small.toml"]);
        if detach {
            command.arg("--detach");
        }
        let output = command.env("CYANEA_QEMU", &qemu).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("was not ready within 0.5 s; its last output was"), "{error}");
        assert!(error.ends_with("\n  last words\n"), "{error}");
    }
    let pids = fs::read_to_string(bench.folder.path().join("pids")).unwrap();
    let pids: Vec<u32> = pids.lines().map(|line| line.parse().unwrap()).collect();
    assert!(pids.len() == 10 && all_gone(&pids));
    assert!(bench.fails(&["ps"]).contains("no machine is up"));
}

#[test]
fn ctrl_c_ends_a_machine_that_is_still_booting() {
    let bench = Bench::new();
    let qemu = fake_qemu(bench.folder.path(), "9.0.0", "echo $$ >> pids; exec sleep 1000");
    let mut command = bench.command(&["up", "small.toml"]);
    let child = command.env("CYANEA_QEMU", &qemu).stderr(Stdio::piped()).spawn().unwrap();
    let launcher = Foreground(Some(child));
    let pids = || fs::read_to_string(bench.folder.path().join("pids")).unwrap_or_default();
    wait_until("all are booting", || pids().lines().count() == 5);
    launcher.signal(Signal::INT);
    let output = launcher.output();
    assert_eq!(output.status.code(), Some(1));
    let pids: Vec<u32> = pids().lines().map(|line| line.parse().unwrap()).collect();
    assert!(all_gone(&pids));
}

#[test]
fn a_detached_start_that_is_given_up_leaves_nothing() {
    let bench = Bench::new();
    let qemu = fake_qemu(bench.folder.path(), "9.0.0", "echo $$ >> pids; exec sleep 1000");
    let mut command = bench.command(&["up", "--detach", "small.toml"]);
    let child = command.env("CYANEA_QEMU", &qemu).spawn().unwrap();
    let launcher = Foreground(Some(child));
    let pids = || fs::read_to_string(bench.folder.path().join("pids")).unwrap_or_default();
    wait_until("all are booting", || pids().lines().count() == 5);
    drop(launcher);
    let pids: Vec<u32> = pids().lines().map(|line| line.parse().unwrap()).collect();
    wait_until("every VM is gone", || all_gone(&pids));
}

#[test]
fn mistakes_are_one_sentence() {
    let bench = Bench::new();
    fs::write(bench.folder.path().join("bad.toml"), "[clusters.a]\nnode = 2\n").unwrap();
    assert_eq!(
        bench.fails(&["up", "bad.toml"]),
        "cyanea: bad.toml:2:1: there is no key `node` here; write one of `nodes`, or remove it\n"
    );
    let missing = bench.fails(&["up", "--images", "/nonexistent", "small.toml"]);
    assert!(missing.contains("no node image at /nonexistent/node; build the images with `make images`"));
    let absent = bench.fails(&["up", "absent.toml"]);
    assert!(absent.starts_with("cyanea: absent.toml: cannot read this machine file: "), "{absent}");
    let output =
        bench.command(&["up", "small.toml"]).env("CYANEA_QEMU", "/nonexistent/qemu").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("cyanea: /nonexistent/qemu was not found; install QEMU 7.2 or newer"), "{text}");
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap();
    if !flags.split_whitespace().any(|flag| matches!(flag, "vmx" | "svm")) {
        let refused = bench.fails(&["up", "--accel", "kvm", "small.toml"]);
        assert!(refused.starts_with("cyanea: KVM does not work on this host: "), "{refused}");
    }
    assert_eq!(bench.run(&["up"]).status.code(), Some(2));
    assert_eq!(bench.run(&["fly"]).status.code(), Some(2));
}

/// Writes a machine file like the usual one with these lines more.
fn with_more(bench: &Bench, lines: &str) {
    let text = fs::read_to_string(bench.machine("more")).unwrap();
    fs::write(bench.folder.path().join("more.toml"), text + lines).unwrap();
}

/// A folder whose path is too long for a socket's.
fn deep(bench: &Bench) -> PathBuf {
    bench.folder.path().join("x".repeat(100))
}

#[test]
fn a_check_refuses_what_a_start_would_and_starts_nothing() {
    let bench = Bench::new();
    assert_eq!(bench.says(&["check", "small.toml"]), "small: 5 VMs, which this host can run\n");
    // Images that are yet to be built are none of its business, those that the file names are.
    let images = bench.folder.path().join("images");
    fs::rename(&images, bench.folder.path().join("elsewhere")).unwrap();
    bench.says(&["check", "small.toml"]);
    with_more(&bench, "[images]\nutility = \"small.toml\"\n");
    assert!(bench.fails(&["check", "more.toml"]).contains("small.toml is no ELF file; "));
    fs::rename(bench.folder.path().join("elsewhere"), &images).unwrap();

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for (lines, expected) in [
        (
            format!("[vm.net]\nforward = [\"{port}:80\"]\n"),
            "end what has this port, or forward another one\n",
        ),
        (
            "[vm.net]\nforward = [\"1234:80\"]\naddress = \"192.0.2.1\"\n".into(),
            "write an address of this host as [vm.net] address\n",
        ),
    ] {
        with_more(&bench, &lines);
        for verb in ["check", "up"] {
            let sentence = bench.fails(&[verb, "more.toml"]);
            assert!(sentence.ends_with(expected), "{sentence}");
        }
    }
    // None of these was found out after VMs had been started.
    assert!(!bench.folder.path().join("state/more/logs").exists());
    // Nor does a start that is refused take away what an earlier machine said.
    bench.says(&["up", "--detach", "--no-wait", "small.toml"]);
    bench.says(&["down"]);
    fs::rename(&images, bench.folder.path().join("elsewhere")).unwrap();
    assert!(bench.fails(&["up", "small.toml"]).contains("there is no node image at "));
    assert!(
        bench
            .says(&["logs", "--machine", "small", "node-a0"])
            .ends_with("-- node-a0 ended with the machine\n")
    );
}

#[test]
fn a_state_folder_that_will_not_do_is_said_before_anything_starts() {
    let bench = Bench::new();
    let qemu = fake_qemu(bench.folder.path(), "9.0.0", "echo >> started");
    for verb in ["check", "up"] {
        let mut command = bench.command(&[verb, "small.toml"]);
        let output = command.env("CYANEA_STATE", deep(&bench)).env("CYANEA_QEMU", &qemu).output().unwrap();
        let sentence = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(sentence.starts_with("cyanea: the control socket /"), "{sentence}");
        assert!(sentence.ends_with("set CYANEA_STATE to a folder with a shorter path\n"), "{sentence}");
    }
    assert!(!bench.folder.path().join("started").exists());
    assert!(deep(&bench).read_dir().unwrap().next().is_none());
}

#[test]
fn files_that_are_too_many_are_said_before_anything_starts() {
    let bench = Bench::new();
    let limited = |verb: &str| {
        let mut command = bench.command_after("ulimit -n 150", &[verb, "small.toml"]);
        String::from_utf8(command.output().unwrap().stderr).unwrap()
    };
    let sentence = "cyanea: this machine needs 204 open files, the limit of this process is 150; \
                    raise it with \"ulimit -n 204\"\n";
    assert_eq!([limited("check"), limited("up")], [sentence, sentence]);
}

#[test]
fn a_standard_output_that_nobody_reads_or_that_is_full_is_no_panic() {
    let bench = Bench::new();
    let with = |words: &[&str], out: Stdio| {
        let output = bench.command(words).stdout(out).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let closed = || std::io::pipe().unwrap().1;
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let sentence = "cyanea: standard output cannot be written: No space left on device (os error 28)\n";
    for words in
        [&["check", "small.toml"][..], &["new", "hello"], &["up", "--detach", "--no-wait", "small.toml"]]
    {
        assert_eq!(with(words, closed().into()), (Some(0), String::new()), "{words:?}");
        let _ = fs::remove_dir_all(bench.folder.path().join("hello"));
        bench.run(&["down"]);
        assert_eq!(with(words, full().into()), (Some(1), sentence.into()), "{words:?}");
        bench.run(&["down"]);
    }
    let _machine = bench.up("small");
    for words in [&["ps"][..], &["ps", "--json"], &["logs", "node-a0"], &["logs", "--follow", "node-a0"]] {
        wait_until("the node has said something", || bench.says(&["logs", "node-a0"]) == "node here\n");
        assert_eq!(with(words, closed().into()), (Some(0), String::new()), "{words:?}");
        assert_eq!(with(words, full().into()), (Some(1), sentence.into()), "{words:?}");
    }
}

#[test]
fn a_machine_in_the_foreground_goes_on_when_nobody_reads_what_it_says() {
    let bench = Bench::new();
    let file = bench.machine("quiet");
    let mut command = bench.command(&["up", "--no-wait", file.to_str().unwrap()]);
    let pipes = [std::io::pipe().unwrap().1, std::io::pipe().unwrap().1];
    let [out, err] = pipes.map(Stdio::from);
    let launcher = Foreground(Some(command.stdout(out).stderr(err).spawn().unwrap()));
    wait_until("the machine answers", || bench.run(&["ps", "--machine", "quiet"]).status.success());
    bench.says(&["kill", "files-a1"]);
    bench.says(&["kill", "files-a0"]);
    let processes = bench.processes("quiet");
    launcher.signal(Signal::TERM);
    assert_eq!(launcher.output().status.code(), Some(0));
    assert!(processes.len() == 3 && all_gone(&processes));
}

#[test]
fn names_that_no_machine_has_reach_nothing() {
    let bench = Bench::new();
    let _machine = bench.up("small");
    for name in ["", "../state/small", "/", "a b", &"x".repeat(300)] {
        let sentence = bench.fails(&["ps", "--machine", name]);
        assert!(sentence.starts_with("cyanea: a machine cannot be called "), "{sentence}");
    }
    // A variable that is empty is none.
    let output = bench.command(&["ps"]).env("CYANEA_MACHINE", "").output().unwrap();
    assert!(output.status.success());
    bench.says(&["down"]);
    let sentence = bench.fails(&["logs", "--machine", "small", "../logs/node-a0"]);
    assert_eq!(sentence, "cyanea: no machine called small is up; `cyanea up FILE` starts one\n");
    // A file may be called like an option.
    fs::copy(bench.folder.path().join("small.toml"), bench.folder.path().join("-x.toml")).unwrap();
    bench.says(&["up", "--detach", "--no-wait", "--", "-x.toml"]);
    bench.says(&["down"]);
}

#[test]
fn the_doctor_looks_at_everything() {
    let bench = Bench::new();
    let findings: serde_json::Value = serde_json::from_str(&bench.says(&["doctor", "--json"])).unwrap();
    let looked_at: Vec<_> =
        findings.as_array().unwrap().iter().map(|f| f["what"].as_str().unwrap()).collect();
    let expected =
        ["qemu", "accelerator", "processors", "memory", "open files", "images", "programs", "state"];
    assert_eq!(looked_at, expected);
    let output = bench.run(&["doctor", "--images", "/nonexistent"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stdout).unwrap().contains("MEND  images"));
}

/// A search path with a compiler for VMs on it, and nothing else.
fn path_without_cargo(folder: &std::path::Path) -> PathBuf {
    let (path, sysroot) = (folder.join("path"), folder.join("sysroot"));
    for file in ["lib/rustlib/src/rust/library/std/Cargo.toml", "lib/rustlib/none/bin/rust-lld"] {
        fs::create_dir_all(sysroot.join(file).parent().unwrap()).unwrap();
        executable(&sysroot.join(file), "");
    }
    fs::create_dir(&path).unwrap();
    let says = format!("case $1 in --print) echo {:?} ;; *) echo host: none ;; esac", sysroot.display());
    executable(&path.join("rustc"), &says);
    for tool in ["dirname", "sed"] {
        let there = ["/usr/bin", "/bin"].map(|folder| PathBuf::from(folder).join(tool));
        let tool = there.iter().find(|file| file.exists()).unwrap();
        std::os::unix::fs::symlink(tool, path.join(tool.file_name().unwrap())).unwrap();
    }
    path
}

#[test]
fn a_missing_cargo_is_one_sentence() {
    let bench = Bench::new();
    let says = |words: &[&str]| {
        let mut command = bench.command(words);
        let output = command.env("PATH", bench.folder.path().join("path")).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    bench.says(&["new", "hello"]);
    let path = path_without_cargo(bench.folder.path());
    let sentence = "cargo is not on the PATH; install it with rustup or Debian's package cargo.";
    assert!(says(&["doctor"]).contains(&format!("MEND  programs     {sentence}\n")));
    assert_eq!(says(&["build", "hello"]), format!("cyanea: {sentence}\n"));
    // It is no more than that.
    executable(&path.join("cargo"), "exit 0");
    assert!(says(&["doctor"]).contains("ok    programs     built by "));
}
