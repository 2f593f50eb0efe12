//! Replies of HTTP trackers: what is taken from one stays within its bounds.

#![no_main]

use downpour::{base::limits, tracker::http::parse_reply};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(reply) = parse_reply(data) {
        assert!(reply.peers.len() <= limits::MAX_PEERS_PER_REPLY);
        assert!(reply.peers.iter().all(|peer| peer.port() != 0));
    }
});
