//! Frames through real sockets, as QEMU sends and takes them.

use super::*;
use rustix::event::{PollFd, PollFlags};
use std::time::Duration;
use transport::ethernet::frame_header;

const TEXT: &str = "[clusters.a]\nnodes = 1\n[clusters.b]\nnodes = 1\n[[links]]\nbetween = [\"a\", \"b\"]\n\
                    kind = \"virtio-net\"";

fn machine(text: &str) -> MachineFile {
    MachineFile::parse("m.toml".as_ref(), text).unwrap()
}

/// The peers of a cluster's node.
fn node(file: &MachineFile, name: &str) -> Peer {
    file.peers().find(|(_, vm)| vm.name == name).unwrap().0
}

fn put(ethernet: &Ethernet, port: Peer, frame: &[u8]) {
    send(ethernet.plug(port).unwrap(), frame, SendFlags::empty()).unwrap();
}

/// The next frame at a port; a watchdog ends the wait.
fn take(ethernet: &Ethernet, port: Peer) -> Option<Vec<u8>> {
    let plug = ethernet.plug(port).unwrap();
    let mut frame = vec![0; MAX_FRAME];
    let patience = Timespec { tv_sec: 10, tv_nsec: 0 };
    let mut list = [PollFd::from_borrowed_fd(plug, PollFlags::IN)];
    if poll(&mut list, Some(&patience)).unwrap() == 0 {
        return None;
    }
    let (length, _) = recv(plug, &mut frame[..], RecvFlags::DONTWAIT).unwrap();
    frame.truncate(length);
    Some(frame)
}

fn frame(from: Peer, to: Peer, content: u8) -> Vec<u8> {
    [&frame_header(from.0, to.0)[..], &[content; 100]].concat()
}

#[test]
fn a_machine_without_such_links_has_no_ethernet() {
    assert!(Ethernet::start(&machine("[clusters.a]\n[clusters.b]")).unwrap().is_none());
}

#[test]
fn frames_pass_forged_ones_do_not_and_a_cut_line_is_silent() {
    let file = machine(TEXT);
    let ethernet = Ethernet::start(&file).unwrap().unwrap();
    let (a, b) = (node(&file, "node-a0"), node(&file, "node-b0"));
    let other = node(&file, "files-b0");
    put(&ethernet, a, &frame(b, b, 1));
    put(&ethernet, other, &frame(a, b, 2));
    put(&ethernet, b, &frame(b, other, 3));
    put(&ethernet, a, &frame(a, b, 4));
    assert_eq!(take(&ethernet, b), Some(frame(a, b, 4)));
    put(&ethernet, b, &frame(b, a, 5));
    assert_eq!(take(&ethernet, a), Some(frame(b, a, 5)));
    ethernet.cut(&file, [0, 1], true);
    put(&ethernet, a, &frame(a, b, 6));
    while ethernet.counters().lost == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    ethernet.cut(&file, [0, 1], false);
    put(&ethernet, a, &frame(a, b, 7));
    assert_eq!(take(&ethernet, b), Some(frame(a, b, 7)));
    assert_eq!(ethernet.counters().refused, 3);
}

#[test]
fn a_vm_that_reads_nothing_takes_a_bounded_amount_and_holds_up_nobody() {
    let file = machine(TEXT);
    let ethernet = Ethernet::start(&file).unwrap().unwrap();
    let (a, b) = (node(&file, "node-a0"), node(&file, "node-b0"));
    let other = node(&file, "files-b0");
    for _ in 0..1000 {
        put(&ethernet, a, &frame(a, b, 8));
    }
    // Not even those who talk to the same VM.
    let friend = node(&file, "files-a0");
    put(&ethernet, friend, &frame(friend, b, 7));
    put(&ethernet, a, &frame(a, other, 9));
    assert_eq!(take(&ethernet, other), Some(frame(a, other, 9)));
    let mut taken = 0;
    while take(&ethernet, b).expect("the friend's frame is among them") != frame(friend, b, 7) {
        taken += 1;
    }
    assert!((MOST_WAITING..500).contains(&taken), "{taken} frames waited");
}
