//! Machines of tiny images under the real QEMU, from their start to their end.

mod support;

use ivshmem::layout::LifeState;
use kernel::protocol::Peer;
use orchestration::image::Images;
use orchestration::machine::{Event, KillError, Machine, Options, Readiness, StartError};
use orchestration::machine_file::MachineFile;
use orchestration::vm::Death;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::time::Duration;
use support::{PATIENCE, Then, fake_qemu, idle_images, image, images, process_exists, wait_until};
use tempfile::TempDir;

const SMALL: &str = "name = \"small\"\n[clusters.a]\nnodes = 1\n[clusters.b]\n[vm]\nmemory = \"16 MiB\"\n\
                     [files]\ncapacity = \"1 MiB\"\n[pool]\nsize = \"1 MiB\"\n";

fn file(text: &str) -> MachineFile {
    MachineFile::parse("m.toml".as_ref(), text).unwrap()
}

fn options(folder: &Path) -> Options {
    let mut options = Options::new(folder.join("logs"));
    options.images = Images::in_folder(&idle_images(folder));
    options.readiness = Readiness::Spawned;
    options
}

fn start(text: &str, change: impl FnOnce(&Path, &mut Options)) -> (TempDir, Result<Machine, StartError>) {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path());
    change(folder.path(), &mut options);
    let started = Machine::start(&file(text), options, &(), |_| Ok(()));
    (folder, started.map(|(machine, ())| machine))
}

/// The next event of a kind; panics if it does not come.
fn wait_for<T>(events: &Receiver<Event>, what: &str, wanted: impl Fn(&Event) -> Option<T>) -> T {
    loop {
        let event = events.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("waited too long for {what}"));
        if let Some(found) = wanted(&event) {
            return found;
        }
    }
}

fn processes(machine: &Machine) -> Vec<u32> {
    machine.vms().iter().filter_map(|vm| vm.process).collect()
}

#[test]
fn a_machine_that_is_ended_before_it_has_vms_says_just_that() {
    let folder = tempfile::tempdir().unwrap();
    let interrupted = |_: &Machine| Err::<(), _>(std::io::ErrorKind::Interrupted.into());
    let started = Machine::start(&file(SMALL), options(folder.path()), &(), interrupted);
    let sentence = started.map(drop).unwrap_err().to_string();
    assert_eq!(sentence, "the machine was ended while it was starting");
}

#[test]
fn a_machine_boots_and_ends_without_a_trace() {
    let (_folder, machine) = start(SMALL, |_, _| {});
    let machine = machine.unwrap();
    for (peer, vm) in machine.file().peers() {
        let liveness = machine.membership().liveness(peer);
        assert_eq!((liveness.generation, liveness.state), (1, LifeState::Ready));
        let greeting = if vm.name.starts_with("node") { "node here" } else { "utility here" };
        let lines = machine.follow(&vm.name).unwrap();
        assert_eq!(lines.recv_timeout(PATIENCE).unwrap(), greeting);
    }
    assert_eq!(machine.membership().liveness(Peer::LAUNCHER).state, LifeState::Ready);
    let processes = processes(&machine);
    assert_eq!(processes.len(), 6);
    let events = machine.events();
    machine.shutdown();
    assert!(processes.iter().all(|&id| !process_exists(id)));
    wait_for(&events, "the end", |event| (*event == Event::Ended).then_some(()));
    assert!(machine.events().recv().is_err(), "an ended machine has no events");
}

#[test]
fn every_vcpu_is_pinned_where_it_was_placed() {
    let (_folder, machine) = start(&format!("{SMALL}\n[vm.node]\ncores = 2"), |_, _| {});
    let machine = machine.unwrap();
    for vm in machine.vms() {
        let process = vm.process.unwrap();
        assert_eq!(vm.processors.len(), if vm.role == "node" { 2 } else { 1 });
        for (core, processor) in vm.processors.iter().enumerate() {
            wait_until("the vCPU is pinned", || {
                let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
                let mut vcpus = threads.filter(|thread| {
                    let name = std::fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
                    name.starts_with(&format!("CPU {core}/"))
                });
                vcpus.any(|thread| {
                    let status = std::fs::read_to_string(thread.path().join("status")).unwrap_or_default();
                    status.contains(&format!("Cpus_allowed_list:\t{processor}\n"))
                })
            });
        }
    }
}

#[test]
fn a_death_is_noticed_told_and_the_others_live_on() {
    let (_folder, machine) = start(SMALL, |_, _| {});
    let machine = machine.unwrap();
    let events = machine.events();
    let victim = machine.peer("files-b0").unwrap();
    let process = machine.vms()[usize::from(victim.0) - 1].process.unwrap();
    machine.bells().silence(0);
    machine.kill("files-b0").unwrap();
    assert!(!process_exists(process));
    assert_eq!(machine.membership().liveness(victim).state, LifeState::Dead);
    assert!(machine.bells().silence(0), "the launcher's own bell rings");
    let death = wait_for(&events, "the death", |event| match event {
        Event::Died { peer, death, restarts: false, .. } if *peer == victim => Some(death.clone()),
        _ => None,
    });
    assert_eq!(death, Death::Killed);
    assert_eq!(processes(&machine).len(), 5);
    assert_eq!(machine.kill("files-b0"), Err(KillError::NotRunning("files-b0".into())));
    let unknown = machine.kill("files-c0").unwrap_err().to_string();
    assert_eq!(
        unknown,
        "this machine has no VM \"files-c0\"; it has node-a0, files-a0, tasks-a0, node-b0, files-b0, tasks-b0"
    );
}

#[test]
fn vms_know_their_ids_and_ring_the_launcher_in_every_life() {
    let text = SMALL.replace("[vm]", "[vm]\nrestart = \"always\"");
    let (_folder, machine) = start(&text, |folder, options| {
        let rings = image("id ", Then::Ring);
        options.images = Images::in_folder(&images(folder, &rings, &image("", Then::Halt)));
    });
    let machine = machine.unwrap();
    for name in ["node-a0", "node-b0"] {
        let peer = machine.peer(name).unwrap();
        let lines = machine.follow(name).unwrap();
        let id = || while lines.recv_timeout(PATIENCE).unwrap() != format!("id {}", peer.0) {};
        id();
        let mut generation = 1;
        wait_until("the launcher's bell rings", || {
            generation += 1;
            rings_in_its_next_life(&machine, name, generation, &id)
        });
    }
}

/// Ends a VM and says whether its next life is heard to ring the launcher: not
/// so if it rings before this thread comes to listen.
fn rings_in_its_next_life(machine: &Machine, name: &str, generation: u32, id: &impl Fn()) -> bool {
    let (peer, events) = (machine.peer(name).unwrap(), machine.events());
    machine.kill(name).unwrap();
    wait_for(&events, "the next life", |event| (*event == Event::Ready { peer, generation }).then_some(()));
    // Nothing but the VM itself rings from here on.
    machine.bells().silence(0);
    id();
    (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(5));
        machine.bells().silence(0)
    })
}

#[test]
fn a_vm_that_is_to_be_restarted_comes_back_as_the_next_generation() {
    let (_folder, machine) = start(&SMALL.replace("[vm]", "[vm]\nrestart = \"always\""), |_, _| {});
    let machine = machine.unwrap();
    let events = machine.events();
    let peer = machine.peer("node-b0").unwrap();
    for generation in 2..4 {
        machine.kill("node-b0").unwrap();
        wait_for(&events, "the next life", |event| {
            (*event == Event::Ready { peer, generation }).then_some(())
        });
        assert_eq!(machine.membership().liveness(peer).generation, generation);
    }
    // The new QEMU got through the greeting on the old bells and runs its image.
    let lines = machine.follow("node-b0").unwrap();
    let next = || lines.recv_timeout(PATIENCE).unwrap();
    while next() != "-- node-b0 starts again: generation 3" {}
    while next() != "node here" {}
}

#[test]
fn a_restarted_vm_that_is_never_ready_is_ended_and_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path());
    options.readiness = Readiness::Reported;
    options.boot_timeout = Duration::from_secs(2);
    let file = file(&SMALL.replace("[vm]", "[vm]\nrestart = \"always\""));
    let (machine, ()) = Machine::start(&file, options, &(), |machine| {
        file.peers().for_each(|(peer, _)| report_when_started(machine, peer));
        Ok(())
    })
    .unwrap();
    let events = machine.events();
    machine.kill("node-a0").unwrap();
    let death = wait_for(&events, "the end of the second life", |event| match event {
        Event::Died { generation: 2, death, restarts: true, .. } => Some(death.clone()),
        _ => None,
    });
    assert_eq!(death, Death::NotReady(Duration::from_secs(2)));
    let peer = machine.peer("node-a0").unwrap();
    wait_for(&events, "the third life", |event| {
        (*event == Event::Started { peer, generation: 3 }).then_some(())
    });
    machine.shutdown();
}

/// Reports the first life of a VM as ready.
fn report_when_started(machine: &Machine, wanted: Peer) {
    let (machine, events) = (machine.clone(), machine.events());
    std::thread::spawn(move || {
        for event in events {
            if event == (Event::Started { peer: wanted, generation: 1 }) {
                return machine.set_ready(machine.membership().incarnation(wanted).unwrap());
            }
        }
    });
}

#[test]
fn a_vm_that_dies_while_booting_takes_the_machine_with_it() {
    let (_folder, started) = start(SMALL, |folder, options| {
        let panics = image("one\ntwo\nthree", Then::Exit(0x11));
        options.images = Images::in_folder(&images(folder, &image("", Then::Halt), &panics));
        options.readiness = Readiness::Reported;
    });
    let Err(StartError::Boot(failure)) = started else { panic!("it came up") };
    assert_eq!(failure.death, Death::Panicked);
    assert_eq!(failure.last_lines, ["one", "two", "three"]);
    let text = StartError::Boot(failure.clone()).to_string();
    assert!(text.starts_with(&format!("the machine did not come up: {} panicked; its last", failure.vm)));
    assert!(text.ends_with(":\n  one\n  two\n  three"), "{text}");
}

#[test]
fn a_vm_that_is_never_ready_is_named() {
    let (_folder, started) = start(SMALL, |_, options| {
        options.readiness = Readiness::Reported;
        options.boot_timeout = Duration::from_millis(300);
    });
    let Err(StartError::Boot(failure)) = started else { panic!("it came up") };
    assert_eq!(failure.death, Death::NotReady(Duration::from_millis(300)));
}

#[test]
fn a_machine_is_up_when_every_vm_has_reported() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path());
    options.readiness = Readiness::Reported;
    let (machine, client) = Machine::start(&file(SMALL), options, &(), |machine| {
        let (machine, events) = (machine.clone(), machine.events());
        Ok(std::thread::spawn(move || {
            for event in events {
                match event {
                    Event::Started { peer, .. } => {
                        assert_eq!(machine.membership().liveness(peer).state, LifeState::Starting);
                        machine.set_ready(machine.membership().incarnation(peer).unwrap());
                    }
                    Event::Up => return,
                    _ => {}
                }
            }
        }))
    })
    .unwrap();
    client.join().unwrap();
    assert!(machine.vms().iter().all(|vm| vm.state == "ready"));
}

#[test]
fn qemus_own_complaint_is_reported() {
    let (_folder, started) = start(SMALL, |folder, options| {
        options.qemu = fake_qemu(folder, "9.0.0", "echo 'no such machine' >&2; exit 1");
        options.readiness = Readiness::Reported;
    });
    let text = started.err().unwrap().to_string();
    assert!(text.contains("ended because QEMU failed with status 1"), "{text}");
    assert!(text.ends_with("\n  qemu: no such machine"), "{text}");
}

#[test]
fn only_the_last_lines_are_reported() {
    let (_folder, started) = start(SMALL, |folder, options| {
        options.qemu = fake_qemu(folder, "9.0.0", "for i in $(seq 50); do echo line $i; done; exit 35");
        options.readiness = Readiness::Reported;
    });
    let Err(StartError::Boot(failure)) = started else { panic!("it came up") };
    assert_eq!(failure.death, Death::Panicked);
    assert_eq!(failure.last_lines.len(), 40);
    assert_eq!(failure.last_lines[0], "line 11");
}

#[test]
fn a_vm_inherits_its_own_descriptors_and_no_others() {
    let (_folder, machine) = start(SMALL, |folder, options| {
        let body = r#"
            due=$(echo "$line" | grep -o 'fd[/=][0-9]*' | tr -d 'fd/=')
            has=$(find /proc/$$/fd -lname '*memfd:cyanea*' -o -lname 'socket:*' -o -lname 'anon_inode:*')
            echo "due" $(echo "$due" | sort -n)
            echo "has" $(echo "$has" | cut -d/ -f5 | sort -n)
            exec sleep 1000"#;
        options.qemu = fake_qemu(folder, "9.0.0", body);
    });
    let machine = machine.unwrap();
    let lines = machine.follow("files-a0").unwrap();
    let (due, has) = (lines.recv_timeout(PATIENCE).unwrap(), lines.recv_timeout(PATIENCE).unwrap());
    assert_eq!(due.replace("due", "has"), has);
    // Bell, control, pool, tables, and a pair with each of the launcher and five VMs.
    assert_eq!(due.split(' ').count(), 1 + 10);
}

#[test]
fn what_cannot_start_is_refused_before_anything_starts() {
    let (_folder, started) = start(SMALL, |folder, options| options.qemu = folder.join("no-qemu"));
    assert!(started.err().unwrap().to_string().contains("no-qemu was not found; install QEMU 7.2 or newer"));
    let (_folder, started) = start(SMALL, |folder, options| {
        options.qemu = fake_qemu(folder, "6.1.0", "");
    });
    assert!(started.err().unwrap().to_string().contains("is QEMU 6.1, too old; install QEMU 7.2 or newer"));
    let (_folder, started) = start(SMALL, |folder, options| {
        options.images = Images::in_folder(&images(folder, b"#!/bin/sh", b""));
    });
    assert!(started.err().unwrap().to_string().contains("is no ELF file; build images with `make images`"));
}
