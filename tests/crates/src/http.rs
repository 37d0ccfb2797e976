//! An HTTP server on a crate for that.

use crate::Outcome;
use std::io::Read;
use tiny_http::{Method, Response, Server, StatusCode};

/// Serves on the port that it is given, with so many threads, until `GET /end`:
/// `GET /bytes/N` is N bytes of a pattern, `GET /stream/N` N equal ones, made as they are sent, `POST /echo` what came, `POST /sum`
/// the sum of its bytes.
pub fn serve() -> Outcome {
    let arguments = cyanea::args();
    let number = |at: usize, default| arguments.get(at).map_or(Ok(default), |text| text.parse::<u16>());
    let (port, threads) = (number(0, 80)?, number(1, 4)?);
    let server = Server::http(("0.0.0.0", port))?;
    println!("serving on port {port}");
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| work(&server, threads))).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or(Ok(())))
    })
}

fn work(server: &Server, threads: u16) -> Outcome {
    loop {
        let mut request = match server.recv() {
            Ok(request) => request,
            // Another thread was told to end.
            Err(_) => return Ok(()),
        };
        let mut body = Vec::new();
        let (method, url) = (request.method().clone(), request.url().to_string());
        let answer = match (&method, url.as_str()) {
            (Method::Get, "/end") => {
                request.respond(Response::from_string("bye\n"))?;
                // Each call lets one thread go.
                (0..threads).for_each(|_| server.unblock());
                return Ok(());
            }
            (Method::Get, "/") => b"hello\n".to_vec(),
            (Method::Get, url) if url.starts_with("/bytes/") => pattern(url["/bytes/".len()..].parse()?),
            (Method::Post, "/echo") => {
                request.as_reader().read_to_end(&mut body)?;
                body
            }
            (Method::Post, "/sum") => {
                request.as_reader().read_to_end(&mut body)?;
                format!("{}\n", body.iter().map(|&byte| u64::from(byte)).sum::<u64>()).into_bytes()
            }
            (Method::Get, url) if url.starts_with("/stream/") => {
                let length = url["/stream/".len()..].parse()?;
                let data = std::io::repeat(7).take(length);
                let answer = Response::new(StatusCode(200), vec![], data, Some(length as usize), None);
                sent(request.respond(answer));
                continue;
            }
            _ => {
                request.respond(Response::empty(StatusCode(404)))?;
                continue;
            }
        };
        sent(request.respond(Response::from_data(answer)));
    }
}

/// A client that has gone away is its own business.
fn sent(result: std::io::Result<()>) {
    if let Err(error) = result {
        println!("a client went away: {error}");
    }
}

/// Bytes that repeat after a prime number of them.
fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|index| (index % 251) as u8).collect()
}
