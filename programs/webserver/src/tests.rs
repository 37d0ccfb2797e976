//! Requests, and whole conversations on the loopback.

use super::*;
use std::io::Read;

fn read(text: &str) -> io::Result<Option<Request>> {
    Request::read(&mut text.as_bytes())
}

#[test]
fn a_request_is_read_as_far_as_it_matters() {
    let get = |path: &str, keeps| Request { method: Method::Get, path: path.into(), keeps };
    assert_eq!(read("GET /a%20b?x=1 HTTP/1.1\r\nHost: h\r\n\r\n").unwrap(), Some(get("/a b", true)));
    assert_eq!(read("GET / HTTP/1.0\r\n\r\n").unwrap(), Some(get("/", false)));
    assert_eq!(read("GET / HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap(), Some(get("/", false)));
    assert_eq!(read("").unwrap(), None);
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(20_000));
    for bad in
        ["GET", "GET /\r\n\r\n", "GET / HTTP/1.1\r\nnonsense\r\n\r\n", "GET /%2 HTTP/1.1\r\n\r\n", &long]
    {
        assert!(read(bad).is_err(), "{bad:.30}");
    }
}

#[test]
fn no_path_leaves_the_directory() {
    let root = Path::new("/srv");
    assert_eq!(below(root, "/a//./b/"), Some("/srv/a/b".into()));
    assert_eq!(below(root, "/a/../../etc/passwd"), None);
    assert_eq!(below(root, "/\0"), None);
    assert_eq!(request::decoded(&request::encoded("ä <b>%/")).as_deref(), Some("ä <b>%/"));
}

#[test]
fn files_and_directories_are_served() {
    let folder = std::env::temp_dir().join(format!("webserver-{}", std::process::id()));
    fs::create_dir_all(folder.join("sub")).unwrap();
    fs::write(folder.join("sub/a.txt"), "the text").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let served: Arc<Path> = folder.as_path().into();
    thread::spawn(move || serve(&listener, &served));
    let ask = |requests: &str| {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.write_all(requests.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let answer =
        ask("GET /sub/a.txt HTTP/1.1\r\n\r\nHEAD /sub/a.txt HTTP/1.1\r\n\r\nGET /no HTTP/1.1\r\n\r\n");
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 8\r\n\r\n";
    let missing = "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(answer, format!("{head}the text{head}{missing}"));
    assert!(ask("GET / HTTP/1.1\r\n\r\n").contains("<li><a href=\"sub/\">sub/</a>"));
    assert!(ask("GET /%2e%2e/x HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 400 "));
    assert!(ask("DELETE / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 501 "));
    fs::remove_dir_all(folder).unwrap();
}
