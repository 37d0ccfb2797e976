//! The file system under hostile requests, and with hostile words in its tables.
//!
//! Checked: every request is answered, with something that fits a message and
//! survives its bytes; and as long as nobody wrote into the tables but the
//! activities, the file system is clean after all of it.

use crate::input::Input;
use kernel::protocol::files::{Handle, MAX_DATA, OpenFlags, Reply, Request, Response};
use kernel::protocol::{Incarnation, Peer, decode, encode};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use transport::HEADER_BYTES;
use transport::link::MAX_MESSAGE;
use transport::memory::{SharedMemory, WORD};
use utility::files::FileSystem;
use utility::shared::environment::Environment;

/// Bytes of the region.
const REGION: usize = 1 << 20;
/// Peers of the two activities.
const ACTIVITIES: [u16; 2] = [100, 101];
/// Peers of the clients that live.
const LIVING: std::ops::Range<u16> = 2..17;
/// Names that requests use: few, so that they meet.
const PATHS: [&str; 12] =
    ["/", "/a", "/a/b", "/a/b/c", "/b", "/c", "a", "", "//a/../b", "/a/.", "/b/d", "/e"];

/// What an activity knows of the machine.
struct Machine(u16);

impl Environment for Machine {
    fn own(&self) -> Incarnation {
        Incarnation { peer: Peer(self.0), generation: 1 }
    }

    fn lives(&self, who: Incarnation) -> bool {
        who.generation == 1 && (LIVING.contains(&who.peer.0) || ACTIVITIES.contains(&who.peer.0))
    }

    fn relax(&self, attempt: u32) {
        assert!(attempt < 100_000, "an activity waits without end");
    }
}

struct World {
    memory: SharedMemory,
    activities: [FileSystem; 2],
    handles: [Handle; 4],
    next_id: u64,
    clean: bool,
    buffer: Vec<u8>,
}

impl World {
    fn new() -> Self {
        let memory = SharedMemory::heap(REGION);
        let attach =
            |peer| FileSystem::attach_or_format(&memory, Arc::new(Machine(peer)), 1).expect("there is room");
        Self {
            activities: ACTIVITIES.map(attach),
            memory,
            handles: [Handle { inode: 1, generation: 1 }; 4],
            next_id: 1,
            clean: true,
            buffer: Vec::new(),
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() {
            0..16 => self.ask_bytes(input.string(), input),
            16..24 => self.scribble(input),
            choice => self.ask_sense(choice, input),
        }
    }

    /// Asks with bytes that may be no request.
    fn ask_bytes(&mut self, body: &[u8], input: &mut Input<'_>) {
        if let Ok(request) = decode(body) {
            self.ask(request, input);
        }
    }

    /// Asks for something that may be there.
    fn ask_sense(&mut self, choice: u8, input: &mut Input<'_>) {
        let path = |input: &mut Input<'_>| PATHS[usize::from(input.byte()) % PATHS.len()].as_bytes();
        let name =
            |input: &mut Input<'_>| path(input).rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        let handle = self.handles[usize::from(input.byte()) % self.handles.len()];
        let data = vec![choice; input.length(MAX_DATA + 1)];
        let request = match choice % 22 {
            0 | 1 => {
                let flags = OpenFlags::from_bits_retain(input.byte());
                Request::Open { path: path(input), flags, mode: 0o644 }
            }
            2 => Request::Close { handle },
            3 => Request::Read { handle, offset: input.word() >> 40, length: u32::from(input.short()) },
            4 => Request::Write { handle, offset: Some(u64::from(input.short()) * 64), data: &data },
            5 => Request::Write { handle, offset: None, data: &data },
            6 => Request::Truncate { handle, size: input.of_any_size() },
            7 => Request::Stat { path: path(input) },
            8 => Request::StatHandle { handle },
            9 => Request::List { handle, cookie: input.of_any_size() },
            10 => Request::MakeDirectory { path: path(input), mode: 0o755 },
            11 => Request::RemoveDirectory { path: path(input) },
            12 => Request::Unlink { path: path(input) },
            13 => Request::MakeLink { target: path(input), path: path(input) },
            14 => Request::ReadLink { path: path(input) },
            15 => Request::StatLink { path: path(input) },
            16 => Request::Canonical { path: path(input) },
            17 => Request::Lock { handle, holder: input.byte().into(), exclusive: choice & 128 != 0 },
            18 => Request::Unlock { handle, holder: input.byte().into() },
            19 => Request::OpenIn { directory: handle, name: name(input) },
            20 => Request::RemoveIn { directory: handle, name: name(input) },
            _ => Request::Rename { from: path(input), to: path(input) },
        };
        self.ask(request, input);
    }

    /// Asks one of the activities, and checks what it answers.
    fn ask(&mut self, request: Request<'_>, input: &mut Input<'_>) {
        let choice = input.byte();
        let client = Incarnation { peer: Peer(LIVING.start + u16::from(choice >> 4)), generation: 1 };
        self.next_id = match choice & 15 {
            15 => input.word(),
            14 => self.next_id,
            _ => self.next_id.wrapping_add(1),
        };
        let activity = &self.activities[usize::from(choice & 1)];
        let response = activity.handle(client, self.next_id, request, self.next_id, &mut self.buffer);
        let body = encode(&response);
        assert!(body.len() <= MAX_MESSAGE - HEADER_BYTES, "a reply of {} bytes", body.len());
        assert_eq!(decode::<Response>(&body), Ok(response.clone()));
        if let Ok(Reply::Opened { handle, .. }) = response {
            self.handles[usize::from(choice >> 1) % self.handles.len()] = handle;
        }
    }

    /// Writes a word that no living activity's lock looks like.
    fn scribble(&mut self, input: &mut Input<'_>) {
        let at = match input.byte() % 3 {
            0 => usize::from(input.short()) * WORD,
            1 => usize::from(input.short()) * 2 * WORD,
            _ => usize::from(input.byte()) * WORD,
        };
        let value = match input.byte() % 3 {
            0 => u64::from(input.byte()),
            1 => u64::from(input.short()),
            _ => input.word(),
        };
        if value >> 32 != 1 {
            self.memory.word(at % REGION).store(value, Relaxed);
            self.clean = false;
        }
    }
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let (mut input, mut world) = (Input::new(data), World::new());
    while !input.is_over() {
        world.step(&mut input);
    }
    let check = world.activities[0].check();
    assert!(!world.clean || check.is_ok(), "{check:?}");
}

/// Inputs to start from.
pub fn seeds() -> Vec<Vec<u8>> {
    // Choices of `ask_sense` are those of 28 and up, by what they leave modulo 14.
    let mut use_them = Vec::new();
    for (choice, path) in [(38, 1), (38, 2), (28, 3), (32, 0), (33, 0), (31, 0), (35, 3), (37, 0), (41, 3)] {
        use_them.extend([choice, 0, 0, 40, 7, path, 4, 0, 0, 0, 0, 0, 2]);
    }
    let open = encode(&Request::Open { path: b"/f", flags: OpenFlags::all(), mode: 0o600 });
    let bytes = [&[0, open.len() as u8, 0][..], &open, &[1], &use_them].concat();
    let spoil =
        [&use_them[..], &[16, 0, 9, 0, 0, 77], &use_them, &[17, 0, 200, 4, 1, 9, 9], &use_them].concat();
    vec![use_them, bytes, spoil]
}
