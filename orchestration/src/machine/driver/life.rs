//! One VM as its driver keeps it, through all its lives.

use crate::machine::{Shared, VmStatus};
use crate::machine_file::{Forward, RestartPolicy, VmPlan};
use crate::sys;
use crate::vm::arguments::{Start, Ticks, arguments};
use crate::vm::console::Console;
use crate::vm::{Death, Process, State, forwards, pin_vcpus};
use ivshmem::layout::{LifeState, Liveness};
use ivshmem::server::{Connection, Greeting};
use kernel::clock::line::frequency;
use kernel::membership::Role;
use kernel::protocol::Peer;
use std::io;
use std::net::SocketAddrV4;
use std::os::fd::AsFd;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// First wait before a VM that died without having been ready starts again;
/// it doubles with each such death.
const RESTART_DELAY: Duration = Duration::from_millis(100);
/// Longest such wait.
const LONGEST_RESTART_DELAY: Duration = Duration::from_secs(5);
/// First wait for QEMU to have made its vCPUs' threads; it doubles each time.
const PIN_DELAY: Duration = Duration::from_millis(20);
/// Longest such wait; then the VM stays where the host puts it.
const LONGEST_PIN_DELAY: Duration = Duration::from_secs(2);

/// A VM.
pub(super) struct Vm {
    pub peer: Peer,
    pub plan: VmPlan,
    pub state: State,
    /// Counts its starts.
    pub generation: u32,
    pub process: Option<Process>,
    /// The server's end of its bell socket, and whether its greeting is unfinished.
    connection: Option<(Connection, bool)>,
    pub console: Console,
    processors: Vec<usize>,
    /// When to look for its vCPUs' threads, and how long to wait after that.
    pin: Option<(Instant, Duration)>,
    /// When it is ended for not being ready.
    pub ready_by: Option<Instant>,
    /// When its next life starts.
    pub restart_at: Option<Instant>,
    /// Lives in a row that ended before it was ready.
    false_starts: u32,
    /// Why we ended it, if we did.
    ended_for: Option<Death>,
    /// Who waits for its death.
    pub killers: Vec<Sender<()>>,
}

impl Vm {
    pub fn new(shared: &Shared, index: usize) -> io::Result<Self> {
        let plan = shared.file.vms[index].clone();
        Ok(Self {
            peer: Peer(index as u16 + 1),
            console: Console::new(&shared.log(&plan.name))?,
            plan,
            state: State::Starting,
            generation: 0,
            process: None,
            connection: None,
            processors: shared.processors[index].clone(),
            pin: None,
            ready_by: None,
            restart_at: None,
            false_starts: 0,
            ended_for: None,
            killers: Vec::new(),
        })
    }

    /// Whether its QEMU is there (it may have ended and not yet been reaped).
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// Starts its next life: afterwards it is starting, or dead.
    pub fn start(&mut self, shared: &Shared) {
        self.generation += 1;
        self.ended_for = None;
        let image = shared.booted.boots(self.peer, shared.images.of(self.plan.role));
        self.console.start_life(image);
        if self.generation > 1 {
            self.console.note(&format!("{} starts again: generation {}", self.plan.name, self.generation));
        }
        // Before its QEMU runs, so that it finds itself alive in the table.
        self.state = State::Starting;
        shared.regions.membership().set_liveness(self.peer, self.liveness());
        match self.spawn(shared) {
            Ok(()) => {
                let now = Instant::now();
                self.ready_by = Some(now + shared.options.boot_timeout);
                self.pin = Some((now + PIN_DELAY, PIN_DELAY * 2));
            }
            Err(error) => {
                self.false_starts += 1;
                self.connection = None;
                self.state = State::Dead(Death::NotSpawned(error.to_string()));
            }
        }
    }

    fn spawn(&mut self, shared: &Shared) -> io::Result<()> {
        let (connection, bell) = shared.bells.connect(self.peer.0)?;
        self.connection = Some((connection, true));
        let regions = shared.regions.due(self.peer, &self.plan);
        let net = shared.file.net.as_ref().filter(|_| self.plan.role == Role::Node);
        let forwards: Vec<Forward> = self.forwards(shared).copied().collect();
        let plug = shared.ethernet.as_ref().and_then(|ethernet| ethernet.plug(self.peer));
        let start = Start {
            vm: &self.plan,
            image: shared.images.of(self.plan.role),
            accelerator: shared.options.accelerator,
            regions: &regions,
            bell: bell.as_fd(),
            card: plug.map(|plug| (plug, self.peer)),
            outside: net.map(|net| (net.address, &forwards[..])),
            epoch_ns: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos(),
            seed: crate::regions::random()?,
            ticks: shared
                .regions
                .membership()
                .timeline()
                .read()
                .map(|timeline| Ticks { now: sys::ticks(), per_second: frequency(timeline.after.scale) }),
        };
        let (arguments, descriptors) = arguments(&start);
        self.process = Some(Process::spawn(&shared.options.qemu, &arguments, descriptors)?);
        self.greet(shared);
        Ok(())
    }

    /// Goes on with the greeting of its doorbell device.
    pub fn greet(&mut self, shared: &Shared) {
        let Some(((connection, unfinished), memory)) =
            self.connection.as_mut().zip(shared.regions.bell(self.peer))
        else {
            return;
        };
        // An error means that its QEMU is gone, which its pidfd says as well.
        *unfinished = connection.greet(memory) == Ok(Greeting::Blocked);
    }

    /// Its socket, while the greeting is unfinished.
    pub fn greeting(&self) -> Option<&Connection> {
        self.connection.as_ref().filter(|(_, unfinished)| *unfinished).map(|(connection, _)| connection)
    }

    pub fn become_ready(&mut self, shared: &Shared) {
        self.state = State::Ready;
        self.ready_by = None;
        self.false_starts = 0;
        self.widen_forwards(shared);
    }

    /// The host's ports that lead to it.
    fn forwards<'a>(&self, shared: &'a Shared) -> impl Iterator<Item = &'a Forward> + use<'a> {
        let peer = self.peer;
        let all = shared.file.net.iter().flat_map(|net| &net.forwards);
        all.filter(move |forward| forward.node == peer)
    }

    /// Lets clients wait at the host's ports that lead to it.
    fn widen_forwards(&mut self, shared: &Shared) {
        let Some((process, net)) = self.process.as_ref().zip(shared.file.net.as_ref()) else { return };
        let address = |forward: &Forward| SocketAddrV4::new(net.address, forward.host_port);
        let addresses: Vec<_> = self.forwards(shared).map(address).collect();
        if forwards::widen(process.id(), process.pidfd(), &addresses) < addresses.len() {
            // The host does not let us (ptrace(2)), or QEMU does not listen yet.
            self.console.note("one client at a time may call at the host's ports that lead here");
        }
    }

    /// Asks for its end, for this reason (the first reason counts).
    pub fn end(&mut self, why: Death) {
        self.restart_at = None;
        if let Some(process) = &self.process {
            self.ended_for.get_or_insert(why);
            process.kill();
        }
    }

    /// Takes note of its death, if it is dead.
    pub fn reap(&mut self) -> bool {
        let Some(death) = self.process.as_mut().and_then(Process::try_reap) else { return false };
        self.take_output(0);
        self.take_output(1);
        self.console.finish();
        if self.state != State::Ready {
            self.false_starts += 1;
        }
        // It may have ended by itself just before we ended it.
        let death = match (self.ended_for.take(), death) {
            (Some(why), Death::Signal(_)) => why,
            (_, death) => death,
        };
        self.state = State::Dead(death);
        (self.process, self.connection, self.pin, self.ready_by) = (None, None, None, None);
        true
    }

    /// Decides on its next life; says whether there is one.
    pub fn plan_restart(&mut self) -> bool {
        if self.plan.restart != RestartPolicy::Always {
            return false;
        }
        let delay = match self.false_starts {
            0 => Duration::ZERO,
            count => (RESTART_DELAY * 2_u32.saturating_pow(count - 1)).min(LONGEST_RESTART_DELAY),
        };
        self.restart_at = Some(Instant::now() + delay);
        true
    }

    pub fn take_output(&mut self, output: usize) {
        if let Some(process) = &mut self.process {
            process.drain(output, |bytes| self.console.take(output, bytes));
        }
    }

    /// Pins its vCPUs once QEMU has made their threads.
    pub fn pin_when_due(&mut self, now: Instant) {
        let Some((at, delay)) = self.pin.filter(|(at, _)| *at <= now) else { return };
        let pinned = self.process.as_ref().is_none_or(|process| pin_vcpus(process.id(), &self.processors));
        self.pin = (!pinned && delay <= LONGEST_PIN_DELAY).then(|| (at.max(now) + delay, delay * 2));
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        [self.ready_by, self.restart_at, self.pin.map(|(at, _)| at)].into_iter().flatten().min()
    }

    /// What the liveness table says of it.
    pub fn liveness(&self) -> Liveness {
        let state = if self.generation == 0 { LifeState::Absent } else { self.state.life() };
        Liveness { generation: self.generation, state }
    }

    /// What is told of it.
    pub fn status(&self, shared: &Shared) -> VmStatus {
        let (state, death) = match &self.state {
            State::Starting => ("starting", None),
            State::Ready => ("ready", None),
            State::Dead(death) => ("dead", Some(death.to_string())),
        };
        VmStatus {
            name: self.plan.name.clone(),
            peer: self.peer.0,
            role: match self.plan.role {
                Role::Utility(utility) => utility.to_string(),
                _ => "node".into(),
            },
            cluster: shared.file.clusters.get(usize::from(self.plan.cluster)).cloned().unwrap_or_default(),
            state: state.into(),
            death,
            generation: self.generation,
            process: self.process.as_ref().map(Process::id),
            processors: self.processors.clone(),
            memory: self.plan.memory.0,
        }
    }
}
