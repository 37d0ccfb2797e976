//! Serves the pipe of `files`.

use super::FileSystem;
use kernel::messenger::{Messenger, Outcome, Refusal, Request, Service};
use kernel::protocol::{Pipe, decode, encode, files};
use std::sync::{Arc, Mutex, PoisonError};

/// An activity of `files`.
pub struct FilesService {
    messenger: Arc<Messenger>,
    files: Arc<FileSystem>,
    /// The buffer that data is read into.
    buffer: Mutex<Vec<u8>>,
}

impl Service for FilesService {
    fn serve(self: Arc<Self>, mut request: Request) -> Outcome {
        let Ok(asked) = decode(request.body.bytes()) else {
            return Outcome::Refuse(Refusal::Undecodable);
        };
        if matches!(asked, files::Request::Write { data, .. } if data.len() > files::MAX_DATA) {
            return Outcome::Refuse(Refusal::BeyondLimit);
        }
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        let now_ns = self.messenger.wall_clock_ns();
        Outcome::reply(encode(&self.files.handle(request.from, request.id, asked, now_ns, &mut buffer)))
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

/// Now and after every birth or death, gives back what dead clients had open.
async fn forget_the_dead(messenger: Arc<Messenger>, files: Arc<FileSystem>) {
    loop {
        let seen = messenger.changes();
        files.forget_all_dead();
        messenger.changed_since(seen).await;
    }
}
