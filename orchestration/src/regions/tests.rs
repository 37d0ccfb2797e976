//! Who gets what, and what a VM may not do to it.

use super::*;
use ivshmem::layout::{LifeState, Liveness, Part};

fn machine() -> (MachineFile, Regions) {
    let text = "[clusters.a]\nnodes = 2\n[clusters.b]\nnodes = 1\n[files]\ncapacity = \"1 MiB\"";
    let file = MachineFile::parse("m.toml".as_ref(), text).unwrap();
    let regions = Regions::new(&file).unwrap();
    (file, regions)
}

fn open_region(due: &Due<'_>, kind: RegionKind) -> Region {
    Region::open(sys::map(due.descriptor, due.bytes).unwrap(), kind).unwrap()
}

#[test]
fn a_vm_gets_its_own_pairs_and_nobody_elses() {
    let (file, regions) = machine();
    for (peer, vm) in file.peers() {
        let due = regions.due(peer, vm);
        let others: Vec<u16> = due
            .iter()
            .filter_map(|due| match due.id {
                DueId::Pair(other) => Some(other.0),
                _ => None,
            })
            .collect();
        let expected: Vec<u16> = (0..=file.vms.len() as u16).filter(|&id| id != peer.0).collect();
        let mut sorted = others.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, expected);
        for due in due.iter().filter(|due| matches!(due.id, DueId::Pair(_))) {
            let DueId::Pair(other) = due.id else { continue };
            assert_eq!(due.address, DeviceAddress::pair(other.0));
            let key = (peer.0.min(other.0), peer.0.max(other.0));
            assert_eq!(due.descriptor.as_raw_fd(), regions.pairs[&key].as_fd().as_raw_fd());
        }
        let has_utility = due.iter().any(|due| due.id == DueId::Utility);
        assert_eq!(has_utility, vm.role != Role::Node);
    }
}

#[test]
fn vms_joined_by_an_ethernet_share_tables_and_nothing_else() {
    let text = "[clusters.a]\n[clusters.b]\n[files]\ncapacity = \"1 MiB\"\n\
                [[links]]\nbetween = [\"a\", \"b\"]\nkind = \"virtio-net\"";
    let file = MachineFile::parse("m.toml".as_ref(), text).unwrap();
    let regions = Regions::new(&file).unwrap();
    let cluster = |peer: Peer| file.vms[usize::from(peer.0) - 1].cluster;
    for (peer, vm) in file.peers() {
        let mut near = 0;
        for due in regions.due(peer, vm) {
            if let DueId::Pair(other) = due.id {
                assert!(
                    other == Peer::LAUNCHER || cluster(other) == vm.cluster,
                    "{peer} shares with {other}"
                );
                near += 1;
            }
        }
        assert_eq!(near, 3, "the launcher and two VMs of its cluster");
    }
}

#[test]
fn pools_belong_to_clusters_and_tables_to_utilities() {
    let (file, regions) = machine();
    let of = |name: &str, id: DueId| {
        let (peer, vm) = file.peers().find(|(_, vm)| vm.name == name).unwrap();
        let due = regions.due(peer, vm).into_iter().find(|due| due.id == id).unwrap();
        due.descriptor.as_raw_fd()
    };
    assert_eq!(of("node-a0", DueId::Pool), of("files-a0", DueId::Pool));
    assert_ne!(of("node-a0", DueId::Pool), of("node-b0", DueId::Pool));
    assert_eq!(of("files-a0", DueId::Utility), of("files-b0", DueId::Utility));
    assert_ne!(of("files-a0", DueId::Utility), of("tasks-a0", DueId::Utility));
}

#[test]
fn every_region_is_formatted_with_the_machines_generation() {
    let (file, regions) = machine();
    for (peer, vm) in file.peers() {
        for due in regions.due(peer, vm) {
            let kind = match due.id {
                DueId::Control => continue,
                DueId::Pair(_) => RegionKind::Pair,
                DueId::Utility => RegionKind::Utility,
                DueId::Pool => RegionKind::Pool,
            };
            assert!(due.bytes.is_power_of_two());
            assert_eq!(open_region(&due, kind).generation(), regions.generation());
        }
    }
}

#[test]
fn the_launchers_rings_are_the_vms_rings() {
    let (file, regions) = machine();
    let (peer, vm) = file.peers().next().unwrap();
    let Windows { outgoing, incoming, .. } = regions.own_pair(peer).unwrap();
    let due = regions.due(peer, vm);
    let pair = due.iter().find(|due| due.id == DueId::Pair(Peer::LAUNCHER)).unwrap();
    let region = open_region(pair, RegionKind::Pair);
    outgoing.copy_in(0, b"from the launcher: a");
    region.part(Part::RingFromHigher).unwrap().copy_in(0, b"from the VM");
    let mut bytes = [0; 20];
    region.part(Part::RingFromLower).unwrap().copy_out(0, &mut bytes);
    assert_eq!(&bytes, b"from the launcher: a");
    incoming.copy_out(0, &mut bytes[..11]);
    assert_eq!(&bytes[..11], b"from the VM");
}

#[test]
fn nobody_but_the_launcher_can_write_the_control_region() {
    let (file, regions) = machine();
    let (peer, vm) = file.peers().next().unwrap();
    let control = regions.due(peer, vm)[0];
    assert!(control.read_only && control.bytes.is_power_of_two());
    assert!(sys::map(control.descriptor, control.bytes).is_err());
    let path = format!("/proc/self/fd/{}", control.descriptor.as_raw_fd());
    let reopened = open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).unwrap();
    assert!(sys::map(reopened.as_fd(), control.bytes).is_err());
    assert!(rustix::io::write(&reopened, b"x").is_err());
    let liveness = Liveness { generation: 3, state: LifeState::Ready };
    regions.membership().set_liveness(peer, liveness);
    assert_eq!(regions.membership().liveness(peer), liveness);
}

#[test]
fn no_region_can_be_cut_under_its_users() {
    let (_, regions) = machine();
    assert!(ftruncate(&regions.pools[0], 0).is_err());
}

/// A pair region as two VMs map it, each for itself.
#[test]
fn rings_in_mapped_memory_are_links_as_any() {
    use transport::conformance::{conform, heap::Rings};
    conform("rings in a memory file", random().unwrap() >> 32, 12, |_| {
        let memory = MemoryFile::new("cyanea-pair", PAIR_BYTES).unwrap();
        let windows = |end: u16| {
            let region = Region::format(memory.map().unwrap(), RegionKind::Pair, 1, &PAIR_PARTS).unwrap();
            pair_windows(&region, end, 1 - end).unwrap()
        };
        Box::new(Rings::mapped([0, 1].map(windows)))
    });
}
