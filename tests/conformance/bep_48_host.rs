//! BEP 48, *scrape*, as the embedded tracker answers over HTTP. Over UDP see `bep_15_host`.

use std::net::SocketAddr;

use crate::driver::{
    ask::{escape, http_announce, http_get},
    bencode::Value,
    program::Place,
};

const HASHES: [[u8; 20]; 3] = [[0x01; 20], [0xf2; 20], [0x00; 20]];

fn scrape(tracker: SocketAddr, hashes: &[[u8; 20]]) -> Value {
    let query: Vec<_> = hashes.iter().map(|h| format!("info_hash={}", escape(h))).collect();
    let (status, body) = http_get(tracker, &format!("/scrape?{}", query.join("&")));
    assert_eq!(status, 200);
    Value::read(&body)
}

/// Complete, incomplete, downloaded of a torrent in a reply.
fn counts(reply: &Value, hash: [u8; 20]) -> [i64; 3] {
    let counts = reply.at("files").get(hash).expect("it is known");
    ["complete", "incomplete", "downloaded"].map(|key| counts.at(key).int())
}

/// "Locating the string announce in the path section of the announce URL and replacing it with the string
/// scrape": complete, "the number of active peers that have completed downloading", incomplete, those
/// "that have not", downloaded, those "that have ever completed".
#[test]
fn a_scrape_counts_peers_and_downloads() {
    let place = Place::new();
    let (_program, tracker) = place.tracker(&[]);
    let hash = HASHES[1];
    http_announce(tracker, hash, 1001, "&left=0&event=started");
    http_announce(tracker, hash, 1002, "&left=5&event=started");
    http_announce(tracker, hash, 1003, "&left=5&event=started");
    assert_eq!(counts(&scrape(tracker, &[hash]), hash), [1, 2, 0]);
    http_announce(tracker, hash, 1002, "&left=0&event=completed");
    assert_eq!(counts(&scrape(tracker, &[hash]), hash), [2, 1, 1]);
    http_announce(tracker, hash, 1002, "&left=0&event=stopped");
    assert_eq!(counts(&scrape(tracker, &[hash]), hash), [1, 1, 1], "it has completed all the same");
}

/// "This key can be appended multiple times": `files` has an entry for each torrent that is known.
#[test]
fn several_torrents_can_be_asked_for_at_once() {
    let place = Place::new();
    let (_program, tracker) = place.tracker(&[]);
    http_announce(tracker, HASHES[0], 1001, "&left=0");
    http_announce(tracker, HASHES[1], 1001, "&left=1");
    let reply = scrape(tracker, &HASHES);
    assert_eq!(counts(&reply, HASHES[0]), [1, 0, 0]);
    assert_eq!(counts(&reply, HASHES[1]), [0, 1, 0]);
    assert_eq!(reply.at("files").get(HASHES[2]), None, "nobody has announced it");
    assert_eq!(reply.get("failure reason"), None);
}

/// One that comes twice is there once.
#[test]
fn a_torrent_that_is_named_twice_is_counted_once() {
    let place = Place::new();
    let (_program, tracker) = place.tracker(&[]);
    http_announce(tracker, HASHES[0], 1001, "&left=0");
    // The driver's reader does not take a key that comes twice.
    let reply = scrape(tracker, &[HASHES[0], HASHES[0]]);
    assert_eq!(counts(&reply, HASHES[0]), [1, 0, 0]);
}

/// "Scrape exchanges have no effect on a peer's participation in a swarm."
#[test]
fn a_scrape_lists_nobody() {
    let place = Place::new();
    let (_program, tracker) = place.tracker(&[]);
    scrape(tracker, &HASHES);
    let reply = http_announce(tracker, HASHES[0], 1001, "&left=1");
    assert_eq!(reply.at("peers").as_bytes(), b"");
    for _ in 0..3 {
        assert_eq!(counts(&scrape(tracker, &HASHES), HASHES[0]), [0, 1, 0]);
    }
}

/// "The response to an unsuccessful request is a bencoded dictionary with the key failure reason".
#[test]
fn a_scrape_that_cannot_be_answered_gets_a_failure_reason() {
    let place = Place::new();
    let (_program, tracker) = place.tracker(&[]);
    let long = format!("info_hash={}00", escape(&HASHES[0]));
    for query in ["", "?", "?info_hash=", "?info_hash=short", "?x=1", &format!("?{long}")] {
        let (status, body) = http_get(tracker, &format!("/scrape{query}"));
        assert_eq!(status, 200);
        let reply = Value::read(&body);
        assert!(!reply.at("failure reason").as_bytes().is_empty(), "{query}");
        assert_eq!(reply.get("files"), None, "{query}");
    }
}
