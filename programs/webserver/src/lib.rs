//! Serves a tree of files over HTTP: `webserver [PORT [DIRECTORY]]`, by default 80
//! and `/`. On a machine these are the machine's files, and a port of the host
//! leads to it (`[vm.net]` in the machine file, `machines/web.toml`).
//!
//! This is ordinary Rust: a thread for each connection, `std::net` and `std::fs`.
//! It knows `GET` and `HEAD`, and keeps connections until the client ends them.
#![forbid(unsafe_code)]

mod request;
#[cfg(test)]
mod tests;

use request::{Method, Request};
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_secs(60);
/// How long it waits when no connection can be accepted.
const PAUSE: Duration = Duration::from_millis(50);

/// The program: `webserver [PORT [DIRECTORY]]`.
pub fn main() -> ExitCode {
    let arguments = cyanea::args();
    let port = arguments.first().map_or(Ok(80), |port| port.parse::<u16>());
    let (Ok(port), ..=2) = (port, arguments.len()) else {
        eprintln!("webserver: a port and a directory are expected; for example: webserver 80 /");
        return ExitCode::from(2);
    };
    let directory = arguments.get(1).map_or("/", String::as_str);
    match TcpListener::bind(("0.0.0.0", port)) {
        Ok(listener) => {
            println!("webserver: {directory} on port {port}");
            serve(&listener, Path::new(directory))
        }
        Err(error) => {
            eprintln!("webserver: port {port}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves whoever connects.
fn serve(listener: &TcpListener, directory: &Path) -> ! {
    let directory: Arc<Path> = directory.into();
    loop {
        let (stream, directory) = match listener.accept().map(|(stream, _)| stream) {
            Ok(stream) => (stream, directory.clone()),
            Err(error) => {
                // There are too many connections, say: some will end.
                eprintln!("webserver: {error}");
                thread::sleep(PAUSE);
                continue;
            }
        };
        let started = thread::Builder::new().spawn(move || {
            // A client that goes away, or talks nonsense, is its own business.
            let _ = converse(&stream, &directory);
        });
        if let Err(error) = started {
            eprintln!("webserver: no thread for a connection: {error}");
        }
    }
}

/// Answers the requests of a connection.
fn converse(stream: &TcpStream, directory: &Path) -> io::Result<()> {
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let mut writer = BufWriter::with_capacity(16 * 1024, stream);
    while let Some(request) = Request::read(&mut reader)? {
        answer(&request, directory, &mut writer)?;
        writer.flush()?;
        if !request.keeps {
            break;
        }
    }
    Ok(())
}

fn answer(request: &Request, directory: &Path, out: &mut impl Write) -> io::Result<()> {
    let refused = |out: &mut _, status| head(out, status, "text/plain", 0);
    let method = match request.method {
        Method::Other => return refused(out, "501 Not Implemented"),
        method => method,
    };
    let Some(path) = below(directory, &request.path) else { return refused(out, "400 Bad Request") };
    match fs::metadata(&path) {
        Ok(found) if found.is_dir() => {
            let list = list(&path, &request.path)?;
            head(out, "200 OK", "text/html; charset=utf-8", list.len() as u64)?;
            if method == Method::Get { out.write_all(list.as_bytes()) } else { Ok(()) }
        }
        Ok(found) => {
            let mut file = File::open(&path)?;
            head(out, "200 OK", kind(&path), found.len())?;
            if method == Method::Get { copy(&mut file, found.len(), out) } else { Ok(()) }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => refused(out, "404 Not Found"),
        Err(_) => refused(out, "500 Internal Server Error"),
    }
}

fn head(out: &mut impl Write, status: &str, kind: &str, length: u64) -> io::Result<()> {
    write!(out, "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n")
}

/// Sends so much of a file as was promised. If it has become shorter, the
/// connection ends, which is all that can be said now.
fn copy(file: &mut File, length: u64, out: &mut impl Write) -> io::Result<()> {
    let copied = io::copy(&mut io::Read::take(file, length), out)?;
    if copied < length { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// What a path of a request stands for; `None` if it would leave the directory.
fn below(directory: &Path, path: &str) -> Option<PathBuf> {
    let mut found = directory.to_path_buf();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." || part.contains('\0') {
            return None;
        }
        found.push(part);
    }
    Some(found)
}

/// What a file is, by its name.
fn kind(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css",
        Some("js") => "text/javascript",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("txt" | "md" | "rs" | "toml") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// A page with the names in a directory.
fn list(directory: &Path, path: &str) -> io::Result<String> {
    let mut names: Vec<String> = cyanea::fs::names(directory)?
        .into_iter()
        .map(|name| name.to_string_lossy().into_owned())
        .map(|name| if directory.join(&name).is_dir() { name + "/" } else { name })
        .collect();
    names.sort();
    let mut page = format!("<!doctype html>\n<title>{0}</title>\n<h1>{0}</h1>\n<ul>\n", escaped(path));
    for name in names {
        page += &format!("<li><a href=\"{}\">{}</a>\n", request::encoded(&name), escaped(&name));
    }
    Ok(page + "</ul>\n")
}

/// A text in which HTML sees no mark.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
