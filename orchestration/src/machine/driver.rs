//! The driver: the one thread that owns a machine's VMs.
//!
//! It waits for whatever happens next (a request, a VM's output, the end of a
//! QEMU, a deadline), applies it, and tells: first the liveness table, then the
//! bells of everybody alive and of the launcher, then whoever listens to
//! [`Event`]s. The states of a VM are drawn in [`crate::vm`], those of the
//! machine in [`crate::machine`].

mod life;

use super::{BootFailure, Event, Request, Shared, lock};
use crate::vm::{Death, State};
use kernel::protocol::{Incarnation, Peer};
use life::Vm;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Starts the driver of a machine.
pub(super) fn spawn(
    shared: Arc<Shared>,
    requests: Receiver<Request>,
    wake: Arc<OwnedFd>,
) -> io::Result<JoinHandle<()>> {
    let vms: io::Result<Vec<Vm>> = (0..shared.file.vms.len()).map(|index| Vm::new(&shared, index)).collect();
    let driver = Driver { shared, requests, wake, vms: vms?, phase: Phase::Booting };
    std::thread::Builder::new().name("machine".into()).spawn(move || driver.run())
}

/// Where the machine is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not all VMs have been ready yet.
    Booting,
    /// All have been.
    Running,
    /// Every VM is being ended.
    Ending,
}

struct Driver {
    shared: Arc<Shared>,
    requests: Receiver<Request>,
    wake: Arc<OwnedFd>,
    vms: Vec<Vm>,
    phase: Phase,
}

/// What a wait ended with.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// Requests are waiting.
    Wake,
    /// The process of the VM at this index has ended.
    Ended(usize),
    /// One of its outputs has something, or is at its end.
    Output(usize, usize),
    /// Its greeting can go on.
    Greeting(usize),
}

/// How long the driver waits at the most while a VM boots.
const TICK: Duration = Duration::from_millis(250);

impl Driver {
    fn run(mut self) {
        self.start_all();
        while !(self.phase == Phase::Ending && self.vms.iter().all(|vm| !vm.runs())) {
            for source in self.wait() {
                self.handle(source);
            }
            self.meet_deadlines();
            self.take_requests();
        }
        self.shared.publish(&Event::Ended);
        // Whoever listens learns that nothing more will come.
        *lock(&self.shared.subscribers) = None;
    }

    fn start_all(&mut self) {
        for index in 0..self.vms.len() {
            if self.phase == Phase::Ending {
                return;
            }
            self.start(index);
        }
    }

    /// Starts the next life of a VM.
    fn start(&mut self, index: usize) {
        let (shared, vm) = (&self.shared, &mut self.vms[index]);
        vm.start(shared);
        self.tell(index);
        let Vm { peer, generation, .. } = self.vms[index];
        match self.vms[index].state {
            State::Dead(_) => self.after_death(index),
            _ => {
                self.shared.publish(&Event::Started { peer, generation });
                if self.shared.options.readiness == super::Readiness::Spawned {
                    self.set_ready(index);
                }
            }
        }
    }

    fn set_ready(&mut self, index: usize) {
        let vm = &mut self.vms[index];
        if vm.state != State::Starting || !vm.runs() {
            return;
        }
        vm.become_ready(&self.shared);
        let event = Event::Ready { peer: vm.peer, generation: vm.generation };
        self.tell(index);
        self.shared.publish(&event);
        let all_ready = self.vms.iter().all(|vm| vm.state == State::Ready);
        if self.phase == Phase::Booting && all_ready {
            self.phase = Phase::Running;
            self.shared.publish(&Event::Up);
        }
    }

    /// A VM's process has ended.
    fn reap(&mut self, index: usize) {
        if self.vms[index].reap() {
            let vm = &self.vms[index];
            if let State::Dead(death) = &vm.state {
                // Before anybody can ask why.
                let who = Incarnation { peer: vm.peer, generation: vm.generation };
                self.shared.last_words.note(who, death, &vm.console.last_lines());
            }
            self.tell(index);
            self.after_death(index);
        }
    }

    /// Everything that follows from a VM's death but the liveness table.
    fn after_death(&mut self, index: usize) {
        let restarts = self.phase == Phase::Running && self.vms[index].plan_restart();
        let vm = &mut self.vms[index];
        let State::Dead(death) = vm.state.clone() else { return };
        let last_lines = vm.console.last_lines();
        let (peer, generation) = (vm.peer, vm.generation);
        vm.console.note(&format!("{} {death}", vm.plan.name));
        for waiting in vm.killers.drain(..) {
            let _ = waiting.send(());
        }
        let failure = BootFailure {
            vm: vm.plan.name.clone(),
            death: death.clone(),
            last_lines: last_lines.clone(),
            log: self.shared.log(&vm.plan.name),
        };
        self.shared.publish(&Event::Died { peer, generation, death, last_lines, restarts });
        if self.phase == Phase::Booting {
            self.end_all();
            self.shared.publish(&Event::BootFailed(failure));
        }
    }

    /// Writes what became of a VM where all can see it, and rings everyone.
    fn tell(&self, index: usize) {
        let vm = &self.vms[index];
        let membership = self.shared.regions.membership();
        membership.set_liveness(vm.peer, vm.liveness());
        let statuses = self.vms.iter().map(|vm| vm.status(&self.shared)).collect();
        *lock(&self.shared.vms) = statuses;
        for other in self.vms.iter().filter(|other| other.runs()) {
            self.shared.bells.ring(other.peer.0);
        }
        self.shared.bells.ring(Peer::LAUNCHER.0);
    }

    fn end_all(&mut self) {
        self.phase = Phase::Ending;
        for vm in &mut self.vms {
            vm.end(Death::MachineEnded);
        }
    }

    fn take_requests(&mut self) {
        loop {
            match self.requests.try_recv() {
                Ok(Request::SetReady(who)) => self.with(who.peer, |driver, index| {
                    if driver.vms[index].generation == who.generation {
                        driver.set_ready(index);
                    }
                }),
                Ok(Request::Kill(peer, answer)) => self.with(peer, |driver, index| {
                    let vm = &mut driver.vms[index];
                    if vm.runs() {
                        vm.killers.push(answer);
                        vm.end(Death::Killed);
                    }
                }),
                Ok(Request::Follow(peer, follower)) => self.with(peer, |driver, index| {
                    driver.vms[index].console.follow(follower);
                }),
                Ok(Request::Shutdown) | Err(TryRecvError::Disconnected) => return self.end_all(),
                Err(TryRecvError::Empty) => return,
            }
        }
    }

    fn with(&mut self, peer: Peer, act: impl FnOnce(&mut Self, usize)) {
        if let Some(index) = usize::from(peer.0).checked_sub(1).filter(|&index| index < self.vms.len()) {
            act(self, index);
        }
    }

    /// Waits until something can be done.
    fn wait(&mut self) -> Vec<Source> {
        let start = Instant::now();
        let left = self.next_deadline().map(|deadline| deadline.saturating_duration_since(start));
        // While a VM boots, at the latest after a tick: so it shows if time jumped.
        let is_booting = self.vms.iter().any(|vm| vm.ready_by.is_some());
        let left = left.map(|left| if is_booting { left.min(TICK) } else { left });
        let sources = self.wait_for(left.map(|left| left + Duration::from_micros(100)));
        let late = start.elapsed().saturating_sub(left.unwrap_or(Duration::MAX));
        if late > TICK {
            // The host stood still: the VMs did not get that time either.
            self.vms.iter_mut().filter_map(|vm| vm.ready_by.as_mut()).for_each(|by| *by += late);
        }
        sources
    }

    /// The same, for so long at most.
    fn wait_for(&self, timeout: Option<Duration>) -> Vec<Source> {
        let mut sources = vec![Source::Wake];
        let mut list = vec![PollFd::new(&*self.wake, PollFlags::IN)];
        for (index, vm) in self.vms.iter().enumerate() {
            let Some(process) = &vm.process else { continue };
            for output in 0..2 {
                if let Some(descriptor) = process.output(output) {
                    list.push(PollFd::from_borrowed_fd(descriptor, PollFlags::IN));
                    sources.push(Source::Output(index, output));
                }
            }
            list.push(PollFd::from_borrowed_fd(process.pidfd(), PollFlags::IN));
            sources.push(Source::Ended(index));
            if let Some(connection) = vm.greeting() {
                list.push(PollFd::new(connection, PollFlags::OUT));
                sources.push(Source::Greeting(index));
            }
        }
        let timeout = timeout
            .map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
        match poll(&mut list, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            // Only a lack of the host's own memory: no reason to spin.
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
        let ready = |(descriptor, source): (&PollFd<'_>, Source)| {
            (!descriptor.revents().is_empty()).then_some(source)
        };
        list.iter().zip(sources).filter_map(ready).collect()
    }

    fn handle(&mut self, source: Source) {
        match source {
            Source::Wake => {
                let _ = rustix::io::read(&*self.wake, &mut [0; 8][..]);
            }
            Source::Ended(index) => self.reap(index),
            Source::Output(index, output) => self.vms[index].take_output(output),
            Source::Greeting(index) => self.vms[index].greet(&self.shared),
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.vms.iter().filter_map(Vm::next_deadline).min()
    }

    fn meet_deadlines(&mut self) {
        let now = Instant::now();
        for index in 0..self.vms.len() {
            let vm = &mut self.vms[index];
            vm.pin_when_due(now);
            if vm.ready_by.is_some_and(|deadline| deadline <= now) {
                vm.ready_by = None;
                vm.end(Death::NotReady(self.shared.options.boot_timeout));
            }
            if vm.restart_at.is_some_and(|at| at <= now) {
                vm.restart_at = None;
                if self.phase == Phase::Running {
                    self.start(index);
                }
            }
        }
    }
}
