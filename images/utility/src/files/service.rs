//! Serves the pipe of `files`.

use super::FileSystem;
use kernel::errno::Errno;
use kernel::messenger::{Messenger, Outcome, Request, Service};
use kernel::protocol::files::Response;
use kernel::protocol::{Incarnation, Peer, Pipe, decode, encode};
use std::sync::{Arc, Mutex, PoisonError};

/// An activity of `files`.
pub struct FilesService {
    messenger: Arc<Messenger>,
    files: Arc<FileSystem>,
    /// The buffer that data is read into.
    buffer: Mutex<Vec<u8>>,
}

impl Service for FilesService {
    fn serve(self: Arc<Self>, request: Request) -> Outcome {
        let Ok(asked) = decode(&request.body) else {
            return Outcome::Reply(encode(&Response::Err(Errno::INVAL)));
        };
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        let now_ns = self.messenger.wall_clock_ns();
        Outcome::Reply(encode(&self.files.handle(request.from, request.id, asked, now_ns, &mut buffer)))
    }
}

impl FilesService {
    /// Begins to serve, and to follow deaths.
    pub fn start(messenger: Arc<Messenger>, files: FileSystem) {
        let files = Arc::new(files);
        messenger.spawn(forget_the_dead(messenger.clone(), files.clone()));
        let service = Self { messenger: messenger.clone(), files, buffer: Mutex::default() };
        messenger.serve(Pipe::Files, Arc::new(service));
    }
}

/// After every birth or death, gives back what dead clients had open.
async fn forget_the_dead(messenger: Arc<Messenger>, files: Arc<FileSystem>) {
    let peers = messenger.membership().description().peers.len() as u16;
    let mut known: Vec<Option<Incarnation>> = vec![None; usize::from(peers)];
    loop {
        let seen = messenger.changes();
        for (peer, known) in (0..peers).map(Peer).zip(&mut known) {
            let now = messenger.membership().incarnation(peer);
            if let Some(dead) = known.filter(|&before| now != Some(before)) {
                files.forget(dead);
            }
            *known = now;
        }
        messenger.changed_since(seen).await;
    }
}
