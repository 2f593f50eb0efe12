//! BEP 15, *UDP tracker protocol*, as the embedded tracker answers.
//!
//! Left out: that a connection id is taken for two minutes after it was given.

use std::net::SocketAddr;

use crate::driver::{
    ask::{UdpAnnounce, UdpAsker, http_announce, udp_connect, udp_scrape},
    program::{Place, Program},
    tracker::{read_compact, u32_at, u64_at},
};

const HASH: [u8; 20] = *b"a hash of 20 bytes..";

/// A tracker, and a client that has a connection id.
struct Desk {
    _place: Place,
    _program: Program,
    addr: SocketAddr,
    asker: UdpAsker,
    id: u64,
}

impl Desk {
    fn new() -> Self {
        let place = Place::new();
        let (program, addr) = place.tracker(&["--interval", "7m"]);
        let asker = UdpAsker::new(addr);
        let id = u64_at(&asker.ask(&udp_connect(1)), 8);
        Desk { _place: place, _program: program, addr, asker, id }
    }

    /// Announces a leech; gives the reply.
    fn announce(&self, port: u16, change: impl Fn(&mut UdpAnnounce)) -> Vec<u8> {
        let mut announce =
            UdpAnnounce { info_hash: HASH, left: 1_000, event: 0, numwant: -1, port };
        change(&mut announce);
        self.asker.ask(&announce.bytes(self.id, 0x0a0b_0c0d))
    }

    /// The ports of the peers in a reply.
    fn ports(reply: &[u8]) -> Vec<u16> {
        let mut ports: Vec<u16> = read_compact(&reply[20..]).iter().map(SocketAddr::port).collect();
        ports.sort_unstable();
        ports
    }
}

/// "connect response: action 0, transaction_id, connection_id".
#[test]
fn a_connect_is_answered_with_an_id() {
    let desk = Desk::new();
    let reply = desk.asker.ask(&udp_connect(0x0102_0304));
    assert_eq!(reply.len(), 16);
    assert_eq!((u32_at(&reply, 0), u32_at(&reply, 4)), (0, 0x0102_0304));
}

/// The id "should not be guessable by the client": that of another tracker is of no use.
#[test]
fn another_trackers_id_is_another_id() {
    assert_ne!(Desk::new().id, Desk::new().id);
}

/// "announce response: action 1, transaction_id, interval, leechers, seeders, IP address, TCP port".
#[test]
fn an_announce_is_answered_with_the_swarm() {
    let desk = Desk::new();
    desk.announce(1001, |_| {});
    desk.announce(1002, |a| a.left = 0);
    let reply = desk.announce(1003, |_| {});
    assert_eq!((u32_at(&reply, 0), u32_at(&reply, 4)), (1, 0x0a0b_0c0d));
    assert_eq!(u32_at(&reply, 8), 420, "interval");
    assert_eq!(u32_at(&reply, 12), 2, "leechers");
    assert_eq!(u32_at(&reply, 16), 1, "seeders");
    let mut peers = read_compact(&reply[20..]);
    peers.sort_unstable();
    let there = [1001, 1002].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    assert_eq!(peers, there);
}

/// "Verify [...] connection_id": without one from here the answer is an error.
#[test]
fn an_id_that_was_not_given_is_refused() {
    let desk = Desk::new();
    let announce = UdpAnnounce { info_hash: HASH, left: 1, event: 0, numwant: -1, port: 1001 };
    for (number, id) in [(5, desk.id ^ 1), (6, 0), (7, 0x0417_2710_1980)] {
        for datagram in [announce.bytes(id, number), udp_scrape(id, number, &[HASH])] {
            let reply = desk.asker.ask(&datagram);
            assert_eq!((u32_at(&reply, 0), u32_at(&reply, 4)), (3, number));
            assert!(!reply[8..].is_empty(), "an error has a message");
        }
    }
    assert_eq!(Desk::ports(&desk.announce(1002, |_| {})), [0; 0], "1001 is not listed");
}

/// "0x41727101980 // magic constant": what begins otherwise is not of the protocol, and gets nothing;
/// neither does what is too short or of an unknown action.
#[test]
fn what_is_not_of_the_protocol_is_not_answered() {
    let desk = Desk::new();
    let mut odd = udp_connect(9);
    odd[7] ^= 1;
    let announce = UdpAnnounce { info_hash: HASH, left: 1, event: 0, numwant: -1, port: 1001 };
    let announce = announce.bytes(desk.id, 9);
    let mut unknown = announce.clone();
    unknown[11] = 9;
    for datagram in [&odd[..], &udp_connect(9)[..15], &announce[..97], &unknown, b"", b"hello"] {
        desk.asker.send(datagram);
    }
    // The first answer is to this.
    let reply = desk.asker.ask(&udp_connect(10));
    assert_eq!((u32_at(&reply, 0), u32_at(&reply, 4)), (0, 10));
}

/// "Clients and trackers should not assume packets to be of a certain size."
#[test]
fn longer_requests_than_expected_are_answered() {
    let desk = Desk::new();
    let reply = desk.asker.ask(&[udp_connect(8), vec![0; 40]].concat());
    assert_eq!((u32_at(&reply, 0), u32_at(&reply, 4)), (0, 8));
    let announce = UdpAnnounce { info_hash: HASH, left: 1, event: 0, numwant: -1, port: 1001 };
    // Options of BEP 41: nothing, some URL, the end, and what follows it.
    let options = [&[1, 2, 4][..], b"/x?y", &[0, 99]].concat();
    let reply = desk.asker.ask(&[announce.bytes(desk.id, 9), options].concat());
    assert_eq!((u32_at(&reply, 0), u32_at(&reply, 4)), (1, 9));
}

/// "3: stopped": such a peer is given to nobody.
#[test]
fn who_has_stopped_is_given_to_nobody() {
    let desk = Desk::new();
    desk.announce(1001, |a| a.event = 2);
    desk.announce(1002, |a| a.event = 2);
    desk.announce(1001, |a| a.event = 3);
    let reply = desk.announce(1003, |_| {});
    assert_eq!(Desk::ports(&reply), [1002]);
    assert_eq!(u32_at(&reply, 12), 2, "leechers");
}

/// "num_want: -1 default": no more peers than that.
#[test]
fn no_more_peers_are_given_than_are_wanted() {
    let desk = Desk::new();
    for port in 1001..=1010 {
        desk.announce(port, |_| {});
    }
    let given = |numwant| Desk::ports(&desk.announce(2000, |a| a.numwant = numwant));
    assert_eq!(given(-1), (1001..=1010).collect::<Vec<_>>());
    assert_eq!(given(3).len(), 3);
    assert_eq!(given(0).len(), 0);
}

/// "scrape response: seeders, completed, leechers", in the order of the request; nothing is known of a
/// torrent that nobody has announced.
#[test]
fn a_scrape_counts_in_the_order_of_the_request() {
    let desk = Desk::new();
    desk.announce(1001, |_| {});
    desk.announce(1002, |_| {});
    desk.announce(1003, |a| a.event = 2);
    desk.announce(1003, |a| (a.event, a.left) = (1, 0));
    let other = *b"another hash, also 20";
    let other: [u8; 20] = other[..20].try_into().expect("20 bytes");
    desk.announce(1001, |a| (a.info_hash, a.left) = (other, 0));
    let hashes = [other, [7; 20], HASH];
    let reply = desk.asker.ask(&udp_scrape(desk.id, 77, &hashes));
    assert_eq!((u32_at(&reply, 0), u32_at(&reply, 4)), (2, 77));
    let numbers: Vec<u32> = (8..reply.len()).step_by(4).map(|at| u32_at(&reply, at)).collect();
    assert_eq!(numbers, [1, 0, 0, 0, 0, 0, 1, 1, 2]);
}

/// "Up to about 74 torrents can be scraped at once."
#[test]
fn seventy_four_torrents_can_be_scraped_at_once() {
    let desk = Desk::new();
    let hashes: Vec<[u8; 20]> = (0..74).map(|n| [n; 20]).collect();
    desk.announce(1001, |a| a.info_hash = hashes[73]);
    let reply = desk.asker.ask(&udp_scrape(desk.id, 1, &hashes));
    assert_eq!(reply.len(), 8 + 12 * 74);
    assert_eq!(u32_at(&reply, 8 + 12 * 73 + 8), 1, "the leech of the last one");
}

/// "scrape exchanges have no effect on a peer's participation", and connecting has none either.
#[test]
fn who_only_asks_is_not_listed() {
    let desk = Desk::new();
    desk.asker.ask(&udp_scrape(desk.id, 1, &[HASH]));
    let reply = desk.announce(1001, |_| {});
    assert_eq!((u32_at(&reply, 12), u32_at(&reply, 16), reply.len()), (1, 0, 20));
}

/// One swarm, whatever the protocol.
#[test]
fn peers_over_http_and_over_udp_are_given_to_one_another() {
    let desk = Desk::new();
    http_announce(desk.addr, HASH, 1001, "&left=10");
    assert_eq!(Desk::ports(&desk.announce(1002, |_| {})), [1001]);
    let reply = http_announce(desk.addr, HASH, 1003, "&left=10");
    let mut ports: Vec<u16> =
        read_compact(reply.at("peers").as_bytes()).iter().map(SocketAddr::port).collect();
    ports.sort_unstable();
    assert_eq!(ports, [1001, 1002]);
}

/// "IPv6 announces have the same structure as v4 ones [...] except that the stride size [...] is 18
/// bytes instead of 6."
#[test]
fn peers_over_ipv6_take_eighteen_bytes() {
    let place = Place::new();
    let mut program = place.start(&["tracker", "--listen", "[::1]:0"]);
    let url = program.until("listening")["url"].as_str().expect("a URL").to_owned();
    let addr = url.strip_prefix("http://").and_then(|u| u.strip_suffix("/announce"));
    let asker = UdpAsker::new(addr.expect("an announce URL").parse().expect("an address"));
    let id = u64_at(&asker.ask(&udp_connect(1)), 8);
    let mut announce = UdpAnnounce { info_hash: HASH, left: 1, event: 0, numwant: -1, port: 1001 };
    asker.ask(&announce.bytes(id, 2));
    announce.port = 1002;
    let reply = asker.ask(&announce.bytes(id, 3));
    let mut there = vec![0; 15];
    there.push(1);
    there.extend(1001_u16.to_be_bytes());
    assert_eq!(reply[20..], there);
}
