//! BEP 23, *tracker returns compact peer lists*, on both sides.

use std::net::SocketAddr;

use crate::driver::{
    ask::http_announce,
    bencode::Value,
    content::Content,
    peer::Listener,
    program::Place,
    tracker::{HttpTracker, read_compact},
};

const HASH: [u8; 20] = [0xab; 20];

/// "compact=1 advises the tracker that the client prefers compact format."
#[test]
fn an_announce_asks_for_the_compact_format() {
    let (place, tracker) = (Place::new(), HttpTracker::of(&[]));
    let content = Content::new(1).tiers(&[&[&tracker.url]]);
    let _leech = place.leech(&content, &[], &[]);
    assert_eq!(tracker.next().text("compact"), "1");
}

/// "The first 4 bytes contain the 32-bit ipv4 address. The remaining two bytes contain the port number.
/// Both address and port use network-byte order."
#[test]
fn compact_peers_are_dialled() {
    let (place, listeners) = (Place::new(), [Listener::new(), Listener::new()]);
    let mut peers = Vec::new();
    for listener in &listeners {
        peers.extend([127, 0, 0, 1]);
        peers.extend(listener.addr.port().to_be_bytes());
    }
    let reply = Value::dict([("interval", Value::Int(900)), ("peers", Value::Bytes(peers))]);
    let tracker = HttpTracker::start(move |_| reply.write());
    let content = Content::new(1).tiers(&[&[&tracker.url]]);
    let _leech = place.leech(&content, &[], &[]);
    for listener in &listeners {
        assert_eq!(listener.accept().read_hello().info_hash, content.info_hash());
    }
}

/// "The compact key-value pair is only advisory: the tracker MAY return using either format [...]
/// clients MUST continue to support both": dictionaries, though compact was asked for, and with
/// nothing but what is needed.
#[test]
fn dictionaries_are_taken_though_compact_was_asked_for() {
    let (place, listener) = (Place::new(), Listener::new());
    let peer = Value::dict([
        ("ip", Value::bytes("127.0.0.1")),
        ("port", Value::Int(listener.addr.port().into())),
    ]);
    let peers = Value::List(vec![peer]);
    let reply = Value::dict([("interval", Value::Int(900)), ("peers", peers)]);
    let tracker = HttpTracker::start(move |_| reply.write());
    let content = Content::new(1).tiers(&[&[&tracker.url]]);
    let _leech = place.leech(&content, &[], &[]);
    assert_eq!(listener.accept().read_hello().info_hash, content.info_hash());
}

/// "It is SUGGESTED that trackers return compact format by default."
#[test]
fn the_tracker_answers_compact_by_default_and_when_asked() {
    let place = Place::new();
    let (_program, tracker) = place.tracker(&[]);
    http_announce(tracker, HASH, 0x0102, "&left=1");
    for more in ["", "&compact=1"] {
        let reply = http_announce(tracker, HASH, 9, &format!("&left=1{more}"));
        assert_eq!(reply.at("peers").as_bytes(), [127, 0, 0, 1, 1, 2]);
    }
}

/// "By including compact=0 in the announce URL, the client advises the tracker that is prefers the
/// original format."
#[test]
fn the_tracker_gives_dictionaries_when_asked() {
    let place = Place::new();
    let (_program, tracker) = place.tracker(&[]);
    http_announce(tracker, HASH, 1001, "&left=1");
    http_announce(tracker, HASH, 1002, "&left=1");
    let reply = http_announce(tracker, HASH, 1003, "&left=1&compact=0");
    let mut ports: Vec<i64> =
        reply.at("peers").list().iter().map(|peer| peer.at("port").int()).collect();
    ports.sort_unstable();
    assert_eq!(ports, [1001, 1002]);
}

/// Two programs and the tracker: what it packs is what it was told.
#[test]
fn a_seed_that_announced_is_in_the_list() {
    let place = Place::new();
    let (_program, tracker) = place.tracker(&[]);
    let url = format!("http://{tracker}/announce");
    let content = Content::new(1).tiers(&[&[&url]]);
    let mut seed = place.seed(&content, &[]);
    let there: SocketAddr = ([127, 0, 0, 1], seed.port()).into();
    // The seed announces on its own time: whoever downloads from it has found it in the list.
    let leech = place.leech(&content, &[], &[]);
    assert_eq!(leech.end().0, 0);
    let reply = http_announce(tracker, content.info_hash(), 1001, "&left=1");
    assert_eq!(read_compact(reply.at("peers").as_bytes()), [there]);
}
