//! Well-known crates, as they are, in programs: what they print in a VM is what
//! they print on the host.

use crates_image::crates;
use std::io::Read;
use std::process::{Command, Stdio};
use tests::machine::Machine;

const ONE_NODE: &str = "[clusters.a]\nnodes = 1\n";

#[test]
fn crates_do_in_a_vm_what_they_do_on_the_host() {
    let machine = Machine::up_with("crates-node", ONE_NODE);
    let mut expected = Vec::new();
    crates::all(&mut expected).unwrap();
    for _ in 0..3 {
        assert_eq!(machine.run(1, &["crates"]), String::from_utf8_lossy(&expected));
    }
    // Several at a time on one node.
    assert_eq!(
        machine.run(3, &["crates"]).lines().count(),
        3 * String::from_utf8_lossy(&expected).lines().count()
    );
}

#[test]
fn what_a_vm_has_packed_the_hosts_own_tool_unpacks() {
    let machine = Machine::up_with("crates-node", ONE_NODE);
    machine.run(1, &["packed"]);
    machine.call(&["cp", "/packed.gz", "host:packed.gz"]).well();
    let mut gzip = Command::new("gzip")
        .args(["-dc", "packed.gz"])
        .current_dir(machine.host.folder())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    gzip.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(gzip.wait().unwrap().success());
    assert!(text == crates::text());
}
