//! The file system against a model: a tree of hash maps.

use super::script::{Op, SLOTS, content, note, op, with_request};
use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};

#[derive(Clone, Debug)]
enum Content {
    File(Vec<u8>),
    Directory(BTreeMap<String, u32>),
    Link(String),
}

#[derive(Clone, Debug)]
struct Node {
    content: Content,
    parent: u32,
    named: bool,
}

/// What an answer says, without what only the implementation knows.
#[derive(Debug, PartialEq)]
enum Said {
    Done,
    Data(Vec<u8>),
    Written(u64),
    /// Kind is directory, size of a file, links.
    Status(bool, u64, u32),
    Names(Vec<String>),
}

struct Model {
    nodes: HashMap<u32, Node>,
    next: u32,
    slots: [Option<u32>; SLOTS],
    /// By node and holder: whether nobody else may have one.
    locks: HashMap<(u32, u64), bool>,
}

/// Parent, last part (`None` for the root, `.` and `..`), what is there, and whether a slash follows.
type Place = (u32, Option<String>, Option<u32>, bool);

impl Model {
    fn new() -> Self {
        let root = Node { content: Content::Directory(BTreeMap::new()), parent: 0, named: true };
        Self { nodes: HashMap::from([(0, root)]), next: 1, slots: [None; SLOTS], locks: HashMap::new() }
    }

    fn names(&self, node: u32) -> Option<&BTreeMap<String, u32>> {
        match &self.nodes[&node].content {
            Content::Directory(names) => Some(names),
            Content::File(_) | Content::Link(_) => None,
        }
    }

    fn names_mut(&mut self, node: u32) -> &mut BTreeMap<String, u32> {
        match &mut self.nodes.get_mut(&node).unwrap().content {
            Content::Directory(names) => names,
            Content::File(_) | Content::Link(_) => panic!(),
        }
    }

    fn bytes(&mut self, slot: usize) -> Result<&mut Vec<u8>, Errno> {
        match &mut self.nodes.get_mut(&self.slots[slot].unwrap()).unwrap().content {
            Content::File(bytes) => Ok(bytes),
            Content::Directory(_) => Err(Errno::ISDIR),
            Content::Link(_) => panic!(),
        }
    }

    fn resolve(&self, path: &str, links: Links) -> Result<Place, Errno> {
        let last = match links {
            Links::Follow => true,
            Links::FollowBeforeSlash => path.ends_with('/'),
            Links::Keep => false,
        };
        let (parent, name, found, slash) = self.walk(0, path, last, &mut 0)?;
        Ok((parent, name, found, slash || path.ends_with('/')))
    }

    /// What a path leads to from a directory on; links are walked from where they stand.
    fn walk(&self, mut at: u32, path: &str, follow: bool, links: &mut usize) -> Result<Place, Errno> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let Some((last, before)) = parts.split_last() else { return Ok((0, None, Some(0), false)) };
        for part in before {
            let found = self.step(at, part, true, links)?.2;
            at = found.ok_or(Errno::NOENT)?;
            self.names(at).ok_or(Errno::NOTDIR)?;
        }
        self.step(at, last, follow, links)
    }

    fn step(&self, at: u32, part: &str, follow: bool, links: &mut usize) -> Result<Place, Errno> {
        let found = match part {
            "." => return Ok((at, None, Some(at), false)),
            ".." => return Ok((at, None, Some(self.nodes[&at].parent), false)),
            name => self.names(at).unwrap().get(name).copied(),
        };
        match found.map(|found| &self.nodes[&found].content) {
            Some(Content::Link(target)) if follow => {
                *links += 1;
                if *links > 40 {
                    return Err(Errno::LOOP);
                }
                let start = if target.starts_with('/') { 0 } else { at };
                let (parent, name, found, slash) = self.walk(start, target, true, links)?;
                Ok((parent, name, found, slash || target.ends_with('/')))
            }
            _ => Ok((at, Some(part.to_string()), found, false)),
        }
    }

    fn existing(&self, path: &str, links: Links) -> Result<u32, Errno> {
        let (.., found, slash) = self.resolve(path, links)?;
        let node = found.ok_or(Errno::NOENT)?;
        if slash && self.names(node).is_none() { Err(Errno::NOTDIR) } else { Ok(node) }
    }

    fn make(&mut self, parent: u32, name: String, content: Content) -> u32 {
        self.nodes.insert(self.next, Node { content, parent, named: true });
        let node = self.next;
        self.names_mut(parent).insert(name, node);
        self.next += 1;
        node
    }

    fn remove(&mut self, parent: u32, name: &str) {
        let node = self.names_mut(parent).remove(name).unwrap();
        self.nodes.get_mut(&node).unwrap().named = false;
    }

    fn status(&self, node: u32) -> Said {
        let Node { content, named, .. } = &self.nodes[&node];
        match content {
            Content::File(bytes) => Said::Status(false, bytes.len() as u64, u32::from(*named)),
            Content::Link(target) => Said::Status(false, target.len() as u64, u32::from(*named)),
            Content::Directory(names) => {
                let below = names.values().filter(|&&node| self.names(node).is_some()).count();
                Said::Status(true, names.len() as u64 * 512, if *named { 2 + below as u32 } else { 0 })
            }
        }
    }

    fn carry_out(&mut self, op: &Op) -> Result<Said, Errno> {
        match op {
            Op::Close { slot } => {
                self.close(*slot);
                Ok(Said::Done)
            }
            Op::Read { slot, offset, length } => {
                let bytes = self.bytes(*slot)?;
                let start = (*offset as usize).min(bytes.len());
                let end = (start + (*length as usize).min(57_344)).min(bytes.len());
                Ok(Said::Data(bytes[start..end].to_vec()))
            }
            Op::Write { slot, offset, length, seed } => {
                let bytes = self.bytes(*slot)?;
                let start = offset.unwrap_or(bytes.len() as u64) as usize;
                let end = start + length;
                if *length > 0 {
                    bytes.resize(bytes.len().max(end), 0);
                    bytes[start..end].copy_from_slice(&content(*seed, *length));
                }
                Ok(Said::Written(end as u64))
            }
            Op::Truncate { slot, size } => {
                self.bytes(*slot)?.resize(*size as usize, 0);
                Ok(Said::Done)
            }
            Op::StatHandle { slot } => Ok(self.status(self.slots[*slot].unwrap())),
            Op::List { slot } => {
                let names = self.names(self.slots[*slot].unwrap()).ok_or(Errno::NOTDIR)?;
                Ok(Said::Names(names.keys().cloned().collect()))
            }
            Op::Lock { slot, holder, exclusive } => {
                let node = self.slots[*slot].unwrap();
                let mut others = self.locks.iter().filter(|((on, by), _)| *on == node && by != holder);
                if others.any(|(_, theirs)| *exclusive || *theirs) {
                    return Err(Errno::AGAIN);
                }
                self.locks.insert((node, *holder), *exclusive);
                Ok(Said::Done)
            }
            Op::Unlock { slot, holder } => {
                self.locks.remove(&(self.slots[*slot].unwrap(), *holder));
                Ok(Said::Done)
            }
            _ => self.carry_out_at_name(op),
        }
    }

    /// The same, of what names something in an open directory.
    fn carry_out_at_name(&mut self, op: &Op) -> Result<Said, Errno> {
        match op {
            Op::OpenIn { slot, name, inner } => {
                let node = self.named_in(*slot, name)?;
                self.names(node).ok_or(Errno::NOTDIR)?;
                self.slots[*inner] = Some(node);
                Ok(self.status(node))
            }
            Op::RemoveIn { slot, name } => {
                let node = self.named_in(*slot, name)?;
                if self.names(node).is_some_and(|names| !names.is_empty()) {
                    return Err(Errno::NOTEMPTY);
                }
                self.remove(self.slots[*slot].unwrap(), name);
                Ok(Said::Done)
            }
            _ => self.carry_out_at_path(op),
        }
    }

    /// The same, of what names a path.
    fn carry_out_at_path(&mut self, op: &Op) -> Result<Said, Errno> {
        match op {
            Op::Open { path, flags, slot } => self.open(path, *flags, *slot),
            Op::Stat { path } => Ok(self.status(self.existing(path, Links::Follow)?)),
            Op::StatLink { path } => Ok(self.status(self.existing(path, Links::FollowBeforeSlash)?)),
            Op::MakeDirectory { path } => match self.resolve(path, Links::Keep)? {
                (parent, Some(name), None, _) => {
                    self.make(parent, name, Content::Directory(BTreeMap::new()));
                    Ok(Said::Done)
                }
                _ => Err(Errno::EXIST),
            },
            Op::RemoveDirectory { path } => self.remove_directory(path),
            Op::Unlink { path } => {
                let node = self.existing(path, Links::Keep)?;
                if self.names(node).is_some() {
                    return Err(Errno::ISDIR);
                }
                let (parent, name, ..) = self.resolve(path, Links::Keep)?;
                self.remove(parent, &name.unwrap());
                Ok(Said::Done)
            }
            Op::Rename { from, to } => self.rename(from, to),
            Op::MakeLink { target, .. } if target.is_empty() => Err(Errno::NOENT),
            Op::MakeLink { target, path } => match self.resolve(path, Links::Keep)? {
                (_, Some(_), None, true) => Err(Errno::NOENT),
                (parent, Some(name), None, _) => {
                    self.make(parent, name, Content::Link(target.clone()));
                    Ok(Said::Done)
                }
                _ => Err(Errno::EXIST),
            },
            Op::ReadLink { path } => {
                match &self.nodes[&self.existing(path, Links::FollowBeforeSlash)?].content {
                    Content::Link(target) => Ok(Said::Data(target.clone().into_bytes())),
                    _ => Err(Errno::INVAL),
                }
            }
            Op::Canonical { path } => Ok(Said::Data(self.canonical(self.existing(path, Links::Follow)?))),
            _ => panic!("{op:?} names no path"),
        }
    }

    fn named_in(&self, slot: usize, name: &str) -> Result<u32, Errno> {
        let names = self.names(self.slots[slot].unwrap()).ok_or(Errno::NOTDIR)?;
        if matches!(name, "" | "." | "..") || name.contains('/') {
            return Err(Errno::INVAL);
        }
        names.get(name).copied().ok_or(Errno::NOENT)
    }

    /// A client's locks end with its last handle on their file.
    fn close(&mut self, slot: usize) {
        if let Some(node) = self.slots[slot].take()
            && !self.slots.contains(&Some(node))
        {
            self.locks.retain(|(on, _), _| *on != node);
        }
    }

    fn canonical(&self, node: u32) -> Vec<u8> {
        if node == 0 {
            return b"/".to_vec();
        }
        let parent = self.nodes[&node].parent;
        let names = self.names(parent).unwrap();
        let name = names.iter().find(|(_, named)| **named == node).unwrap().0;
        let above = if parent == 0 { Vec::new() } else { self.canonical(parent) };
        [&above[..], b"/", name.as_bytes()].concat()
    }

    fn open(&mut self, path: &str, flags: OpenFlags, slot: usize) -> Result<Said, Errno> {
        let create = flags.contains(OpenFlags::CREATE);
        let anew = create && flags.contains(OpenFlags::EXCLUSIVE);
        let node = match self.resolve(path, if anew { Links::Keep } else { Links::Follow })? {
            (_, Some(_), None, true) if create => return Err(Errno::ISDIR),
            (parent, Some(name), None, _) if create => self.make(parent, name, Content::File(Vec::new())),
            _ if anew => return Err(Errno::EXIST),
            _ => self.existing(path, Links::Follow)?,
        };
        match &mut self.nodes.get_mut(&node).unwrap().content {
            Content::Directory(_) if create || flags.contains(OpenFlags::WRITE) => return Err(Errno::ISDIR),
            Content::Directory(_) => {}
            Content::Link(_) => panic!(),
            Content::File(_) if flags.contains(OpenFlags::DIRECTORY) => return Err(Errno::NOTDIR),
            Content::File(bytes) if flags.contains(OpenFlags::TRUNCATE) => bytes.clear(),
            Content::File(_) => {}
        }
        self.slots[slot] = Some(node);
        Ok(self.status(node))
    }

    fn remove_directory(&mut self, path: &str) -> Result<Said, Errno> {
        let (parent, name, node, _) = self.resolve(path, Links::Keep)?;
        let Some(name) = name else {
            let last = path.split('/').rfind(|part| !part.is_empty());
            return Err(match last {
                None => Errno::BUSY,
                Some(".") => Errno::INVAL,
                Some(_) => Errno::NOTEMPTY,
            });
        };
        let names = self.names(node.ok_or(Errno::NOENT)?).ok_or(Errno::NOTDIR)?;
        if !names.is_empty() {
            return Err(Errno::NOTEMPTY);
        }
        self.remove(parent, &name);
        Ok(Said::Done)
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<Said, Errno> {
        let ((old, old_name, ..), (new, new_name, victim, _)) =
            (self.resolve(from, Links::Keep)?, self.resolve(to, Links::Keep)?);
        let (Some(old_name), Some(new_name)) = (old_name, new_name) else { return Err(Errno::BUSY) };
        let node = self.existing(from, Links::Keep)?;
        let directory = self.names(node).is_some();
        if to.ends_with('/') && !directory {
            return Err(Errno::NOTDIR);
        }
        if victim == Some(node) {
            return Ok(Said::Done);
        }
        let mut above = new;
        while directory && above != 0 {
            if above == node {
                return Err(Errno::INVAL);
            }
            above = self.nodes[&above].parent;
        }
        match victim.map(|victim| self.names(victim).map(BTreeMap::len)) {
            Some(None) if directory => return Err(Errno::NOTDIR),
            Some(Some(_)) if !directory => return Err(Errno::ISDIR),
            Some(Some(1..)) => return Err(Errno::NOTEMPTY),
            Some(_) => self.remove(new, &new_name),
            None => {}
        }
        self.names_mut(old).remove(&old_name);
        self.names_mut(new).insert(new_name, node);
        self.nodes.get_mut(&node).unwrap().parent = new;
        Ok(Said::Done)
    }
}

/// What an answer of the implementation says.
fn said(answer: Answer) -> Result<Said, Errno> {
    Ok(match answer.reply? {
        Reply::Done => Said::Done,
        Reply::Data(_) => Said::Data(answer.data),
        Reply::Written { end } => Said::Written(end),
        Reply::Opened { status, .. } | Reply::Status(status) => {
            Said::Status(status.kind == FileKind::Directory, status.size, status.links)
        }
        Reply::Entries { entries, next } => {
            assert_eq!(next, None);
            let mut names: Vec<String> =
                entries.into_iter().map(|entry| String::from_utf8(entry.name).unwrap()).collect();
            names.sort();
            Said::Names(names)
        }
        Reply::Space { .. } => panic!(),
    })
}

fn compare(ops: &[Op], activities: u16) {
    let mut bench = Bench::with_activities(4 << 20, activities);
    let (mut model, mut handles) = (Model::new(), [None; SLOTS]);
    for op in ops {
        if let Op::Open { slot, .. } | Op::OpenIn { inner: slot, .. } = op
            && let Some(handle) = handles[*slot].take()
        {
            bench.close(handle);
            model.close(*slot);
        }
        let Some(answer) = with_request(op, &handles, |request| bench.ask(request)) else { continue };
        note(op, &answer, &mut handles);
        assert_eq!(said(answer), model.carry_out(op), "{op:?}");
    }
    bench.check();
    bench.fs[0].forget(first(CLIENT));
    let report = bench.check();
    let named = model.nodes.values().filter(|node| node.named).count();
    let all = report.files + report.directories + report.links;
    assert_eq!((report.openings, report.locks, all), (0, 0, named as u64));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_activity_does_what_the_model_does(ops in prop::collection::vec(op(), 1..80)) {
        compare(&ops, 1);
    }

    #[test]
    fn two_activities_in_turn_do_what_the_model_does(ops in prop::collection::vec(op(), 1..80)) {
        compare(&ops, 2);
    }
}
