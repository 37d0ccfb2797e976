//! The command's end of the control socket.

use super::{Reply, Request};
use crate::state_directory::MachineFolder;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

/// Why a command does not reach its machine, or its answer does not come.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No machine of this name is up.
    #[error("no machine called {0} is up; `cyanea up FILE` starts one")]
    NotUp(String),
    /// The connection broke.
    #[error("the machine {machine} stopped answering: {error}")]
    Broken {
        /// Its name.
        machine: String,
        /// How it broke.
        error: io::Error,
    },
    /// It answered something else than a reply.
    #[error(
        "the machine {machine} answers in a form that this command does not know ({error}); its launcher is of another version"
    )]
    Unknown {
        /// Its name.
        machine: String,
        /// What is wrong with the answer.
        error: serde_json::Error,
    },
}

/// A connection for one command.
#[derive(Debug)]
pub struct Client {
    machine: String,
    replies: BufReader<UnixStream>,
}

impl Client {
    /// Connects to a running machine.
    pub fn connect(folder: &MachineFolder) -> Result<Self, ControlError> {
        let machine = folder.name().to_owned();
        match UnixStream::connect(folder.socket()) {
            Ok(stream) => Ok(Self { machine, replies: BufReader::new(stream) }),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
            {
                Err(ControlError::NotUp(machine))
            }
            Err(error) => Err(ControlError::Broken { machine, error }),
        }
    }

    /// Sends a command, hands each reply but the last to `take`, returns the last.
    /// Where `take` fails that is the end of it: the machine sees that the
    /// command is gone.
    ///
    /// # Errors
    /// See [`ControlError`], and those of `take`.
    pub fn request<E: From<ControlError>>(
        mut self,
        request: &Request,
        mut take: impl FnMut(Reply) -> Result<(), E>,
    ) -> Result<Reply, E> {
        let mut line = serde_json::to_vec(request).map_err(|error| self.unknown(error))?;
        line.push(b'\n');
        self.replies.get_mut().write_all(&line).map_err(|error| self.broken(error))?;
        loop {
            let mut line = String::new();
            match self.replies.read_line(&mut line) {
                Ok(0) => return Err(self.broken(io::ErrorKind::UnexpectedEof.into()).into()),
                Ok(_) => {}
                Err(error) => return Err(self.broken(error).into()),
            }
            let reply: Reply = serde_json::from_str(&line).map_err(|error| self.unknown(error))?;
            if reply.is_final() {
                return Ok(reply);
            }
            take(reply)?;
        }
    }

    fn broken(&self, error: io::Error) -> ControlError {
        ControlError::Broken { machine: self.machine.clone(), error }
    }

    fn unknown(&self, error: serde_json::Error) -> ControlError {
        ControlError::Unknown { machine: self.machine.clone(), error }
    }
}
