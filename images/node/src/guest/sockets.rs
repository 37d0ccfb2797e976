//! The calls of programs that are about sockets, counters, and waiting for descriptors.

use super::{Node, Result, call};
use crate::counter::Counter;
use crate::descriptors::{FIRST_DESCRIPTOR, Object};
use crate::sockets::OpenSocket;
use futures_util::future::{Either, select};
use hermit_abi as abi;
use hermit_abi::pollfd;
use kernel::errno::Errno;
use kernel::executor::block_on;
use kernel::pipe::{Event, wait_any};
use kernel::waiters::Waiters;
use network::{Kind, Lookup, Shutdown, Socket};
use runtime::system::{Carries, Family, OptionValue, SocketOption, Sockets};
use runtime::thread::handed_over;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU8};
use std::time::Duration;

type Attempt<T> = std::result::Result<T, Errno>;

/// Bytes of a connection's buffer, each way, as programs may ask.
const BUFFER_BYTES: i32 = network::BUFFER_BYTES as i32;

impl Node {
    /// Attempts something until it needs not be waited for, or as long as
    /// `patience` says (not at all, if that is an error); then it is `late`.
    fn patiently<T>(
        &self,
        tag: u64,
        changes: &Waiters,
        patience: Attempt<Option<Duration>>,
        late: Errno,
        mut attempt: impl FnMut() -> Attempt<T>,
    ) -> Attempt<T> {
        let mut seen = changes.count();
        match (attempt(), &patience) {
            (Err(Errno::AGAIN), Ok(_)) => {}
            (result, _) => return result,
        }
        let attempts = async {
            loop {
                changes.wait(seen).await;
                seen = changes.count();
                match attempt() {
                    Err(Errno::AGAIN) => {}
                    result => return result,
                }
            }
        };
        let (attempts, timer) = (pin!(attempts), pin!(self.timer(patience?)));
        let timed = async {
            match select(attempts, timer).await {
                Either::Left((result, _)) => result,
                Either::Right(_) => Err(late),
            }
        };
        match self.activities.tagged(tag) {
            Some(activity) => self.unless_stopped(&activity, timed).unwrap_or(Err(Errno::CANCELED)),
            None if tag == 0 => block_on(timed),
            // Its end has been reported meanwhile.
            None => Err(Errno::CANCELED),
        }
    }

    fn open_socket(&self, tag: u64, fd: i32) -> Attempt<Arc<OpenSocket>> {
        match self.descriptors.get(tag, fd)? {
            Object::Socket(socket) => Ok(socket),
            _ => Err(Errno::NOTSOCK),
        }
    }

    /// Reads from a socket.
    pub(super) fn receive_from(
        &self,
        tag: u64,
        open: &OpenSocket,
        target: &mut [u8],
        peek: bool,
    ) -> Attempt<(usize, Option<SocketAddr>)> {
        let patience = open.patience(&open.receive_timeout_ns);
        self.patiently(tag, open.socket.changes(), patience, Errno::AGAIN, || {
            open.socket.receive(target, peek)
        })
    }

    /// Writes to a socket: all of it, if it may wait for that.
    pub(super) fn send_to(
        &self,
        tag: u64,
        open: &OpenSocket,
        source: &[u8],
        to: Option<SocketAddr>,
    ) -> Attempt<usize> {
        if to.is_some_and(|to| to.ip().to_canonical() == Ipv4Addr::BROADCAST) && !open.broadcast.load(Relaxed)
        {
            return Err(Errno::ACCES);
        }
        let mut sent = 0;
        loop {
            let patience = open.patience(&open.send_timeout_ns);
            let taken = self.patiently(tag, open.socket.changes(), patience, Errno::AGAIN, || match to {
                Some(to) => open.socket.send_to(&source[sent..], to),
                None => open.socket.send(&source[sent..]),
            });
            match taken {
                Ok(taken) => sent += taken,
                Err(_) if sent > 0 => return Ok(sent),
                Err(error) => return Err(error),
            }
            if sent >= source.len() {
                return Ok(sent);
            }
        }
    }

    /// Takes from a counter.
    pub(super) fn read_counter(&self, tag: u64, counter: &Counter, target: &mut [u8]) -> Attempt<usize> {
        let target = target.first_chunk_mut().ok_or(Errno::INVAL)?;
        let patience = if counter.nonblocking.load(Relaxed) { Err(Errno::AGAIN) } else { Ok(None) };
        let taken = self.patiently(tag, &counter.changes, patience, Errno::AGAIN, || counter.take())?;
        *target = taken.to_ne_bytes();
        Ok(target.len())
    }

    /// Adds to a counter.
    pub(super) fn write_counter(&self, tag: u64, counter: &Counter, source: &[u8]) -> Attempt<usize> {
        let more = u64::from_ne_bytes(*source.first_chunk().ok_or(Errno::INVAL)?);
        let patience = if counter.nonblocking.load(Relaxed) { Err(Errno::AGAIN) } else { Ok(None) };
        self.patiently(tag, &counter.changes, patience, Errno::AGAIN, || counter.add(more))?;
        Ok(size_of::<u64>())
    }
}

impl Sockets for Node {
    fn socket(&self, tag: u64, family: Family, carries: Carries) -> Result<i32> {
        call(|| {
            let family = match family {
                Family::V4 => network::Family::V4,
                Family::V6 => network::Family::V6,
            };
            let kind = match carries {
                Carries::Streams => Kind::Stream,
                Carries::Datagrams => Kind::Datagram,
            };
            let socket = Socket::new(self.network.stack(), tag, family, kind)?;
            self.install(tag, Object::Socket(Arc::new(OpenSocket::new(socket))))
        })
    }

    fn bind(&self, tag: u64, fd: i32, address: SocketAddr) -> Result<()> {
        call(|| self.open_socket(tag, fd)?.socket.bind(address))
    }

    fn listen(&self, tag: u64, fd: i32, backlog: i32) -> Result<()> {
        call(|| self.open_socket(tag, fd)?.socket.listen(backlog))
    }

    fn accept(&self, tag: u64, fd: i32) -> Result<(i32, SocketAddr)> {
        call(|| {
            let open = self.open_socket(tag, fd)?;
            let patience = open.patience(&open.receive_timeout_ns);
            // Whoever cannot be taken goes on to wait.
            self.descriptors.has_room(tag)?;
            let accepted =
                self.patiently(tag, open.socket.changes(), patience, Errno::AGAIN, || open.socket.accept());
            let (socket, from) = accepted?;
            let fd = self.install(tag, Object::Socket(Arc::new(OpenSocket::new(socket))))?;
            Ok((fd, from))
        })
    }

    fn connect(&self, tag: u64, fd: i32, address: SocketAddr) -> Result<()> {
        call(|| {
            let open = self.open_socket(tag, fd)?;
            match open.socket.connect(address) {
                Err(Errno::INPROGRESS) => open.apply(),
                done => return done,
            }
            let patience = open.patience(&open.send_timeout_ns);
            let waits = patience.is_ok();
            let socket = &open.socket;
            match self.patiently(tag, socket.changes(), patience, Errno::TIMEDOUT, || socket.connected()) {
                Err(Errno::AGAIN) if !waits => Err(Errno::INPROGRESS),
                // It is told now, and not again.
                Err(error) => Err(socket.take_error().unwrap_or(error)),
                Ok(()) => Ok(()),
            }
        })
    }

    fn shutdown(&self, tag: u64, fd: i32, how: i32) -> Result<()> {
        call(|| {
            let how = match how {
                abi::SHUT_RD => Shutdown::Receive,
                abi::SHUT_WR => Shutdown::Send,
                abi::SHUT_RDWR => Shutdown::Both,
                _ => return Err(Errno::INVAL),
            };
            self.open_socket(tag, fd)?.socket.shut_down(how)
        })
    }

    fn name(&self, tag: u64, fd: i32, peer: bool) -> Result<SocketAddr> {
        call(|| {
            let open = self.open_socket(tag, fd)?;
            if peer { open.socket.peer() } else { Ok(open.socket.local()) }
        })
    }

    fn send(&self, tag: u64, fd: i32, source: &[u8], to: Option<SocketAddr>) -> Result<usize> {
        call(|| self.send_to(tag, &*self.open_socket(tag, fd)?, source, to))
    }

    fn receive(
        &self,
        tag: u64,
        fd: i32,
        target: &mut [u8],
        peek: bool,
    ) -> Result<(usize, Option<SocketAddr>)> {
        call(|| self.receive_from(tag, &*self.open_socket(tag, fd)?, target, peek))
    }

    fn option(&self, tag: u64, fd: i32, option: SocketOption) -> Result<OptionValue> {
        call(|| get_option(&*self.open_socket(tag, fd)?, option))
    }

    fn set_option(&self, tag: u64, fd: i32, option: SocketOption, value: OptionValue) -> Result<()> {
        call(|| set_option(&*self.open_socket(tag, fd)?, option, value))
    }

    fn addresses(&self, tag: u64, name: &str) -> Result<Vec<IpAddr>> {
        call(|| {
            if let Some(addresses) = network::known(name) {
                return Ok(handed_over(&addresses));
            }
            let mut lookup = Lookup::new(self.network.stack(), name)?;
            let changes = lookup.changes().clone();
            let found = self.patiently(tag, &changes, Ok(None), Errno::AGAIN, || lookup.addresses())?;
            Ok(handed_over(&found))
        })
    }

    fn counter(&self, tag: u64, value: u64, flags: i16) -> Result<i32> {
        call(|| {
            if flags & !(abi::EFD_SEMAPHORE | abi::EFD_NONBLOCK | abi::EFD_CLOEXEC) != 0 {
                return Err(Errno::INVAL);
            }
            let (takes_one, waits_not) = (flags & abi::EFD_SEMAPHORE != 0, flags & abi::EFD_NONBLOCK != 0);
            let counter = Counter::new(value, takes_one, waits_not);
            let fd = self.install(tag, Object::Counter(Arc::new(counter)))?;
            self.descriptors.close_on_exec(tag, fd, flags & abi::EFD_CLOEXEC != 0)?;
            Ok(fd)
        })
    }

    fn is_nonblocking(&self, tag: u64, fd: i32) -> Result<bool> {
        call(|| match fd {
            0..FIRST_DESCRIPTOR => Ok(false),
            _ => Ok(match self.descriptors.get(tag, fd)? {
                Object::File(_) => false,
                Object::Socket(open) => open.nonblocking.load(Relaxed),
                Object::Counter(counter) => counter.nonblocking.load(Relaxed),
            }),
        })
    }

    fn set_nonblocking(&self, tag: u64, fd: i32, on: bool) -> Result<()> {
        call(|| {
            match self.descriptors.get(tag, fd)? {
                Object::Socket(open) => open.nonblocking.store(on, Relaxed),
                Object::Counter(counter) => counter.nonblocking.store(on, Relaxed),
                // No file makes anybody wait.
                Object::File(_) if on => return Err(Errno::NOSYS),
                Object::File(_) => {}
            }
            Ok(())
        })
    }

    fn poll(&self, tag: u64, descriptors: &mut [pollfd], timeout: Option<Duration>) -> Result<usize> {
        call(|| {
            let watched: Vec<Watched> = descriptors.iter().map(|one| self.watched(tag, one)).collect();
            let mut ready: Vec<usize> =
                (0..watched.len()).filter(|&index| watched[index].events() != 0).collect();
            if ready.is_empty() && timeout != Some(Duration::ZERO) {
                let events: Vec<&dyn Event> = watched.iter().map(|watched| watched as &dyn Event).collect();
                let wait = wait_any(&events, self.timer(timeout));
                ready = match self.activities.tagged(tag) {
                    Some(activity) => self.unless_stopped(&activity, wait).unwrap_or_default(),
                    None if tag == 0 => block_on(wait),
                    None => return Err(Errno::CANCELED),
                };
            }
            descriptors.iter_mut().for_each(|one| one.revents = 0);
            ready.iter().for_each(|&index| descriptors[index].revents = watched[index].events());
            // What was ready may not be any more: it was somebody else's.
            Ok(descriptors.iter().filter(|one| one.revents != 0).count())
        })
    }
}

impl Node {
    fn watched(&self, tag: u64, one: &pollfd) -> Watched {
        let wants = one.events;
        let state = |object| Watched { object, wants, never: Waiters::default() };
        match (one.fd, self.descriptors.get(tag, one.fd)) {
            (..0, _) => state(None),
            (0..FIRST_DESCRIPTOR, _) => state(Some(Ok(None))),
            (_, found) => state(Some(found.map(Some))),
        }
    }
}

/// A descriptor that is waited for.
struct Watched {
    /// `None`: one that is to be left out. Without an object it is the console's.
    object: Option<Attempt<Option<Object>>>,
    /// What is waited for.
    wants: i16,
    /// The changes of what never changes.
    never: Waiters,
}

impl Watched {
    /// What there is of what is waited for, and of what is always told.
    fn events(&self) -> i16 {
        let (readable, writable, always) = match &self.object {
            None => return 0,
            Some(Err(_)) => return abi::POLLNVAL,
            // Neither a file nor the console makes anybody wait.
            Some(Ok(None | Some(Object::File(_)))) => (true, true, 0),
            Some(Ok(Some(Object::Counter(counter)))) => {
                let (readable, writable) = counter.readiness();
                (readable, writable, 0)
            }
            Some(Ok(Some(Object::Socket(open)))) => {
                let state = open.socket.readiness();
                let over = if state.over { abi::POLLHUP } else { 0 };
                let failed = if state.failed { abi::POLLERR } else { 0 };
                (state.readable, state.writable, over | failed)
            }
        };
        let of = |holds: bool, events: i16| if holds { events } else { 0 };
        let found =
            of(readable, abi::POLLIN | abi::POLLRDNORM) | of(writable, abi::POLLOUT | abi::POLLWRNORM);
        found & self.wants | always
    }
}

impl Event for Watched {
    fn changes(&self) -> &Waiters {
        match &self.object {
            Some(Ok(Some(Object::Socket(open)))) => open.socket.changes(),
            Some(Ok(Some(Object::Counter(counter)))) => &counter.changes,
            _ => &self.never,
        }
    }

    fn is_ready(&self) -> bool {
        self.events() != 0
    }
}

fn get_option(open: &OpenSocket, option: SocketOption) -> Attempt<OptionValue> {
    let time = |ns: u64| OptionValue::Time(Some(Duration::from_nanos(ns)).filter(|time| !time.is_zero()));
    let switch = |on: &AtomicBool| OptionValue::Number(on.load(Relaxed).into());
    Ok(match option {
        SocketOption::ReceiveTimeout => time(open.receive_timeout_ns.load(Relaxed)),
        SocketOption::SendTimeout => time(open.send_timeout_ns.load(Relaxed)),
        SocketOption::Error => OptionValue::Number(open.socket.take_error().map_or(0, |error| error.0)),
        SocketOption::ReuseAddress => switch(&open.reuse_address),
        SocketOption::KeepAlive => switch(&open.keep_alive),
        SocketOption::Broadcast => switch(&open.broadcast),
        SocketOption::NoDelay if open.is_stream() => switch(&open.no_delay),
        SocketOption::NoDelay => return Err(Errno::NOPROTOOPT),
        SocketOption::TimeToLive => OptionValue::Number(open.time_to_live.load(Relaxed).into()),
        SocketOption::OnlyV6 => OptionValue::Number(open.socket.only_v6()?.into()),
        SocketOption::ReceiveBuffer | SocketOption::SendBuffer => OptionValue::Number(BUFFER_BYTES),
        SocketOption::Linger => {
            OptionValue::Time(open.linger.load(Relaxed).checked_sub(1).map(Duration::from_secs))
        }
    })
}

fn set_option(open: &OpenSocket, option: SocketOption, value: OptionValue) -> Attempt<()> {
    let nanoseconds =
        |time: Option<Duration>| time.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    let set = |switch: &AtomicBool, number: i32| switch.store(number != 0, Relaxed);
    match (option, value) {
        (SocketOption::ReceiveTimeout, OptionValue::Time(time)) => {
            open.receive_timeout_ns.store(nanoseconds(time), Relaxed);
        }
        (SocketOption::SendTimeout, OptionValue::Time(time)) => {
            open.send_timeout_ns.store(nanoseconds(time), Relaxed);
        }
        (SocketOption::Linger, OptionValue::Time(time)) => {
            open.linger.store(time.map_or(0, |time| time.as_secs().saturating_add(1)), Relaxed);
        }
        (SocketOption::ReuseAddress, OptionValue::Number(on)) => set(&open.reuse_address, on),
        (SocketOption::Broadcast, OptionValue::Number(on)) => set(&open.broadcast, on),
        (SocketOption::KeepAlive, OptionValue::Number(on)) => set(&open.keep_alive, on),
        (SocketOption::OnlyV6, OptionValue::Number(on)) => open.socket.set_only_v6(on != 0)?,
        (SocketOption::NoDelay, OptionValue::Number(on)) if open.is_stream() => set(&open.no_delay, on),
        (SocketOption::TimeToLive, OptionValue::Number(hops)) => {
            let hops = u8::try_from(hops).ok().filter(|&hops| hops > 0).ok_or(Errno::INVAL)?;
            AtomicU8::store(&open.time_to_live, hops, Relaxed);
        }
        // Its size is what it is; what went wrong is not set.
        _ => return Err(Errno::NOPROTOOPT),
    }
    open.apply();
    Ok(())
}
