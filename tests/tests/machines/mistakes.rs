//! Bad input is one clear sentence and a non-zero code, and starts nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use tests::host::Host;
use tests::machine::{Machine, TWO_CLUSTERS};
use tests::{image, is_qemu};

/// Calls `up` on a file of this text, which must be refused.
fn refusal(host: &Host, text: &str) -> String {
    host.file("bad.toml", text);
    let sentence = host.call(&["up", "bad.toml"]).sentence();
    println!("{sentence}");
    let detached = host.call(&["up", "--detach", "bad.toml"]).sentence();
    // But for how much memory is free at the moment.
    let words = |text: &str| text.split(|c: char| c.is_ascii_digit()).map(String::from).collect::<String>();
    assert_eq!(words(&detached), words(&sentence));
    assert!(host.is_quiet());
    sentence
}

#[test]
fn a_bad_machine_file_is_refused_with_its_line_and_column() {
    let host = Host::new();
    for (text, expected) in [
        (
            "[clusters.a]\nnodes = 2\ncolour = 1\n",
            "bad.toml:3:1: there is no key `colour` here; write one of `nodes`",
        ),
        ("[clusters.a]\nnodes = \"two\"\n", "bad.toml:2:9: string \"two\" is of the wrong type"),
        ("[clusters.a]\nnodes = -1\n", "bad.toml:2:9: "),
        ("[clusters.a]\n[clusters.b]\n[clusters.a]\n", "bad.toml:3:11: the name `a` is given twice"),
        ("name = \"x\"\n", "bad.toml:1:1: this machine has no cluster; write [clusters.a]"),
        ("[clusters.a]\nnodes = 0\n", "bad.toml:2:9: no cluster has a node"),
        ("[clusters.a]\nnodes = 9000\n", "bad.toml:1:11: this machine has 9004 VMs, "),
        ("[clusters.a]\n[vm]\nmemory = \"1 MiB\"\n", "bad.toml:3:10: 1 MiB is too little for an image"),
        (
            "[clusters.a]\n[vm]\nmemory = \"900 GiB\"\n",
            "bad.toml:3:10: 900 GiB is more than a VM can address; ",
        ),
        ("[clusters.a]\n[vm]\nmemory = \"256 GiB\"\n", "bad.toml:3:10: the 5 VMs and their regions need "),
        (
            "[clusters.a]\n[files]\ncapacity = \"64 KiB\"\n",
            "bad.toml:3:12: 64 KiB is no size for this region",
        ),
        ("[clusters.a]\n[utilities]\nfiles = 1\n", "bad.toml:3:9: files needs at least two activities"),
        ("[clusters.a]\n[locality]\nwithin = 0\n", "bad.toml:3:10: 0 times a local message is no distance"),
        ("[clusters.a]\n[locality]\nbetween = -9\n", "bad.toml:3:11: integer -9 cannot be used"),
        (
            "[clusters.a]\n[locality]\nbetween = 2\n",
            "bad.toml:3:11: another cluster cannot be nearer than the VM's own",
        ),
        ("[clusters.a\n", "bad.toml:1:"),
        ("name = \"../x\"\n[clusters.a]\n", "bad.toml:1:8: the machine cannot be called \"../x\""),
    ] {
        let sentence = refusal(&host, text);
        assert!(sentence.starts_with(expected), "{text:?}: {sentence}");
    }
    assert!(host.call(&["up", "absent.toml"]).sentence().starts_with("absent.toml: cannot read"));
}

#[test]
fn a_missing_or_old_qemu_is_said() {
    let host = Host::new();
    host.machine_file("m", TWO_CLUSTERS);
    let up_with = |qemu: &str| {
        let mut command = host.command(&["up", "m.toml"]);
        command.env("CYANEA_QEMU", qemu);
        let sentence = tests::command::Running::start(command).end().sentence();
        println!("{sentence}");
        assert!(host.is_quiet());
        sentence
    };
    assert!(up_with("/absent/qemu").starts_with("/absent/qemu was not found; install QEMU 7.2 or newer"));
    let old = host.file("old-qemu", "#!/bin/sh\necho QEMU emulator version 5.2.0\n");
    fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).unwrap();
    let sentence = up_with(old.to_str().unwrap());
    assert!(sentence.ends_with("is QEMU 5.2, too old; install QEMU 7.2 or newer"), "{sentence}");
    assert!(up_with("/bin/true").contains("says no version of QEMU"));
}

#[test]
fn an_image_that_will_not_do_is_said() {
    let host = Host::new();
    let own = fs::read(image("test-node")).unwrap();
    fs::write(host.folder().join("cut-off"), &own[..own.len() / 4]).unwrap();
    let mut foreign = own.clone();
    foreign[18..20].copy_from_slice(&[183, 0]);
    fs::write(host.folder().join("foreign"), foreign).unwrap();
    let linux = std::env::current_exe().unwrap();
    for (node, expected) in [
        ("/absent/image", "there is no node image at"),
        (
            "m.toml",
            "m.toml is no ELF file; build images with `make images`, one of your own with `cyanea build`",
        ),
        ("cut-off", "cut-off is cut off: it has "),
        ("foreign", "foreign is an ELF file for AArch64, and VMs are x86-64;"),
        (linux.to_str().unwrap(), "is a program of another system, Linux's perhaps"),
        (image("large").to_str().unwrap(), "is too large for node-a0: it wants a VM of "),
    ] {
        let text = format!("[clusters.a]\n[images]\nnode = {node:?}\n");
        host.file("m.toml", &text);
        let sentence = host.call(&["up", "m.toml"]).sentence();
        println!("{sentence}");
        assert!(sentence.contains(expected), "{sentence}");
        assert!(host.is_quiet());
    }
}

#[test]
fn an_image_that_panics_at_boot_is_shown_with_its_last_lines() {
    let host = Host::new();
    let text = format!("name = \"broken\"\n{TWO_CLUSTERS}[images]\nnode = {:?}\n", image("boot-panic"));
    host.file("broken.toml", &text);
    for extra in [None, Some("--detach")] {
        let words: Vec<_> = ["up", "broken.toml"].into_iter().chain(extra).collect();
        let ended = host.call(&words);
        println!("{}", ended.err);
        assert_eq!(ended.code(), Some(1));
        let first = ended.err.lines().find(|line| line.starts_with("cyanea: ")).unwrap_or_default();
        assert!(first.starts_with("cyanea: the machine did not come up: node-"), "{first}");
        assert!(first.contains(" panicked; its last output was (all of it: "), "{first}");
        assert!(ended.err.contains("\n  about to panic\n"), "{}", ended.err);
        assert!(ended.err.contains("this image panics at boot, as it should"), "{}", ended.err);
        assert!(host.is_quiet() && !host.state("broken").join("machine.json").exists());
        assert!(!any_qemu_of(&host), "a half-started machine");
    }
}

/// Whether a QEMU runs that has an image or a bell of this test's machine.
fn any_qemu_of(host: &Host) -> bool {
    let lock = fs::read_to_string(host.state("broken").join("lock")).unwrap();
    let launcher: u32 = lock.trim().parse().unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).any(|id: u32| {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        status.contains(&format!("\nPPid:\t{launcher}\n")) && is_qemu(id)
    })
}

#[test]
fn an_unknown_program_vm_or_machine_is_said() {
    let machine = Machine::up(TWO_CLUSTERS);
    let all = "node-a0, node-a1, files-a0, tasks-a0, node-b0, node-b1, files-b0, tasks-b0";
    let unknown = format!("this machine has no VM \"node-z9\"; it has {all}");
    for words in [["logs", "node-z9"], ["kill", "node-z9"]] {
        assert_eq!(machine.call(&words).sentence(), unknown);
    }
    let absent = machine.host.call(&["run", "--machine", "absent", "hello"]).sentence();
    assert_eq!(absent, "no machine called absent is up; `cyanea up FILE` starts one");
    assert!(
        machine
            .call(&["run", "absent"])
            .sentence()
            .starts_with("no program \"absent\" on the nodes; there are: ")
    );
    let nothing = machine.host.call(&["run"]).sentence();
    assert_eq!(nothing, "there is no crate in .: it has no Cargo.toml; `cyanea new NAME` makes one");
    machine.call(&["kill", "node-b1"]).well();
    assert_eq!(machine.call(&["kill", "node-b1"]).sentence(), "node-b1 does not run");
    assert!(machine.call(&["logs", "node-b1"]).well().ends_with("-- node-b1 was killed\n"));
}

#[test]
fn a_machine_without_a_utility_says_so() {
    let machine = Machine::up(TWO_CLUSTERS);
    for vm in ["files-a0", "files-b0", "tasks-a0", "tasks-b0"] {
        machine.kill(vm);
    }
    let files = machine.call(&["ls", "/"]).sentence();
    assert_eq!(files, "files cannot be reached: no activity of files is left alive");
    let tasks = machine.call(&["run", "hello"]).sentence();
    assert_eq!(tasks, "tasks cannot be reached: no activity of tasks is left alive");
}
