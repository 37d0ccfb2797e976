//! From a machine file as written to a machine that can be: every rule that
//! the shape of the TOML alone does not hold.

use super::raw::{Raw, VmOverride, span, value_or};
use super::{LEAST_MEMORY, MOST_MEMORY, MachineFile, Problem, RestartPolicy, Size, VmPlan};
use super::{links, locality, net};
use ivshmem::layout::{MAX_CORES, MAX_PEERS};
use kernel::membership::{Role, Utility};
use kernel::protocol::files::least_region;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// Most bytes of a machine's or cluster's name.
const MAX_NAME: usize = 48;
/// Memory of a VM of which the file says nothing.
const DEFAULT_MEMORY: Size = Size::mebibytes(64);
/// Data that `files` holds if the file does not say.
const DEFAULT_CAPACITY: Size = Size::mebibytes(256);
/// A cluster's pool if the file does not say.
const DEFAULT_POOL: Size = Size::mebibytes(16);
/// Least bytes of a pool.
const LEAST_POOL: Size = Size(1 << 16);
/// Most bytes of the region of `files` and of a pool: the guest's PCI crate
/// misreads the size of a device memory of 2 GiB and more.
const MOST_REGION: Size = Size::mebibytes(1 << 10);
/// Memory of a VM's QEMU beyond the VM's own.
const QEMU_MEMORY: Size = Size::mebibytes(20);

/// Checks everything and lays out the VMs.
pub fn check(path: &Path, raw: &Raw, free: Option<Size>) -> Result<MachineFile, Problem> {
    let name = machine_name(path, raw)?;
    let clusters = clusters(raw)?;
    let vms = plan(raw, &clusters)?;
    let files_capacity = files_capacity(raw, vms.len())?;
    let pool = region(&raw.pool.size, DEFAULT_POOL, LEAST_POOL)?;
    let names: Vec<String> = clusters.iter().map(|(name, _)| name.get_ref().clone()).collect();
    let links = links::check(raw, &names)?;
    let net = net::check(raw, &vms)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let file = MachineFile {
        path: path.to_owned(),
        name,
        clusters: names,
        vms,
        files_capacity,
        pool,
        node_image: image(&raw.images.node, folder)?,
        utility_image: image(&raw.images.utility, folder)?,
        locality: locality::check(raw)?,
        links,
        net,
    };
    check_cores(raw)?;
    check_memory(raw, &file, free)?;
    Ok(file)
}

fn problem(span: Option<Range<usize>>, message: impl Into<String>) -> Problem {
    Problem { span, message: message.into() }
}

/// The name written, or the file's own.
fn machine_name(path: &Path, raw: &Raw) -> Result<String, Problem> {
    let Some(written) = &raw.name else {
        let own = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mend = |message| problem(None, format!("{message}, in this file as name = \"...\""));
        return check_name("the machine", &own).map_err(mend).map(|()| own);
    };
    let name = written.get_ref();
    check_name("the machine", name).map_err(|message| problem(Some(written.span()), message))?;
    Ok(name.clone())
}

/// Whether `what` can have this name: names become names of folders and files,
/// and parts of QEMU's options.
///
/// # Errors
/// One sentence, if it cannot.
pub fn check_name(what: &str, name: &str) -> Result<(), String> {
    let usable = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if starts_well && name.len() <= MAX_NAME && name.chars().all(usable) {
        return Ok(());
    }
    Err(format!(
        "{what} cannot be called {name:?}; write at most {MAX_NAME} letters, digits, \"-\" and \"_\", \
         a letter or digit first"
    ))
}

/// The clusters in the file's order, each with its number of nodes.
fn clusters(raw: &Raw) -> Result<Vec<(&Spanned<String>, u16)>, Problem> {
    let mut found: Vec<_> =
        raw.clusters.iter().map(|(name, cluster)| (name, value_or(&cluster.nodes, 1))).collect();
    found.sort_by_key(|(name, _)| name.span().start);
    for (name, _) in &found {
        check_name("a cluster", name.get_ref()).map_err(|message| problem(Some(name.span()), message))?;
    }
    let Some((first, _)) = found.first() else {
        return Err(problem(None, "this machine has no cluster; write [clusters.a] and nodes = 2 below it"));
    };
    if found.len() >= MAX_PEERS {
        let most = MAX_PEERS - 1;
        let message = format!("this machine has {} clusters, {most} is the most; write fewer", found.len());
        return Err(problem(found.get(most).map(|(name, _)| name.span()), message));
    }
    if found.iter().all(|&(_, nodes)| nodes == 0) {
        let place = raw.clusters.values().find_map(|cluster| span(&cluster.nodes)).unwrap_or(first.span());
        return Err(problem(
            Some(place),
            "no cluster has a node, so nothing could run; write nodes = 1 or more",
        ));
    }
    Ok(found)
}

/// All VMs, those of one cluster together: nodes, then `files`, then `tasks`.
fn plan(raw: &Raw, clusters: &[(&Spanned<String>, u16)]) -> Result<Vec<VmPlan>, Problem> {
    let utilities = [
        (Utility::Files, &raw.utilities.files, &raw.vm.files),
        (Utility::Tasks, &raw.utilities.tasks, &raw.vm.tasks),
    ];
    let mut wanted: usize = 1 + clusters.iter().map(|&(_, nodes)| usize::from(nodes)).sum::<usize>();
    for (utility, count, _) in utilities {
        check_activities(utility, count)?;
        wanted += usize::from(value_or(count, 2));
    }
    if wanted > MAX_PEERS {
        let most = MAX_PEERS - 1;
        let place = clusters.first().map(|(name, _)| name.span());
        let message = format!("this machine has {} VMs, {most} is the most; ask for fewer", wanted - 1);
        return Err(problem(place, message));
    }
    // Round robin over the clusters, one utility going on where the last one ended.
    let mut turn = 0;
    let mut shares = Vec::new();
    for (utility, count, over) in utilities {
        let mut share = vec![0; clusters.len()];
        for _ in 0..value_or(count, 2) {
            share[turn % clusters.len()] += 1;
            turn += 1;
        }
        shares.push((Role::Utility(utility), share, over));
    }
    let mut vms = Vec::new();
    for (cluster, (name, nodes)) in clusters.iter().enumerate() {
        let mut add = |role, count, over: &VmOverride| {
            vms.extend((0..count).map(|index| vm(raw, role, (cluster, name.get_ref()), index, over)));
        };
        add(Role::Node, *nodes, &raw.vm.node);
        for (role, share, over) in &shares {
            add(*role, share[cluster], over);
        }
    }
    check_vm_names(&vms, clusters)?;
    Ok(vms)
}

/// One VM.
fn vm(raw: &Raw, role: Role, (cluster, name): (usize, &str), index: u16, over: &VmOverride) -> VmPlan {
    let kind = match role {
        Role::Utility(utility) => utility.to_string(),
        _ => "node".into(),
    };
    VmPlan {
        name: format!("{kind}-{name}{index}"),
        role,
        cluster: cluster as u16,
        memory: value_or(&over.memory, value_or(&raw.vm.memory, DEFAULT_MEMORY)),
        cores: value_or(&over.cores, value_or(&raw.vm.cores, 1)),
        restart: over.restart.or(raw.vm.restart).unwrap_or(RestartPolicy::Never),
    }
}

/// A utility is a task force of at least two activities, so that one can die.
fn check_activities(utility: Utility, count: &Option<Spanned<u16>>) -> Result<(), Problem> {
    match value_or(count, 2) {
        0 | 1 => Err(problem(
            span(count),
            format!(
                "{utility} needs at least two activities, so that one may die; write {utility} = 2 or more"
            ),
        )),
        _ => Ok(()),
    }
}

/// Cluster `a` with its node 10 and cluster `a1` with its node 0 would collide.
fn check_vm_names(vms: &[VmPlan], clusters: &[(&Spanned<String>, u16)]) -> Result<(), Problem> {
    let mut seen = std::collections::HashSet::new();
    match vms.iter().find(|vm| !seen.insert(&vm.name)) {
        None => Ok(()),
        Some(vm) => {
            let cluster = clusters[usize::from(vm.cluster)].0;
            let message =
                format!("two VMs would be called {}; rename cluster {}", vm.name, cluster.get_ref());
            Err(problem(Some(cluster.span()), message))
        }
    }
}

/// Where an image is, seen from the file's folder.
fn image(written: &Option<Spanned<PathBuf>>, folder: &Path) -> Result<Option<PathBuf>, Problem> {
    match written {
        Some(image) if image.get_ref().as_os_str().is_empty() => {
            Err(problem(Some(image.span()), "this names no image; write the path of one, or remove it"))
        }
        _ => Ok(written.as_ref().map(|image| folder.join(image.get_ref()))),
    }
}

/// The region of `files`: it has to serve everybody in the machine.
fn files_capacity(raw: &Raw, vms: usize) -> Result<Size, Problem> {
    let (capacity, least) = (&raw.files.capacity, |peers| Size(least_region(peers) as u64));
    let size = region(capacity, DEFAULT_CAPACITY, least(1))?;
    if size < least(vms + 1) {
        let message = format!(
            "{} is too little for the file system of {vms} VMs; write {} or more",
            value_or(capacity, size),
            least(vms + 1)
        );
        return Err(problem(span(capacity), message));
    }
    Ok(size)
}

/// The size of a region: rounded up to a power of two, as PCI wants it.
fn region(size: &Option<Spanned<Size>>, default: Size, least: Size) -> Result<Size, Problem> {
    let wanted = value_or(size, default);
    if wanted < least || wanted > MOST_REGION {
        let message = format!("{wanted} is no size for this region; write one from {least} to {MOST_REGION}");
        return Err(problem(span(size), message));
    }
    Ok(Size(wanted.0.next_power_of_two()))
}

/// A VM has a core, and no more of them than its scheduler is made for.
fn check_cores(raw: &Raw) -> Result<(), Problem> {
    let written = [&raw.vm.node.cores, &raw.vm.files.cores, &raw.vm.tasks.cores, &raw.vm.cores];
    let wrong = |cores: &&Spanned<u16>| !(1..=MAX_CORES).contains(&usize::from(*cores.get_ref()));
    match written.into_iter().flatten().find(wrong) {
        Some(cores) => {
            let message =
                format!("a VM cannot have {} cores; write a number from 1 to {MAX_CORES}", cores.get_ref());
            Err(problem(Some(cores.span()), message))
        }
        None => Ok(()),
    }
}

/// Every VM has room for its image, and the host has room for all VMs.
fn check_memory(raw: &Raw, file: &MachineFile, free: Option<Size>) -> Result<(), Problem> {
    let written = [&raw.vm.node.memory, &raw.vm.files.memory, &raw.vm.tasks.memory, &raw.vm.memory];
    for size in written.into_iter().flatten() {
        if *size.get_ref() < LEAST_MEMORY {
            let message =
                format!("{} is too little for an image; write {LEAST_MEMORY} or more", size.get_ref());
            return Err(problem(Some(size.span()), message));
        }
        if *size.get_ref() > MOST_MEMORY {
            let message =
                format!("{} is more than a VM can address; write {MOST_MEMORY} or less", size.get_ref());
            return Err(problem(Some(size.span()), message));
        }
    }
    let vms = file.vms.iter().map(|vm| vm.memory.0 + QEMU_MEMORY.0);
    let pools = file.clusters.iter().map(|_| file.pool.0);
    let sum = vms.chain(pools).chain([file.files_capacity.0]).fold(0, u64::saturating_add);
    match free {
        Some(free) if sum > free.0 => {
            let place = written.into_iter().find_map(span).or(span(&raw.files.capacity));
            let count = file.vms.len();
            let message = format!(
                "the {count} VMs and their regions need {}, this host has {free} free; ask for less memory or fewer VMs",
                Size(sum)
            );
            Err(problem(place, message))
        }
        _ => Ok(()),
    }
}
