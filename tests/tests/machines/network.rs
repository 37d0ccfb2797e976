//! Programs' sockets: among themselves, to the host, and from it.

use rustix::process::Signal;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::thread;
use tests::PATIENCE;
use tests::command::Running;
use tests::input::Random;
use tests::machine::Machine;
use tests::wait_until;

/// A port of the host that nobody has now.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A machine of so many nodes, to port 80 of whose first one a port of the host leads.
fn machine(nodes: usize) -> (Machine, u16) {
    let port = free_port();
    let description = format!("[clusters.a]\nnodes = {nodes}\n[vm.net]\nforward = [\"{port}:80\"]\n");
    (Machine::up_with("crates-node", &description), port)
}

/// A program that has said that it has its port. One that was ended by a signal to
/// its command ends a moment after that.
fn started(machine: &Machine, words: &[&str], says: &str) -> Running {
    loop {
        let mut program = machine.start_program(1, words);
        wait_until("the program has its port, or ends", || program.out().contains(says) || program.is_over());
        if program.out().contains(says) {
            return program;
        }
        let ended = program.end();
        assert!(ended.err.contains("Address already in use"), "{ended:?}");
    }
}

/// The HTTP server, when it serves.
fn served(machine: &Machine) -> Running {
    started(machine, &["http"], "serving on port 80")
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// An answer's body, of whatever form the server chose for it.
fn body(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut reader = io::BufReader::new(stream);
    let (mut length, mut chunked) = (0, false);
    let line = |reader: &mut io::BufReader<&mut TcpStream>| -> io::Result<String> {
        let mut line = String::new();
        io::BufRead::read_line(reader, &mut line)?;
        match line.pop() {
            Some('\n') => Ok(line.trim_end().to_ascii_lowercase()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    };
    let status = line(&mut reader)?;
    assert!(status.starts_with("http/1.1 200"), "{status}");
    loop {
        let header = line(&mut reader)?;
        if header.is_empty() {
            break;
        } else if let Some(bytes) = header.strip_prefix("content-length:") {
            length = bytes.trim().parse().unwrap();
        }
        chunked |= header == "transfer-encoding: chunked";
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    while chunked {
        let size = usize::from_str_radix(&line(&mut reader)?, 16).unwrap();
        let start = body.len();
        body.resize(start + size, 0);
        reader.read_exact(&mut body[start..])?;
        line(&mut reader)?;
        chunked = size > 0;
    }
    Ok(body)
}

/// Asks on a connection that stays.
fn ask(stream: &mut TcpStream, method: &str, url: &str, sent: &[u8]) -> io::Result<Vec<u8>> {
    write!(stream, "{method} {url} HTTP/1.1\r\nHost: m\r\nContent-Length: {}\r\n\r\n", sent.len())?;
    stream.write_all(sent)?;
    body(stream)
}

fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|index| (index % 251) as u8).collect()
}

/// It serves, on a connection of its own.
fn serves(port: u16) {
    assert_eq!(ask(&mut connect(port), "GET", "/", b"").unwrap(), b"hello\n");
}

#[test]
fn the_hosts_curl_reaches_a_program() {
    let (machine, port) = machine(1);
    let server = served(&machine);
    let folder = machine.host.folder();
    std::fs::write(folder.join("sent"), Random::seeded().bytes(3_000_000)).unwrap();
    let curl = |words: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["-sS", "--fail", "--max-time", "100"]).args(words).current_dir(folder);
        Running::start(command).end().well()
    };
    let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
    assert_eq!(curl(&[&url("/")]), "hello\n");
    // Two on one connection, which the server keeps.
    assert_eq!(curl(&[&url("/"), &url("/"), "-w", "%{num_connects} "]), "hello\n1 hello\n0 ");
    curl(&["-o", "got", &url("/bytes/4000000")]);
    assert!(std::fs::read(folder.join("got")).unwrap() == pattern(4_000_000));
    curl(&["-o", "got", "--data-binary", "@sent", &url("/echo")]);
    assert!(std::fs::read(folder.join("got")).unwrap() == std::fs::read(folder.join("sent")).unwrap());
    assert_eq!(curl(&[&url("/end")]), "bye\n");
    assert_eq!(server.end().well(), "serving on port 80\n");
}

#[test]
fn many_clients_are_served_at_once_each_with_its_own() {
    let (machine, port) = machine(1);
    let _server = served(&machine);
    let clients: Vec<_> = (0..8_u64)
        .map(|client| {
            thread::spawn(move || {
                let mut random = Random::new(client + 1);
                let mut stream = connect(port);
                for round in 0..12 {
                    if round % 4 == 3 {
                        stream = connect(port);
                    }
                    let length = random.below(60_000) as usize;
                    assert!(
                        ask(&mut stream, "GET", &format!("/bytes/{length}"), b"").unwrap() == pattern(length)
                    );
                    let sent = random.bytes(length / 2);
                    assert!(ask(&mut stream, "POST", "/echo", &sent).unwrap() == sent);
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    serves(port);
    machine.wait_until_idle();
}

#[test]
fn every_byte_of_many_conversations_arrives_in_its_place() {
    let (machine, port) = machine(1);
    let server = started(&machine, &["pattern"], "holding");
    let clients: Vec<_> = (0..8_u8)
        .map(|seed| {
            thread::spawn(move || {
                let mut random = Random::new(u64::from(seed) + 1);
                let mut stream = connect(port);
                let at = |place: usize| match place {
                    0 => seed,
                    _ => (place.wrapping_mul(usize::from(seed) * 2 + 1) % 251) as u8,
                };
                let mut place = 0;
                for round in 0..60 {
                    let length = random.below(if round % 7 == 0 { 60_000 } else { 900 }) as usize + 1;
                    let sent: Vec<u8> = (place..place + length).map(at).collect();
                    // In small pieces, as people's programs do.
                    let piece = random.below(700) as usize + 1;
                    let mut writer = stream.try_clone().unwrap();
                    let pieces = sent.clone();
                    let sends = thread::spawn(move || {
                        pieces.chunks(piece).try_for_each(|piece| writer.write_all(piece))
                    });
                    let mut got = vec![0; length];
                    stream.read_exact(&mut got).unwrap();
                    assert!(got == sent, "client {seed}, round {round}, from {place}");
                    sends.join().unwrap().unwrap();
                    place += length;
                }
            })
        })
        .collect();
    let ends: Vec<_> = clients.into_iter().map(thread::JoinHandle::join).collect();
    server.signal(Signal::INT);
    let said = server.end().out;
    assert!(ends.iter().all(Result::is_ok) && said == "holding\n", "{said}");
}

#[test]
fn clients_that_go_away_and_clients_that_talk_nonsense_leave_the_server_serving() {
    let (machine, port) = machine(1);
    let _server = served(&machine);
    for round in 0..20 {
        let mut stream = connect(port);
        match round % 4 {
            // It says nothing and goes.
            0 => {}
            // It goes in the middle of its request.
            1 => write!(stream, "POST /echo HTTP/1.1\r\nContent-Length: 1000000\r\n\r\nhalf of").unwrap(),
            // It goes, by a reset, in the middle of the answer: something is unread.
            2 => {
                write!(stream, "GET /bytes/3000000 HTTP/1.1\r\nHost: m\r\n\r\n").unwrap();
                stream.read_exact(&mut [0; 100]).unwrap();
            }
            _ => stream.write_all(&Random::new(round).bytes(5000)).unwrap(),
        }
        drop(stream);
    }
    for _ in 0..5 {
        serves(port);
    }
}

/// Whether a connection to the port ends without a word. (QEMU takes it at first.)
fn nobody_has(port: u16) -> bool {
    let mut stream = connect(port);
    let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n");
    matches!(stream.read(&mut [0; 10]), Ok(0) | Err(_))
}

#[test]
fn a_port_without_a_program_ends_connections_and_a_killed_programs_port_is_free() {
    let (machine, port) = machine(1);
    assert!(nobody_has(port));
    for _ in 0..4 {
        let server = served(&machine);
        serves(port);
        // In the middle of an answer.
        let mut stream = connect(port);
        write!(stream, "GET /stream/30000000 HTTP/1.1\r\nHost: m\r\n\r\n").unwrap();
        stream.read_exact(&mut [0; 1000]).unwrap();
        server.signal(Signal::INT);
        assert_eq!(server.end().signal(), Some(Signal::INT.as_raw()));
        // The connection ends, whichever way, and short of what was asked for.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.len() < 29_000_000, "{} bytes came", rest.len());
        wait_until("nobody has the port", || nobody_has(port));
    }
    let refused = {
        let _server = served(&machine);
        machine.call(&["run", "http"])
    };
    assert_eq!(refused.code(), Some(1), "{refused:?}");
    assert!(refused.err.contains("Address already in use"), "{}", refused.err);
}

#[test]
fn the_machines_files_are_on_the_web() {
    let port = free_port();
    let description = format!("[clusters.a]\nnodes = 1\n[vm.net]\nforward = [\"{port}:80\"]\n");
    let machine = Machine::up_with("node", &description);
    let folder = machine.host.folder();
    let page = Random::seeded().bytes(300_000);
    std::fs::create_dir_all(folder.join("site/empty")).unwrap();
    std::fs::write(folder.join("site/page"), &page).unwrap();
    machine.call(&["cp", "host:site", "/site"]).well();
    let _server = started(&machine, &["webserver", "80", "/site"], "on port 80");
    let mut stream = connect(port);
    assert!(ask(&mut stream, "GET", "/page", b"").unwrap() == page);
    let list = String::from_utf8(ask(&mut stream, "GET", "/", b"").unwrap()).unwrap();
    assert!(list.contains("<a href=\"empty/\">") && list.contains("<a href=\"page\">"), "{list}");
    ask(&mut stream, "GET", "/empty/", b"").unwrap();
}

#[test]
fn programs_call_the_host_by_both_versions_of_ip() {
    let (machine, _) = machine(1);
    let ways: [(IpAddr, &str, &str); 2] = [
        (Ipv4Addr::LOCALHOST.into(), "10.0.2.2", "from 10.0.2.15 to 10.0.2.2"),
        (Ipv6Addr::LOCALHOST.into(), "[fec0::2]", "from fec0::15 to fec0::2"),
    ];
    for (own, host, says) in ways {
        let listener = TcpListener::bind((own, 0)).unwrap();
        let address = format!("{host}:{}", listener.local_addr().unwrap().port());
        let listens = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut said = String::new();
            stream.read_to_string(&mut said).unwrap();
            write!(stream, "the host heard {said:?}").unwrap();
        });
        let said = machine.run(1, &["outside", &address, "from within"]);
        assert_eq!(said, format!("{says}\nthe host heard \"from within\"\n"));
        listens.join().unwrap();
        assert_eq!(machine.run(1, &["outside", &address, "x"]), "not called: ConnectionRefused\n");
    }
}

#[test]
fn datagrams_reach_the_host_and_come_back_by_both_versions_of_ip() {
    let (machine, _) = machine(1);
    for (own, host) in [("127.0.0.1:0", "10.0.2.2"), ("[::1]:0", "[fec0::2]")] {
        let socket = UdpSocket::bind(own).unwrap();
        let address = format!("{host}:{}", socket.local_addr().unwrap().port());
        let asks = machine.start_program(1, &["asks", &address, "from within"]);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut buffer = [0; 100];
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"from within");
        socket.send_to(b"in time", from).unwrap();
        assert_eq!(asks.end().well(), format!("{address} answers in time\n"));
    }
}

#[test]
fn sockets_do_as_std_says_with_a_way_out_and_without() {
    let (with, _) = machine(2);
    let without = Machine::up_with("crates-node", "[clusters.a]\nnodes = 1\n");
    let mut expected = Vec::new();
    crates_image::sockets::all(&mut expected).unwrap();
    let expected = String::from_utf8_lossy(&expected);
    for machine in [&with, &without] {
        assert_eq!(machine.run(1, &["sockets"]), expected);
        assert_eq!(machine.run(1, &["events"]), "events: fine\n");
        machine.wait_until_idle();
    }
    // Several of them on one node do not get into each other's way.
    assert_eq!(without.run(3, &["sockets"]).lines().count(), 3 * expected.lines().count());
    for far in ["10.0.2.2:80", "[fec0::2]:80"] {
        let said = without.run(1, &["outside", far, "x"]);
        assert_eq!(said, "not called: Uncategorized\n", "there is no way out");
    }
}

#[test]
fn a_program_that_waits_in_every_way_is_ended_and_leaves_its_ports() {
    let machine = Machine::up_with("crates-node", "[clusters.a]\nnodes = 1\n");
    for _ in 0..10 {
        let waiting = started(&machine, &["waiting", "7000"], "waiting");
        waiting.signal(Signal::INT);
        waiting.end();
    }
    machine.wait_until_idle();
}

#[test]
fn a_descriptor_is_its_activitys_alone() {
    let machine = Machine::up_with("crates-node", "[clusters.a]\nnodes = 1\n");
    assert_eq!(machine.run(2, &["thief"]), "stolen: nothing\n");
}

#[test]
fn an_activity_that_takes_all_it_can_leaves_others_theirs() {
    let machine = Machine::up_with("crates-node", "[clusters.a]\nnodes = 1\n");
    for _ in 0..2 {
        assert_eq!(machine.run(2, &["greedy"]), "the other one has 20 sockets more\n");
    }
}

#[test]
fn a_connection_that_is_not_to_linger_breaks_when_its_activity_ends() {
    let machine = Machine::up_with("crates-node", "[clusters.a]\nnodes = 1\n");
    assert_eq!(machine.run(2, &["lingers"]), "it broke\n");
}

#[test]
fn a_node_that_starts_again_is_reached_again() {
    let port = free_port();
    let description = format!(
        "[clusters.a]\nnodes = 1\n[vm]\nrestart = \"always\"\n[vm.net]\nforward = [\"{port}:node-a0:80\"]\n"
    );
    let machine = Machine::up_with("crates-node", &description);
    let server = served(&machine);
    serves(port);
    machine.call(&["kill", "node-a0"]).well();
    assert_ne!(server.end().code(), Some(0));
    wait_until("the node is back", || machine.vm("node-a0").state == "ready");
    let _server = served(&machine);
    serves(port);
}

#[test]
fn a_port_of_the_host_that_is_taken_is_said_and_nothing_is_left() {
    let host = tests::host::Host::new();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let text = format!("[clusters.a]\nnodes = 1\n[vm.net]\nforward = [\"{port}:80\"]\n");
    let file = host.machine_file_with("taken", &text, "crates-node");
    let sentence = host.call(&["up", file.to_str().unwrap()]).sentence();
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    assert!(sentence.contains(&format!("{address} of this host cannot lead to node-a0: ")), "{sentence}");
    assert!(sentence.ends_with("; end what has this port, or forward another one"), "{sentence}");
    assert!(host.is_quiet());
    drop(taken);
}
