//! What a VM can reach: its own regions and nothing else.

use tests::machine::{Machine, TWO_CLUSTERS};

#[test]
fn a_vm_has_its_own_devices_only_and_cannot_write_the_control_region() {
    let machine = Machine::up(TWO_CLUSTERS);
    let peers = machine.vms().len() as u64;
    let mut nodes = Vec::new();
    while nodes.len() < 4 {
        // One activity on each node.
        let said = machine.run(4, &["intruder"]);
        for activity in 0..4 {
            let prefix = format!("activity {activity}: ");
            let lines: Vec<_> = said.lines().filter_map(|line| line.strip_prefix(&prefix)).collect();
            let own: u64 = find(&lines, "own peer ").parse().expect("a peer id");
            // Control, bell, pool, and a pair with each other peer; 1.2 would be
            // a utility's region.
            let mut due: Vec<String> = ["1.0", "1.1", "1.3"].map(String::from).into();
            let pairs = (0..=peers).filter(|&peer| peer != own);
            due.extend(pairs.map(|peer| format!("{:x}.{:x}", 2 + peer / 8, peer % 8)));
            let devices: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("device ")).collect();
            assert_eq!(devices, due, "VM {own}");
            let wrote = find(&lines, "wrote ");
            assert!(wrote.ends_with(" words of the control region, 0 changed"), "{wrote}");
            assert!(!wrote.starts_with("0 "), "{wrote}");
            nodes.push(own);
        }
    }
    nodes.sort_unstable();
    nodes.dedup();
    assert_eq!(nodes.len(), 4, "every node was looked at");
    // The description and the liveness table are as they were.
    assert!(machine.vms().iter().all(|vm| vm.state == "ready"));
    assert_eq!(machine.run(8, &["hello"]).lines().count(), 8);
}

fn find<'a>(lines: &[&'a str], prefix: &str) -> &'a str {
    lines
        .iter()
        .find_map(|line| line.strip_prefix(prefix))
        .unwrap_or_else(|| panic!("no {prefix} in {lines:?}"))
}
