//! The argument list of one VM's QEMU: which devices it has, and at which
//! addresses it finds them.

use crate::host::Accelerator;
use crate::machine_file::{Forward, VmPlan};
use crate::regions::{Due, DueId};
use ivshmem::exit;
use ivshmem::layout::DeviceAddress;
use kernel::protocol::Peer;
use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::path::Path;
use transport::ethernet::{HardwareAddress, hardware_address, outside};

/// What is to be started.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// The VM.
    pub vm: &'a VmPlan,
    /// What it boots.
    pub image: &'a Path,
    /// What runs its instructions.
    pub accelerator: Accelerator,
    /// Its regions, those it is due and no others.
    pub regions: &'a [Due<'a>],
    /// QEMU's end of its bell socket.
    pub bell: BorrowedFd<'a>,
    /// QEMU's end of its port on the Ethernet, and who it is there.
    pub card: Option<(BorrowedFd<'a>, Peer)>,
    /// If it has a way out of the machine: the host's ports at this address that
    /// lead to it.
    pub outside: Option<(Ipv4Addr, &'a [Forward])>,
    /// Nanoseconds since 1970.
    pub epoch_ns: u128,
    /// Randomness for the VM to start from.
    pub seed: u64,
    /// The host's ticks, if anybody reads them.
    pub ticks: Option<Ticks>,
}

/// The host's ticks, of which a VM makes its time.
#[derive(Clone, Copy, Debug)]
pub struct Ticks {
    /// How many there were when the VM was started.
    pub now: u64,
    /// How many a second has.
    pub per_second: u64,
}

/// QEMU's arguments, and the descriptors that they speak of.
pub fn arguments(start: &Start<'_>) -> (Vec<OsString>, Vec<RawFd>) {
    let mut list = List::default();
    machine(start, &mut list);
    let mut descriptors = vec![start.bell.as_raw_fd()];
    let bell = format!("socket,id=bell,fd={}", start.bell.as_raw_fd());
    list.option("-chardev", bell);
    list.device(DeviceAddress::BELL, "ivshmem-doorbell,chardev=bell,vectors=1");
    for region in start.regions {
        descriptors.push(region.descriptor.as_raw_fd());
        list.region(region);
    }
    if let Some((plug, peer)) = start.card {
        descriptors.push(plug.as_raw_fd());
        list.card(plug, peer);
    }
    if let Some((address, forwards)) = start.outside {
        list.outside(address, forwards);
    }
    list.option("-kernel", start.image);
    let mut line = format!("vm={} epoch={} seed={}", start.vm.name, start.epoch_ns, start.seed);
    if let Some(Ticks { now, per_second }) = start.ticks {
        line += &format!(" tsc_hz={per_second} ticks={now}");
    }
    // What a binary's only program is called.
    line += &word(start.image).map_or(String::new(), |name| format!(" image={name}"));
    list.option("-append", line);
    (list.arguments, descriptors)
}

/// A file's name, if it can stand on a command line of words.
fn word(file: &Path) -> Option<&str> {
    file.file_name()?.to_str().filter(|name| !name.contains(char::is_whitespace))
}

/// Everything that does not depend on regions.
fn machine(start: &Start<'_>, list: &mut List) {
    list.flag("-nodefaults");
    list.flag("-no-user-config");
    list.flag("-no-reboot");
    list.option("-name", format!("{},debug-threads=on", start.vm.name));
    list.option("-M", "microvm,pcie=on,rtc=off,pit=off,isa-serial=on");
    list.option(
        "-accel",
        match start.accelerator {
            Accelerator::Kvm => "kvm",
            Accelerator::Tcg => "tcg,thread=multi,tb-size=8",
        },
    );
    list.option("-cpu", "max");
    // With maxcpus=1 TCG would make atomic read-modify-writes non-atomic.
    list.option("-smp", format!("{},maxcpus={}", start.vm.cores, start.vm.cores.max(2)));
    list.option("-m", format!("{}M", start.vm.memory.0.div_ceil(1 << 20)));
    list.option("-display", "none");
    list.option("-chardev", "stdio,id=console,signal=off");
    list.option("-serial", "chardev:console");
    list.option("-device", format!("isa-debug-exit,iobase={:#x},iosize=0x04", exit::PORT));
}

/// An argument list in the making.
#[derive(Default)]
struct List {
    arguments: Vec<OsString>,
}

impl List {
    fn flag(&mut self, flag: &str) {
        self.arguments.push(flag.into());
    }

    fn option(&mut self, name: &str, value: impl Into<OsString>) {
        self.arguments.extend([name.into(), value.into()]);
    }

    fn device(&mut self, address: DeviceAddress, what: &str) {
        self.option("-device", format!("{what},multifunction=on,addr={address}"));
    }

    /// The network card to the peers behind an Ethernet.
    fn card(&mut self, plug: BorrowedFd<'_>, peer: Peer) {
        let fd = plug.as_raw_fd();
        self.option("-netdev", format!("dgram,id=ethernet,local.type=fd,local.str={fd}"));
        self.network_card(DeviceAddress::CARD, "ethernet", hardware_address(peer.0));
    }

    /// The network card that leads out of the machine.
    fn outside(&mut self, address: Ipv4Addr, forwards: &[Forward]) {
        let own = Ipv4Addr::from(outside::ADDRESS);
        let [gateway, names] = [outside::GATEWAY, outside::NAME_SERVER].map(Ipv4Addr::from);
        let network = Ipv4Addr::from(outside::NETWORK);
        let mut user = format!(
            "user,id=outside,net={network}/{},host={gateway},dns={names},dhcpstart={own},\
             ipv6-net={}/{},ipv6-host={},ipv6-dns={}",
            outside::PREFIX,
            outside::NETWORK_V6,
            outside::PREFIX_V6,
            outside::GATEWAY_V6,
            outside::NAME_SERVER_V6
        );
        for Forward { host_port, port, .. } in forwards {
            user += &format!(",hostfwd=tcp:{address}:{host_port}-{own}:{port}");
        }
        self.option("-netdev", user);
        self.network_card(DeviceAddress::OUTSIDE_CARD, "outside", outside::OWN_HARDWARE);
    }

    /// A network card. Its own ROM would only be for booting from it.
    fn network_card(&mut self, at: DeviceAddress, network: &str, address: HardwareAddress) {
        let address = address.map(|byte| format!("{byte:02x}")).join(":");
        let card =
            format!("virtio-net-pci,netdev={network},romfile=,disable-legacy=on,vectors=1,mac={address}");
        self.device(at, &card);
    }

    /// A region's memory and its device.
    fn region(&mut self, region: &Due<'_>) {
        let id = match region.id {
            DueId::Control => "control".into(),
            DueId::Pair(peer) => format!("pair{}", peer.0),
            DueId::Utility => "utility".into(),
            DueId::Pool => "pool".into(),
        };
        let path = format!("/proc/self/fd/{}", region.descriptor.as_raw_fd());
        let read_only = if region.read_only { ",readonly=on" } else { "" };
        let size = region.bytes;
        let memory = format!("memory-backend-file,id={id},share=on,mem-path={path},size={size}{read_only}");
        self.option("-object", memory);
        self.device(region.address, &format!("ivshmem-plain,memdev={id}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine_file::MachineFile;
    use crate::regions::Regions;
    use std::os::fd::AsFd;

    /// The argument list of the VM of this name, as one text, and its descriptors.
    fn list(name: &str, accelerator: Accelerator) -> (String, usize) {
        list_with(name, accelerator, false, "")
    }

    fn list_with(name: &str, accelerator: Accelerator, card: bool, more: &str) -> (String, usize) {
        let text = format!(
            "[clusters.a]
nodes = 1
[clusters.b]
[vm]
memory = \"33 MiB\"
[vm.files]
cores = 4
{more}"
        );
        let file = MachineFile::parse("m.toml".as_ref(), &text).unwrap();
        let regions = Regions::new(&file).unwrap();
        let (peer, vm) = file.peers().find(|(_, vm)| vm.name == name).unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        let due = regions.due(peer, vm);
        let start = Start {
            vm,
            image: Path::new("/images/node"),
            accelerator,
            regions: &due,
            bell: null.as_fd(),
            card: card.then_some((null.as_fd(), peer)),
            outside: file.net.as_ref().map(|net| (net.address, &net.forwards[..])),
            epoch_ns: 17,
            seed: 4,
            ticks: Some(Ticks { now: 7, per_second: 8 }),
        };
        let (arguments, descriptors) = arguments(&start);
        let words: Vec<_> = arguments.iter().map(|word| word.to_str().unwrap()).collect();
        (words.join(" "), descriptors.len())
    }

    #[test]
    fn a_node_has_its_devices_and_no_others() {
        let (list, descriptors) = list("node-a0", Accelerator::Tcg);
        // Bell, control, pool, and a pair with each of the launcher and five VMs.
        assert_eq!(descriptors, 9);
        assert_eq!(list.matches("ivshmem-plain,").count(), 8);
        assert!(list.contains("ivshmem-doorbell,chardev=bell,vectors=1,multifunction=on,addr=1.1"));
        assert!(list.contains("ivshmem-plain,memdev=control,multifunction=on,addr=1.0"));
        assert!(list.contains("ivshmem-plain,memdev=pool,multifunction=on,addr=1.3"));
        assert!(list.contains("memdev=pair0,multifunction=on,addr=2.0"));
        assert!(!list.contains("memdev=pair1,"), "a VM has no pair with itself: {list}");
        assert!(!list.contains("addr=1.2"), "a node has no utility's region: {list}");
        assert_eq!(list.matches("readonly=on").count(), 1);
        assert!(list.ends_with(
            "-kernel /images/node -append vm=node-a0 epoch=17 seed=4 tsc_hz=8 ticks=7 image=node"
        ));
        assert!(list.contains("-m 33M "));
    }

    #[test]
    fn an_activity_of_a_utility_has_its_tables() {
        let (list, _) = list("tasks-b0", Accelerator::Kvm);
        assert!(list.contains("ivshmem-plain,memdev=utility,multifunction=on,addr=1.2"));
        assert!(list.contains("-accel kvm "));
    }

    #[test]
    fn a_vm_has_a_card_only_if_it_is_given_one() {
        let (list, descriptors) = list_with("node-a0", Accelerator::Tcg, true, "");
        assert_eq!(descriptors, 10);
        assert!(list.contains("-netdev dgram,id=ethernet,local.type=fd,local.str="), "{list}");
        assert!(list.contains("mac=02:43:79:00:00:01,multifunction=on,addr=1.4"), "{list}");
        assert!(!list_with("node-a0", Accelerator::Tcg, false, "").0.contains("virtio-net"));
    }

    #[test]
    fn a_way_out_is_a_card_of_its_own_and_ports_of_the_host() {
        let net = "[vm.net]\nforward = [\"8080:80\"]";
        let (list, descriptors) = list_with("node-a0", Accelerator::Tcg, false, net);
        assert_eq!(descriptors, 9);
        assert!(
            list.contains(
                "-netdev user,id=outside,net=10.0.2.0/24,host=10.0.2.2,dns=10.0.2.3,dhcpstart=10.0.2.15,\
                 ipv6-net=fec0::/64,ipv6-host=fec0::2,ipv6-dns=fec0::3,hostfwd=tcp:127.0.0.1:8080-10.0.2.15:80 "
            ),
            "{list}"
        );
        assert!(list.contains("mac=52:54:00:43:79:01,multifunction=on,addr=1.5"), "{list}");
    }

    #[test]
    fn tcg_is_told_that_there_may_be_more_processors() {
        let (list, _) = list("node-b0", Accelerator::Tcg);
        assert!(list.contains("-accel tcg,thread=multi") && list.contains("-smp 1,maxcpus=2"));
    }

    #[test]
    fn a_vm_has_the_cores_that_it_is_to_have() {
        assert!(list("files-a0", Accelerator::Kvm).0.contains("-smp 4,maxcpus=4"));
    }
}
