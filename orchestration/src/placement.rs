//! Which core of which VM runs on which processor, so that distance means something.
//!
//! Clusters get their own NUMA nodes where the host has several, else
//! contiguous cores; within its cores a cluster's VMs go round robin. A VM that has
//! more cores than its cluster's share takes its NUMA node's: cores of one VM wait for
//! one another, and must not share a processor. A second hardware thread of a core is used
//! only after all cores have a VM.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// One processor of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Processor {
    /// Which of its core's hardware threads it is, counted from 0.
    thread: usize,
    package: usize,
    core: usize,
    number: usize,
}

/// A VM to be placed: its cluster, and how many cores it has.
pub type Wanted = (u16, usize);

/// The processors that this process may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// By NUMA node; within it first threads of cores first, then by core.
    nodes: Vec<Vec<usize>>,
}

impl Topology {
    /// This host's.
    pub fn of_host() -> Self {
        let allowed = rustix::thread::sched_getaffinity(None).ok();
        let may_use = |cpu: usize| {
            allowed.as_ref().is_none_or(|set| cpu < rustix::thread::CpuSet::MAX_CPU && set.is_set(cpu))
        };
        Self::read(Path::new("/sys/devices/system"), may_use)
    }

    /// Reads what Linux says below `root` of those processors that may be used.
    pub fn read(root: &Path, may_use: impl Fn(usize) -> bool) -> Self {
        let online = list(&root.join("cpu/online")).unwrap_or_else(|| vec![0]);
        let mut usable: Vec<usize> = online.iter().copied().filter(|&cpu| may_use(cpu)).collect();
        if usable.is_empty() {
            usable = online;
        }
        let mut threads: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        let mut processors = Vec::new();
        for number in usable {
            let of = |what: &str| number_in(&root.join(format!("cpu/cpu{number}/topology/{what}")));
            let (package, core) = (of("physical_package_id").unwrap_or(0), of("core_id").unwrap_or(number));
            let thread = threads.entry((package, core)).or_default();
            processors.push(Processor { thread: *thread, package, core, number });
            *thread += 1;
        }
        processors.sort_unstable();
        Self { nodes: by_numa_node(root, &processors) }
    }

    /// How many processors there are.
    pub fn processors(&self) -> usize {
        self.nodes.iter().map(Vec::len).sum()
    }

    /// How many NUMA nodes there are.
    pub fn numa_nodes(&self) -> usize {
        self.nodes.len()
    }

    /// The processors of each VM's cores.
    pub fn place(&self, vms: &[Wanted]) -> Vec<Vec<usize>> {
        let count = vms.iter().map(|&(cluster, _)| usize::from(cluster) + 1).max().unwrap_or(0);
        let cores = |of: usize| vms.iter().filter(move |vm| usize::from(vm.0) == of).map(|vm| vm.1).sum();
        let sizes: Vec<usize> = (0..count).map(cores).collect();
        let shares: Vec<Vec<usize>> = (0..count).map(|cluster| self.share(cluster, &sizes)).collect();
        let mut turns = vec![0; count];
        let mut place = |&(cluster, cores): &Wanted| {
            let cluster = usize::from(cluster);
            let (share, first) = (&shares[cluster], turns[cluster]);
            turns[cluster] += cores;
            let own = (0..cores.min(share.len())).map(|core| share[(first + core) % share.len()]);
            let mut all: Vec<usize> = own.collect();
            let others = self.nodes[cluster % self.nodes.len()].iter().filter(|cpu| !share.contains(cpu));
            all.extend(others.take(cores - all.len()));
            let there = all.len();
            (there..cores).for_each(|core| all.push(all[core % there]));
            all
        };
        vms.iter().map(&mut place).collect()
    }

    /// The processors of one cluster; never empty.
    fn share(&self, cluster: usize, sizes: &[usize]) -> Vec<usize> {
        let nodes = self.nodes.len();
        // The clusters that live on the same NUMA node as this one share it.
        let neighbours: Vec<usize> = (cluster % nodes..sizes.len()).step_by(nodes).collect();
        let cores = &self.nodes[cluster % nodes];
        let rank = cluster / nodes;
        if neighbours.len() > cores.len() {
            return vec![cores[rank % cores.len()]];
        }
        let total: usize = neighbours.iter().map(|&of| sizes[of].max(1)).sum();
        let before: usize = neighbours[..rank].iter().map(|&of| sizes[of].max(1)).sum();
        if total <= cores.len() {
            return cores[before..before + sizes[cluster].max(1)].to_vec();
        }
        // In proportion to the clusters' sizes, and at least one each.
        let spare = cores.len() - neighbours.len();
        let cut = |vms: usize, clusters: usize| clusters + vms * spare / total;
        let (start, end) = (cut(before, rank), cut(before + sizes[cluster].max(1), rank + 1));
        cores[start..end].to_vec()
    }
}

/// The processors of each NUMA node that has any.
fn by_numa_node(root: &Path, processors: &[Processor]) -> Vec<Vec<usize>> {
    let nodes = list(&root.join("node/online")).unwrap_or_default();
    let mut found: Vec<Vec<usize>> = Vec::new();
    let mut placed = BTreeSet::new();
    for node in nodes {
        let here: BTreeSet<usize> =
            list(&root.join(format!("node/node{node}/cpulist"))).unwrap_or_default().into_iter().collect();
        let own: Vec<usize> =
            processors.iter().map(|p| p.number).filter(|n| here.contains(n) && placed.insert(*n)).collect();
        if !own.is_empty() {
            found.push(own);
        }
    }
    let rest: Vec<usize> = processors.iter().map(|p| p.number).filter(|n| !placed.contains(n)).collect();
    if !rest.is_empty() {
        found.push(rest);
    }
    found
}

/// A file that holds one number.
fn number_in(path: &Path) -> Option<usize> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// A file that holds a list of numbers as Linux writes them: `0-3,8`.
fn list(path: &Path) -> Option<Vec<usize>> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut found = Vec::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        found.extend(first.parse::<usize>().ok()?..=last.parse().ok()?);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A host with so many NUMA nodes, cores per node and threads per core,
    /// numbered as usual: first threads of all cores, then second ones.
    fn host(nodes: usize, cores: usize, threads: usize) -> Topology {
        let root = tempfile::tempdir().unwrap();
        let write = |path: String, text: String| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text + "\n").unwrap();
        };
        let all = nodes * cores * threads;
        write("cpu/online".into(), format!("0-{}", all - 1));
        write("node/online".into(), format!("0-{}", nodes - 1));
        let mut lists = vec![Vec::new(); nodes];
        for cpu in 0..all {
            let core = cpu % (nodes * cores);
            write(format!("cpu/cpu{cpu}/topology/physical_package_id"), (core / cores).to_string());
            write(format!("cpu/cpu{cpu}/topology/core_id"), (core % cores).to_string());
            lists[core / cores].push(cpu.to_string());
        }
        for (node, list) in lists.iter().enumerate() {
            write(format!("node/node{node}/cpulist"), list.join(","));
        }
        Topology::read(root.path(), |_| true)
    }

    /// The processors of VMs that have one core each, given their clusters.
    fn place(host: &Topology, clusters: &[u16]) -> Vec<usize> {
        host.place(&clusters.iter().map(|&cluster| (cluster, 1)).collect::<Vec<_>>()).concat()
    }

    #[test]
    fn cores_of_a_vm_are_on_different_processors() {
        assert_eq!(host(1, 8, 1).place(&[(0, 2), (0, 1), (1, 3)]), [vec![0, 1], vec![2], vec![3, 4, 5]]);
        // The cluster's share is one processor: the VM takes the other one too.
        assert_eq!(host(1, 2, 1).place(&[(0, 2), (0, 1), (1, 2)]), [vec![0, 1], vec![0], vec![1, 0]]);
        assert_eq!(host(1, 2, 1).place(&[(0, 4)]), [[0, 1, 0, 1]]);
        assert_eq!(host(2, 2, 1).place(&[(0, 2), (1, 2)]), [[0, 1], [2, 3]]);
    }

    #[test]
    fn clusters_get_contiguous_cores() {
        assert_eq!(place(&host(1, 8, 1), &[0, 0, 0, 1, 1]), [0, 1, 2, 3, 4]);
        assert_eq!(place(&host(1, 2, 1), &[0, 0, 0, 0, 1, 1, 1, 1]), [0, 0, 0, 0, 1, 1, 1, 1]);
        assert_eq!(place(&host(1, 2, 1), &[0, 0, 0, 0]), [0, 1, 0, 1]);
        assert_eq!(place(&host(1, 4, 1), &[0, 0, 0, 0, 0, 0, 1, 1]), [0, 1, 0, 1, 0, 1, 2, 3]);
    }

    #[test]
    fn clusters_get_their_own_numa_nodes() {
        assert_eq!(place(&host(2, 2, 1), &[0, 0, 1, 1]), [0, 1, 2, 3]);
        assert_eq!(place(&host(2, 2, 1), &[0, 1, 2]), [0, 2, 1]);
    }

    #[test]
    fn second_threads_come_last() {
        assert_eq!(place(&host(1, 2, 2), &[0, 0, 0]), [0, 1, 2]);
        assert_eq!(place(&host(1, 2, 2), &[0, 1]), [0, 1]);
    }

    #[test]
    fn every_machine_fits_every_host() {
        for (nodes, cores) in [(1, 1), (1, 3), (2, 1), (2, 5)] {
            let host = host(nodes, cores, 1);
            for clusters in 1..9_u16 {
                let vms: Vec<u16> = (0..clusters).flat_map(|c| vec![c; usize::from(c) % 4]).collect();
                let placed = place(&host, &vms);
                assert_eq!(placed.len(), vms.len());
                assert!(placed.iter().all(|&cpu| cpu < nodes * cores));
            }
        }
    }

    #[test]
    fn processors_that_may_not_be_used_are_left_alone() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("cpu")).unwrap();
        fs::write(root.path().join("cpu/online"), "0-3,6\n").unwrap();
        let topology = Topology::read(root.path(), |cpu| cpu >= 3);
        assert_eq!(place(&topology, &[0, 0, 0]), [3, 6, 3]);
        assert_eq!(place(&Topology::of_host(), &[0]).len(), 1);
    }
}
