//! The form of what goes over the socket.

use super::*;
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;

#[test]
fn requests_are_lines_of_json() {
    let text = |request: &Request| serde_json::to_string(request).unwrap();
    assert_eq!(text(&Request::Ps), r#""ps""#);
    assert_eq!(text(&Request::Kill { vm: "node-a0".into() }), r#"{"kill":{"vm":"node-a0"}}"#);
    let run = Request::Run(Run { program: "wc".into(), arguments: vec!["-l".into()], activities: 2 });
    assert_eq!(text(&run), r#"{"run":{"program":"wc","arguments":["-l"],"activities":2}}"#);
    assert_eq!(serde_json::from_str::<Request>(&text(&run)).unwrap(), run);
    assert!(serde_json::from_str::<Request>(r#"{"kill":{"vm":"x","hard":true}}"#).is_err());
}

#[test]
fn every_byte_of_output_survives_on_one_line() {
    let reply = Reply::Output { index: 1, fd: 2, bytes: (0..=255).collect() };
    let text = serde_json::to_string(&reply).unwrap();
    assert!(!text.contains('\n'));
    assert_eq!(serde_json::from_str::<Reply>(&text).unwrap(), reply);
    let text = text.replace("\\u0000", "Ā");
    assert!(serde_json::from_str::<Reply>(&text).is_err());
}

#[test]
fn who_is_gone_wants_no_more() {
    let (ours, client) = UnixStream::pair().unwrap();
    let replies = Replies::new(ours);
    assert_eq!(replies.progress(1, 2), ControlFlow::Continue(()));
    drop(client);
    assert_eq!(replies.progress(2, 2), ControlFlow::Break(()));
}
