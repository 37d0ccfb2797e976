//! The lines on the launcher's control socket, in both directions.
//!
//! The first byte says whether the others are a request or a reply. Checked:
//! what is understood is understood the same when it is said again.

use orchestration::control::{Channels, Entry, Location, Reply, Request, Run};
use std::fmt::Debug;

/// Reads a line; what comes of it must survive being written.
fn line<T: serde::de::DeserializeOwned + serde::Serialize + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(message) = serde_json::from_slice::<T>(bytes) else { return };
    let again = serde_json::to_vec(&message).expect("messages are JSON");
    assert!(!again.contains(&b'\n'), "a message is one line");
    assert_eq!(serde_json::from_slice::<T>(&again).expect("what was written is read"), message);
}

/// Runs one input.
pub fn run(data: &[u8]) {
    match data.split_first() {
        Some((0, bytes)) => line::<Request>(bytes),
        Some((_, bytes)) => line::<Reply>(bytes),
        None => {}
    }
}

/// Inputs to start from.
pub fn seeds() -> Vec<Vec<u8>> {
    let json =
        |kind: u8, text: serde_json::Result<Vec<u8>>| [vec![kind], text.expect("messages are JSON")].concat();
    let request = |request: Request| json(0, serde_json::to_vec(&request));
    let reply = |reply: Reply| json(1, serde_json::to_vec(&reply));
    let run = Run { program: "wordcount".into(), arguments: vec!["/input".into()], activities: 4 };
    let (from, to) = (Location::Host("/tmp/input".into()), Location::Machine("/input".into()));
    let entry = Entry { name: "a".into(), directory: true, link: None, size: 1, modified_ns: 2 };
    vec![
        request(Request::Ps),
        request(Request::Channels),
        reply(Reply::Channels(Channels { channels: vec![], silent: vec!["node-a0".into()] })),
        request(Request::Kill { vm: "node-a0".into() }),
        request(Request::Logs { vm: "node-a0".into(), follow: true }),
        request(Request::Run(run)),
        request(Request::Copy { from, to }),
        request(Request::List { path: "/".into() }),
        reply(Reply::Output { index: 1, fd: 2, bytes: (0..=255).collect() }),
        reply(Reply::Entries(vec![entry])),
        reply(Reply::Progress { done: 1, total: 2 }),
        reply(Reply::Exited { code: 3, message: Some("it failed".into()) }),
    ]
}
