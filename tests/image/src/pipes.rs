//! Programs whose activities talk through pipes of their own.

use cyanea::pipe::{Name, OpenError, ReceiveError, Receiver, SendError, Sender};
use std::process::ExitCode;
use std::time::Duration;

const SIZES: [usize; 9] = [0, 1, 24, 31, 32, 33, 500, 5000, cyanea::MAX_MESSAGE];

fn body(from: usize, number: usize) -> Vec<u8> {
    let size = SIZES[number % SIZES.len()];
    (0..size).map(|byte| (byte + from + number) as u8).collect()
}

/// Tells a name to an activity.
fn tell(to: usize, name: Name) {
    cyanea::send(to, &name.to_bytes()).expect("it is alive");
}

/// Waits for a name.
fn told() -> Name {
    Name::try_from(&cyanea::receive().expect("activity 0 is alive").body[..]).expect("it is a name")
}

/// The example of `docs/programs.md`.
pub fn pipe_sum() -> Result<(), Box<dyn std::error::Error>> {
    let me = cyanea::activity();
    if me.index > 0 {
        let name = Name::try_from(&cyanea::receive()?.body[..])?;
        Sender::open(name)?.send(&(me.index as u64).to_le_bytes())?;
        return Ok(());
    }
    let numbers = Receiver::new();
    // Whoever comes and goes: it does not end while this one is open.
    let _open = Sender::open(numbers.name())?;
    for other in 1..me.count {
        cyanea::send(other, &numbers.name().to_bytes())?;
    }
    let mut sum = 0;
    for _ in 1..me.count {
        let message = numbers.receive()?;
        sum += u64::from_le_bytes(message.body[..].try_into()?);
    }
    println!("the sum is {sum}");
    Ok(())
}

/// Every activity sends through a pipe of its own to activity 0, which waits
/// for all of them at once: each arrives whole, once, in order.
pub fn many() {
    let me = cyanea::activity();
    let count: usize = cyanea::args().first().and_then(|n| n.parse().ok()).unwrap_or(200);
    if me.index > 0 {
        let sender = Sender::open(told()).expect("activity 0 reads");
        for number in 0..count {
            sender.send(&body(me.index, number)).expect("activity 0 reads");
        }
        return;
    }
    let receivers: Vec<Receiver> = (1..me.count).map(|_| Receiver::new()).collect();
    receivers.iter().zip(1..).for_each(|(receiver, to)| tell(to, receiver.name()));
    let mut open: Vec<(usize, &Receiver, usize)> =
        receivers.iter().zip(1..).map(|(receiver, from)| (from, receiver, 0)).collect();
    let mut buffer = vec![0; cyanea::MAX_MESSAGE];
    while !open.is_empty() {
        let waited: Vec<&Receiver> = open.iter().map(|&(_, receiver, _)| receiver).collect();
        for ready in cyanea::wait(&waited, None).into_iter().rev() {
            let (from, receiver, next) = &mut open[ready];
            match receiver.try_receive_into(&mut buffer) {
                Ok((origin, size)) => {
                    assert_eq!(origin.activity, *from);
                    assert!(buffer[..size] == body(*from, *next), "message {next} of activity {from}");
                    *next += 1;
                }
                Err(ReceiveError::Ended) => {
                    assert_eq!(*next, count, "of activity {from}");
                    open.remove(ready);
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    println!("pipes: {count} messages of each of {} activities", me.count - 1);
}

/// What a pipe refuses, and how its ends learn of each other.
pub fn errors() {
    let me = cyanea::activity();
    if me.index > 0 {
        return answer();
    }
    let pipe = Receiver::new();
    assert_eq!(pipe.try_receive(), Err(ReceiveError::WouldBlock));
    assert_eq!(pipe.receive_timeout(Duration::from_millis(20)), Err(ReceiveError::WouldBlock));
    assert_eq!(cyanea::wait(&[&pipe, &cyanea::mailbox()], Some(Duration::from_millis(20))), []);
    // To itself, without a detour.
    let own = Sender::open(pipe.name()).expect("it is here");
    assert_eq!(own.try_send(&[0; cyanea::MAX_MESSAGE + 1]), Err(SendError::TooLong));
    own.send(b"seven b").expect("there is room");
    assert_eq!(cyanea::wait(&[&cyanea::mailbox(), &pipe], None), [1]);
    assert_eq!(pipe.try_receive_into(&mut [0; 6]), Err(ReceiveError::TooSmall(7)));
    let mut buffer = [0; 7];
    let (from, size) = pipe.receive_into(&mut buffer).expect("it fits");
    assert_eq!((from.activity, size, &buffer), (0, 7, b"seven b"));
    own.close();
    assert_eq!(pipe.receive(), Err(ReceiveError::Ended));
    let closed = pipe.name();
    pipe.close();
    assert_eq!(Sender::open(closed).err(), Some(OpenError::NoSuchPipe));
    // Names of the launcher, which has no pipes, of nobody, and of a node's life that is not.
    for (peer, error) in [(0, OpenError::NoSuchPipe), (999, OpenError::NoSuchPipe)] {
        assert_eq!(Sender::open(at_another_home(closed, peer, 1)).err(), Some(error));
    }
    let own = u16::from_le_bytes([closed.to_bytes()[0], closed.to_bytes()[1]]);
    assert_eq!(Sender::open(at_another_home(closed, own, 99)).err(), Some(OpenError::NodeDied));
    // One that is full, and one that is closed while somebody waits.
    let pipe = Receiver::new();
    (1..me.count).for_each(|to| tell(to, pipe.name()));
    (1..me.count).for_each(|_| drop(cyanea::receive().expect("the others are alive")));
    pipe.close();
    (1..me.count).for_each(|_| drop(cyanea::receive().expect("the others are alive")));
    println!("pipes: errors as they should be, {} activities", me.count);
}

/// A name that was changed so that its pipe is elsewhere.
fn at_another_home(name: Name, peer: u16, generation: u32) -> Name {
    let mut bytes = name.to_bytes();
    bytes[..2].copy_from_slice(&peer.to_le_bytes());
    bytes[4..8].copy_from_slice(&generation.to_le_bytes());
    Name::from_bytes(bytes)
}

/// Fills a pipe that nobody reads, and waits until it is closed.
fn answer() {
    let name = told();
    let sender = Sender::open(name).expect("activity 0 has it");
    let mut sent = 0;
    loop {
        match sender.try_send(&[1; 1000]) {
            Ok(()) => sent += 1,
            // The way to the pipe's VM may be full before the pipe is.
            Err(SendError::WouldBlock) if sent < 128 => std::thread::sleep(Duration::from_millis(1)),
            error => break assert_eq!(error, Err(SendError::WouldBlock)),
        }
    }
    assert!((128..=264).contains(&sent), "a pipe takes {sent} messages of 1000 bytes");
    cyanea::send(0, b"full").expect("activity 0 is alive");
    let error = std::iter::repeat_with(|| sender.send(&[1; 1000])).find_map(Result::err);
    assert_eq!(error, Some(SendError::Closed));
    assert_eq!(Sender::open(name).err(), Some(OpenError::NoSuchPipe));
    cyanea::send(0, b"closed").expect("activity 0 is alive");
}

/// Reads a public pipe until so many activities of another task force have sent
/// and are done or dead; says its name, then what came.
pub fn sink() {
    let senders: usize = cyanea::args().first().and_then(|n| n.parse().ok()).unwrap_or(1);
    let pipe = Receiver::public();
    let mut own = Some(Sender::open(pipe.name()).expect("it is here"));
    say(pipe.name());
    let mut next = std::collections::HashMap::new();
    loop {
        match pipe.receive() {
            Ok(message) => {
                let expected = next.entry(message.from).or_insert(0u64);
                assert_eq!(message.body[..8], expected.to_le_bytes(), "of {:?}", message.from);
                assert!(message.body[8..].iter().all(|&byte| byte == *expected as u8), "torn");
                *expected += 1;
                if *expected == 100 {
                    println!("100 of activity {}", message.from.activity);
                }
                if next.len() == senders {
                    // Whoever is to come is there.
                    drop(own.take());
                }
            }
            Err(ReceiveError::SenderDied(from)) => println!("activity {} died", from.activity),
            Err(error) => return println!("then: {error}"),
        }
    }
}

/// Says a name, for `named`.
fn say(name: Name) {
    let hex: String = name.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    println!("name {hex}");
}

/// The name that is given.
fn named() -> Name {
    let hex = cyanea::args().into_iter().next().expect("the name of a pipe");
    let byte = |at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hexadecimal digits");
    Name::from_bytes(std::array::from_fn(byte))
}

/// Sends to the public pipe that it is given, so many messages or for ever; says
/// how that ended.
pub fn source() -> ExitCode {
    let me = cyanea::activity().index;
    let sender = match Sender::open(named()) {
        Ok(sender) => sender,
        Err(error) => {
            println!("activity {me}: {error}");
            return ExitCode::FAILURE;
        }
    };
    let count: u64 = cyanea::args().get(1).and_then(|n| n.parse().ok()).unwrap_or(u64::MAX);
    for number in 0..count {
        let mut body = vec![number as u8; 8 + number as usize * 37 % 3000];
        body[..8].copy_from_slice(&number.to_le_bytes());
        if let Err(error) = sender.send(&body) {
            println!("activity {me}: {error}");
            return ExitCode::SUCCESS;
        }
    }
    ExitCode::SUCCESS
}

/// A pipe that is not public, whose name it says.
pub fn private() {
    let pipe = Receiver::new();
    say(pipe.name());
    println!("received {:?}", pipe.receive().map(|message| message.from.activity));
}
