//! Sequences of operations: made by proptest, carried out by whoever can.

use super::*;
use proptest::prelude::*;

/// Open files that a script has at most.
pub const SLOTS: usize = 4;

/// One operation; `slot` is an index into the script's open files.
#[derive(Clone, Debug)]
pub enum Op {
    Open { path: String, flags: OpenFlags, slot: usize },
    Close { slot: usize },
    Read { slot: usize, offset: u64, length: u32 },
    Write { slot: usize, offset: Option<u64>, length: usize, seed: u8 },
    Truncate { slot: usize, size: u64 },
    Stat { path: String },
    StatHandle { slot: usize },
    List { slot: usize },
    MakeDirectory { path: String },
    RemoveDirectory { path: String },
    Unlink { path: String },
    Rename { from: String, to: String },
    MakeLink { target: String, path: String },
    ReadLink { path: String },
    StatLink { path: String },
    Canonical { path: String },
    Lock { slot: usize, holder: u64, exclusive: bool },
    Unlock { slot: usize, holder: u64 },
    OpenIn { slot: usize, name: String, inner: usize },
    RemoveIn { slot: usize, name: String },
}

/// What is written by a `Write` with this seed.
pub fn content(seed: u8, length: usize) -> Vec<u8> {
    (0..length).map(|index| (index as u8).wrapping_mul(31).wrapping_add(seed) | 1).collect()
}

/// The request of an operation, handed to `ask`; `None` if its slot is empty.
pub fn with_request<T>(
    op: &Op,
    handles: &[Option<Handle>; SLOTS],
    ask: impl FnOnce(Request<'_>) -> T,
) -> Option<T> {
    let data;
    Some(ask(match op {
        Op::Open { path, flags, .. } => Request::Open { path: path.as_bytes(), flags: *flags, mode: 0o600 },
        Op::Close { slot } => Request::Close { handle: handles[*slot]? },
        Op::Read { slot, offset, length } => {
            Request::Read { handle: handles[*slot]?, offset: *offset, length: *length }
        }
        Op::Write { slot, offset, length, seed } => {
            data = content(*seed, *length);
            Request::Write { handle: handles[*slot]?, offset: *offset, data: &data }
        }
        Op::Truncate { slot, size } => Request::Truncate { handle: handles[*slot]?, size: *size },
        Op::Stat { path } => Request::Stat { path: path.as_bytes() },
        Op::StatHandle { slot } => Request::StatHandle { handle: handles[*slot]? },
        Op::List { slot } => Request::List { handle: handles[*slot]?, cookie: 0 },
        Op::MakeDirectory { path } => Request::MakeDirectory { path: path.as_bytes(), mode: 0o700 },
        Op::RemoveDirectory { path } => Request::RemoveDirectory { path: path.as_bytes() },
        Op::Unlink { path } => Request::Unlink { path: path.as_bytes() },
        Op::Rename { from, to } => Request::Rename { from: from.as_bytes(), to: to.as_bytes() },
        Op::MakeLink { target, path } => {
            Request::MakeLink { target: target.as_bytes(), path: path.as_bytes() }
        }
        Op::ReadLink { path } => Request::ReadLink { path: path.as_bytes() },
        Op::StatLink { path } => Request::StatLink { path: path.as_bytes() },
        Op::Canonical { path } => Request::Canonical { path: path.as_bytes() },
        Op::Lock { slot, holder, exclusive } => {
            Request::Lock { handle: handles[*slot]?, holder: *holder, exclusive: *exclusive }
        }
        Op::Unlock { slot, holder } => Request::Unlock { handle: handles[*slot]?, holder: *holder },
        Op::OpenIn { slot, name, .. } => {
            Request::OpenIn { directory: handles[*slot]?, name: name.as_bytes() }
        }
        Op::RemoveIn { slot, name } => {
            Request::RemoveIn { directory: handles[*slot]?, name: name.as_bytes() }
        }
    }))
}

/// Keeps the handles up to date after an operation was answered.
pub fn note(op: &Op, answer: &Answer, handles: &mut [Option<Handle>; SLOTS]) {
    match (op, &answer.reply) {
        (Op::Open { slot, .. } | Op::OpenIn { inner: slot, .. }, Ok(Reply::Opened { handle, .. })) => {
            handles[*slot] = Some(*handle);
        }
        (Op::Close { slot }, Ok(_)) => handles[*slot] = None,
        _ => {}
    }
}

fn path() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        8 => prop::sample::select(vec!["a", "b", "c"]),
        1 => prop::sample::select(vec![".", "..", "", "a-rather-long-name-of-a-file"]),
    ];
    (prop::collection::vec(part, 1..4), prop::bool::weighted(0.1))
        .prop_map(|(parts, slash)| format!("/{}{}", parts.join("/"), if slash { "/" } else { "" }))
}

/// What stands in a directory, or cannot.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::sample::select(vec!["a", "b", "c"]),
        1 => prop::sample::select(vec![".", "..", "", "a/b", "a-rather-long-name-of-a-file"]),
    ]
    .prop_map(String::from)
}

/// What a link stands for: from the root, or from its directory.
fn target() -> impl Strategy<Value = String> {
    prop_oneof![
        path(),
        path().prop_map(|path| path.trim_start_matches('/').to_string()),
        prop::sample::select(vec!["..", ".", "a/../b", "../a"]).prop_map(String::from),
    ]
}

fn flags() -> impl Strategy<Value = OpenFlags> {
    let rw = OpenFlags::READ | OpenFlags::WRITE;
    prop::sample::select(vec![
        rw | OpenFlags::CREATE,
        rw | OpenFlags::CREATE | OpenFlags::TRUNCATE,
        rw | OpenFlags::CREATE | OpenFlags::EXCLUSIVE,
        rw,
        rw | OpenFlags::TRUNCATE,
        OpenFlags::READ,
        OpenFlags::READ | OpenFlags::DIRECTORY,
    ])
}

/// Around everything where a file's structure changes.
fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => 0..20_000_u64,
        2 => 33 * 4096..36 * 4096_u64,
        1 => 1057 * 4096..1060 * 4096_u64,
    ]
}

pub fn op() -> impl Strategy<Value = Op> {
    let slot = || 0..SLOTS;
    prop_oneof![
        6 => (path(), flags(), slot()).prop_map(|(path, flags, slot)| Op::Open { path, flags, slot }),
        2 => slot().prop_map(|slot| Op::Close { slot }),
        3 => (slot(), offset(), 0..60_000_u32)
            .prop_map(|(slot, offset, length)| Op::Read { slot, offset, length }),
        6 => (slot(), prop::option::weighted(0.7, offset()), 0..15_000_usize, any::<u8>())
            .prop_map(|(slot, offset, length, seed)| Op::Write { slot, offset, length, seed }),
        2 => (slot(), offset()).prop_map(|(slot, size)| Op::Truncate { slot, size }),
        1 => path().prop_map(|path| Op::Stat { path }),
        1 => slot().prop_map(|slot| Op::StatHandle { slot }),
        1 => slot().prop_map(|slot| Op::List { slot }),
        3 => path().prop_map(|path| Op::MakeDirectory { path }),
        2 => path().prop_map(|path| Op::RemoveDirectory { path }),
        2 => path().prop_map(|path| Op::Unlink { path }),
        4 => (path(), path()).prop_map(|(from, to)| Op::Rename { from, to }),
        4 => (target(), path()).prop_map(|(target, path)| Op::MakeLink { target, path }),
        1 => path().prop_map(|path| Op::ReadLink { path }),
        1 => path().prop_map(|path| Op::StatLink { path }),
        1 => path().prop_map(|path| Op::Canonical { path }),
        2 => (slot(), 1..4_u64, any::<bool>())
            .prop_map(|(slot, holder, exclusive)| Op::Lock { slot, holder, exclusive }),
        1 => (slot(), 1..4_u64).prop_map(|(slot, holder)| Op::Unlock { slot, holder }),
        2 => (slot(), name(), 1..SLOTS)
            .prop_map(|(slot, name, further)| Op::OpenIn { slot, name, inner: (slot + further) % SLOTS }),
        2 => (slot(), name()).prop_map(|(slot, name)| Op::RemoveIn { slot, name }),
    ]
}
