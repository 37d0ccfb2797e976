//! What machine files say, and every way in which they are refused.

use super::*;

fn parse(text: &str) -> Result<MachineFile, MachineFileError> {
    MachineFile::parse_for("m.toml".as_ref(), text, Some(Size::mebibytes(4096)))
}

fn names(text: &str) -> Vec<String> {
    parse(text).unwrap().vms.into_iter().map(|vm| vm.name).collect()
}

#[test]
fn the_example_machines_are_as_their_files_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../machines");
    let two = MachineFile::load(&folder.join("two-clusters.toml")).unwrap();
    assert_eq!(two.name, "two-clusters");
    assert_eq!(two.clusters, ["a", "b"]);
    let names: Vec<_> = two.vms.iter().map(|vm| vm.name.as_str()).collect();
    let expected =
        ["node-a0", "node-a1", "files-a0", "tasks-a0", "node-b0", "node-b1", "files-b0", "tasks-b0"];
    assert_eq!(names, expected);
    assert_eq!(two.locality, None);
    let star = MachineFile::load(&folder.join("cm-star.toml")).unwrap();
    assert_eq!((star.vms.len(), star.locality), (8, Some(Locality::default())));
    let one = MachineFile::load(&folder.join("one-cluster.toml")).unwrap();
    assert_eq!(one.vms.len(), 8);
    let hosts = MachineFile::load(&folder.join("two-hosts.toml")).unwrap();
    assert_eq!((hosts.name.as_str(), hosts.vms.len(), hosts.links.len()), ("two-hosts", 8, 1));
    let web = MachineFile::load(&folder.join("web.toml")).unwrap();
    assert_eq!(web.net.unwrap().forwards, [Forward { host_port: 8080, node: Peer(1), port: 80 }]);
}

#[test]
fn the_launcher_is_peer_0_and_vms_follow() {
    let file = parse("[clusters.x]").unwrap();
    let description = file.description();
    assert_eq!(description.peers[0].role, Role::Launcher);
    assert_eq!(description.peers[0].cluster, None);
    for (peer, vm) in file.peers() {
        assert_eq!(description.peers[usize::from(peer.0)].name, vm.name);
    }
}

#[test]
fn clusters_keep_the_order_of_the_file_and_utilities_go_round() {
    let text = "[clusters.z]\nnodes = 1\n[clusters.a]\nnodes = 0\n[clusters.m]\n[utilities]\nfiles = 4";
    let expected =
        ["node-z0", "files-z0", "files-z1", "files-a0", "tasks-a0", "node-m0", "files-m0", "tasks-m0"];
    assert_eq!(names(text), expected);
}

#[test]
fn what_a_role_says_goes_before_what_all_vms_say() {
    let text = "[clusters.a]\n[vm]\nmemory = \"32 MiB\"\nrestart = \"always\"\ncores = 3\n\
                [vm.files]\nmemory = \"48 MiB\"\nrestart = \"never\"\n[vm.tasks]\ncores = 2";
    let file = parse(text).unwrap();
    assert_eq!((file.vms[0].memory, file.vms[0].restart), (Size::mebibytes(32), RestartPolicy::Always));
    assert_eq!((file.vms[1].memory, file.vms[1].restart), (Size::mebibytes(48), RestartPolicy::Never));
    let cores = |name: &str| file.vms.iter().find(|vm| vm.name == name).map(|vm| vm.cores);
    assert_eq!((cores("files-a0"), cores("tasks-a0")), (Some(3), Some(2)));
}

#[test]
fn sizes_of_regions_are_rounded_up_and_images_start_from_the_file() {
    let text = "[clusters.a]\n[files]\ncapacity = \"100 MiB\"\n[images]\nnode = \"own/node\"";
    let file = MachineFile::parse("dir/m.toml".as_ref(), text).unwrap();
    assert_eq!(file.files_capacity, Size::mebibytes(128));
    assert_eq!(file.node_image.unwrap(), Path::new("dir/own/node"));
}

#[test]
fn a_table_of_localities_asks_for_distance_and_what_it_does_not_say_is_as_usual() {
    let locality = |text: &str| parse(&format!("[clusters.a]\n{text}")).unwrap().locality;
    assert_eq!(locality(""), None);
    assert_eq!(locality("[locality]"), Some(Locality { within: 3, between: 9 }));
    assert_eq!(locality("[locality]\nbetween = 5"), Some(Locality { within: 3, between: 5 }));
    assert_eq!(locality("[locality]\nwithin = 20"), Some(Locality { within: 20, between: 20 }));
    let described = |text: &str| parse(&format!("[clusters.a]\n{text}")).unwrap().description();
    assert!(!described("").adds_distance && described("[locality]").adds_distance);
}

/// Files and the errors that they are refused with.
const REFUSED: &[(&str, &str)] = &[
    ("", "m.toml:1:1: this machine has no cluster; write [clusters.a] and nodes = 2 below it"),
    (
        "[clusters.a]\nnodes = 0",
        "m.toml:2:9: no cluster has a node, so nothing could run; write nodes = 1 or more",
    ),
    ("[clusters.a]\nnode = 3", "m.toml:2:1: there is no key `node` here; write one of `nodes`, or remove it"),
    (
        "nam = \"x\"",
        "m.toml:1:1: there is no key `nam` here; write one of `name`, `clusters`, `utilities`, `vm`, `files`, \
         `pool`, `images`, `locality`, `links`, or remove it",
    ),
    (
        "[clusters.a]\nnodes = \"two\"",
        "m.toml:2:9: string \"two\" is of the wrong type; write a whole number, 0 or more",
    ),
    ("[clusters.a]\nnodes = -1", "m.toml:2:9: integer -1 cannot be used; write a whole number, 0 or more"),
    (
        "[clusters.a]\n[vm]\nmemory = 64",
        "m.toml:3:10: integer 64 is of the wrong type; write a size in quotes such as \"64 MiB\"",
    ),
    (
        "[clusters.a]\n[vm]\nmemory = \"64 MB\"",
        "m.toml:3:10: string \"64 MB\" cannot be used; write a size in quotes such as \"64 MiB\"",
    ),
    (
        "[clusters.a]\n[vm]\nrestart = \"sometimes\"",
        "m.toml:3:11: `sometimes` is no choice here; write one of `never` or `always`",
    ),
    (
        "[clusters.a]\nnodes = 1\n[clusters.a]\nnodes = 2",
        "m.toml:3:11: the name `a` is given twice; rename or remove one of them",
    ),
    (
        "[clusters.a]\nnodes = 1\nnodes = 2",
        "m.toml:3:1: the name `nodes` is given twice; rename or remove one of them",
    ),
    (
        "[clusters.a]\nnodes = 11\n[clusters.a1]\nnodes = 1",
        "m.toml:3:11: two VMs would be called node-a10; rename cluster a1",
    ),
    ("[clusters.a]\nnodes = 300", "m.toml:1:11: this machine has 304 VMs, 239 is the most; ask for fewer"),
    (
        "[clusters.a]\n[utilities]\ntasks = 1",
        "m.toml:3:9: tasks needs at least two activities, so that one may die; write tasks = 2 or more",
    ),
    ("[clusters.a]\n[vm]\ncores = 0", "m.toml:3:9: a VM cannot have 0 cores; write a number from 1 to 8"),
    (
        "[clusters.a]\n[vm.node]\ncores = 9",
        "m.toml:3:9: a VM cannot have 9 cores; write a number from 1 to 8",
    ),
    (
        "[clusters.a]\n[vm]\nmemory = \"8 MiB\"",
        "m.toml:3:10: 8 MiB is too little for an image; write 16 MiB or more",
    ),
    (
        "[clusters.a]\n[vm]\nmemory = \"1 GiB\"",
        "m.toml:3:10: the 5 VMs and their regions need 5492 MiB, this host has 4 GiB free; \
         ask for less memory or fewer VMs",
    ),
    (
        "[clusters.a]\n[files]\ncapacity = \"2 GiB\"",
        "m.toml:3:12: 2 GiB is no size for this region; write one from 1 MiB to 1 GiB",
    ),
    (
        "[clusters.a]\n[files]\ncapacity = \"512 KiB\"",
        "m.toml:3:12: 512 KiB is no size for this region; write one from 1 MiB to 1 GiB",
    ),
    (
        "[clusters.a]\nnodes = 12\n[vm]\nmemory = \"16 MiB\"\n[files]\ncapacity = \"8 MiB\"",
        "m.toml:6:12: 8 MiB is too little for the file system of 16 VMs; write 16 MiB or more",
    ),
    (
        "[clusters.a]\n[pool]\nsize = \"63 KiB\"",
        "m.toml:3:8: 63 KiB is no size for this region; write one from 64 KiB to 1 GiB",
    ),
    (
        "[clusters.a]\n[images]\nutility = \"\"",
        "m.toml:3:11: this names no image; write the path of one, or remove it",
    ),
    (
        "[clusters.a]\n[vm.files]\nmemory = \"257 GiB\"",
        "m.toml:3:10: 257 GiB is more than a VM can address; write 256 GiB or less",
    ),
    (
        "name = \"../x\"\n[clusters.a]",
        "m.toml:1:8: the machine cannot be called \"../x\"; write at most 48 letters, digits, \"-\" and \"_\", \
         a letter or digit first",
    ),
    (
        "[clusters.\"a,b\"]",
        "m.toml:1:11: a cluster cannot be called \"a,b\"; write at most 48 letters, digits, \"-\" and \"_\", \
         a letter or digit first",
    ),
    (
        "[clusters.a]\n[locality]\nwithin = 3\nbetween = 2",
        "m.toml:4:11: another cluster cannot be nearer than the VM's own; write between = 3 or more, or a smaller within",
    ),
    (
        "[clusters.a]\n[locality]\nwithin = 0",
        "m.toml:3:10: 0 times a local message is no distance; write 1 to 100",
    ),
    (
        "[clusters.a]\n[locality]\nbetween = 1000",
        "m.toml:3:11: 1000 times a local message is no distance; write 1 to 100",
    ),
    (
        "[clusters.a]\n[locality]\nwithin = -3",
        "m.toml:3:10: integer -3 cannot be used; write a whole number, 0 or more",
    ),
    (
        "[clusters.a]\n[locality]\nlocal = 2",
        "m.toml:3:1: there is no key `local` here; write one of `within` or `between`, or remove it",
    ),
    (
        "[clusters.a]\n[clusters.b]\n[[links]]\nbetween = [\"a\", \"c\"]\nkind = \"virtio-net\"",
        "m.toml:4:17: there is no cluster \"c\"; write one of a, b",
    ),
    (
        "[clusters.a]\n[[links]]\nbetween = [\"a\", \"a\"]\nkind = \"virtio-net\"",
        "m.toml:3:17: VMs of one cluster share memory; write another cluster than a",
    ),
    (
        "[clusters.a]\n[[links]]\nbetween = [\"a\"]\nkind = \"virtio-net\"",
        "m.toml:3:11: a link is between two clusters; write two names",
    ),
    (
        "[clusters.a]\n[clusters.b]\n[[links]]\nbetween = [\"a\", \"b\"]\nkind = \"virtio-net\"\n\
         [[links]]\nbetween = [\"b\", \"a\"]\nkind = \"virtio-net\"",
        "m.toml:7:11: there are two links between a and b; remove one of them",
    ),
    (
        "[clusters.a]\n[clusters.b]\n[[links]]\nbetween = [\"a\", \"b\"]\nkind = \"ethernet\"",
        "m.toml:5:8: `ethernet` is no choice here; write one of `virtio-net`",
    ),
    (
        "[clusters.a]\n[clusters.b]\n[[links]]\nbetween = [\"a\", \"b\"]",
        "m.toml:3:1: the key `kind` is missing here; write it",
    ),
    (
        "[clusters.a]\n[clusters.b]\n[[links]]\nbetween = [\"a\", \"b\"]\nkind = \"virtio-net\"\nloss = 1.5",
        "m.toml:6:8: 1.5 is no share of frames; write a number from 0 to 0.9",
    ),
    (
        "[clusters.a]\n[clusters.b]\n[[links]]\nbetween = [\"a\", \"b\"]\nkind = \"virtio-net\"\nreorder = nan",
        "m.toml:6:11: NaN is no share of frames; write a number from 0 to 0.9",
    ),
    (
        "[clusters.a]\n[clusters.b]\n[[links]]\nbetween = [\"a\", \"b\"]\nkind = \"virtio-net\"\ndelay = \"1 h\"",
        "m.toml:6:9: string \"1 h\" cannot be used; write a time in quotes such as \"1 ms\"",
    ),
    (
        "[clusters.a]\n[clusters.b]\n[[links]]\nbetween = [\"a\", \"b\"]\nkind = \"virtio-net\"\ndelay = \"11 s\"",
        "m.toml:6:9: no link is so slow; write 10 s or less",
    ),
    (
        "[clusters.a]\n[vm.net]\nforward = [\"8080\"]",
        "m.toml:3:12: \"8080\" forwards no port; write \"8080:80\" (the host's port, the first node's), or \
         \"8080:node-b0:80\"",
    ),
    (
        "[clusters.a]\n[vm.net]\nforward = [\"8080:80\", \"0:80\"]",
        "m.toml:3:23: \"0\" is no port; write a number from 1 to 65535",
    ),
    (
        "[clusters.a]\n[vm.net]\nforward = [\"8080:65536\"]",
        "m.toml:3:12: \"65536\" is no port; write a number from 1 to 65535",
    ),
    (
        "[clusters.a]\n[vm.net]\nforward = [\"8080:80\", \"8080:81\"]",
        "m.toml:3:23: port 8080 of the host leads to two places; write another one in one of them",
    ),
    (
        "[clusters.a]\n[vm.net]\nforward = [\"8080:files-a0:80\"]",
        "m.toml:3:12: there is no node \"files-a0\"; write one of node-a0",
    ),
    (
        "[clusters.a]\n[vm.net]\nforward = \"8080:80\"",
        "m.toml:3:11: string \"8080:80\" is of the wrong type; write a list",
    ),
    (
        "[clusters.a]\n[vm.net]\naddress = \"localhost\"",
        "m.toml:3:11: \"localhost\" is no IPv4 address of the host; write \"127.0.0.1\" for the host alone, \
         \"0.0.0.0\" for all who reach it",
    ),
    (
        "[clusters.a]\n[vm.net]\nforwards = []",
        "m.toml:3:1: there is no key `forwards` here; write one of `address` or `forward`, or remove it",
    ),
    ("[clusters.a", "m.toml:1:12: this is no valid TOML: unclosed table, expected `]`"),
];

#[test]
fn what_cannot_be_is_refused_with_its_place_and_how_to_mend_it() {
    for (text, expected) in REFUSED {
        let error = parse(text).expect_err(text).to_string();
        assert_eq!(&error, expected, "of {text:?}");
    }
}

#[test]
fn links_are_as_written_and_everything_but_their_ends_has_a_default() {
    let text = "[clusters.a]\n[clusters.b]\n[clusters.c]\n[[links]]\nbetween = [\"c\", \"a\"]\n\
                kind = \"virtio-net\"\n[[links]]\nbetween = [\"a\", \"b\"]\nkind = \"virtio-net\"\n\
                delay = \"2 ms\"\nloss = 0.1\nduplicate = 0.2\nreorder = 0.3\nseed = 7";
    let file = parse(text).unwrap();
    let faults = Faults { delay_ns: 2_000_000, loss: 0.1, duplicate: 0.2, reorder: 0.3, seed: 7 };
    let expected =
        [LinkPlan { clusters: [0, 2], faults: Faults::default() }, LinkPlan { clusters: [0, 1], faults }];
    assert_eq!(file.links, expected);
    let peer = |name: &str| file.peers().find(|(_, vm)| vm.name == name).unwrap().0;
    let link = |a: &str, b: &str| file.description().link(peer(a), peer(b));
    use kernel::membership::LinkKind::{Ethernet, Memory};
    assert_eq!(link("node-a0", "node-c0"), Ethernet);
    assert_eq!(link("node-b0", "files-a0"), Ethernet);
    assert_eq!(link("node-b0", "node-c0"), Memory);
    assert_eq!(file.description().link(Peer::LAUNCHER, peer("node-c0")), Memory);
}

#[test]
fn ports_of_the_host_lead_to_the_first_node_or_to_one_that_is_named() {
    let text = "[clusters.a]\nnodes = 0\n[clusters.b]\nnodes = 2\n[vm.net]\n\
                forward = [\"8080:80\", \"8081:node-b1:80\"]";
    let file = parse(text).unwrap();
    let net = file.net.clone().unwrap();
    assert_eq!(net.address, Ipv4Addr::LOCALHOST);
    let name = |peer: Peer| file.peers().find(|(other, _)| *other == peer).unwrap().1.name.clone();
    let found: Vec<_> = net.forwards.iter().map(|one| (one.host_port, name(one.node), one.port)).collect();
    assert_eq!(found, [(8080, "node-b0".to_string(), 80), (8081, "node-b1".to_string(), 80)]);
    assert_eq!(parse("[clusters.a]").unwrap().net, None);
    let alone = NetPlan { address: Ipv4Addr::UNSPECIFIED, forwards: Vec::new() };
    assert_eq!(parse("[clusters.a]\n[vm.net]\naddress = \"0.0.0.0\"").unwrap().net, Some(alone));
}

#[test]
fn there_is_an_end_to_what_is_counted() {
    let many = |count: usize, one: fn(usize) -> String| (0..count).map(one).collect::<String>();
    let clusters = many(240, |index| format!("[clusters.c{index}]\n"));
    let error = parse(&clusters).unwrap_err().to_string();
    assert_eq!(error, "m.toml:240:11: this machine has 240 clusters, 239 is the most; write fewer");
    let ports = |count| {
        format!(
            "[clusters.a]\n[vm.net]\nforward = [\n{}]",
            many(count, |i| format!("\"{}:80\",\n", 2000 + i))
        )
    };
    assert_eq!(parse(&ports(1024)).unwrap().net.unwrap().forwards.len(), 1024);
    let error = parse(&ports(1025)).unwrap_err().to_string();
    assert_eq!(
        error,
        "m.toml:1028:1: a machine forwards at most 1024 ports; remove this one and what follows"
    );
}

#[test]
fn a_file_whose_own_name_is_no_machines_needs_another() {
    let error = MachineFile::parse("my machine.toml".as_ref(), "[clusters.a]").unwrap_err().to_string();
    assert_eq!(
        error,
        "my machine.toml:1:1: the machine cannot be called \"my machine\"; write at most 48 letters, digits, \"-\" \
         and \"_\", a letter or digit first, in this file as name = \"...\""
    );
}

#[test]
fn a_file_without_an_end_is_refused() {
    let error = MachineFile::load("/dev/zero".as_ref()).unwrap_err().to_string();
    assert_eq!(error, "/dev/zero: cannot read this machine file: it has more than 1 MiB");
}

#[test]
fn columns_are_characters() {
    assert_eq!(Place::of("ä = 1\nöö x", 11), Place { line: 2, column: 3 });
}

#[test]
fn the_page_about_the_machine_file_is_right() {
    let page = include_str!("../../../docs/machine-file.md");
    let text = page.split("```toml").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let file = MachineFile::parse("m.toml".as_ref(), text).unwrap();
    let memory = |name: &str| file.vms.iter().find(|vm| vm.name == name).map(|vm| vm.memory);
    assert_eq!(memory("files-b0"), Some(Size(48 << 20)));
    assert_eq!(memory("node-b1"), Some(Size(64 << 20)));
    assert_eq!(file.vms.iter().map(|vm| vm.cores).collect::<Vec<_>>(), [2, 2, 1, 1, 2, 2, 1, 1]);
    assert_eq!(file.vms.len(), 8);
    let [first, named] = [(8080, 1, 80), (8081, 5, 80)].map(|(host_port, node, port)| Forward {
        host_port,
        node: Peer(node),
        port,
    });
    assert_eq!(file.net, Some(NetPlan { address: Ipv4Addr::LOCALHOST, forwards: vec![first, named] }));
    assert_eq!(file.locality, Some(Locality::default()), "the page says what is usual");
    let faults = Faults { delay_ns: 1_000_000, loss: 0.01, duplicate: 0.01, reorder: 0.05, seed: 7 };
    assert_eq!(file.links, [LinkPlan { clusters: [0, 1], faults }]);
}
