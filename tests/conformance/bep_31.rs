//! BEP 31, *failure retry extension*: "retry in" beside a failure reason.
//!
//! Left out: when the tracker is asked again. The least wait is minutes; unit tests have their own
//! clock.

use crate::driver::{
    bencode::Value,
    content::Content,
    peer::{Hello, Listener, Message, PLAIN},
    program::Place,
    tracker::HttpTracker,
};

/// "This field is either a positive integer or the value 'never'"; the examples have the number as a
/// string. The reason is shown, and nothing that happens within the time makes the program ask again.
#[test]
fn a_tracker_that_says_when_is_not_asked_before() {
    for (number, retry) in
        [Value::bytes("never"), Value::bytes("5"), Value::Int(5)].into_iter().enumerate()
    {
        let (place, listener) = (Place::new(), Listener::new());
        let reason = format!("overloaded {number}");
        let reply = Value::dict([("failure reason", Value::bytes(&reason)), ("retry in", retry)]);
        let tracker = HttpTracker::start(move |_| reply.write());
        let content = Content::new(1).tiers(&[&[&tracker.url]]);
        let mut leech = place.leech(&content, &[listener.addr], &["--seed"]);
        leech.warning(&reason);
        // It becomes complete, and it stops: neither is told.
        let (mut peer, _) = listener.greet(&Hello::new(&content, PLAIN));
        peer.send_all(&[Message::Bitfield(vec![0x80]), Message::Unchoke]);
        peer.serve(&content, &content.all_blocks());
        leech.until("done");
        leech.signal("-INT");
        leech.end();
        assert_eq!(tracker.asked().len(), 1);
    }
}

/// What is neither, and a "retry in" without a failure reason, say nothing.
#[test]
fn another_retry_in_is_ignored() {
    for retry in [Value::Int(-1), Value::bytes("soon"), Value::List(vec![])] {
        let place = Place::new();
        let reply = Value::dict([("failure reason", Value::bytes("busy")), ("retry in", retry)]);
        let tracker = HttpTracker::start(move |_| reply.write());
        let content = Content::new(1).tiers(&[&[&tracker.url]]);
        place.leech(&content, &[], &[]).warning("busy");
    }
    let (place, listener) = (Place::new(), Listener::new());
    let peers = Value::Bytes(crate::driver::tracker::compact(&[listener.addr]));
    let reply = Value::dict([
        ("interval", Value::Int(900)),
        ("peers", peers),
        ("retry in", Value::bytes("never")),
    ]);
    let tracker = HttpTracker::start(move |_| reply.write());
    let content = Content::new(1).tiers(&[&[&tracker.url]]);
    let _leech = place.leech(&content, &[], &[]);
    assert_eq!(listener.accept().read_hello().info_hash, content.info_hash());
}

/// A site that is no tracker may serve the reply as a static file, whatever the status.
#[test]
fn the_reason_counts_with_any_status() {
    let place = Place::new();
    let tracker = HttpTracker::start_raw(|_| {
        let body = b"d14:failure reason13:Not a tracker8:retry in5:nevere";
        let head = "HTTP/1.1 404 Not Found\r\nContent-Length: 52\r\nConnection: close\r\n\r\n";
        [head.as_bytes(), body].concat()
    });
    let content = Content::new(1).tiers(&[&[&tracker.url]]);
    place.leech(&content, &[], &[]).warning("Not a tracker");
}
