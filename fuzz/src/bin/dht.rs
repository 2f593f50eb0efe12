//! Datagrams from anybody to a node of the DHT, some of them answers to what it asked: whatever comes, it
//! says little in return and keeps what it owes to time.
//!
//! The input is cut into pieces; each is one datagram, sent from one of a few addresses, or answers the
//! node's last question. One of the addresses is blocked. The input is also read as what an earlier run has left.

#![no_main]

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use downpour::{
    base::{
        hash::Sha1Hash,
        ip_filter::{AddrRange, Builder},
        limits,
        rng::Rng,
        time::Instant,
    },
    dht::{
        Announce, Config, Key, Node, Output, Question,
        message::{Body, Message},
        saved::Saved,
    },
};
use libfuzzer_sys::fuzz_target;

const BLOCKED: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 9));
const ADDRS: [&str; 6] = [
    "127.0.0.1:6881",
    "203.0.113.1:1",
    "203.0.113.2:6881",
    "198.51.100.9:9",
    "[2001:db8::1]:6881",
    "[::1]:5",
];

fuzz_target!(|data: &[u8]| {
    if let Some(saved) = Saved::decode(data) {
        assert!(saved.nodes.len() <= 2 * limits::MAX_DHT_SAVED);
        assert!(Saved::decode(&saved.encode()).is_some_and(|again| again.ids == saved.ids));
    }
    let mut now = Instant::ZERO;
    let mut blocked = Builder::default();
    blocked.block(AddrRange::subnet(BLOCKED, 24).expect("a net")).expect("room");
    let blocked = Arc::new(blocked.build());
    let config = Config { v4: true, v6: true, read_only: false, ids: [None, None], blocked };
    let mut node = Node::new(&config, Rng::new(1), Key([3; 20]), now);
    let addrs: Vec<SocketAddr> = ADDRS.iter().filter_map(|addr| addr.parse().ok()).collect();
    node.add_entrances(now, addrs.iter().copied());
    let announce = Some(Announce { port: Some(1), mapped: None });
    node.search(now, Question::Peers(Sha1Hash([7; 20]), announce), true);
    node.search(now, Question::Sample(Sha1Hash([9; 20]).into()), false);
    let mut asked: Option<(SocketAddr, Vec<u8>)> = None;
    for piece in data.split(|&byte| byte == 0xff) {
        let Some((&first, rest)) = piece.split_first() else { continue };
        let mut datagram = rest.to_vec();
        let mut from = addrs[usize::from(first) % addrs.len()];
        if first >= 0x80
            && let Some((to, transaction)) = &asked
        {
            // The end of a reply; its beginning, `d1:rd2:id20:…e`, is the fuzzer's.
            datagram.extend_from_slice(b"1:t4:");
            datagram.extend_from_slice(transaction);
            datagram.extend_from_slice(b"1:y1:re");
            from = *to;
        }
        node.handle_datagram(now, from, &datagram);
        let mut said = 0;
        while let Some(output) = node.poll() {
            if let Output::Send { to, datagram } = output {
                assert_ne!(to.ip(), BLOCKED);
                let message = Message::decode(&datagram).expect("ours can be read");
                if let Body::Query(_) = message.body {
                    asked = Some((to, message.transaction.to_vec()));
                }
                said += datagram.len();
                assert!(datagram.len() <= limits::MAX_DHT_DATAGRAM);
            }
        }
        assert!(said < 40_000, "{said} bytes in return");
        now += Duration::from_millis(u64::from(first) * 20);
        if node.poll_timeout() <= now {
            node.handle_timeout(now);
            while node.poll().is_some() {}
            assert!(node.poll_timeout() > now);
        }
    }
});
