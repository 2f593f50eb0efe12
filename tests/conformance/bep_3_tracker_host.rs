//! BEP 3, *trackers*, as the embedded tracker answers over HTTP. Compact lists are in `bep_23`, scrapes
//! in `bep_48_host`, UDP in `bep_15_host`.

use std::net::SocketAddr;

use crate::driver::{
    ask::{escape, http_announce, http_get},
    bencode::Value,
    program::Place,
    tracker::read_compact,
};

const HASH: [u8; 20] = *b"\x00\x01%&=+ /?#aA.-_~\x7f\x80\xfe\xff";

const NOBODY: [u16; 0] = [];

fn ports(reply: &Value) -> Vec<u16> {
    let mut ports: Vec<u16> =
        read_compact(reply.at("peers").as_bytes()).iter().map(SocketAddr::port).collect();
    ports.sort_unstable();
    ports
}

/// "It must have two keys: interval, which maps to the number of seconds the downloader should wait
/// between regular rerequests, and peers."
#[test]
fn a_reply_has_interval_and_peers() {
    let place = Place::new();
    let (_program, tracker) = place.tracker(&["--interval", "7m"]);
    let reply = http_announce(tracker, HASH, 1001, "&left=10");
    assert_eq!(reply.at("interval").int(), 420);
    assert_eq!(ports(&reply), NOBODY);
    assert_eq!(reply.get("failure reason"), None);
}

/// Peers learn of those that came before, and not of themselves.
#[test]
fn peers_of_one_torrent_are_given_to_one_another() {
    let place = Place::new();
    let (_program, tracker) = place.tracker(&[]);
    http_announce(tracker, HASH, 1001, "&left=10&event=started");
    http_announce(tracker, HASH, 1002, "&left=10&event=started");
    assert_eq!(ports(&http_announce(tracker, HASH, 1003, "&left=10&event=started")), [1001, 1002]);
    assert_eq!(ports(&http_announce(tracker, HASH, 1001, "&left=10")), [1002, 1003]);
    let mut other = HASH;
    other[19] ^= 1;
    assert_eq!(ports(&http_announce(tracker, other, 1004, "&left=10")), NOBODY);
}

/// "peer id, ip, and port, which map to the peer's self-selected ID, IP address or dns name as a string,
/// and port number".
#[test]
fn dictionaries_hold_peer_id_ip_and_port() {
    let place = Place::new();
    let (_program, tracker) = place.tracker(&[]);
    http_announce(tracker, HASH, 1001, "&left=10");
    let reply = http_announce(tracker, HASH, 1002, "&left=10&compact=0");
    let [peer] = reply.at("peers").list() else { panic!("one peer: {reply:?}") };
    assert_eq!(peer.at("peer id").as_bytes(), b"-XX0001-port-0001001");
    assert_eq!(peer.at("ip").as_bytes(), b"127.0.0.1");
    assert_eq!(peer.at("port").int(), 1001);
}

/// "stopped when they cease downloading": such a peer is given to nobody.
#[test]
fn who_has_stopped_is_given_to_nobody() {
    let place = Place::new();
    let (_program, tracker) = place.tracker(&[]);
    http_announce(tracker, HASH, 1001, "&left=10&event=started");
    http_announce(tracker, HASH, 1001, "&left=10&event=stopped");
    assert_eq!(ports(&http_announce(tracker, HASH, 1002, "&left=10")), NOBODY);
}

/// "empty, which is the same as not being present".
#[test]
fn an_empty_event_is_a_regular_announce() {
    let place = Place::new();
    let (_program, tracker) = place.tracker(&[]);
    for (port, event) in [(1001, "&event=empty"), (1002, "&event="), (1003, "")] {
        http_announce(tracker, HASH, port, &format!("&left=10{event}"));
    }
    assert_eq!(ports(&http_announce(tracker, HASH, 1004, "&left=10")), [1001, 1002, 1003]);
}

/// Without what names torrent and peer there is a failure reason, which says what is wrong.
#[test]
fn a_query_that_lacks_something_gets_a_failure_reason() {
    let place = Place::new();
    let (_program, tracker) = place.tracker(&[]);
    let (hash, id) = (escape(&HASH), "-XX0001-by-hand-----");
    for (query, wrong) in [
        (format!("peer_id={id}&port=1"), "info_hash"),
        (format!("info_hash={hash}&port=1"), "peer_id"),
        (format!("info_hash={hash}&peer_id={id}"), "port"),
        (format!("info_hash={hash}&peer_id={id}&port=0"), "port"),
        (format!("info_hash={hash}&peer_id={id}&port=65536"), "port"),
        (format!("info_hash={hash}00&peer_id={id}&port=1"), "info_hash"),
        (format!("info_hash=short&peer_id={id}&port=1"), "info_hash"),
        (format!("info_hash={hash}&peer_id=short&port=1"), "peer_id"),
        (format!("info_hash={hash}&peer_id={id}&port=1&left=many"), "left"),
    ] {
        let (status, body) = http_get(tracker, &format!("/announce?{query}"));
        assert_eq!(status, 200, "clients do not read the body of an error");
        let reply = Value::read(&body);
        let reason = String::from_utf8_lossy(reply.at("failure reason").as_bytes()).into_owned();
        assert!(reason.contains(wrong), "{query}: {reason}");
        assert_eq!(reply.get("peers"), None);
    }
    assert_eq!(ports(&http_announce(tracker, HASH, 1002, "&left=10")), NOBODY);
}

/// Escapes may be in either case, and what needs none may be plain.
#[test]
fn an_info_hash_may_be_escaped_in_several_ways() {
    let place = Place::new();
    let (_program, tracker) = place.tracker(&[]);
    let hash = *b"abcdefghij0123-_.~\xab\xcd";
    http_announce(tracker, hash, 1001, "&left=10");
    for (port, written) in
        [(1002, "abcdefghij0123-_.~%ab%cd"), (1003, "%61bcdefghij0123-_.%7E%aB%Cd")]
    {
        let id = format!("-XX0001-port-{port:07}");
        let target = format!("/announce?port={port}&peer_id={id}&info_hash={written}&numwant=0");
        assert_eq!(http_get(tracker, &target).0, 200);
    }
    assert_eq!(ports(&http_announce(tracker, hash, 1004, "&left=10")), [1001, 1002, 1003]);
}

/// "ip: an optional parameter": somebody else's address is not believed. From its own host it is used
/// "if it's on the same machine as the tracker", or not; either way the peer is listed once.
#[test]
fn the_ip_parameter_lists_a_peer_once() {
    let place = Place::new();
    let (_program, tracker) = place.tracker(&[]);
    http_announce(tracker, HASH, 1001, "&left=10&ip=127.0.0.1");
    http_announce(tracker, HASH, 1001, "&left=10&ip=127.0.0.1");
    assert_eq!(ports(&http_announce(tracker, HASH, 1002, "&left=10")), [1001]);
}
