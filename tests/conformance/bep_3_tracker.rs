//! BEP 3, *trackers*, as the program asks them: the parameters and events of its announces, and what it
//! makes of the replies.
//!
//! Left out: that it keeps to the `interval` (minutes; unit tests with a clock of their own). Peers named
//! by DNS name are not looked up, on purpose: a tracker could make us ask for any name.

use std::{net::SocketAddr, sync::mpsc::channel};

use crate::{
    driver::{
        bencode::Value,
        content::{BLOCK, Content},
        peer::{FAST, Hello, Listener, Message, PLAIN, Peer},
        program::Place,
        tracker::{HttpRequest, HttpTracker, compact, compact_reply},
    },
    scene::Scene,
};

fn events(requests: &[HttpRequest]) -> Vec<&str> {
    requests.iter().map(HttpRequest::event).collect()
}

/// "interval" and "peers", "a list of dictionaries [...] each of which contains the keys peer id, ip, and
/// port".
fn dictionary_reply(peers: &[SocketAddr]) -> Vec<u8> {
    let peer = |addr: &SocketAddr| {
        Value::dict([
            ("ip", Value::bytes(addr.ip().to_string())),
            ("peer id", Value::bytes(b"-XX0001-by-hand-----")),
            ("port", Value::Int(addr.port().into())),
        ])
    };
    let peers = Value::List(peers.iter().map(peer).collect());
    Value::dict([("interval", Value::Int(1800)), ("peers", peers)]).write()
}

/// "Tracker GET requests have the following keys": info_hash, peer_id, port, uploaded, downloaded, left,
/// event; the first one is `started`.
#[test]
fn the_first_announce_says_started_and_has_all_parameters() {
    let (place, tracker) = (Place::new(), HttpTracker::of(&[]));
    let content = Content::new(3).tiers(&[&[&tracker.url]]);
    let mut leech = place.leech(&content, &[], &[]);
    let request = tracker.next();
    assert!(request.head.starts_with("GET /announce?"), "{}", request.head);
    assert_eq!(request.get("info_hash").as_deref(), Some(&content.info_hash()[..]));
    assert_eq!(request.get("peer_id").map(|id| id.len()), Some(20));
    assert_eq!(request.number("port"), u64::from(leech.port()));
    assert_eq!(request.number("uploaded"), 0);
    assert_eq!(request.number("downloaded"), 0);
    assert_eq!(request.number("left"), content.length());
    assert_eq!(request.event(), "started");
}

/// The info hash "will almost certainly have to be escaped": nothing but what a URL may hold is sent,
/// and no parameter comes twice.
#[test]
fn the_query_is_escaped_and_has_each_parameter_once() {
    let (place, tracker) = (Place::new(), HttpTracker::of(&[]));
    let content = Content::new(7).tiers(&[&[&tracker.url]]);
    let _leech = place.leech(&content, &[], &[]);
    let request = tracker.next();
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~%=&".contains(&b);
    assert!(request.query.bytes().all(is_plain), "{}", request.query);
    let mut names: Vec<_> = request.query.split('&').filter_map(|p| p.split('=').next()).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all, "{}", request.query);
}

/// A query that is part of the announce URL stays, and ours is appended.
#[test]
fn a_query_in_the_announce_url_is_kept() {
    let (place, tracker) = (Place::new(), HttpTracker::of(&[]));
    let url = format!("http://{}/announce/x.php?key=a%20b", tracker.addr);
    let content = Content::new(1).tiers(&[&[&url]]);
    let _leech = place.leech(&content, &[], &[]);
    let request = tracker.next();
    assert_eq!(request.path, "/announce/x.php");
    assert!(request.query.starts_with("key=a%20b&"), "{}", request.query);
    assert_eq!(request.event(), "started");
}

/// "The 20-byte peer id which is reported in tracker requests" is that of the handshake.
#[test]
fn the_peer_id_of_the_announce_is_that_of_the_handshake() {
    let (place, listener) = (Place::new(), Listener::new());
    let tracker = HttpTracker::of(&[listener.addr]);
    let content = Content::new(1).tiers(&[&[&tracker.url]]);
    let _leech = place.leech(&content, &[], &[]);
    let hello = listener.accept().read_hello();
    assert_eq!(tracker.next().get("peer_id").as_deref(), Some(&hello.peer_id[..]));
}

/// "Note that this can't be computed from downloaded and the file length since it might be a resume".
#[test]
fn left_is_what_is_missing_of_a_resumed_download() {
    let (place, tracker) = (Place::new(), HttpTracker::of(&[]));
    let content = Content::new(4).tiers(&[&[&tracker.url]]);
    place.write_part(&content, &[0, 2]);
    let _leech = place.leech(&content, &[], &[]);
    let request = tracker.next();
    assert_eq!(request.number("left"), content.length() - 4 * u64::from(BLOCK));
    assert_eq!(request.number("downloaded"), 0);
}

/// "One using completed is sent when the download is complete", one using `stopped` at the end; the
/// interval is not over, so there is no other announce.
#[test]
fn a_download_announces_started_completed_and_stopped_once_each() {
    let listener = Listener::new();
    let tracker = HttpTracker::of(&[listener.addr]);
    let content = Content::new(3).tiers(&[&[&tracker.url]]);
    let place = Place::new();
    let leech = place.leech(&content, &[], &["--seed"]);
    let (mut peer, _) = listener.greet(&Hello::new(&content, PLAIN));
    peer.send_all(&[Message::Bitfield(vec![0xe0]), Message::Unchoke]);
    peer.serve(&content, &content.all_blocks());
    let started = tracker.next();
    let completed = tracker.next();
    leech.signal("-INT");
    assert_eq!(leech.end().0, 0);
    let rest = tracker.asked();
    assert_eq!(started.event(), "started");
    assert_eq!(completed.event(), "completed");
    assert_eq!(completed.number("left"), 0);
    assert_eq!(completed.number("downloaded"), content.length());
    assert_eq!(events(&rest), ["stopped"]);
    for other in [&completed, &rest[0]] {
        assert_eq!(other.get("peer_id"), started.get("peer_id"));
        assert_eq!(other.get("info_hash"), started.get("info_hash"));
    }
}

/// A download that ends by itself says the same.
#[test]
fn a_download_that_does_not_seed_says_completed_before_it_stops() {
    let listener = Listener::new();
    let peers = Value::Bytes(compact(&[listener.addr]));
    let warning = Value::bytes("hello");
    let reply = Value::dict([
        ("interval", Value::Int(1800)),
        ("peers", peers),
        ("warning message", warning),
    ]);
    let tracker = HttpTracker::start(move |_| reply.write());
    let content = Content::new(1).tiers(&[&[&tracker.url]]);
    let place = Place::new();
    let mut leech = place.leech(&content, &[], &[]);
    let (mut peer, _) = listener.greet(&Hello::new(&content, PLAIN));
    // It knows that the tracker lists it.
    leech.warning("hello");
    peer.send_all(&[Message::Bitfield(vec![0x80]), Message::Unchoke]);
    peer.serve(&content, &content.all_blocks());
    assert_eq!(leech.end().0, 0);
    assert_eq!(events(&tracker.asked()), ["started", "completed", "stopped"]);
}

/// The same when the tracker is so slow that the download is complete, and ends, before it answers.
#[test]
fn a_download_that_is_faster_than_the_tracker_says_completed_before_it_stops() {
    let listener = Listener::new();
    let (answer, may_answer) = channel::<()>();
    let tracker = HttpTracker::start(move |_| {
        // The first time not before the test says so.
        let _ = may_answer.recv();
        compact_reply(&[])
    });
    let content = Content::new(1).tiers(&[&[&tracker.url]]);
    let place = Place::new();
    let mut leech = place.leech(&content, &[listener.addr], &[]);
    let (mut peer, _) = listener.greet(&Hello::new(&content, PLAIN));
    peer.send_all(&[Message::Bitfield(vec![0x80]), Message::Unchoke]);
    peer.serve(&content, &content.all_blocks());
    leech.until("done");
    // The end of the session closes the connection.
    peer.read_to_end();
    drop(answer);
    assert_eq!(leech.end().0, 0);
    assert_eq!(events(&tracker.asked()), ["started", "completed", "stopped"]);
}

/// "No completed is sent if the file was complete when started."
#[test]
fn who_starts_complete_does_not_say_completed() {
    let tracker = HttpTracker::of(&[]);
    let content = Content::new(3).tiers(&[&[&tracker.url]]);
    let place = Place::new();
    for download in [false, true] {
        place.write_part(&content, &[0, 1, 2]);
        let program = match download {
            true => place.leech(&content, &[], &["--seed"]),
            false => place.seed(&content, &[]),
        };
        let started = tracker.next();
        program.signal("-INT");
        assert_eq!(program.end().0, 0);
        assert_eq!((started.event(), started.number("left")), ("started", 0));
        assert_eq!(events(&tracker.asked()), ["stopped"]);
    }
}

/// "Downloaders send an announcement using stopped when they cease downloading", with what they have
/// until then.
#[test]
fn a_download_that_is_broken_off_says_stopped_and_what_is_left() {
    let listener = Listener::new();
    let tracker = HttpTracker::of(&[listener.addr]);
    let content = Content::new(3).tiers(&[&[&tracker.url]]);
    let place = Place::new();
    let leech = place.leech(&content, &[], &[]);
    let (mut peer, _) = listener.greet(&Hello::new(&content, PLAIN));
    peer.send_all(&[Message::Bitfield(vec![0b0100_0000]), Message::Unchoke]);
    peer.serve(&content, &content.blocks(1));
    peer.expect(&Message::Have(1));
    tracker.next();
    leech.signal("-TERM");
    leech.end();
    let rest = tracker.asked();
    assert_eq!(events(&rest), ["stopped"]);
    assert_eq!(rest[0].number("downloaded"), 2 * u64::from(BLOCK));
    assert_eq!(rest[0].number("left"), content.length() - 2 * u64::from(BLOCK));
    assert_eq!(rest[0].number("uploaded"), 0);
}

/// "The total amount uploaded so far, encoded in base ten ascii."
#[test]
fn uploaded_is_what_was_served() {
    let tracker = HttpTracker::of(&[]);
    let content = Content::new(2).tiers(&[&[&tracker.url]]);
    let mut scene = Scene::seed_of(content, PLAIN, &[]);
    scene.get_unchoked();
    for asked in [(0, 0, BLOCK), (1, 5, 1_000)] {
        scene.peer.send(Message::Request(asked.0, asked.1, asked.2));
        assert_eq!(scene.peer.read(), Message::block(&scene.content, asked));
    }
    assert_eq!(tracker.next().number("uploaded"), 0);
    scene.program.signal("-INT");
    scene.program.end();
    assert_eq!(tracker.next().number("uploaded"), u64::from(BLOCK) + 1_000);
}

/// "'failure reason' [...] maps to a human readable string which explains why the query failed", and the
/// reply counts for nothing else.
#[test]
fn a_failure_reason_is_shown_and_the_peers_beside_it_are_not_used() {
    let listener = Listener::new();
    let peers = Value::Bytes(compact(&[listener.addr]));
    let reason = Value::bytes("no such torrent: äöü");
    let reply = Value::dict([("failure reason", reason), ("peers", peers)]).write();
    let tracker = HttpTracker::start(move |_| reply.clone());
    let place = Place::new();
    let content = Content::new(1).tiers(&[&[&tracker.url]]);
    let mut leech = place.leech(&content, &[], &[]);
    leech.warning("no such torrent: äöü");
    leech.signal("-INT");
    leech.end();
    assert!(!listener.is_dialled());
}

/// Who was refused is not listed, and has nothing to take back.
#[test]
fn a_tracker_that_refused_does_not_hear_stopped() {
    let reply = Value::dict([("failure reason", Value::bytes("no"))]).write();
    let tracker = HttpTracker::start(move |_| reply.clone());
    let place = Place::new();
    let content = Content::new(1).tiers(&[&[&tracker.url]]);
    let mut leech = place.leech(&content, &[], &[]);
    leech.warning("no");
    leech.signal("-INT");
    leech.end();
    assert_eq!(events(&tracker.asked()), ["started"]);
}

/// "'peers' maps to a list of dictionaries": all of them are used.
#[test]
fn peers_in_dictionaries_are_dialled() {
    let listeners = [Listener::new(), Listener::new()];
    let reply = dictionary_reply(&[listeners[0].addr, listeners[1].addr]);
    let tracker = HttpTracker::start(move |_| reply.clone());
    let place = Place::new();
    let content = Content::new(1).tiers(&[&[&tracker.url]]);
    let _leech = place.leech(&content, &[], &[]);
    for listener in &listeners {
        assert_eq!(listener.accept().read_hello().info_hash, content.info_hash());
    }
}

/// Keys that are not known, and those of other types, do not spoil the rest.
#[test]
fn unknown_keys_in_a_reply_are_ignored() {
    let listener = Listener::new();
    let peers = Value::Bytes(compact(&[listener.addr]));
    let reply = Value::dict([
        ("a list", Value::List(vec![Value::Int(1), Value::dict([("x", Value::Int(2))])])),
        ("complete", Value::bytes("many")),
        ("interval", Value::Int(1800)),
        ("peers", peers),
        ("zzz", Value::Int(-1)),
    ]);
    let tracker = HttpTracker::start(move |_| reply.write());
    let place = Place::new();
    let content = Content::new(1).tiers(&[&[&tracker.url]]);
    let _leech = place.leech(&content, &[], &[]);
    assert_eq!(listener.accept().read_hello().info_hash, content.info_hash());
}

/// "The port number this peer is listening on": whoever dials it is greeted.
#[test]
fn the_port_that_is_announced_takes_peers() {
    let (place, tracker) = (Place::new(), HttpTracker::of(&[]));
    let content = Content::new(1).tiers(&[&[&tracker.url]]);
    let _leech = place.leech(&content, &[], &[]);
    let port = tracker.next().number("port");
    let (mut peer, hello) = Peer::connect(port as u16, &Hello::new(&content, FAST));
    assert_eq!(hello.info_hash, content.info_hash());
    assert_eq!(peer.read(), Message::HaveNone);
}
