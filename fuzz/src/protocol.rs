//! Headers and bodies as bytes: all that crosses a ring.
//!
//! The first byte says as what the others are read. Checked: what decodes
//! encodes to something that decodes to the same.

use kernel::membership::{Description, PeerDescription, Role, Utility};
use kernel::protocol::tasks::{Activity, End, Program, TaskForce, TaskForceId};
use kernel::protocol::{Incarnation, Peer, decode, encode, fault, files, launcher, monitor, node, tasks};
use transport::link::Malformed;
use transport::wire::{HEADER_BYTES, Header, Kind};
use utility::tasks::record::Record;

macro_rules! bodies {
    ($($number:literal: $type:ty),* $(,)?) => {
        /// Reads bytes as the body of that number.
        fn body(number: u8, bytes: &[u8]) {
            match number % 16 {
                $($number => if let Ok(message) = decode::<$type>(bytes) {
                    let again = encode(&message);
                    assert_eq!(decode::<$type>(&again).as_ref(), Ok(&message));
                },)*
                _ => header(bytes),
            }
        }
    };
}

bodies! {
    0: files::Request<'_>,
    1: files::Response<'_>,
    2: tasks::Request,
    3: tasks::Response,
    4: node::Request,
    5: node::Response,
    6: launcher::Request<'_>,
    7: launcher::Response,
    8: Description,
    9: Record,
    10: monitor::Request,
    11: monitor::Response,
}

fn header(bytes: &[u8]) {
    let Some((bytes, _)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return };
    match Header::decode(bytes) {
        Ok(header) => assert_eq!(&header.encode(), bytes),
        Err(error) => assert_eq!(error, Malformed::Header),
    }
}

/// Runs one input.
pub fn run(data: &[u8]) {
    if let Some((&number, bytes)) = data.split_first() {
        body(number, bytes);
    }
}

/// Inputs to start from: a body or two of each kind.
pub fn seeds() -> Vec<Vec<u8>> {
    let header = Header { kind: Kind::Reply, pipe: 2, request: 77, trace: 1 };
    let others = vec![
        seed(8, encode(&description())),
        seed(10, encode(&monitor::Request::Channels)),
        seed(11, encode(&monitor::Response::Channels(vec![channel()]))),
        seed(15, header.encode().to_vec()),
    ];
    [of_files(), of_task_forces(), of_faults(), others].concat()
}

/// A body behind the number of its kind.
fn seed(number: u8, bytes: Vec<u8>) -> Vec<u8> {
    [vec![number], bytes].concat()
}

fn of_files() -> Vec<Vec<u8>> {
    let handle = files::Handle { inode: 4, generation: 1 };
    let entry = files::Entry { name: b"name".to_vec(), inode: 4, kind: files::FileKind::Regular };
    vec![
        seed(0, encode(&files::Request::Write { handle, offset: Some(5), data: b"some data" })),
        seed(0, encode(&files::Request::Rename { from: b"/a", to: b"/b/c" })),
        seed(0, encode(&files::Request::RemoveIn { directory: handle, name: b"name" })),
        seed(1, encode(&files::Response::Ok(files::Reply::Entries { entries: vec![entry], next: Some(2) }))),
        seed(1, encode(&files::Response::Ok(files::Reply::Data(b"some data")))),
    ]
}

const WHO: Incarnation = Incarnation { peer: Peer(3), generation: 2 };
const TASK_FORCE: TaskForceId = TaskForceId(9);

fn of_task_forces() -> Vec<Vec<u8>> {
    let (task_force, output, stream) = (TASK_FORCE, Peer::LAUNCHER, 1);
    let program = Program { name: "wordcount".into(), arguments: vec!["/input".into(), "-v".into()] };
    let activity = Activity { node: WHO, end: Some(End::Exited(3)) };
    let create = tasks::Request::Create { program: program.clone(), activities: 4, output, stream };
    let members = vec![WHO, WHO];
    let start =
        node::Request::Start { task_force, index: 1, members, program: program.clone(), output, stream };
    let ended = TaskForce { id: task_force, program: program.clone(), activities: vec![activity] };
    let record = Record::new(task_force, program, &[WHO], (WHO, 5), (output, stream));
    vec![
        seed(2, encode(&create)),
        seed(3, encode(&tasks::Response::Ok(tasks::Reply::Ended(ended)))),
        seed(4, encode(&start)),
        seed(5, encode(&node::Response::Err(node::Refusal::UnknownProgram(vec!["echo".into()])))),
        seed(9, encode(&record)),
    ]
}

fn of_faults() -> Vec<Vec<u8>> {
    let kind = fault::Kind::Access { access: fault::Access::Read, address: 16, place: fault::Place::Nothing };
    let report = fault::Report {
        kind,
        message: "at a.rs:1:1: no".into(),
        threads: vec![fault::Thread { id: 3, name: "worker".into(), addresses: vec![0x20_0000, 0x20_0010] }],
    };
    let (task_force, end) = (TASK_FORCE, End::Faulted(kind));
    vec![
        seed(6, encode(&launcher::Request::Output { stream: 1, index: 2, fd: 1, bytes: b"hello" })),
        seed(6, encode(&launcher::Request::Fault { stream: 1, index: 2, report })),
        seed(2, encode(&tasks::Request::ActivityEnded { task_force, index: 1, end })),
        seed(7, encode::<launcher::Response>(&())),
    ]
}

fn description() -> Description {
    let files = Role::Utility(Utility::Files);
    Description {
        name: "small".into(),
        clusters: vec!["a".into()],
        ethernets: vec![],
        adds_distance: false,
        peers: vec![
            PeerDescription { name: "launcher".into(), role: Role::Launcher, cluster: None },
            PeerDescription { name: "files-a0".into(), role: files, cluster: Some(0) },
        ],
    }
}

fn channel() -> monitor::Channel {
    monitor::Channel {
        peer: Peer(3),
        sent: 9,
        sent_bytes: 900,
        received: 8,
        received_bytes: 800,
        doorbells: 7,
        delayed: 6,
        would_block: 5,
        dropped: 4,
        deaths: 3,
        faults: vec![(monitor::Fault::Body, 2)],
    }
}
