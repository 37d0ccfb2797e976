//! A machine with its folder and its control socket, from `up` to `down`.

use crate::control::{ControlServer, Replies, Reply, Services};
use crate::machine::{Event, Machine, Options, Progress, StartError};
use crate::machine_file::MachineFile;
use crate::state_directory::{Lock, MachineFolder, StateDirectory, StateError};
use std::io;
use std::os::unix::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Why a session does not start.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Its folder.
    #[error(transparent)]
    State(#[from] StateError),
    /// Its machine.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Its control socket.
    #[error("the control socket {} cannot be made: {error}; set CYANEA_STATE to a folder with a shorter path", path.display())]
    Socket {
        /// Where it should be.
        path: std::path::PathBuf,
        /// Why it is not.
        error: io::Error,
    },
}

/// Why a session ends.
#[derive(Debug)]
pub enum Stop {
    /// [`Interrupt::trigger`] was called.
    Interrupted,
    /// `down` was asked for; the answer goes here.
    Down(Replies),
}

/// Ends a session from elsewhere, whether it is up yet or not.
#[derive(Clone, Default)]
pub struct Interrupt {
    state: Arc<Mutex<InterruptState>>,
}

#[derive(Default)]
struct InterruptState {
    triggered: bool,
    session: Option<(Machine, Sender<Stop>)>,
}

impl Interrupt {
    /// Ends the session. May be called at any time and as often as one likes.
    pub fn trigger(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.triggered = true;
        if let Some((machine, stops)) = state.session.take() {
            let _ = stops.send(Stop::Interrupted);
            drop(state);
            machine.shutdown();
        }
    }

    /// Whether it was.
    pub fn is_triggered(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).triggered
    }

    /// Takes note of what is to be ended.
    fn arm(&self, machine: &Machine, stops: &Sender<Stop>) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.triggered {
            return Err(io::ErrorKind::Interrupted.into());
        }
        state.session = Some((machine.clone(), stops.clone()));
        Ok(())
    }

    fn disarm(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).session = None;
    }
}

/// A machine that is up.
pub struct Session {
    machine: Machine,
    folder: MachineFolder,
    server: Option<ControlServer>,
    stops: Receiver<Stop>,
    interrupt: Interrupt,
    recorder: Option<JoinHandle<()>>,
    lock: Option<Lock>,
}

impl Session {
    /// Whether a machine could be brought up, as far as that can be seen before
    /// its images are there. Nothing is started, and nothing is left of it.
    ///
    /// # Errors
    /// What [`Session::start`] would refuse.
    pub fn check(file: &MachineFile, state: &StateDirectory, options: &Options) -> Result<(), SessionError> {
        check_socket(&state.folder(&file.name))?;
        state.probe()?;
        Ok(Machine::check(file, options)?)
    }

    /// Brings a machine up under its name in `state`. `options` gets the folder
    /// for logs. `attach` starts the client on the launcher's rings and returns
    /// what serves commands; `interrupt` ends it all, even while it starts.
    pub fn start(
        file: &MachineFile,
        state: &StateDirectory,
        mut options: Options,
        progress: &dyn Progress,
        interrupt: &Interrupt,
        attach: impl FnOnce(&Machine) -> io::Result<Arc<dyn Services>>,
    ) -> Result<Self, SessionError> {
        let folder = state.folder(&file.name);
        check_socket(&folder)?;
        state.sweep();
        let lock = folder.lock()?;
        options.logs = folder.logs();
        let (sender, stops) = channel();
        let started = Machine::start(file, options, progress, |machine| {
            interrupt.arm(machine, &sender)?;
            attach(machine)
        });
        let (machine, services) = started.inspect_err(|_| interrupt.disarm())?;
        let mut session = Self {
            machine,
            folder,
            server: None,
            stops,
            interrupt: interrupt.clone(),
            recorder: None,
            lock: Some(lock),
        };
        session.record();
        session.serve(services, sender)?;
        Ok(session)
    }

    fn serve(&mut self, services: Arc<dyn Services>, stops: Sender<Stop>) -> Result<(), SessionError> {
        let path = self.folder.socket();
        let down = move |replies| {
            let _ = stops.send(Stop::Down(replies));
        };
        let server = ControlServer::start(&path, self.machine.clone(), services, down);
        self.server = Some(server.map_err(|error| SessionError::Socket { path, error })?);
        Ok(())
    }

    /// Keeps `machine.json` as the machine is.
    fn record(&mut self) {
        let (machine, folder, events) = (self.machine.clone(), self.folder.clone(), self.machine.events());
        let record = move || {
            // It is for people; a full disk must not stop the machine.
            let _ = folder.write_status(&machine.status());
            for event in events {
                if event == Event::Ended {
                    return;
                }
                let _ = folder.write_status(&machine.status());
            }
        };
        self.recorder = std::thread::Builder::new().name("record".into()).spawn(record).ok();
    }

    /// The machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Waits until the session shall end.
    pub fn wait(&self) -> Stop {
        self.stops.recv().unwrap_or(Stop::Interrupted)
    }

    /// Ends the machine, frees its name, and then answers who asked for it.
    pub fn end(mut self, stop: Stop) {
        self.close();
        if let Stop::Down(replies) = stop {
            let _ = replies.send(&Reply::Done);
        }
    }

    fn close(&mut self) {
        self.interrupt.disarm();
        self.server = None;
        self.machine.shutdown();
        if let Some(recorder) = self.recorder.take() {
            let _ = recorder.join();
        }
        let _ = std::fs::remove_file(self.folder.status());
        self.lock = None;
    }
}

/// Whether a socket can have the path that the control socket would have.
fn check_socket(folder: &MachineFolder) -> Result<(), SessionError> {
    let path = folder.socket();
    match SocketAddr::from_pathname(&path) {
        Ok(_) => Ok(()),
        Err(error) => Err(SessionError::Socket { path, error }),
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.close();
    }
}
