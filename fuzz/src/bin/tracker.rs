//! What trackers say, and what is said to ours: what is taken stays within its bounds.

#![no_main]

use downpour::{
    base::{hash::Sha1Hash, limits},
    tracker::{
        announce::AnnounceReply,
        http::parse_reply,
        http_host::{parse_announce, parse_scrape},
        scrape::parse_scrape_reply,
        udp::{Request, Response},
    },
};
use libfuzzer_sys::fuzz_target;

fn check(reply: &AnnounceReply) {
    assert!(reply.peers.len() <= limits::MAX_PEERS_PER_REPLY);
    assert!(reply.peers.iter().all(|peer| peer.port() != 0));
}

fuzz_target!(|data: &[u8]| {
    if let Ok(reply) = parse_reply(data) {
        check(&reply);
    }
    let _ = parse_scrape_reply(data, Sha1Hash(*b"aaaaaaaaaaaaaaaaaaaa"));
    if let Ok(query) = std::str::from_utf8(data) {
        if let Ok(announce) = parse_announce(query) {
            assert!(announce.request.port != 0);
            let id = announce.request.tracker_id.unwrap_or_default();
            assert!(id.len() <= limits::MAX_TRACKER_ID);
        }
        if let Ok(hashes) = parse_scrape(query) {
            assert!((1..=limits::MAX_SCRAPE_HASHES).contains(&hashes.len()));
        }
    }
    for v6 in [false, true] {
        if let Ok((_, Response::Announce(reply))) = Response::decode(data, v6) {
            check(&reply);
        }
    }
    if let Ok((transaction, request)) = Request::decode(data) {
        assert_eq!(Request::decode(&request.encode(transaction)), Ok((transaction, request)));
    }
});
