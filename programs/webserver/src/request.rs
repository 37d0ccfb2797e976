//! A request, as far as the server cares (RFC 9112).

use std::io::{self, BufRead, ErrorKind, Read};

/// Most bytes of a request's head.
const MOST_HEAD: u64 = 16 * 1024;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Other,
}

/// A request.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    pub method: Method,
    /// Decoded, without what stands behind a question mark.
    pub path: String,
    /// Whether another request may follow on the connection.
    pub keeps: bool,
}

impl Request {
    /// The next request; `None` if the client ended the connection before one.
    ///
    /// # Errors
    /// `InvalidData`: that is no request, or its head is too long.
    pub fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut head = reader.take(MOST_HEAD);
        let Some(first) = line(&mut head)? else { return Ok(None) };
        let mut words = first.split(' ');
        let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next()) else {
            return Err(nonsense());
        };
        let method = match method {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            _ => Method::Other,
        };
        let path = target.split('?').next().unwrap_or_default();
        // What comes with another method would have to be read first.
        let mut keeps = version == "HTTP/1.1" && method != Method::Other;
        loop {
            let header = line(&mut head)?.ok_or_else(nonsense)?.to_ascii_lowercase();
            match header.split_once(':').map(|(name, value)| (name, value.trim())) {
                None if header.is_empty() => break,
                None => return Err(nonsense()),
                Some(("connection", "close")) => keeps = false,
                Some(("content-length", length)) => keeps &= length == "0",
                Some(("transfer-encoding", _)) => keeps = false,
                Some(_) => {}
            }
        }
        Ok(Some(Self { method, path: decoded(path).ok_or_else(nonsense)?, keeps }))
    }
}

fn nonsense() -> io::Error {
    ErrorKind::InvalidData.into()
}

/// The next line without its end; `None` at the end.
fn line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let whole = line.strip_suffix('\n').ok_or_else(nonsense)?;
    Ok(Some(whole.strip_suffix('\r').unwrap_or(whole).to_string()))
}

/// A path without its percent signs (RFC 3986, 2.1).
pub fn decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?].map(|digit| char::from(digit).to_digit(16));
                (digits[0]? * 16 + digits[1]?) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// The other way.
pub fn encoded(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let code = |byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    name.bytes().map(code).collect()
}
